"""Samples per second of one core: from the pack, against a plain data set class that reads GeoTIFFs.

Both views of a tile, 900 x 900 padded to 1024 x 1024, without masks on either side. The plain class opens each GeoTIFF
with rasterio, turns it, standardises it by numpy in float32 with no-data left at 0, pads it, and its samples are
stacked to batches. The loader fills batches from the memory maps as they are packed; that is what a core does for a
GPU, which standardises there. The third row has the core standardise too, as it must where there is no GPU.

Both sides have one thread and read from the page cache: it is processor time that is compared, not the disk.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import torch

from benchmarks.side_by_side import in_turns, ratio, result, table
from benchmarks.tiles import STATISTICS, write_geotiffs, write_pack
from sspipe.train.dataset import PackedTiles
from sspipe.train.loader import BatchLoader, no_draws
from sspipe.train.order import epoch_order
from sspipe.train.transforms import Standardiser
from sspipe.variants import View

VIEWS: tuple[View, ...] = ("sar", "eo")
Batches = Iterator[Any]  # of images of both views, or of nothing to be looked at
BATCH = 8
CPU = torch.device("cpu")


class PlainTiles(torch.utils.data.Dataset):
    """As one would write it first."""

    def __init__(self, folder: Path, tiles: int, padded_px: int) -> None:
        self.folder, self.tiles, self.padded_px = folder, tiles, padded_px

    def __len__(self) -> int:
        return self.tiles

    def __getitem__(self, number: int) -> tuple[torch.Tensor, ...]:
        return tuple(self.view(number, view) for view in VIEWS)

    def view(self, number: int, view: str) -> torch.Tensor:
        with rasterio.open(self.folder / f"{view}_{number}.tif") as raster:
            image = raster.read().astype(np.float32)
        if number % 2:
            image = image[:, ::-1, ::-1]
        mean = np.array(STATISTICS["views"][view]["mean"], np.float32)[:, None, None]
        std = np.array(STATISTICS["views"][view]["std"], np.float32)[:, None, None]
        image = (image - mean) / std * (image != 0).any(axis=0)
        missing = self.padded_px - image.shape[1]
        return torch.from_numpy(np.pad(image, ((0, 0), (0, missing), (0, missing))))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tiles", type=int, default=24)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        write_geotiffs(Path(folder) / "raw", tiles=options.tiles, size_px=900)
        pack = write_pack(Path(folder), tiles=options.tiles, size_px=900, padded_px=1024, shards=4)
        compare(PlainTiles(Path(folder) / "raw", options.tiles, 1024), pack.tiles(), options.rounds)


def compare(plain: PlainTiles, tiles: PackedTiles, rounds: int) -> None:
    order = epoch_order(tiles.shard_of, (0,), shuffle_shards=4)
    standardise = Standardiser(STATISTICS, CPU)
    loader = BatchLoader(tiles, VIEWS, device=CPU, batch_size=BATCH)

    def read_geotiffs() -> Batches:
        yield from torch.utils.data.DataLoader(plain, batch_size=BATCH, sampler=order.tolist())

    def fill() -> Batches:
        yield from loader.epoch(order, no_draws)

    def fill_and_standardise() -> Batches:
        for batch in loader.epoch(order, no_draws):
            yield tuple(standardise(batch.arrays[view], view) for view in VIEWS)

    def exhausted(batches: Callable[[], Batches]) -> Callable[[], int]:
        return lambda: sum(1 for _ in batches())

    # Packed SAR is float16: a value moves by at most 2**-11 of itself, 0.03 at 64 to 93, which is 0.004 deviations.
    for theirs, ours in zip(read_geotiffs(), fill_and_standardise(), strict=True):
        for view, that, this in zip(VIEWS, theirs, ours, strict=True):
            tolerance = 0.005 if view == "sar" else 1e-5
            assert torch.allclose(that, this, rtol=0, atol=tolerance), view
            assert torch.equal((that == 0).all(dim=1), (this == 0).all(dim=1)), view  # no-data and padding

    sides = {"plain": read_geotiffs, "pack": fill, "standardised": fill_and_standardise}
    seconds = in_turns({name: exhausted(batches) for name, batches in sides.items()}, rounds)
    count = len(order)
    rates = {name: count * len(times) / sum(times) for name, times in seconds.items()}
    table(
        [
            ("GeoTIFFs by rasterio, padded and standardised", f"{rates['plain']:.1f}", "1.0"),
            ("pack, as a GPU gets it", f"{rates['pack']:.1f}", f"{ratio(seconds['plain'], seconds['pack']):.1f}"),
            (
                "pack, standardised on the same core",
                f"{rates['standardised']:.1f}",
                f"{ratio(seconds['plain'], seconds['standardised']):.1f}",
            ),
        ],
        ("one core, both views, 1024 x 1024", "samples/s", "times"),
    )
    result(
        "loader",
        ratio=ratio(seconds["plain"], seconds["pack"]),
        target=10,
        against=f"a data set class on rasterio {rasterio.__version__}",
        samples_per_second={name: round(rate, 1) for name, rate in rates.items()},
        ratio_standardised=round(ratio(seconds["plain"], seconds["standardised"]), 2),
    )


if __name__ == "__main__":
    main()
