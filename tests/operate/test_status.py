"""What `status` tells, from folders, locks, logs and a captured queue."""

import fcntl
import io
import json
import os
import pty
import select
import struct
import subprocess
import sys
import termios
import time
from dataclasses import asdict
from datetime import datetime
from pathlib import Path

import pytest
from rich.console import Console

from sspipe.config import load_config
from sspipe.operate import freshness, status
from sspipe.operate.runs import is_locked, last_error, run_state
from sspipe.slurm import SlurmAwayError, SlurmJob
from tests.operate.test_plan import SETTINGS


@pytest.fixture()
def config(tmp_path):
    return load_config({**SETTINGS, "results": str(tmp_path)})


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def live(config, seed=0, **more):
    content = {
        "epoch": 4,
        "epochs": 10,
        "loss": 0.5,
        "validation_iou": 0.25,
        "seconds_left": 125.0,
        "restarts": 2,
        "host": "node7",
        "updated": "2026-11-22T20:00:00+00:00",
    }
    return write(config.folder / f"train/spatial/a/seed{seed}/progress.json", {**content, **more})


def slurm_job(state, reason="", node="", **more):
    return SlurmJob("17", "t", state, reason, node, "1:00", "8:00:00", "", "2026-11-22T19:00:00", **more)


def state_of(config, jobs=None, seed=0):
    return run_state(config, "spatial", "a", seed, jobs or {})


def test_a_job_that_slurm_ended_is_interrupted_and_not_failed(config):
    write(config.folder / "train/spatial/a/seed0/slurm/job.json", {"job_id": "17"})
    run = state_of(config, {"17": slurm_job("TIMEOUT", "TimeLimit")})
    assert (run.state, run.detail) == ("interrupted", "TIMEOUT; the same command goes on")
    live(config)
    run = state_of(config, {"17": slurm_job("NODE_FAIL")})
    assert (run.state, run.detail) == ("interrupted", "NODE_FAIL; the same command goes on from its checkpoint")


def test_a_damaged_record_is_told(config):
    for content in ("", "[]", "{"):
        write(config.folder / "train/spatial/a/seed0/train.json", content)
        assert (state_of(config).state, "train.json is damaged" in state_of(config).detail) == ("failed", True)


def test_a_run_that_was_not_begun_says_so_and_where_its_log_will_be(config):
    run = state_of(config)
    assert (run.state, run.epoch, run.epochs) == ("not begun", None, 10)
    assert run.log.endswith("logs/train/spatial/a/seed0.log")


def test_a_finished_run_has_what_was_kept_and_tells_if_it_is_configured_otherwise_now(config):
    record = {
        "settings": config.variants["a"].model_dump(mode="json"),
        "best": {"validation_iou": 0.7},
        "restarts": 3,
        "finished": "2026-11-22T20:00:00+00:00",
    }
    path = write(config.folder / "train/spatial/a/seed0/train.json", record)
    run = state_of(config)
    assert (run.state, run.detail, run.epoch, run.validation_iou, run.restarts) == ("done", "", 10, 0.7, 3)
    record["settings"]["learning_rate"] = 1.0
    write(path, record)
    assert state_of(config).detail == "other settings than configured now"
    record["settings"] = {**config.variants["a"].model_dump(mode="json"), "title": "renamed"}
    write(path, record)
    assert state_of(config).detail == ""


def test_a_local_run_trains_for_as_long_as_its_lock_is_held(config):
    live(config)
    lock = write(config.folder / "train/spatial/a/seed0/checkpoints/lock", "process 1 on here")
    assert state_of(config).state == "interrupted"
    with lock.open("rb+") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        run = state_of(config)
        assert (run.state, run.epoch, run.loss, run.seconds_left, run.restarts) == ("training", 4, 0.5, 125.0, 2)
        assert run.node == "node7"
    assert not is_locked(lock.parent)


@pytest.mark.parametrize(
    ("job", "state", "detail"),
    [
        (slurm_job("RUNNING", node="node2"), "training", ""),
        (slurm_job("PENDING", "Priority"), "queued", "Priority"),
        (slurm_job("CANCELLED", "by 0"), "cancelled", "the same command goes on from its checkpoint"),
        (slurm_job("FAILED", "exit code 1:0"), "failed", "FAILED exit code 1:0"),
        (slurm_job("OUT_OF_MEMORY"), "failed", "OUT_OF_MEMORY"),
    ],
)
def test_a_run_on_slurm_is_what_its_job_is(config, job, state, detail):
    live(config)
    write(config.folder / "train/spatial/a/seed0/slurm/job.json", {"job_id": "17"})
    run = state_of(config, {"17": job})
    assert (run.state, run.detail, run.job) == (state, detail, "17")
    assert run.node == ("node2" if job.node else "node7")


def test_a_failed_run_tells_its_error_in_one_line(config):
    log = write(
        config.folder / "logs/train/spatial/a/seed0.log", "12:00:00 x\nsspipe train: error: no such pack; run\n"
    )
    assert (state_of(config).state, state_of(config).detail) == ("failed", "no such pack; run")
    trace = 'Traceback (most recent call last):\n  File "x.py", line 1\n    f()\nRuntimeError: the GPU fell off\n'
    write(log, trace)
    assert last_error(log) == "RuntimeError: the GPU fell off"
    write(log, "12:00:00 epoch 3/10: loss 0.4\n")
    assert last_error(log) is None and last_error(log.with_name("none.log")) is None


def test_the_log_of_all_attempts_is_named_once_it_is_there(config):
    every = write(config.folder / "train/spatial/a/seed0/train.log", "sspipe launch: error: refused\n")
    run = state_of(config)
    assert (run.log, run.state, run.detail) == (str(every), "failed", "refused")


def test_an_error_of_an_earlier_attempt_is_not_told_of_the_one_that_goes_on(config):
    log = write(
        config.folder / "logs/train/spatial/a/seed0.log",
        "sspipe train: error: disk full\n12:00:00 train begins (sspipe 1)\n12:00:00 epoch 1\n",
    )
    assert last_error(log) is None
    write(log, "sspipe launch: error: refused\n12:00:00 submitted as Slurm job 7 (x); its own log is y\n")
    assert last_error(log) is None


def test_the_screen_has_a_line_for_every_run_and_json_has_the_same(config, monkeypatch):
    live(config)
    monkeypatch.setattr(status, "stale_results", lambda folder: [freshness.Stale("scores", 1, 2, "s.json", "again")])
    looked = status.look(config)
    text = status.as_text(looked)
    assert "spatial/a/seed0" in text and "spatial/a/seed1" in text and "4/10" in text and "0.250" in text
    assert "older than the code: 1 of 2 scores (s.json); to make anew: again" in text
    assert json.loads(json.dumps(looked))["counts"] == {"interrupted": 1, "not begun": 1}


def test_a_scheduler_that_does_not_answer_is_told_and_files_are_gone_by(config, monkeypatch):
    live(config)
    write(config.folder / "train/spatial/a/seed0/slurm/job.json", {"job_id": "17"})

    def away(self):
        raise SlurmAwayError("squeue: no answer within 60 s")

    monkeypatch.setattr("sspipe.slurm.Queue.jobs", away)
    looked = status.look(config)
    assert "Slurm does not answer (squeue: no answer within 60 s)" in looked["slurm"]
    assert looked["runs"][0]["state"] == "interrupted" and looked["runs"][0]["epoch"] == 4


def test_without_any_job_slurm_is_not_asked(config, monkeypatch):
    monkeypatch.setattr("sspipe.slurm.Queue.jobs", lambda self: pytest.fail("asked"))
    assert status.slurm_jobs(config) == ({}, None)


def test_snakemakes_own_jobs_of_this_experiment_are_told_by_rule(config):
    write(config.folder / "slurm/snakemake.json", {"runs": ["4f0c"]})
    comment = "rule_pack_tiles_wildcards_3"
    mine, other = (SlurmJob("1", name, "RUNNING", "", "", "", "", "", "", comment) for name in ("4f0c", "77aa"))
    assert status.snakemakes_own(config, {"1": mine, "2": other}) == [mine]
    assert status.rule_of(mine) == "pack_tiles"
    assert status.rule_of(slurm_job("RUNNING", comment="rule_measure_tiles")) == "measure_tiles"


def test_results_are_held_to_the_last_change_of_their_code(tmp_path):
    package, results = tmp_path / "code/sspipe", tmp_path / "results"
    for name in ("train", "models", "score"):
        write(package / name / "x.py", "1\n")
    write(package / "variants.py", "1\n")

    def git(*words):
        done = subprocess.run(
            ["git", "-c", "user.name=a", "-c", "user.email=a@b", *words],
            cwd=package.parent,
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.strip()

    git("init", "-q")
    git("add", ".")
    git("commit", "-q", "-m", "first")
    first = git("rev-parse", "HEAD")
    score = write(results / "score/s/a/seed0/scores.json", {})
    record = write(results / "train/s/a/seed0/train.json", {"commit": first})
    os.utime(record, (1, 1))  # the commit that it names counts, and not its time
    assert freshness.stale_results(results, package) == []

    write(package / "score/x.py", "2\n")  # not committed
    os.utime(package / "score/x.py", (2**31 - 2, 2**31 - 2))
    (stale,) = freshness.stale_results(results, package)
    assert (stale.name, stale.count, stale.of, stale.first) == ("scores", 1, 1, str(score))

    git("checkout", "-q", ".")
    write(package / "train/x.py", "2\n")
    git("commit", "-q", "-a", "-m", "second")
    assert [stale.name for stale in freshness.stale_results(results, package)] == ["trainings"]


def test_the_screen_says_how_old_its_look_at_the_queue_is(config):
    live(config)
    snapshot = config.folder / "slurm/squeue.json"
    assert status.look(config)["slurm_asked"] is None
    write(config.folder / "train/spatial/a/seed0/slurm/job.json", {"job_id": "17"})
    write(snapshot, {"asked": [], "jobs": [asdict(slurm_job("RUNNING", node="node2"))], "taken": time.time() - 20})
    looked = status.look(config)
    asked = datetime.fromisoformat(looked["slurm_asked"])
    assert looked["runs"][0]["state"] == "training"
    assert f"Slurm's queue as of {asked.astimezone():%H:%M:%S}; it is asked once in 30 s" in status.as_text(looked)


@pytest.mark.parametrize(
    ("width", "shown", "hidden"),
    [
        (120, ("job", "node", "loss", "val. IoU", "restarts"), ()),
        (80, ("job", "loss", "val. IoU"), ("node", "restarts")),
        (40, ("epoch", "left"), ("job", "loss", "restarts")),
    ],
)
def test_a_narrow_terminal_shows_less_of_each_run_but_its_whole_name(config, width, shown, hidden):
    live(config)
    looked = status.look(config)
    looked["runs"][0].update(variant="ss_rsc_shared", job="4711", state="training")
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(status.screen(looked, width))
    text = console.export_text()
    (header,) = [line for line in text.splitlines() if line.startswith("run ")]
    assert all(name in header for name in ("run", "state", *shown)) and not any(name in header for name in hidden)
    assert max(map(len, text.splitlines())) <= width
    column = header.index("state")
    below = text.splitlines()[text.splitlines().index(header) + 1 :]
    names = "".join(line[:column].strip() for line in below)
    assert "spatial/ss_rsc_shared/seed0" in names
    if width == 80:
        assert len(below) == len(looked["runs"])  # one line each


def test_on_a_terminal_the_screen_is_drawn_again_and_again_until_ctrl_c(config, tmp_path):
    live(config)
    write(tmp_path / "config.yaml", {**SETTINGS, "results": str(tmp_path)})
    ours, its = pty.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 160, 0, 0))
    process = subprocess.Popen(
        [sys.executable, "-m", "sspipe", "status", "--watch", "--every-seconds", "0.2"],
        cwd=tmp_path,
        env={**os.environ, "TERM": "xterm", "PYTHONPATH": str(Path(__file__).parents[2])},
        stdin=its,
        stdout=its,
        stderr=its,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # so that Ctrl-C is a signal
    )
    os.close(its)
    shown = read_until(ours, b"4/10")
    assert b"Ctrl-C ends this screen" in shown and b"spatial/a/seed0" in shown and b"interrupted" in shown
    live(config, epoch=7)
    read_until(ours, b"7/10")
    os.write(ours, b"\x03")
    rest = read_until(ours, b"\x1b[?1049l")  # the terminal is given back as it was
    assert process.wait(60) == 0
    assert b"Traceback" not in shown + rest
    os.close(ours)


def read_until(terminal, what):
    """What a terminal shows, up to `what`."""
    shown, limit = b"", time.monotonic() + 120
    while what not in shown:
        assert time.monotonic() < limit, shown
        if select.select([terminal], [], [], 1)[0]:
            shown += os.read(terminal, 65536)
    return shown
