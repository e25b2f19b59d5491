"""Mean and standard deviation of each band over a split's training tiles, from the moments of each tile."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sspipe.errors import UserError
from sspipe.files import read_table, write_json
from sspipe.log import say

VIEWS = ("sar", "eo")
# Columns of the table of moments; `pack` is the digest of the pack that the tiles were measured in.
MOMENTS = ("tile_id", "view", "band", "pixels", "mean", "squares", "pack")


class Moments(NamedTuple):
    """Number of valid pixels, and mean and sum of squared deviations of each band; float64, (bands,)."""

    pixels: int
    mean: NDArray[np.float64]
    squares: NDArray[np.float64]

    @property
    def std(self) -> NDArray[np.float64]:
        """(bands,) population standard deviation."""
        return np.sqrt(self.squares / self.pixels)


def compute_statistics(*, split: str, split_table: Path, moments: Path, out: Path) -> None:
    """Writes the statistics of a split's training tiles.

    They are of the packed values, which are what the network sees: SAR rounded to float16.

    Args:
        split: its name.
        split_table: tile_id and subset.
        moments: of every packed tile, see `sspipe.pack.moments`.
        out: JSON.

    Raises:
        UserError: a training tile is in no shard, or a band has no spread.
    """
    subsets = read_table(split_table, columns=["tile_id", "subset"])
    train = set(subsets.loc[subsets["subset"] == "train", "tile_id"])
    table = read_table(moments, columns=MOMENTS)
    _refuse_missing(split_table, train, set(table["tile_id"]))
    table = table[table["tile_id"].isin(train)]
    views = {}
    for view in VIEWS:
        total = merged(_moments_of(table[table["view"] == view]))
        _refuse_flat(split, view, total)
        views[view] = {"mean": total.mean.tolist(), "std": total.std.tolist(), "valid_pixels": total.pixels}
    about = {"split": split, "subset": "train", "tiles": len(train), "pack": str(table["pack"].iloc[0])}
    write_json(out, {**about, "views": views})
    say(f"compute_statistics: split {split}, {len(train)} training tiles")


def of_image(image: NDArray[np.float16] | NDArray[np.uint16]) -> Moments:
    """Moments of one image by counting how often each of the 65,536 values of 16 bits occurs in a band.

    Counts are exact however many pixels there are, and a twentieth of the pixels' number of values is left to compute
    with, so it is several times as fast as float64 copies of the pixels.

    Args:
        image: (bands, H, W); pixels that are 0 in all bands are no-data and left out.
    """
    assert image.dtype in (np.float16, np.uint16), image.dtype
    bits = image.view(np.uint16)
    not_sign = np.uint16(0x7FFF if image.dtype == np.float16 else 0xFFFF)  # float16 has a second 0, of negative sign
    pixels = int(np.count_nonzero(np.bitwise_or.reduce(bits, axis=0) & not_sign))
    mean, squares = np.zeros((2, len(image)))
    for band in range(len(image) if pixels else 0):
        counts = np.bincount(bits[band].reshape(-1), minlength=2**16)
        counts[0] -= bits[band].size - pixels  # a valid pixel may be 0 in some bands
        occurring = np.flatnonzero(counts)
        values = occurring.astype(np.uint16).view(image.dtype).astype(np.float64)
        weights = counts[occurring] / pixels
        mean[band] = weights @ values
        squares[band] = pixels * (weights @ (values - mean[band]) ** 2)
    return Moments(pixels, mean, squares)


def merged(parts: Iterable[Moments]) -> Moments:
    """Moments of sets of pixels together (the pairwise update of Chan, Golub and LeVeque, 1979).

    It loses no digits where running sums of values and of their squares would.

    Returns:
        moments of all valid pixels; 0 pixels if there is none.
    """
    total = Moments(0, np.zeros(0), np.zeros(0))
    for part in parts:
        count = total.pixels + part.pixels
        if not total.pixels:
            total = part
        elif part.pixels:
            share = part.pixels / count
            step = part.mean - total.mean
            squares = total.squares + part.squares + step**2 * total.pixels * share
            total = Moments(count, total.mean + step * share, squares)
    return total


def _moments_of(table: pd.DataFrame) -> Iterable[Moments]:
    """The moments of each tile of one view."""
    for _, bands in table.sort_values("band").groupby("tile_id", sort=True):
        yield Moments(int(bands["pixels"].iloc[0]), bands["mean"].to_numpy(), bands["squares"].to_numpy())


def _refuse_missing(split_table: Path, train: set[str], packed: set[str]) -> None:
    if not train:
        raise UserError(f"{split_table}: has no training tiles; check the split's fractions or line")
    missing = sorted(train - packed)
    if missing:
        raise UserError(
            f"{split_table}: {len(missing)} of its {len(train)} training tiles are in none of the shards, such as "
            f"{missing[0]}; pack all shards of the same catalog again"
        )


def _refuse_flat(split: str, view: str, moments: Moments) -> None:
    if not moments.pixels:
        raise UserError(f"split `{split}`: every {view} pixel of its training tiles is no-data (0); check the archive")
    flat = [band for band, std in enumerate(moments.std) if not std > 0]
    if flat:
        raise UserError(
            f"split `{split}`: {view} band {flat[0] + 1} is {moments.mean[flat[0]]:g} in all of its training tiles, "
            "so it cannot be standardised; check the archive"
        )
