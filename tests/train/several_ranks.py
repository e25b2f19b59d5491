"""Runs trainings in several processes that share each batch, and collects what each of them saw."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import torch

from sspipe.train.distributed import connected, place_from_environment
from sspipe.train.options import Options
from tests.train.engine import ROOT, training

# Ten training tiles: a batch of 8 leaves 2, so of four ranks two have none; one of 7 leaves 3.
CASES = {
    "unet16": {
        "model": {"kind": "unet16", "width": 0.0625},
        "stages": [{"views": ["sar"], "epochs": 1}],
        "batch_size": 7,
    },
    "random_skips": {
        "model": {"width": 0.0625, "skips": {"shared": "random", "private": "random"}},
        "stages": [{"views": ["sar", "eo"], "epochs": 1}],
        "batch_size": 8,
    },
    "one_draw_a_batch": {
        "model": {"width": 0.0625, "skips": {"shared": "random", "private": "none"}, "skip_draw": "batch"},
        "stages": [{"views": ["sar", "eo"], "epochs": 1}],
        "batch_size": 4,
    },
    "one_encoder_idle": {"model": {"width": 0.0625}, "stages": [{"views": ["sar"], "epochs": 1}], "batch_size": 8},
}


def measure(packed, ranks=None, micro_batch_size=None):
    """For each case: validation before training, the loss of each image over an epoch, and validation after it."""
    found = {}
    for name, settings in CASES.items():
        options = Options(micro_batch_size=micro_batch_size)
        run = training(packed, **{"learning_rate": 1e-3, **settings}, engine={"ranks": ranks, "options": options})
        before = run.validate()
        run.train_epoch()
        found[name] = {"before": before, "losses": run.losses_so_far()[:, 0].tolist(), "after": run.validate()}
    return found


def measure_together(packed, folder, count):
    """The same, by `count` processes; returns what each of them found."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    paths = {name: [str(path) for path in value] if isinstance(value, list) else str(value)
             for name, value in vars(packed).items()}  # fmt: skip
    (folder / "packed.json").write_text(json.dumps(paths))
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.train.several_ranks", str(folder)],
            cwd=ROOT,
            env={
                **os.environ,
                "RANK": str(rank),
                "WORLD_SIZE": str(count),
                "LOCAL_RANK": str(rank),
                "MASTER_ADDR": "127.0.0.1",
                "MASTER_PORT": str(port),
                "OMP_NUM_THREADS": "1",
            },
        )
        for rank in range(count)
    ]
    try:
        assert [process.wait(timeout=300) for process in processes] == [0] * count
    finally:
        for process in processes:
            process.kill()
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(count)]


def main(folder):
    from types import SimpleNamespace

    given = json.loads((folder / "packed.json").read_text())
    paths = {key: Path(value) for key, value in given.items() if key in ("split", "statistics")}
    packed = SimpleNamespace(manifests=[Path(path) for path in given["manifests"]], **paths)
    torch.set_num_threads(1)
    place = place_from_environment()
    with connected(place, torch.device("cpu")) as ranks:
        (folder / f"{place.rank}.json").write_text(json.dumps(measure(packed, ranks)))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
