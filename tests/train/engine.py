"""The engine as the tests use it: in this process, or as the command that a rule runs."""

import json
import os
import subprocess
import sys
from pathlib import Path

from sspipe.files import read_json, write_json
from sspipe.train.dataset import PackedTiles, read_subset
from sspipe.train.loop import Training
from sspipe.train.stage import train
from sspipe.variants import Variant

ROOT = Path(__file__).parents[2]
SMALL = {"width": 0.0625, "norm": "batch"}
SHARED = {"model": {**SMALL, "skips": {"shared": "random", "private": "none"}}}
QUICK = {"learning_rate": 0.01, "batch_size": 4}
RUNNING = {
    "precision": "auto",
    "compile": False,
    "shuffle_shards": 8,
    "micro_batch_size": None,
    "ranks": 1,
    "workers": 1,
    "scratch": None,
    "checkpoint_minutes": 10.0,
    "log_seconds": 30.0,
    "tensorboard": False,
}


def training(packed, seed=0, *, engine=None, **settings):
    """A `Training` on the packed tiles; `engine` are further arguments of it."""
    return Training(
        name="test",
        variant=Variant.model_validate({**QUICK, **settings}),
        seed=seed,
        train_tiles=PackedTiles(packed.manifests, read_subset(packed.split, "train")),
        validation_tiles=PackedTiles(packed.manifests, read_subset(packed.split, "validation")),
        statistics=read_json(packed.statistics),
        **(engine or {}),
    )


def arguments(packed, folder, settings, seed=0, name="mine", **running):
    """The arguments of the stage `train` for a run in `folder`."""
    folder.mkdir(exist_ok=True, parents=True)
    write_json(folder / "variant.json", {**QUICK, **settings})
    return {
        "split": "spatial",
        "variant": name,
        "seed": seed,
        "settings": folder / "variant.json",
        "split_table": packed.split,
        "statistics": packed.statistics,
        "packs": packed.manifests,
        "threads": 1,
        "checkpoints": folder / "checkpoints",
        "out_model": folder / "model.safetensors",
        "out_metrics": folder / "metrics.jsonl",
        "out_record": folder / "train.json",
        **RUNNING,
        **running,
    }


def run_stage(packed, folder, settings, **more):
    """Runs the stage in this process; returns its folder."""
    assert train(**arguments(packed, folder, settings, **more)) == 0
    return folder


def command(packed, folder, settings, **more):
    """The same as a command line."""
    words = [sys.executable, "-m", "sspipe", "train"]
    for key, value in arguments(packed, folder, settings, **more).items():
        flag = f"--{key.replace('_', '-')}"
        if value is True:
            words.append(flag)
        elif isinstance(value, list):
            words += [flag, *map(str, value)]
        elif value is not None and value is not False:
            words += [flag, str(value)]
    return words


def start(words, log, **environment):
    """Starts a command in a process group of its own, as a shell does; its output goes to `log`."""
    with Path(log).open("ab") as output:
        return subprocess.Popen(
            words,
            cwd=ROOT,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
            start_new_session=True,
        )


def metrics(folder):
    """What a run measured, without the times that it took."""
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key != "seconds"} for line in lines]
