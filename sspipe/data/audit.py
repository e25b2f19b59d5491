"""`sspipe audit`: how much of its test ground a split shows in training, from a table of tile origins alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from sspipe.data import leakage
from sspipe.data.origins import read_origins
from sspipe.data.splits import Rule, count, refuse_empty, subsets_of
from sspipe.errors import UserError
from sspipe.files import write_json
from sspipe.log import progress, warn

SPACENET6_LINE_M = 595343.0  # the spatial split's line in config.yaml
FRACTION = 0.2

COMPARISONS = {
    leakage.HEADLINE: "test, seen by train or validation",
    "test_against_train": "test, seen by train",
    "validation_against_train": "validation, seen by train",
}
MEASURES = {
    "over_0": "touched",
    "over_50": "> 50 % under one tile",
    "over_90": "> 90 % under one tile",
    "inside_union": "wholly in the union",
}


def audit_tiles(
    *,
    tiles: Path,
    kind: str,
    tile_size_m: float,
    seed: int,
    seeds: int,
    test_fraction: float | None,
    validation_fraction: float | None,
    test_line_m: float | None,
    edges_m: Sequence[float] | None,
    out: Path | None,
) -> None:
    """Parts the tiles as the config's `splits` would, and prints the shares of tiles that others show.

    Args:
        tiles: table with a row for each tile: image_id or tile_id, easting_m and northing_m of the upper-left corner,
            and, if tiles are not of `tile_size_m`, size_px and pixel_m; `.csv`, `.csv.gz` or `.parquet`.
        kind: random, spatial or baseline_x.
        tile_size_m: side of a tile, m.
        seed: of the first shuffle.
        seeds: how many shuffles.
        test_fraction: share of all tiles; a spatial split goes by it only if it is given, and no line.
        validation_fraction: share of what test leaves.
        test_line_m: where the test area of a spatial split begins; SpaceNet 6's if neither it nor a fraction is given.
        edges_m: west and east end of the slices of baseline_x.
        out: JSON of all shares, if wanted.

    Raises:
        UserError: the table cannot be used, a setting is out of range, or a part would have no tiles.
    """
    _refuse_settings(tile_size_m, seed, seeds, test_fraction, validation_fraction, edges_m)
    if kind == "spatial" and test_line_m is None and test_fraction is None:
        test_line_m = SPACENET6_LINE_M
    given = {"--test-line-m": test_line_m, "--edges-m": edges_m, "--seeds": seeds if seeds > 1 else None}
    given |= {"--test-fraction": test_fraction, "--validation-fraction": validation_fraction}
    unused = {"random": ("--test-line-m", "--edges-m"), "spatial": ("--edges-m", "--seeds")}.get(
        kind, ("--test-line-m", "--seeds", "--test-fraction", "--validation-fraction")
    )
    for flag in unused:
        if given[flag] is not None:
            warn(f"{flag} is ignored: a {kind} split has no use for it")
    rule = Rule(
        kind,
        seed,
        FRACTION if test_fraction is None else test_fraction,
        FRACTION if validation_fraction is None else validation_fraction,
        test_line_m,
        None if edges_m is None else (edges_m[0], edges_m[1]),
    )
    table = read_origins(tiles, tile_size_m)
    numbers = range(seed, seed + (seeds if kind == "random" else 1))
    counts, shares = zip(
        *(audit_split(table, rule._replace(seed=number)) for number in progress(numbers, "audit")), strict=True
    )
    spread = spread_of(shares)
    print(
        f"{kind} split of {len(table)} tiles in {tiles}"
        + (f", seeds {numbers[0]} to {numbers[-1]}" * (len(numbers) > 1))
    )
    print(_in_words(counts[0]) + "\n")
    _print_table(spread, several=len(numbers) > 1)
    if out is not None:
        settings = {**rule._asdict(), "seeds": list(numbers) if kind == "random" else None}
        about = {"tiles": len(table), "settings": settings, "counts": counts[0], "headline": leakage.HEADLINE}
        write_json(out, {**about, "shares": spread})


def audit_split(tiles: pd.DataFrame, rule: Rule) -> tuple[dict[str, int], dict[str, dict[str, float]]]:
    """Parts the tiles by one rule and measures the leak.

    Returns:
        tiles in each subset, and the shares that `leakage.audit` gives.

    Raises:
        UserError: a part would have no tiles.
    """
    parted = tiles.assign(subset=subsets_of(tiles, rule))
    refuse_empty(f"--split {rule.kind}", parted, rule, lambda field: f"--{field.replace('_', '-')}")
    return count(parted["subset"]), leakage.audit(parted)


def spread_of(shares: Sequence[dict[str, dict[str, float]]]) -> dict[str, dict[str, dict[str, float]]]:
    """Mean, standard deviation (of the sample; 0 of one) and range of each share over several splits."""
    spread: dict[str, dict[str, dict[str, float]]] = {}
    for comparison in COMPARISONS:
        spread[comparison] = {}
        for measure in MEASURES:
            values = np.array([share[comparison][measure] for share in shares])
            spread[comparison][measure] = {
                "mean": float(values.mean()),
                "std": float(values.std(ddof=1)) if len(values) > 1 else 0.0,
                "min": float(values.min()),
                "max": float(values.max()),
            }
    return spread


def _refuse_settings(
    tile_size_m: float,
    seed: int,
    seeds: int,
    test_fraction: float | None,
    validation_fraction: float | None,
    edges_m: Sequence[float] | None,
) -> None:
    fractions = {"--test-fraction": test_fraction, "--validation-fraction": validation_fraction}
    wrong: dict[str, tuple[object, str]] = {}
    for flag, value in fractions.items():
        if value is not None and not 0 < value < 1:
            wrong[flag] = (value, "more than 0 and less than 1")
    if not (math.isfinite(tile_size_m) and tile_size_m > 0):
        wrong["--tile-size-m"] = (tile_size_m, "more than 0")
    if seed < 0:
        wrong["--seed"] = (seed, "0 or more")
    if seeds < 1:
        wrong["--seeds"] = (seeds, "1 or more")
    if edges_m is not None and not edges_m[0] < edges_m[1]:
        wrong["--edges-m"] = (f"{edges_m[0]:g} {edges_m[1]:g}", "the west end first, then the east")
    if wrong:
        raise UserError(
            "; ".join(f"{flag} is {value}, expected {expected}" for flag, (value, expected) in wrong.items())
        )


def _in_words(counts: dict[str, int]) -> str:
    left = counts["train"] + counts["validation"] + counts["validation_guard"]
    beside = f", {counts['guard']} dropped beside it" if counts["guard"] else ""
    between = f", {counts['validation_guard']} dropped between them" if counts["validation_guard"] else ""
    parts = f"{counts['train']} train, {counts['validation']} validation{between}"
    return f"{counts['test']} test{beside}, {left} for train and validation: {parts}"


def _print_table(spread: dict[str, dict[str, dict[str, float]]], several: bool) -> None:
    def shown(share: dict[str, float]) -> str:
        mean = f"{100 * share['mean']:.1f} %"
        return f"{mean} ± {100 * share['std']:.1f}" if several else mean

    rows = [["share of tiles", *MEASURES.values()]]
    rows += [[words, *(shown(spread[name][measure]) for measure in MEASURES)] for name, words in COMPARISONS.items()]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        first, *rest = (
            cell.ljust(width) if at == 0 else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        print("  ".join([first, *rest]))
