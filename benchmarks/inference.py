"""Tiles per second, from the packed tile to the probabilities in their file, against the plain loop, in turns.

    python -m benchmarks.inference                     # on a CPU: a quarter of the width, 256 px
    python -m benchmarks.inference --device cuda       # on a GPU: width 1, 1024 px, and the engine's precision

The engine's side is the stage `predict-tiles` itself, with all that it reads and writes. The plain loop loads the same
weights, reads the same packed tiles, standardises them by numpy, and takes one at a time through the network: float32,
contiguous tensors (NCHW), eager; then it turns the probabilities back and writes them as float16 to the same kind of
file. On a CPU that multiplies bfloat16 the engine is tried in that too, which a training may ask for there.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from benchmarks.side_by_side import in_turns, ratio, result, table
from benchmarks.tiles import STATISTICS, Pack, write_pack
from sspipe.files import write_json
from sspipe.models.build import build_network
from sspipe.predict.inference import predict_tiles
from sspipe.train.dataset import PackedTiles, read_subset
from sspipe.train.precision import Setting, choose_precision, device_facts
from sspipe.variants import Variant

TARGET = 1.5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--tiles", type=int, help="to predict; 16 on a CPU, 128 on a GPU")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    if (options.device == "cuda") != torch.cuda.is_available():
        there = "a GPU is" if torch.cuda.is_available() else "no GPU is"
        sys.exit(f"{there} visible to torch here, and predict-tiles takes what is there: choose --device accordingly")
    on_gpu = options.device == "cuda"
    width, size_px, padded_px = (1.0, 900, 1024) if on_gpu else (0.25, 225, 256)
    count = options.tiles or (128 if on_gpu else 16)
    variant = Variant.model_validate(
        {
            "model": {"width": width, "skips": {"shared": "random", "private": "none"}},
            "stages": [{"views": ["sar", "eo"], "epochs": 1}],
        }
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        pack = write_pack(folder, tiles=count, size_px=size_px, padded_px=padded_px, shards=2, subset="test")
        save_file(build_network(variant.model, seed=0).state_dict(), folder / "model.safetensors")
        record = {"split": "made_up", "variant": "made_up", "seed": 0, "settings": variant.model_dump(mode="json")}
        write_json(folder / "train.json", record)
        compare(folder, pack, variant, options, size_px)


def compare(folder: Path, pack: Pack, variant: Variant, options: argparse.Namespace, size_px: int) -> None:
    threads = torch.get_num_threads()

    facts = device_facts(torch.device(options.device))
    chosen = choose_precision("auto", facts).name

    def engine(precision: Setting) -> Callable[[], None]:
        def run() -> None:
            predict_tiles(
                model=folder / "model.safetensors",
                record=folder / "train.json",
                split_table=pack.split,
                statistics=pack.statistics,
                packs=pack.manifests,
                batch_size=options.batch,
                threads=threads,
                workers=options.workers,
                precision=precision,
                subset="test",
                out=folder / f"{precision}.npy",
            )

        return run

    settings: dict[str, Setting] = {"engine": "auto"}
    if facts.multiplies_bf16 and chosen == "fp32":
        settings["engine in bf16"] = "bf16"
    sides = {name: engine(setting) for name, setting in settings.items()}
    sides["plain loop"] = plain_loop(folder, pack, variant, torch.device(options.device))
    seconds = in_turns(sides, options.rounds)
    differences = {
        name: check(folder / "plain.npy", folder / f"{setting}.npy", choose_precision(setting, facts).name)
        for name, setting in settings.items()
    }

    rates = {name: len(pack.tile_ids) * len(times) / sum(times) for name, times in seconds.items()}
    table(
        [(name, f"{rate:.2f}", f"{rate / rates['plain loop']:.2f}") for name, rate in rates.items()],
        (f"{size_px} px, width {variant.model.width:g}, engine in {chosen}", "tiles/s", "times"),
    )
    faster = ratio(seconds["plain loop"], seconds["engine"])
    figures: dict[str, Any] = {"precision": chosen}
    if "engine in bf16" in sides:
        figures = {"precision": "bf16", "ratio_fp32": round(faster, 3)}
        print(f"in float32 the engine is {faster:.2f} times as fast as the plain loop, in bf16:")
        faster = ratio(seconds["plain loop"], seconds["engine in bf16"])
    result(
        "inference",
        ratio=faster,
        target=TARGET,
        against="one tile at a time, float32, NCHW, eager",
        tiles_per_second={name: round(rate, 3) for name, rate in rates.items()},
        largest_difference=differences,
        device=torch.cuda.get_device_name() if options.device == "cuda" else "cpu",
        **figures,
    )


def check(plain: Path, engine: Path, precision: str) -> float:
    """The largest difference of two sides' probabilities, which is no larger than the precision makes it."""
    found, expected = (np.load(path).astype(np.float32) for path in (engine, plain))
    difference = float(np.abs(found - expected).max())
    assert difference <= (1e-3 if precision == "fp32" else 5e-2), f"{engine.stem}: {difference}"
    return round(difference, 5)


def plain_loop(folder: Path, pack: Pack, variant: Variant, device: torch.device) -> Callable[[], None]:
    def run() -> None:
        network = build_network(variant.model, seed=0)
        network.load_state_dict(load_file(folder / "model.safetensors"))
        network.eval().to(device)
        tiles = PackedTiles(pack.manifests, read_subset(pack.split, "test"))
        mean = np.array(STATISTICS["views"]["sar"]["mean"], np.float32)[:, None, None]
        std = np.array(STATISTICS["views"]["sar"]["std"], np.float32)[:, None, None]
        size = tiles.size_px
        shape = (len(tiles), 2, size, size)
        out = np.lib.format.open_memmap(folder / "plain.npy", mode="w+", dtype=np.float16, shape=shape)
        for sample in range(len(tiles)):
            image = tiles.row(sample, "sar").astype(np.float32)
            image = (image - mean) / std * (image != 0).any(axis=0)
            with torch.no_grad():
                logits = network({"sar": torch.from_numpy(image)[None].to(device)})["sar"]
            probabilities = torch.sigmoid(logits)[0].cpu().numpy()[:, :size, :size]
            out[sample] = probabilities[:, ::-1, ::-1] if tiles.orientation(sample) else probabilities
        out.flush()

    return run


if __name__ == "__main__":
    main()
