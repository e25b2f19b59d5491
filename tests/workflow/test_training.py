"""Snakemake is killed while it trains, with its job and without it; the same command then ends the run as if not."""

import os
import signal
import subprocess
import sys
import time

import pytest

from sspipe.files import read_json
from sspipe.train.stage import train
from tests.train.engine import RUNNING, metrics

pytestmark = [pytest.mark.xdist_group("workflow"), pytest.mark.slow]


def test_a_training_under_a_killed_snakemake_goes_on_and_gives_the_same_weights(fresh, tmp_path_factory):
    fresh.edit(lambda content: content.update({"training": {"checkpoint_minutes": 0}}))
    longer = {"stages": [{"views": ["sar", "eo"], "epochs": 8}]}
    fresh.edit(lambda content: content["variants"].update({"ss_rsc": longer}))
    done = fresh.snakemake("data")
    assert done.returncode == 0, done.stdout + done.stderr
    run = fresh.results / "train/spatial/ss_rsc/seed0"
    target = str((run / "model.safetensors").relative_to(fresh.folder))

    _killed_in_training(fresh, target, run, kill_job_too=True)
    assert not (run / "model.safetensors").exists()
    _killed_in_training(fresh, target, run, kill_job_too=False)  # its training lives on
    done = fresh.snakemake("--nolock", "--rerun-incomplete", target)
    assert done.returncode == 0, done.stdout + done.stderr
    assert read_json(run / "train.json")["restarts"] >= 1

    alone = tmp_path_factory.mktemp("alone")
    assert train(**_arguments(fresh.results, alone)) == 0
    assert (alone / "model.safetensors").read_bytes() == (run / "model.safetensors").read_bytes()
    assert metrics(alone) == metrics(run)


def _killed_in_training(checkout, target, run, kill_job_too):
    """Starts Snakemake, and ends it by SIGKILL as soon as the training has written another checkpoint."""
    command = [sys.executable, "-m", "snakemake", "--configfile", "tiny.yaml", "--cores", "2", "--nolock", target]
    before = max((path.name for path in (run / "checkpoints").glob("checkpoint-*.pt")), default="")
    with (checkout.folder / "killed.log").open("w") as log:
        command += ["--rerun-incomplete", "--rerun-triggers", "mtime", "params", "input"]
        snakemake = subprocess.Popen(command, cwd=checkout.folder, stdout=log, stderr=log, start_new_session=True)
    try:
        deadline = time.monotonic() + 180
        while max((path.name for path in (run / "checkpoints").glob("checkpoint-*.pt")), default="") <= before:
            assert time.monotonic() < deadline and snakemake.poll() is None, log.name
            time.sleep(0.02)
    finally:
        if kill_job_too:
            os.killpg(snakemake.pid, signal.SIGKILL)
        else:
            snakemake.kill()
        snakemake.wait()


def test_how_a_run_is_trained_is_no_reason_to_train_it_again_and_its_precision_is(changed):
    changed.edit(lambda content: content.update({"training": {"checkpoint_minutes": 1, "workers": 0, "ranks": 1}}))
    assert "train" not in changed.planned("train_all")
    changed.edit(lambda content: content.update({"training": {"precision": "fp32"}}))
    assert changed.planned("train_all")["train"] == 10


def _arguments(results, folder):
    return {
        "split": "spatial",
        "variant": "ss_rsc",
        "seed": 0,
        "settings": results / "variants/ss_rsc.json",
        "split_table": results / "splits/spatial.parquet",
        "statistics": results / "statistics/spatial.json",
        "packs": [results / f"pack/{shard}/manifest.json" for shard in range(2)],
        "threads": 1,
        "checkpoints": folder / "checkpoints",
        "out_model": folder / "model.safetensors",
        "out_metrics": folder / "metrics.jsonl",
        "out_record": folder / "train.json",
        **RUNNING,
    }
