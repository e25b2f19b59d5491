"""What is asked of Slurm, as text; and what is remembered of it."""

import os
import pickle
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from snakemake.resources import Resources

from sspipe.cli import parsed
from sspipe.errors import UserError
from sspipe.files import read_json
from sspipe.session import Session, going_on, keep_set_resources, read_sessions
from sspipe.slurm import Queue, SlurmJob
from sspipe.train.follower import Follower, Run
from sspipe.train.submission import (
    Request,
    Submission,
    digest,
    failures,
    new_submission,
    node_python,
    parameters,
    submit,
    succeeded,
)

REQUEST = Request(
    partition="gpu",
    account="research",
    gres="gpu:v100:4",
    tasks=4,
    cpus_per_task=8,
    mem_mb=180000,
    runtime_min=1440,
    signal_delay_s=120,
    qos=None,
    constraint="v100&nvlink",
    extra=("reservation=night", "exclusive"),
    python="apptainer exec --nv image.sif python",
    setup=("module load cuda",),
)


@pytest.fixture()
def sbatch(tmp_path, monkeypatch):
    """A pretended sbatch, which keeps the script and the environment that it was given."""
    folder = tmp_path / "programs"
    folder.mkdir()
    for name in ("sbatch", "srun"):
        (folder / name).write_text(
            f"#!/bin/sh\ncp $1 {folder}/script\nenv > {folder}/environment\necho Submitted batch job 7\n"
        )
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    return folder


def submitted(sbatch, tmp_path, request=REQUEST):
    submission = new_submission("spatial-mine-seed0", "0", ["train"], request)
    (tmp_path / "jobs").mkdir()
    assert submit(submission, request, tmp_path) == "7"
    return (sbatch / "script").read_text(), (sbatch / "environment").read_text().splitlines()


def test_one_node_one_task_a_gpu_and_everything_the_profile_says(sbatch, tmp_path):
    script, _ = submitted(sbatch, tmp_path)
    options = {line.removeprefix("#SBATCH --") for line in script.splitlines() if line.startswith("#SBATCH")}
    assert {
        *("nodes=1", "ntasks-per-node=4", "cpus-per-task=8", "mem=180000M", "time=1440", "signal=USR2@120"),
        *("partition=gpu", "account=research", "gres=gpu:v100:4", "constraint='v100&nvlink'", "requeue"),
        *("reservation=night", "exclusive", "open-mode=append"),
    } <= options
    assert not any(option.startswith(("wckey", "qos", "gpus")) for option in options)
    assert "module load cuda" in script and "apptainer exec --nv image.sif python -u -m submitit" in script
    assert "unset PYTHONPATH" in script


def test_what_an_outer_job_has_set_is_hidden_but_which_cluster_it_is_stays(sbatch, tmp_path, monkeypatch):
    outer = {"SLURM_JOB_ID": "3", "SLURM_CPU_BIND": "quiet", "SLURM_MEM_PER_NODE": "9", "RANK": "2", "PYTHONPATH": "/x"}
    for name, value in {**outer, "SLURM_CONF": "/etc/some.conf"}.items():
        monkeypatch.setenv(name, value)
    _, environment = submitted(sbatch, tmp_path)
    names = {line.partition("=")[0] for line in environment}
    assert not names & outer.keys()
    assert "SLURM_CONF=/etc/some.conf" in environment
    assert os.environ["SLURM_JOB_ID"] == "3" and os.environ["SLURM_CONF"] == "/etc/some.conf"


def test_names_differ_from_one_submission_to_the_next():
    names = {new_submission("spatial-a.b-seed0", "0", [], REQUEST).name for _ in range(5)}
    assert len(names) == 5 and all(name.startswith("train-spatial-a.b-seed0-") for name in names)


def test_without_wishes_the_clusters_own_defaults_hold():
    plain = replace(
        REQUEST, partition=None, account=None, mem_mb=None, constraint=None, extra=(), python=None, setup=()
    )
    given = parameters("name", plain)
    assert given["additional_parameters"] == {"requeue": True, "gres": "gpu:v100:4"}
    assert "partition" not in given and "qos" not in given


@pytest.mark.parametrize(
    ("given", "environment", "words"),
    [
        (None, {}, "/venv/bin/python"),  # a plain virtual environment, or conda's: all that is in it comes by its path
        (
            None,
            {"APPTAINER_CONTAINER": "/images/my sspipe.sif"},
            "apptainer exec --nv '/images/my sspipe.sif' /venv/bin/python",
        ),
        (None, {"SINGULARITY_CONTAINER": "/i.sif"}, "singularity exec --nv /i.sif /venv/bin/python"),
        ("apptainer exec other.sif python", {"APPTAINER_CONTAINER": "/i.sif"}, "apptainer exec other.sif python"),
    ],
)
def test_a_job_runs_in_the_deployment_that_submits_it(given, environment, words):
    assert node_python(given, "/venv/bin/python", environment) == words


def test_the_script_of_a_launcher_in_a_container_enters_the_same_image(sbatch, tmp_path, monkeypatch):
    monkeypatch.setenv("APPTAINER_CONTAINER", "/images/sspipe.sif")
    script, _ = submitted(sbatch, tmp_path, replace(REQUEST, python=None))
    assert f"apptainer exec --nv /images/sspipe.sif {sys.executable} -u -m submitit" in script


def test_a_container_without_slurms_programs_is_told_with_the_way_out(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    submission = new_submission("a", "0", ["train"], REQUEST)
    with pytest.raises(UserError, match="sbatch: not found, so there is no Slurm on this machine"):
        submit(submission, REQUEST, tmp_path)
    monkeypatch.setenv("APPTAINER_CONTAINER", "/images/sspipe.sif")
    with pytest.raises(
        UserError, match=r"not found in the container /images/sspipe\.sif: start Snakemake outside of it"
    ):
        submit(submission, REQUEST, tmp_path)


@pytest.mark.parametrize(
    ("refusal", "key"),
    [
        ("Invalid account or account/partition combination specified", "train.slurm_account"),
        ("invalid partition specified: gpus", "train.slurm_partition"),
        ("Invalid generic resource (gres) specification", "train.gres"),
        ("Requested time limit is invalid (missing or exceeds some limit)", "train.runtime"),
        ("Invalid qos specification", "train.qos"),
        ("Invalid feature specification", "train.constraint"),
        ("Memory specification can not be satisfied", "train.mem_mb"),
        ("Requested node configuration is not available", "train.gres, train.cpus_per_task or train.mem_mb"),
    ],
)
def test_what_slurm_refuses_is_told_with_the_key_to_change(refusal, key, sbatch, tmp_path):
    (sbatch / "sbatch").write_text(f"#!/bin/sh\necho 'sbatch: error: {refusal}' >&2; exit 1\n")
    (tmp_path / "jobs").mkdir()
    with pytest.raises(UserError) as refused:
        submit(new_submission("a", "0", ["train"], REQUEST), REQUEST, tmp_path)
    assert refusal in str(refused.value) and f"set {key} in the profile" in str(refused.value)


def test_what_was_remembered_is_read_back_and_other_files_are_refused(tmp_path):
    assert Submission.read(tmp_path) is None
    submission = new_submission("a", "0", ["train"], REQUEST).as_submitted(tmp_path, "7").write(tmp_path)
    again = Submission.read(tmp_path)
    assert (again.job_id, again.command, again.log) == ("7", submission.command, submission.log)
    # Never "delete it and run again": a job may be at work, and a second one would be submitted.
    for damaged in (b'{"command": []}', b"[]", b"null", b"", b"\xff\xfe", b'{"name": "train-'):
        (tmp_path / "job.json").write_bytes(damaged)
        with pytest.raises(UserError, match=r"job\.json: cannot be read, .* see with `squeue --me` that no job"):
            Submission.read(tmp_path)


def test_what_ranks_have_told_is_read_even_where_it_is_damaged(tmp_path):
    submission = new_submission("a", "0", ["train"], replace(REQUEST, tasks=2)).as_submitted(tmp_path, "7")
    (tmp_path / "jobs").mkdir()
    for rank, content in ((0, b""), (1, pickle.dumps(("success", 0)))):
        (tmp_path / f"jobs/7_{rank}_result.pkl").write_bytes(content)
    assert not succeeded(submission, tmp_path)
    ((rank, what),) = failures(submission, tmp_path)
    assert rank == 0 and "7_0_result.pkl cannot be read" in what


def test_a_damaged_record_of_sessions_is_told_and_not_taken_for_none(tmp_path):
    for content in ("{}", "[]", '{"runs": 3}'):
        (tmp_path / "snakemake.json").write_text(content)
        with pytest.raises(UserError, match=r"snakemake\.json: not what this version writes; see with `squeue --me`"):
            read_sessions(tmp_path)


def test_the_digest_follows_the_content_of_files_and_the_values(tmp_path):
    path = tmp_path / "settings.json"
    path.write_text("1")
    before = digest([path], seed=0)
    assert digest([path], seed=0) == before != digest([path], seed=1)
    path.write_text("2")
    assert digest([path], seed=0) != before


def test_one_resource_on_the_command_line_leaves_the_profiles_others():
    given = {"train": Resources.parse(["runtime=600", "mem_mib=9000"], allow_expressions=True)}
    profile = {"runtime": 60, "gres": "gpu:v100:4", "mem_mb": 5}
    keep_set_resources(given, {"train": profile, "pack_tiles": {"mem_mb": 8000}})
    assert given["train"]["runtime"].value == 600
    assert set(given["train"]) == {"runtime", "gres", "mem_mb"}
    assert "mem_mb" in given["pack_tiles"]


def test_results_that_a_network_shows_a_little_later_are_waited_for(tmp_path, monkeypatch, capsys):
    outputs = {name: tmp_path / name for name in ("out_model", "out_metrics", "out_record")}
    run = Run(tmp_path, "s/v/seed0", (), {"checkpoints": tmp_path, **outputs}, "0", REQUEST)
    follower = Follower(run, Queue(tmp_path), 1)
    ended = {
        state: SlurmJob("7", "n", state, "", "node1", "1:00", "8:00:00", "", "") for state in ("COMPLETED", "FAILED")
    }
    slept = []
    monkeypatch.setattr("time.sleep", slept.append)
    assert not follower._results_have_come(ended["FAILED"]) and not slept
    monkeypatch.setattr("time.sleep", lambda seconds: [path.touch() for path in outputs.values()])
    assert follower._results_have_come(ended["COMPLETED"])
    assert "has completed; its results are waited for" in capsys.readouterr().out


FOLLOWING = """
import os, signal, sys
from sspipe.train import launch

def run(self):
    signal.pthread_sigmask(signal.SIG_BLOCK, launch.ENDING)
    for number in launch.ENDING:
        os.kill(os.getpid(), number)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, launch.ENDING)  # all at once, as where a terminal is closed

launch.Follower.run = run
launch._settings = lambda options: "0"
sys.exit(launch.launch(**eval(sys.argv[1])))
"""


def test_several_signals_at_once_end_a_launcher_with_one_word_of_good_bye(tmp_path):
    new_submission("a", "0", ["train"], REQUEST).as_submitted(tmp_path, "7").write(tmp_path)
    flags = ["launch", "--folder", str(tmp_path), "--queue", str(tmp_path), "--tasks", "1", "--cpus-per-task", "1"]
    files = ["--settings", "--split-table", "--statistics", "--packs", "--checkpoints", "--out-model", "--out-metrics"]
    numbers = [
        "--seed",
        "--threads",
        "--shuffle-shards",
        "--ranks",
        "--workers",
        "--checkpoint-minutes",
        "--log-seconds",
    ]
    training = [word for flag in (*files, "--out-record") for word in (flag, "x")]
    training += [word for flag in numbers for word in (flag, "1")]
    words = ["train", "--split", "s", "--variant", "v", "--precision", "auto", *training]
    options = parsed([*flags, "--runtime-min", "1", "--signal-delay-s", "9", "--", *words])[1]
    options.update(folder="PATH", queue="PATH")
    told = repr(options).replace("'PATH'", f"__import__('pathlib').Path({str(tmp_path)!r})")
    done = subprocess.run([sys.executable, "-c", FOLLOWING, told], capture_output=True, text=True, timeout=300)
    assert done.returncode in (128 + signal.SIGINT, 128 + signal.SIGTERM, 128 + signal.SIGHUP), done.stderr
    assert done.stdout.count("the training goes on as Slurm job 7") == 1
    assert done.stderr == ""


def test_two_snakemakes_do_not_work_on_one_experiment(tmp_path):
    first = Session(tmp_path / "slurm", "one")
    with pytest.raises(UserError, match="is at work on this experiment"):
        Session(tmp_path / "slurm", "two")
    record = read_json(tmp_path / "slurm/snakemake.json")
    assert record["runs"] == ["one"] and list(record["sessions"]) == ["one"]
    assert first is not None  # kept until here


def test_whoever_ends_snakemake_is_told_what_goes_on_and_how_to_end_it(tmp_path):
    assert going_on(tmp_path, None) == []
    for name, job, ended in (("a/seed0", "7", None), ("a/seed1", "8", "COMPLETED"), ("b/seed0", None, None)):
        folder = tmp_path / "train/spatial" / name / "slurm"
        submission = new_submission(name, "0", ["train"], REQUEST)
        replace(submission, job_id=job, ended=ended).write(folder)
    damaged = tmp_path / "train/spatial/c/seed0/slurm/job.json"
    damaged.parent.mkdir(parents=True)
    damaged.write_text("")
    told = going_on(tmp_path, Path("profiles/slurm"))
    assert told[1:] == [
        "  7  spatial/a/seed0",
        "To end them: python -m sspipe cancel --profile profiles/slurm --all, or "
        "python -m sspipe cancel --profile profiles/slurm spatial/a/seed0 for one",
    ]
