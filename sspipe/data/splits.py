"""Parting the tiles into train, validation and test: at random (the paper, section 5.1), or by place."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sspipe.data.leakage import HEADLINE, audit
from sspipe.errors import UserError
from sspipe.files import read_table, whole_file, write_json
from sspipe.log import counted, say

SUBSETS = ("train", "validation", "test", "guard", "validation_guard")
NEEDED = ("train", "validation", "test")

# West and east end (m) of the five slices by which the challenge's baseline numbers its tiles.
BASELINE_EDGES_M = (591550.0, 596250.0)
BASELINE_SLICES = 5

# Map coordinates reach 6e6 m, so they are known to about 1e-9 m: edges nearer than this are shared, not overlapping.
TOLERANCE_M = 1e-6


class Rule(NamedTuple):
    """How tiles are parted; the fields are those of `splits` in the config."""

    kind: str
    seed: int
    test_fraction: float
    validation_fraction: float
    test_line_m: float | None
    edges_m: tuple[float, float] | None


def assign_splits(
    *,
    catalog: Path,
    split: str,
    kind: str,
    seed: int,
    test_fraction: float,
    validation_fraction: float,
    test_line_m: float | None,
    edges_m: tuple[float, float] | None,
    out_split: Path,
    out_leakage: Path,
) -> None:
    """Writes each tile's subset and whether it has an EO image; and how much of the test ground training tiles show.

    Raises:
        UserError: train, validation or test would have no tiles, or the seed is negative.
    """
    rule = Rule(kind, seed, test_fraction, validation_fraction, test_line_m, edges_m)
    if seed < 0:
        raise UserError(f"splits.{split}.seed is {seed}; expected 0 or more; choose another seed")
    tiles = read_table(catalog, columns=["tile_id", "easting_m", "northing_m", "size_px", "pixel_m", "eo_path"])
    tiles["has_eo"] = tiles["eo_path"] != ""
    tiles["size_m"] = tiles["size_px"] * tiles["pixel_m"]
    tiles["subset"] = subsets_of(tiles, rule)
    counts = count(tiles["subset"])
    refuse_empty(f"split `{split}`", tiles, rule, lambda field: f"splits.{split}.{field}")
    shares = audit(tiles)
    with whole_file(out_split) as partial:
        tiles[["tile_id", "subset", "has_eo"]].sort_values("tile_id").to_parquet(partial, index=False)
    write_json(out_leakage, {"split": split, "kind": kind, "counts": counts, "headline": HEADLINE, **shares})
    say(f"split {split}: " + ", ".join(f"{count} {name}" for name, count in counts.items()))
    say(
        f"split {split}: one tile of train or validation covers more than half of {shares[HEADLINE]['over_50']:.1%} "
        f"of the test tiles; {shares[HEADLINE]['inside_union']:.1%} lie wholly on ground that these show"
    )


def subsets_of(tiles: pd.DataFrame, rule: Rule) -> NDArray[np.str_]:
    """Parts the tiles by a rule.

    Args:
        tiles: columns easting_m (west edge) and size_m (side), sorted by tile id.
        rule: how.

    Returns:
        (N,) subset of each tile.
    """
    easting_m, size_m = tiles["easting_m"].to_numpy(float), tiles["size_m"].to_numpy(float)
    if rule.kind == "random":
        return random_subsets(len(tiles), rule.test_fraction, rule.validation_fraction, rule.seed)
    if rule.kind == "spatial":
        return spatial_subsets(easting_m, size_m, rule.test_fraction, rule.validation_fraction, rule.test_line_m)
    assert rule.kind == "baseline_x", rule.kind
    return baseline_subsets(easting_m, rule.edges_m or BASELINE_EDGES_M)


def count(subset: pd.Series) -> dict[str, int]:
    """How many tiles each subset has."""
    return {name: int((subset == name).sum()) for name in SUBSETS}


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


def baseline_subsets(easting_m: NDArray[np.float64], edges_m: tuple[float, float]) -> NDArray[np.str_]:
    """Cuts as the SpaceNet 6 challenge's baseline does: five slices of equal width in easting, and no guard.

    The baseline validates on the easternmost slice and trains on the others; tiles beyond an end count to the slice
    there. Its validation slice is test here, since the challenge's own test tiles have no public labels, and the slice
    next to it is validation. Tiles on both sides of a border overlap.

    Args:
        easting_m: (N,) west edges of the tiles.
        edges_m: west and east end of the slices, m.

    Returns:
        (N,) subset of each tile.
    """
    west, east = edges_m
    slices = np.clip(np.floor((easting_m - west) / (east - west) * BASELINE_SLICES), 0, BASELINE_SLICES - 1)
    subsets = np.full(len(easting_m), "train", dtype="<U16")
    subsets[slices == BASELINE_SLICES - 1] = "test"
    subsets[slices == BASELINE_SLICES - 2] = "validation"
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


def refuse_empty(what: str, tiles: pd.DataFrame, rule: Rule, named: Callable[[str], str]) -> None:
    """Refuses a split of which a part has no tiles.

    Args:
        what: the split, for the message.
        tiles: columns easting_m, size_m, subset.
        rule: that parted them.
        named: what the reader calls a field of the rule.

    Raises:
        UserError: train, validation or test is empty; the message has the range of the data and the setting to change.
    """
    empty = [name for name in NEEDED if not (tiles["subset"] == name).any()]
    if not empty:
        return
    none_left = f"{what}: no tiles are left for {' and '.join(empty)}"
    if rule.kind == "random":
        raise UserError(
            f"{none_left}: {counted(len(tiles), 'tile')} {'is' if len(tiles) == 1 else 'are'} too few for its "
            "fractions; "
            f"change {named('test_fraction')} or {named('validation_fraction')}, or take more tiles"
        )
    edges = tiles["easting_m"]
    span = f"west edges of {counted(len(tiles), 'tile')} lie between eastings {edges.min():.3f} and {edges.max():.3f} m"
    if rule.kind == "baseline_x":
        west, east = rule.edges_m or BASELINE_EDGES_M
        raise UserError(
            f"{none_left} with {BASELINE_SLICES} slices between eastings {west:.10g} and {east:.10g} m; {span}; set "
            f"{named('edges_m')} to that range"
        )
    line = (
        f"the line at easting {rule.test_line_m:.10g} m" if rule.test_line_m is not None else "a line by test_fraction"
    )
    raise UserError(
        f"{none_left} with {line}; {span}, and each tile is {tiles['size_m'].max():g} m wide; set "
        f"{named('test_line_m')} well inside that range (or leave it out), so that tiles and a guard as wide as a tile "
        "fit on its west"
    )
