"""Figures of leakage and place: each function takes a table and returns a matplotlib Figure."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import PatchCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from sspipe.data.leakage import HEADLINE
from sspipe.report.style import BLUE, GREEN, GREY, INK, ORANGE, PURPLE, is_narrow, styled

KIND_COLOURS = {"random": ORANGE, "spatial": BLUE, "baseline_x": PURPLE}
# Colour and marker; drawn in this order, so that what matters most lies on top.
SUBSET_MARKS = {
    "guard": (GREY, "X"),
    "validation_guard": (PURPLE, "X"),
    "train": (BLUE, "o"),
    "validation": (GREEN, "s"),
    "test": (ORANGE, "D"),
}
SUBSET_WORDS = {
    "train": "training",
    "validation": "validation",
    "test": "test",
    "guard": "guard before test",
    "validation_guard": "guard before validation",
}
LEVELS = {
    "over_0": "touched by\na tile seen",
    "over_50": "> 50 % under one\ntile seen",
    "over_90": "> 90 % under one\ntile seen",
    "inside_union": "wholly inside\nground seen",
}


@styled
def leakage_figure(leakage: pd.DataFrame, width_in: float) -> Figure:
    """Draws how much of each split's test ground was seen in training.

    Args:
        leakage: `Results.leakage`; the rows that compare test with train and validation are drawn.
        width_in: inches.
    """
    rows = leakage[leakage["comparison"] == HEADLINE]
    figure = Figure(figsize=(width_in, 0.9 + 0.32 * len(LEVELS) * max(2, len(rows))), layout="constrained")
    axis = figure.subplots()
    thick = 0.8 / max(1, len(rows))
    for place, (_, row) in enumerate(rows.iterrows()):
        at = np.arange(len(LEVELS)) + (place - (len(rows) - 1) / 2) * thick
        shares = np.array([row[level] for level in LEVELS], dtype=float)
        colour = KIND_COLOURS[row["kind"]]
        bars = axis.barh(at, 100 * shares, height=thick * 0.86, color=colour, label=f"{row['split']} split")
        axis.bar_label(bars, [f"{100 * share:.1f} %" for share in shares], padding=4, color=INK, fontsize=8.5)
    axis.set(xlim=(0, 118), ylim=(len(LEVELS) - 0.5, -0.5), xlabel="share of test tiles, %", xticks=range(0, 101, 20))
    axis.set_yticks(range(len(LEVELS)), list(LEVELS.values()))
    axis.tick_params(axis="y", length=0, labelcolor=INK)
    axis.grid(axis="y", visible=False)
    figure.legend(loc="outside upper left", ncols=2)
    return figure


@styled
def tile_map_figure(tiles: pd.DataFrame, width_in: float) -> Figure:
    """Draws every tile's outline, coloured by the subset it is in, one panel a split.

    Args:
        tiles: split, tile_id, subset, easting_m, northing_m (upper-left corner), size_px, pixel_m.
        width_in: inches.
    """
    splits = list(tiles["split"].unique())
    sides = tiles["size_px"] * tiles["pixel_m"]
    west, east = tiles["easting_m"].min(), (tiles["easting_m"] + sides).max()
    south, north = (tiles["northing_m"] - sides).min(), tiles["northing_m"].max()
    narrow = is_narrow(width_in)
    rows, columns = (len(splits), 1) if narrow else (1, len(splits))
    panel_in = width_in / columns
    shape = min(1.4, (north - south) / (east - west))
    figure = Figure(figsize=(width_in, 0.7 + rows * (0.7 + 0.88 * panel_in * shape)), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).flat
    for axis, split in zip(axes, splits, strict=True):
        _tile_boxes(axis, tiles[tiles["split"] == split], (west, south))
        axis.set(
            title=f"{split} split", xlim=(0, (east - west) / 1000), ylim=(0, (north - south) / 1000), aspect="equal"
        )
        axis.set(xlabel="km east", ylabel="km north")
        axis.grid(visible=False)
    present = [subset for subset in SUBSET_WORDS if (tiles["subset"] == subset).any()]
    handles = [
        Line2D(
            [],
            [],
            linestyle="none",
            color=SUBSET_MARKS[name][0],
            marker=SUBSET_MARKS[name][1],
            label=SUBSET_WORDS[name],
        )
        for name in present
    ]
    figure.legend(handles=handles, loc="outside upper left", ncols=2 if narrow else len(handles))
    return figure


def subset_counts(tiles: pd.DataFrame) -> pd.DataFrame:
    """Counts tiles per split and subset: one row a split, one column a subset in the order of `SUBSET_WORDS`."""
    counts = tiles.groupby(["split", "subset"], sort=False).size().unstack(fill_value=0)
    return counts.reindex(columns=list(SUBSET_WORDS), fill_value=0).rename_axis(columns=None).reset_index()


def _tile_boxes(axis: Axes, tiles: pd.DataFrame, corner: tuple[float, float]) -> None:
    """Adds each tile's outline and a dot at its centre: outlines lie over each other many times, dots hardly do."""
    # As pixels inside the SVG once there are many, because thousands of outlines would weigh megabytes.
    raster = len(tiles) > 600
    sides = tiles["size_px"] * tiles["pixel_m"] / 1000
    west, north = (tiles["easting_m"] - corner[0]) / 1000, (tiles["northing_m"] - corner[1]) / 1000
    for subset, (colour, marker) in SUBSET_MARKS.items():
        here = tiles["subset"] == subset
        boxes = [Rectangle((x, y - s), s, s) for x, y, s in zip(west[here], north[here], sides[here], strict=True)]
        faint = min(0.9, max(0.15, 60 / len(tiles)))
        axis.add_collection(
            PatchCollection(boxes, facecolor="none", edgecolor=colour, linewidth=0.8, alpha=faint, rasterized=raster)
        )
        axis.plot(
            west[here] + sides[here] / 2, north[here] - sides[here] / 2, linestyle="none", marker=marker, color=colour,
            markersize=max(2.2, min(6.0, 90 / math.sqrt(len(tiles)))), markeredgewidth=0, rasterized=raster,
        )  # fmt: skip
