"""Figures of scores, leakage and place: each function takes a table and returns a matplotlib Figure."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import PatchCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.transforms import blended_transform_factory

from sspipe.data.leakage import HEADLINE
from sspipe.report.style import BLUE, GREEN, GREY, INK, LINE, MUTED, ORANGE, PURPLE, SURFACE, is_narrow, styled

ROLE_COLOURS = {"candidate": BLUE, "floor": GREY, "ceiling": GREY}
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
def f1_figure(table: pd.DataFrame, runs: pd.DataFrame, width_in: float, paper_splits: tuple[str, ...] = ()) -> Figure:
    """Draws each variant's F1 with its 95 % interval, one panel a split.

    Args:
        table: `comparison.table_one`.
        runs: one row per run; the dots of single seeds.
        width_in: inches.
        paper_splits: splits on which the paper's F1 may stand beside ours.
    """
    splits = list(table["split"].unique())
    narrow = is_narrow(width_in)
    names = _display_order(table)
    titles = dict(zip(table["variant"], table["title"], strict=True))
    ran = {split: set(table.loc[table["split"] == split, "variant"]) for split in splits}
    # On a phone there is no room for rows that only say "no run".
    shown = {split: [name for name in names if name in ran[split] or not narrow] for split in splits}
    if narrow:
        counts = [len(shown[split]) + 1.5 for split in splits]
        figure = Figure(figsize=(width_in, 0.46 * sum(counts)), layout="constrained")
        axes = figure.subplots(len(splits), 1, squeeze=False, height_ratios=counts).flat
    else:
        figure = Figure(figsize=(width_in, 0.9 + 0.36 * len(names)), layout="constrained")
        axes = figure.subplots(1, len(splits), squeeze=False, sharey=True).flat
    highest = np.nanmax([*table["f1_high"], *table["f1"], *(table["paper_f1"] if paper_splits else [0.0]), 0.05])
    for axis, split in zip(axes, splits, strict=True):
        here = table[table["split"] == split].set_index("variant")
        for place, name in enumerate(shown[split]):
            if name in ran[split]:
                seeds = runs.loc[(runs["split"] == split) & (runs["variant"] == name), "f1"]
                _score_row(axis, place, here.loc[name], seeds, split in paper_splits)
            else:
                _remark(axis, place, "no run")
            if narrow:
                _label_above(axis, place, titles[name])
        axis.set(title=f"{split} split", xlim=(0, min(1.0, highest * 1.22)), ylim=(len(shown[split]) - 0.5, -0.75))
        axis.set_yticks(range(len(shown[split])), [] if narrow else [titles[name] for name in names])
        axis.tick_params(axis="y", length=0, labelcolor=INK)
        axis.grid(axis="y", visible=False)
        axis.set_xlabel("SpaceNet F1 on the test tiles, with 95 % interval")
    return figure


@styled
def gap_figure(gaps: pd.DataFrame, width_in: float) -> Figure:
    """Draws each variant's F1 on the random and on the spatial split, and the gap between them.

    Args:
        gaps: `comparison.leak_gaps`, at least one row.
        width_in: inches.
    """
    narrow = is_narrow(width_in)
    figure = Figure(figsize=(width_in, 1.2 + len(gaps) * (0.5 if narrow else 0.4)), layout="constrained")
    axis = figure.subplots()
    for place, (_, row) in enumerate(gaps.iterrows()):
        axis.plot([row["spatial_f1"], row["random_f1"]], [place, place], color=LINE, linewidth=5, zorder=1)
        for kind, lift in (("spatial", 0.09), ("random", -0.09)):
            colour = KIND_COLOURS[kind]
            axis.plot([row[f"{kind}_f1_low"], row[f"{kind}_f1_high"]], [place + lift] * 2, color=colour, linewidth=1.3)
            marker = "s" if kind == "random" else "o"
            axis.plot(
                row[f"{kind}_f1"], place + lift, marker=marker, color=colour, markersize=7, markeredgecolor=SURFACE
            )
        right = np.nanmax([row["random_f1_high"], row["spatial_f1_high"], row["random_f1"], row["spatial_f1"]])
        label = f"{row['gap']:+.3f}".replace("-", "−")
        axis.annotate(label, (right, place), (8, 0), textcoords="offset points", va="center", fontweight="bold")
        if narrow:
            _label_above(axis, place, str(row["title"]))
    highest = np.nanmax(gaps[["random_f1_high", "spatial_f1_high", "random_f1", "spatial_f1"]].to_numpy())
    axis.set(xlim=(0, min(1.05, max(highest, 0.05) * 1.22)), ylim=(len(gaps) - 0.5, -0.75), xlabel="SpaceNet F1")
    axis.set_yticks(range(len(gaps)), [] if narrow else list(gaps["title"]))
    axis.tick_params(axis="y", length=0, labelcolor=INK)
    axis.grid(axis="y", visible=False)
    handles = [
        Line2D([], [], color=KIND_COLOURS["random"], marker="s", label=f"{gaps['random_split'].iloc[0]} split"),
        Line2D([], [], color=KIND_COLOURS["spatial"], marker="o", label=f"{gaps['spatial_split'].iloc[0]} split"),
    ]
    figure.legend(handles=handles, loc="outside upper left", ncols=2)
    return figure


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


def _display_order(table: pd.DataFrame) -> list[str]:
    """Variants as the fullest split lists them, so that one left out elsewhere keeps its place."""
    sizes = table.groupby("split", sort=False)["variant"].transform("size")
    return list(dict.fromkeys(table.loc[sizes.sort_values(ascending=False, kind="stable").index, "variant"]))


def _score_row(axis: Axes, place: int, row: pd.Series, seeds: pd.Series, with_paper: bool) -> None:
    if np.isnan(row["f1"]):
        _remark(axis, place, "F1 not defined")
        return
    colour = ROLE_COLOURS[row["role"]]
    axis.plot([row["f1_low"], row["f1_high"]], [place, place], color=colour, linewidth=2.2, solid_capstyle="round")
    if len(seeds) > 1:
        axis.plot(seeds, [place] * len(seeds), linestyle="none", marker="|", color=colour, markersize=11)
    filled = colour if row["role"] == "candidate" else SURFACE
    axis.plot(row["f1"], place, marker="o", color=colour, markerfacecolor=filled, markersize=7, markeredgewidth=1.6)
    right = np.nanmax([row["f1_high"], row["f1"]])
    if with_paper and not np.isnan(row["paper_f1"]):
        axis.plot(row["paper_f1"], place, marker="D", color=ORANGE, markerfacecolor="none", markersize=7)
        right = max(right, row["paper_f1"])
    axis.annotate(f"{row['f1']:.3f}", (right, place), (8, 0), textcoords="offset points", va="center", fontsize=8.5)


def _remark(axis: Axes, place: int, text: str) -> None:
    axis.annotate(text, (0, place), (6, 0), textcoords="offset points", color=MUTED, va="center", fontsize=8)


def _label_above(axis: Axes, place: int, text: str) -> None:
    where = blended_transform_factory(axis.transAxes, axis.transData)
    axis.annotate(
        text, (0, place), (4, 7), xycoords=where, textcoords="offset points", va="bottom", fontsize=8.5, color=INK,
        bbox={"facecolor": SURFACE, "edgecolor": "none", "pad": 0.6},
    )  # fmt: skip


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
