"""Every variant on both splits at full size, on synthetic tiles: a check of the engine on a GPU, and no result.

    python -m benchmarks.full_size --minutes 20 --out results/full_size/kept
    python -m benchmarks.full_size --rehearse          # the same on a CPU with tiny tiles and networks: minutes

It runs the project's own workflow with a configuration laid over config.yaml: the embedded city with tiles of 900 x 900
px, and as many epochs as the minutes of training allow, by a speed measured first, each variant's in the proportion of
config.yaml. Scores, curves and pictures are then copied to the folder. Making the data and scoring come on top.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
import yaml

from benchmarks.side_by_side import machine
from benchmarks.train_step import Comparison
from sspipe.config import Config, load_config
from sspipe.validation import merged

REPOSITORY = Path(__file__).parents[1]
# Validation, checkpoints and the start of a job take the rest of a job's time.
SHARE_OF_STEPS = 0.6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=20, help="of training, over all runs")
    parser.add_argument("--strips", type=int, default=16, help="flight strips of the city")
    parser.add_argument("--tiles-per-strip", type=int, default=12)
    parser.add_argument("--cores", type=int, default=8)
    parser.add_argument("--out", type=Path, default=Path("results/full_size/kept"), help="folder to write")
    parser.add_argument("--rehearse", action="store_true", help="tiny, on whatever device there is")
    parser.add_argument("--plan", action="store_true", help="say what would run, and run nothing")
    options = parser.parse_args()
    if not (torch.cuda.is_available() or options.rehearse or options.plan):
        print("full_size: needs a GPU, and none is visible to torch here (--rehearse tries it on a CPU): nothing done")
        return
    begun = time.monotonic()
    overlay = planned(options)
    path = REPOSITORY / "results" / overlay["experiment"] / "overlay.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(overlay, sort_keys=False))
    if options.plan:
        sys.exit(workflow(path, options.cores, "--dry-run"))
    status = workflow(path, options.cores)
    if status:
        sys.exit(f"full_size: the workflow ended with status {status}; its logs are in {path.parent / 'logs'}")
    kept = keep(path.parent, options.out, overlay, time.monotonic() - begun)
    print(json.dumps({"benchmark": "full_size", **kept}), flush=True)


def planned(options: argparse.Namespace) -> dict[str, Any]:
    """The configuration to lay over config.yaml, with every stage's epochs scaled to the minutes."""
    overlay: dict[str, Any] = {
        "experiment": "full_size",
        "seeds": [0],
        "archive": {
            "source": "synthetic",
            "size_bytes": None,
            "sha256": None,
            "synthetic": {"seed": 0, "strips": options.strips, "tiles_per_strip": options.tiles_per_strip},
        },
        "splits": {"spatial": {"test_line_m": None}},
        "pack": {"shards": 8},
        "report": {"title": "A check of the engine on synthetic tiles of real size", "panels": 6},
    }
    if options.rehearse:
        overlay |= {"experiment": "full_size_rehearsal", "tiles": {"size_px": 90, "padded_px": 96}}
        overlay["defaults"] = {"model": {"width": 0.0625, "norm": "batch"}, "learning_rate": 0.01}
    config = load_config(merged(yaml.safe_load((REPOSITORY / "config.yaml").read_text()), overlay))
    factor = 0.0 if options.rehearse else scale(config, options)
    overlay["variants"] = {
        name: {
            "stages": [
                {"views": list(stage.views), "epochs": max(1, round(stage.epochs * factor))} for stage in variant.stages
            ]
        }
        for name, variant in config.variants.items()
    }
    return overlay


def scale(config: Config, options: argparse.Namespace) -> float:
    """By how much to multiply epochs so that all runs' images are seen in the minutes."""
    if not torch.cuda.is_available():  # a plan without a GPU
        return 0.1
    tiles = options.strips * options.tiles_per_strip * 0.64  # a fifth is test, and of the rest a fifth validation
    images = sum(
        tiles * stage.epochs * len(stage.views)
        for split in config.splits
        for name in config.variants_of(split)
        for stage in config.variants[name].stages
    )
    rate = images_per_second()
    print(
        f"full_size: the engine takes {rate:.1f} images/s here; all epochs of config.yaml would be {images:.0f} images"
    )
    return 60 * options.minutes * SHARE_OF_STEPS * rate / images


def images_per_second() -> float:
    """Of the engine's step at full size, two views a pair."""
    options = argparse.Namespace(device="cuda", width=1.0, size_px=1024, batch=8, precision="auto", compile=False)
    comparison = Comparison(options)
    step = comparison.until_done(comparison.engine())
    for _ in range(3):
        step()
    begun = time.perf_counter()
    for _ in range(5):
        step()
    rate = 5 * 2 * options.batch / (time.perf_counter() - begun)
    del comparison, step
    torch.cuda.empty_cache()  # or this process would hold the GPU's memory while the workflow's need it
    return rate


def workflow(overlay: Path, cores: int, *more: str) -> int:
    command = [sys.executable, "-m", "snakemake", "--configfile", str(overlay), "--cores", str(cores)]
    command += ["--resources", "gpu=1", "--set-resources", "train:gpu=1", "predict_tiles:gpu=1"]
    command += ["--set-threads", f"train={cores}", f"predict_tiles={cores}", "--keep-going", "--rerun-incomplete"]
    command += ["--rerun-triggers", "mtime", "params", "input", "--show-failed-logs", *more, "--", "all"]
    return subprocess.run(command, cwd=REPOSITORY, check=False).returncode


def keep(results: Path, out: Path, overlay: dict[str, Any], seconds: float) -> dict[str, Any]:
    """Copies the report, its figures and data, and every run's curve; says beside them what they are."""
    shutil.rmtree(out, ignore_errors=True)
    shutil.copytree(results / "report", out)
    for metrics in sorted(results.glob("train/*/*/seed*/metrics.jsonl")):
        split, variant, seed = metrics.parts[-4:-1]
        target = out / "curves" / f"{split}-{variant}-{seed}.jsonl"
        target.parent.mkdir(exist_ok=True)
        shutil.copy(metrics, target)
    epochs = {name: [stage["epochs"] for stage in variant["stages"]] for name, variant in overlay["variants"].items()}
    about = {
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU: a rehearsal",
        "torch": torch.__version__,
        "machine": machine(),
        "date": datetime.now(UTC).date().isoformat(),
        "minutes": round(seconds / 60, 1),
        "epochs": epochs,
        "runs": len(list(results.glob("train/*/*/seed*/train.json"))),
        "folder": str(out),
    }
    (out / "README.md").write_text(
        "A check of the engine on synthetic data: an invented city, few epochs. Scores say nothing of SpaceNet 6.\n\n"
        f"```json\n{json.dumps(about, indent=2)}\n```\n"
    )
    return about


if __name__ == "__main__":
    main()
