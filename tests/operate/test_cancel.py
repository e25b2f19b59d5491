"""Which jobs `cancel` ends, and that it asks first."""

import fcntl
import json
from pathlib import Path

import pytest

from sspipe.config import load_config
from sspipe.errors import UserError
from sspipe.operate import cancel as stage
from sspipe.slurm import SlurmAwayError, SlurmJob
from tests.operate.test_plan import SETTINGS


def job(id, state="RUNNING", **more):
    return SlurmJob(id, more.pop("name", "x"), state, "", "node1", "1:00", "8:00:00", "", "", **more)


@pytest.fixture()
def here(tmp_path, monkeypatch):
    """A folder with two runs on Slurm, jobs 11 and 12, and one of Snakemake's own."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.yaml").write_text(json.dumps(SETTINGS))
    for seed in (0, 1):
        path = tmp_path / f"results/t/train/spatial/a/seed{seed}/slurm/job.json"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps({"job_id": f"1{seed + 1}" if seed else None, "name": f"train-{seed}"}))
    jobs = [
        job("11", name="train-0"),  # whose number was never written down
        job("12", "PENDING"),
        job("13", comment="rule_pack_tiles_wildcards_3", name="4f0c"),
        job("14", comment="rule_pack_tiles_wildcards_3", name="77aa"),  # another experiment's
        job("15", "COMPLETED", comment="rule_pack_tiles_wildcards_3", name="4f0c"),
    ]
    record = tmp_path / "results/t/slurm/snakemake.json"
    record.parent.mkdir(parents=True)
    record.write_text(json.dumps({"runs": ["4f0c"]}))
    ended = []
    queue = {each.id: each for each in jobs}

    def call(command):
        assert command[0] == "scancel"
        ended.extend(command[1:])
        for id in command[1:]:
            queue.pop(id)
        return ""

    monkeypatch.setattr(stage, "_queue", lambda: dict(queue))
    monkeypatch.setattr(stage, "call", call)
    monkeypatch.setattr(stage, "_PAUSE_S", 0)
    return ended


def cancel(*runs, all_runs=False, yes=True):
    return stage.cancel(profile=None, configfile=[], runs=runs, all_runs=all_runs, yes=yes)


def test_a_run_is_cancelled_alone_and_named(here, capsys):
    assert cancel("spatial/a/seed1") == 0
    assert here == ["12"]
    assert "12 (spatial/a/seed1): cancelled" in capsys.readouterr().out


def test_all_ends_trainings_and_what_snakemake_submitted_for_this_experiment_and_nothing_else(here, capsys):
    assert cancel(all_runs=True) == 0
    assert here == ["11", "12", "13"]
    assert "13 (rule pack_tiles): cancelled" in capsys.readouterr().out


def test_a_part_of_a_name_means_every_run_that_has_it(here):
    cancel("a")
    assert here == ["11", "12"]


def test_without_yes_it_asks_and_no_ends_nothing(here, monkeypatch, capsys):
    with pytest.raises(UserError, match="2 jobs would be cancelled; add --yes"):
        cancel("a", yes=False)
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("builtins.input", lambda prompt: "")
    assert cancel("a", yes=False) == 1
    assert here == [] and "nothing was cancelled" in capsys.readouterr().out
    monkeypatch.setattr("builtins.input", lambda prompt: "y")
    assert cancel("a", yes=False) == 0 and here == ["11", "12"]


def test_a_name_that_fits_no_run_is_told_with_the_nearest(here):
    with pytest.raises(UserError, match=r"no run `spatail`.*did you mean `spatial`"):
        cancel("spatail")
    with pytest.raises(UserError, match="name the runs to cancel"):
        cancel()


def test_runs_without_a_job_are_told(here, capsys):
    cancel(all_runs=True)
    capsys.readouterr()
    assert cancel("a") == 0
    assert "none of these runs has a job in Slurm's queue" in capsys.readouterr().out


def test_a_run_without_slurm_is_left_alone_and_its_process_named(tmp_path):
    config = load_config({**SETTINGS, "results": str(tmp_path)})
    lock = config.folder / "train/spatial/a/seed0/checkpoints/lock"
    lock.parent.mkdir(parents=True)
    lock.write_text("process 4711 on here")
    with lock.open("rb+") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        (line,) = stage._local(config, [("spatial", "a", 0), ("spatial", "a", 1)])
    assert "trains without Slurm, as process 4711 on here" in line


def test_a_scheduler_that_does_not_answer_is_told(monkeypatch):
    def away(command):
        raise SlurmAwayError("squeue: No such file or directory")

    monkeypatch.setattr(stage, "call", away)
    with pytest.raises(UserError, match=r"Slurm does not answer.*nothing was cancelled"):
        stage._queue()


def test_a_run_whose_record_is_damaged_keeps_no_other_from_being_cancelled(here, capsys):
    for content in ("", "[]"):
        (Path("results/t/train/spatial/a/seed0/slurm") / "job.json").write_text(content)
        assert cancel(all_runs=True) == 0
        assert "seed0/slurm/job.json: damaged" in capsys.readouterr().err
    assert here == ["12", "13"]
