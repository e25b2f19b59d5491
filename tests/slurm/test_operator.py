"""plan, preflight, status, cancel and efficiency against the real Slurm."""

import json
import time

import pytest
import yaml

from sspipe.cli import main
from sspipe.operate import preflight as preflight_stage
from tests.workflow.conftest import copy_workflow

pytestmark = [pytest.mark.xdist_group("slurm"), pytest.mark.slow]

TRAIN = {
    "launcher": "slurm",
    "slurm_partition": "gpu",
    "slurm_account": "toy",
    "gres": "gpu:v100:2",
    "runtime": 30,
    "signal_delay_s": 120,
    "mem_mb": 2000,
    "cpus_per_task": 1,
    "trainings": 1,
}
RUN = "spatial/ss_rsc_shared/seed0"


@pytest.fixture()
def checkout(cluster, tmp_path, monkeypatch):
    """A checkout in which the commands run as an operator runs them, with a profile for this cluster."""
    made = copy_workflow(tmp_path)
    monkeypatch.chdir(tmp_path)
    write_profile(tmp_path)
    # The nodes' GPUs are pretended, and torch here is any build: what it has for them is said in its place.
    monkeypatch.setattr(preflight_stage, "built_architectures", lambda: ("2.13.0", ["sm_70", "sm_80"]))
    return made


def write_profile(folder, **train):
    content = {
        "executor": "slurm",
        "configfile": "tiny.yaml",
        "jobs": 8,
        "cores": 8,
        "resources": ["trainings=2"],
        "rerun-triggers": ["mtime", "params", "input"],
        "default-resources": {"slurm_partition": "gpu", "slurm_account": "toy", "runtime": 10, "mem_mb": 1000},
        "set-resources": {"train": {**TRAIN, **train}},
    }
    path = folder / "profiles/night/config.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(content))


def run(capsys, *words):
    """Status and output of a command with the night's profile."""
    stage, *rest = words
    status = main([stage, "--profile", "profiles/night", *rest])
    told = capsys.readouterr()
    return status, told.out + told.err


def submit(cluster, checkout, name, *words, run_of=RUN):
    """A job of an hour, remembered as the launcher remembers a training's."""
    flags = ["--parsable", "-A", "toy", "-p", "gpu", f"--job-name={name}", "--time=60", "-o", "/dev/null"]
    job = cluster.run("sbatch", *flags, f"--chdir={checkout.folder}", *words, "--wrap=sleep 3600").strip()
    if run_of:
        path = checkout.results / "train" / run_of / "slurm/job.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"job_id": job, "name": name}))
    return job


def wait_until(true, what, limit_s=300):
    end = time.monotonic() + limit_s
    while not true():
        assert time.monotonic() < end, f"{what} did not come about within {limit_s} s"
        time.sleep(0.5)


def test_preflight_finds_nothing_wrong_with_a_profile_that_fits(checkout, capsys):
    status, told = run(capsys, "preflight")
    assert status == 0, told
    assert "partition, account, GPUs, cores, memory and walltime fit this Slurm" in told
    assert "has kernels for v100" in told


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            {"slurm_account": "toys"},
            "set-resources.train.slurm_account: root has no account `toys`; did you mean `toy`?",
        ),
        ({"slurm_partition": "gpus"}, "set-resources.train.slurm_partition: no partition `gpus` here"),
        ({"gres": "gpu:a100:2"}, "set-resources.train.gres: partition gpu has no GPU type `a100`"),
        ({"gres": "gpu:v100:8"}, "set-resources.train.gres: 8 GPUs on one node are asked for"),
        ({"signal_delay_s": 5}, "set-resources.train.signal_delay_s is 5 s: too short a signal delay"),
        ({"signal_delay_s": 900}, "set-resources.train.signal_delay_s is 900 s, and must be less than 600 s"),
        ({"mem_mb": 10**6}, "set-resources.train.mem_mb is 1,000,000 MB"),
    ],
)
def test_preflight_names_the_key_to_change(checkout, capsys, change, said):
    write_profile(checkout.folder, **change)
    status, told = run(capsys, "preflight")
    assert status == 1
    assert f"profiles/night/config.yaml: {said}" in told
    assert told.count("PROBLEM") == 1, told


def test_the_job_on_a_node_looks_at_what_a_training_will_find(checkout, capsys, tmp_path):
    status, told = run(capsys, "preflight", "--on-node")
    assert status == 1
    assert "sees 0 of 2 GPUs" in told  # pretended ones
    assert "ok  on" in told and "results can be written to" in told and "needs no internet" in told
    assert "no shared disk" not in told
    checkout.edit(lambda content: content.update({"training": {"scratch": "/nowhere/at/all"}}))
    write_profile(checkout.folder, gres="")
    status, told = run(capsys, "preflight", "--on-node")
    assert status == 1 and "training.scratch: on" in told and "sees 0 of" not in told


def test_a_plan_is_made_before_anything_is_queued(checkout, cluster, capsys):
    status, told = run(capsys, "plan")
    assert status == 0, told
    assert "train" in told and "GPU-hours" in told and "2 at once" in told and "missing output files" in told
    assert cluster.run("squeue", "-h") == ""
    status, told = run(capsys, "plan", "--json", "variant_ss_rsc_shared")
    made = json.loads(told)
    assert {each["run"][1] for each in made["trainings"]} == {"ss_rsc_shared"}
    assert all(each["gpus"] == 2 and each["walltime_hours"] == 0.5 for each in made["trainings"])


def test_status_follows_a_job_from_the_queue_to_its_cancellation_and_efficiency_sums_it_up(checkout, cluster, capsys):
    training = submit(cluster, checkout, "train-x", "--gres=gpu:v100:2")
    waiting = submit(cluster, checkout, "train-y", "--begin=now+1hour", run_of="spatial/unet16_sar/seed0")
    packing = submit(cluster, checkout, "4f0c", "--comment=rule_pack_tiles_wildcards_0", run_of=None)
    record = checkout.results / "slurm/snakemake.json"
    record.parent.mkdir(parents=True)
    record.write_text(json.dumps({"runs": ["4f0c"]}))
    stranger = submit(cluster, checkout, "not-ours", run_of=None)
    wait_until(lambda: cluster.run("squeue", "-h", "-t", "RUNNING", "-o", "%A").count("\n") == 3, "running jobs")
    time.sleep(2)  # so that it has used some time

    status, told = run(capsys, "status", "--json")
    looked = json.loads(told)
    runs = {f"{each['split']}/{each['variant']}/seed{each['seed']}": each for each in looked["runs"]}
    assert (runs[RUN]["state"], runs[RUN]["job"]) == ("training", training)
    assert runs[RUN]["node"].startswith("node")
    assert (runs["spatial/unet16_sar/seed0"]["state"], runs["spatial/unet16_sar/seed0"]["job"]) == ("queued", waiting)
    assert looked["other_jobs"] == {"pack_tiles running": 1}

    status, told = run(capsys, "cancel", "ss_rsc_shared", "--yes")
    assert status == 0 and f"{training} ({RUN}): cancelled" in told
    left = cluster.run("squeue", "-h", "-o", "%A").split()
    assert training not in left and {waiting, packing, stranger} <= set(left)

    status, told = run(capsys, "cancel", "--all", "--yes")
    assert f"{waiting} (spatial/unet16_sar/seed0): cancelled" in told and f"{packing} (rule pack_tiles)" in told
    wait_until(lambda: cluster.run("squeue", "-h", "-o", "%A").split() == [stranger], "what is left alone")
    assert "nothing was cancelled" in run(capsys, "cancel", "--all", "--yes")[1]

    (checkout.results / "slurm/squeue.json").unlink()  # a look that is younger than half a minute would be believed
    status, told = run(capsys, "status")
    assert f"{RUN} cancelled: the same command submits it" in told

    wait_until(lambda: "CANCELLED" in cluster.run("sacct", "-X", "-n", "-o", "State", "-j", training), "accounting")
    status, told = run(capsys, "efficiency", "--json")
    (row,) = [each for each in json.loads(told) if each["what"] == f"train/{RUN}"]
    assert row["requested_s"] == 3600 and row["gpu_hours_requested"] > 0 and row["restarts"] == 0
    assert row["queued_s"] >= 0 and row["cpus"] == 1


def test_a_controller_that_is_away_is_told_by_each_command(checkout, cluster, capsys, monkeypatch):
    submit(cluster, checkout, "train-x")
    monkeypatch.setattr("sspipe.slurm.CALL_LIMIT_S", 3)
    cluster.stop_controller()
    try:
        status, told = run(capsys, "status")
        assert status == 0 and "Slurm does not answer" in told
        status, told = run(capsys, "cancel", "--all", "--yes")
        assert status == 1 and "nothing was cancelled" in told
        status, told = run(capsys, "preflight")
        assert status == 1 and "PROBLEM  scontrol" in told and "asked by `scontrol" in told
    finally:
        cluster.start_controller()
