"""Tiles per second, from the packed tile to the probabilities in their file, against the plain loop, in turns.

    python -m benchmarks.inference                     # on a CPU: a quarter of the width, 256 px
    python -m benchmarks.inference --device cuda       # on a GPU: width 1, 1024 px, and the engine's precision

The engine's side is the stage `predict-tiles` itself, with all that it reads and writes. The plain loop loads the same
weights, reads the same packed tiles, standardises them by numpy, and takes one at a time through the network: float32,
contiguous tensors (NCHW), eager; then it turns the probabilities back and writes them as float16 to the same kind of
file.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from benchmarks.side_by_side import in_turns, ratio, result, table
from benchmarks.tiles import STATISTICS, Pack, write_pack
from sspipe.files import write_json
from sspipe.models.build import build_network
from sspipe.predict.inference import predict_tiles
from sspipe.train.dataset import PackedTiles, read_subset
from sspipe.train.precision import choose_precision, device_facts
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
        compare(folder, pack, variant, options, on_gpu)


def compare(folder: Path, pack: Pack, variant: Variant, options: argparse.Namespace, on_gpu: bool) -> None:
    threads = torch.get_num_threads()

    def engine() -> None:
        predict_tiles(
            model=folder / "model.safetensors",
            record=folder / "train.json",
            split_table=pack.split,
            statistics=pack.statistics,
            packs=pack.manifests,
            batch_size=options.batch,
            threads=threads,
            workers=options.workers,
            precision="auto",
            subset="test",
            out=folder / "engine.npy",
        )

    plain = plain_loop(folder, pack, variant, torch.device(options.device))
    seconds = in_turns({"engine": engine, "plain loop": plain}, options.rounds)
    precision = choose_precision("auto", device_facts(torch.device(options.device))).name
    found, expected = (np.load(folder / f"{side}.npy").astype(np.float32) for side in ("engine", "plain"))
    tolerance = 1e-3 if precision == "fp32" else 5e-2
    assert np.allclose(found, expected, rtol=0, atol=tolerance), float(np.abs(found - expected).max())

    count = len(found)
    rates = {name: count * len(times) / sum(times) for name, times in seconds.items()}
    faster = ratio(seconds["plain loop"], seconds["engine"])
    table(
        [(name, f"{rate:.2f}", f"{rate / rates['plain loop']:.2f}") for name, rate in rates.items()],
        (f"{found.shape[-1]} px, width {variant.model.width:g}, {precision}", "tiles/s", "times"),
    )
    result(
        "inference",
        ratio=faster,
        target=TARGET,
        against="one tile at a time, float32, NCHW, eager",
        tiles_per_second={name: round(rate, 3) for name, rate in rates.items()},
        precision=precision,
        largest_difference=round(float(np.abs(found - expected).max()), 5),
        device=torch.cuda.get_device_name() if on_gpu else "cpu",
    )


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
