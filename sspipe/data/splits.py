"""Parting the tiles into train, validation and test: at random (the paper, section 5.1) or by place, without a leak."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sspipe.data.leakage import HEADLINE, audit
from sspipe.errors import UserError
from sspipe.files import read_table, whole_file, write_json
from sspipe.log import say

SUBSETS = ("train", "validation", "test", "guard", "validation_guard")
NEEDED = ("train", "validation", "test")

# Map coordinates reach 6e6 m, so they are known to about 1e-9 m: edges nearer than this are shared, not overlapping.
TOLERANCE_M = 1e-6


def assign_splits(
    *,
    catalog: Path,
    split: str,
    kind: str,
    seed: int,
    test_fraction: float,
    validation_fraction: float,
    test_line_m: float | None,
    out_split: Path,
    out_leakage: Path,
) -> None:
    """Writes each tile's subset, and how much of the test ground the training tiles show.

    Raises:
        UserError: train, validation or test would have no tiles, or the seed is negative.
    """
    if seed < 0:
        raise UserError(f"splits.{split}.seed is {seed}; expected 0 or more; choose another seed")
    tiles = read_table(catalog, columns=["tile_id", "easting_m", "northing_m", "size_px", "pixel_m"])
    tiles["size_m"] = tiles["size_px"] * tiles["pixel_m"]
    if kind == "random":
        tiles["subset"] = random_subsets(len(tiles), test_fraction, validation_fraction, seed)
    else:
        tiles["subset"] = spatial_subsets(
            tiles["easting_m"].to_numpy(float),
            tiles["size_m"].to_numpy(float),
            test_fraction,
            validation_fraction,
            test_line_m,
        )
    counts = {name: int((tiles["subset"] == name).sum()) for name in SUBSETS}
    _refuse_empty(split, kind, tiles, counts, test_line_m)
    shares = audit(tiles)
    with whole_file(out_split) as partial:
        tiles[["tile_id", "subset"]].sort_values("tile_id").to_parquet(partial, index=False)
    write_json(out_leakage, {"split": split, "kind": kind, "counts": counts, "headline": HEADLINE, **shares})
    say(f"split {split}: " + ", ".join(f"{count} {name}" for name, count in counts.items()))
    say(
        f"split {split}: one tile of train or validation covers more than half of {shares[HEADLINE]['over_50']:.1%} "
        f"of the test tiles; {shares[HEADLINE]['inside_union']:.1%} lie wholly on ground that these show"
    )


def random_subsets(tiles: int, test_fraction: float, validation_fraction: float, seed: int) -> NDArray[np.str_]:
    """Shuffles the tiles and cuts: test first, then validation from what test leaves (680 and 544 of 3401 tiles).

    Returns:
        (tiles,) subset of each tile.
    """
    order = np.random.default_rng(seed).permutation(tiles)
    test = round(test_fraction * tiles)
    validation = round(validation_fraction * (tiles - test))
    subsets = np.full(tiles, "train", dtype="<U16")
    subsets[order[:test]] = "test"
    subsets[order[test : test + validation]] = "validation"
    return subsets


def spatial_subsets(
    easting_m: NDArray[np.float64],
    size_m: NDArray[np.float64],
    test_fraction: float,
    validation_fraction: float,
    test_line_m: float | None,
) -> NDArray[np.str_]:
    """Cuts by place: test in the east, a guard as wide as a tile, validation, a guard, train in the west.

    Tiles beginning at or east of a line are cut off; every other tile that reaches beyond the west edge of those cut
    off is dropped, so no two tiles of different subsets share ground, wherever they lie in northing.

    Args:
        easting_m: (N,) west edges of the tiles.
        size_m: (N,) sides of the tiles.
        test_fraction: of all tiles; used where there is no line.
        validation_fraction: of the tiles that test and its guard leave.
        test_line_m: easting of the first line; None puts it where test is nearest to its fraction.

    Returns:
        (N,) subset of each tile.
    """
    subsets = np.full(len(easting_m), "train", dtype="<U16")
    _cut_east(subsets, easting_m, size_m, ("test", "guard"), test_fraction, test_line_m)
    _cut_east(subsets, easting_m, size_m, ("validation", "validation_guard"), validation_fraction, None)
    return subsets


def _cut_east(
    subsets: NDArray[np.str_],
    easting_m: NDArray[np.float64],
    size_m: NDArray[np.float64],
    names: tuple[str, str],
    fraction: float,
    line_m: float | None,
) -> None:
    """Renames, in place, the eastern part of the tiles still in train, and the guard beside it."""
    left = subsets == "train"
    if not left.any():
        return
    if line_m is None:
        line_m = _line_nearest(easting_m[left], fraction)
    cut = left & (easting_m >= line_m)
    if not cut.any():
        return
    # From the tiles' edge, not from the line: a tile reaching over the line but not to the first tile shares no ground.
    guard = left & ~cut & (easting_m + size_m > easting_m[cut].min() + TOLERANCE_M)
    subsets[cut] = names[0]
    subsets[guard] = names[1]


def _line_nearest(easting_m: NDArray[np.float64], fraction: float) -> float:
    """The tile edge that leaves a share of the tiles as near as possible to `fraction` at or east of it."""
    edges, ordered = np.unique(easting_m), np.sort(easting_m)
    share_east = 1 - np.searchsorted(ordered, edges, side="left") / len(ordered)
    return float(edges[np.argmin(np.abs(share_east - fraction))])


def _refuse_empty(
    split: str, kind: str, tiles: pd.DataFrame, counts: dict[str, int], test_line_m: float | None
) -> None:
    empty = [name for name in NEEDED if not counts[name]]
    if not empty:
        return
    none_left = f"split `{split}`: no tiles are left for {' and '.join(empty)}"
    if kind == "random":
        raise UserError(
            f"{none_left}: {len(tiles)} tiles are too few for its fractions; "
            f"change splits.{split}.test_fraction or validation_fraction, or take more tiles"
        )
    edges = tiles["easting_m"]
    line = f"the line at easting {test_line_m:.10g} m" if test_line_m is not None else "a line by test_fraction"
    raise UserError(
        f"{none_left} with {line}; the west edges of the {len(tiles)} tiles lie between eastings {edges.min():.3f} "
        f"and {edges.max():.3f} m, and each tile is {tiles['size_m'].max():g} m wide; set splits.{split}.test_line_m "
        "well inside that range (or leave it out), so that tiles and a guard as wide as a tile fit on its west"
    )
