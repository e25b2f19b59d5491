"""Figures of the answer: F1 of every variant, and the gap that leakage makes."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.transforms import blended_transform_factory

from sspipe.report.figures import KIND_COLOURS
from sspipe.report.style import BLUE, GREY, INK, LINE, MUTED, ORANGE, SURFACE, is_narrow, plain, styled
from sspipe.report.wording import listed, signed

ROLE_COLOURS = {"candidate": BLUE, "floor": GREY, "ceiling": GREY}
# More rows than these are a wall: then the best are drawn, and the table has all.
MAX_ROWS = 30


def rows_drawn(table: pd.DataFrame, keep: tuple[str, ...] = ()) -> pd.DataFrame:
    """Chooses which rows of one split are drawn: all of them or, of very many, those with the highest F1.

    Args:
        table: rows of one split from `comparison.table_one`.
        keep: variants that are drawn whatever their F1, such as the baseline.

    Returns:
        `table` itself up to `MAX_ROWS` rows, else that many, highest F1 first.
    """
    if len(table) <= MAX_ROWS:
        return table
    ranked = table.sort_values("f1", ascending=False, kind="stable", na_position="last")
    first = ranked["variant"].isin(keep)
    chosen = pd.concat([ranked[first], ranked[~first]]).head(MAX_ROWS)
    return ranked.loc[ranked.index.isin(chosen.index)]


@styled
def f1_figure(
    table: pd.DataFrame,
    runs: pd.DataFrame,
    width_in: float,
    paper_splits: tuple[str, ...] = (),
    keep: tuple[str, ...] = (),
) -> Figure:
    """Draws each variant's F1 with its 95 % interval, one panel a split, below each other.

    Args:
        table: `comparison.table_one`; a row without F1 leaves a gap that its `remark` explains.
        runs: one row per run; the dots of single seeds.
        width_in: inches.
        paper_splits: splits on which the paper's F1 may stand beside ours.
        keep: as for `rows_drawn`.
    """
    narrow = is_narrow(width_in)
    parts = {split: rows_drawn(rows, keep) for split, rows in table.groupby("split", sort=False)}
    counts = [len(rows) + 1.9 for rows in parts.values()]
    figure = Figure(figsize=(width_in, (0.46 if narrow else 0.34) * sum(counts)), layout="constrained")
    axes = figure.subplots(len(parts), 1, squeeze=False, height_ratios=counts).flat
    drawn = pd.concat(parts.values())
    highest = np.nanmax(
        [*drawn["f1_high"], *drawn["f1"], *(drawn["paper_f1"] if paper_splits else [0.0]), 0.05], initial=0.05
    )
    for axis, (split, rows) in zip(axes, parts.items(), strict=True):
        for place, (_, row) in enumerate(rows.iterrows()):
            seeds = runs.loc[(runs["split"] == split) & (runs["variant"] == row["variant"]), "f1"]
            _score_row(axis, place, row, seeds, split in paper_splits, narrow)
        # Room for the numbers at the right of the longest interval.
        _row_axis(axis, list(rows["title"]), 1.22 * highest if narrow else 1.3 * highest, narrow)
        axis.set(title=f"{split} split", xlabel="SpaceNet F1 on the test tiles, with 95 % interval")
    return figure


@styled
def gap_figure(gaps: pd.DataFrame, width_in: float) -> Figure:
    """Draws each variant's F1 on the random and on the spatial split, and the gap between them.

    Args:
        gaps: `comparison.leak_gaps`, at least one row; of very many, the largest gaps are drawn.
        width_in: inches.
    """
    narrow = is_narrow(width_in)
    gaps = gaps_drawn(gaps)
    figure = Figure(figsize=(width_in, 1.2 + len(gaps) * (0.5 if narrow else 0.4)), layout="constrained")
    axis = figure.subplots()
    for place, (_, row) in enumerate(gaps.iterrows()):
        axis.plot([row["spatial_f1"], row["random_f1"]], [place, place], color=LINE, linewidth=5, zorder=1)
        for kind, lift in (("spatial", 0.09), ("random", -0.09)):
            colour = KIND_COLOURS[kind]
            axis.plot([row[f"{kind}_f1_low"], row[f"{kind}_f1_high"]], [place + lift] * 2, color=colour, linewidth=1.3)
            marker = "s" if kind == "random" else "o"
            axis.plot(
                row[f"{kind}_f1"], place + lift, marker=marker, color=colour, markersize=7, markeredgecolor=SURFACE,
                clip_on=False,
            )  # fmt: skip
        right = np.nanmax([row["random_f1_high"], row["spatial_f1_high"], row["random_f1"], row["spatial_f1"]])
        label = signed(row["gap"])
        axis.annotate(label, (right, place), (8, 0), textcoords="offset points", va="center", fontweight="bold")
    highest = np.nanmax(gaps[["random_f1_high", "spatial_f1_high", "random_f1", "spatial_f1"]].to_numpy())
    _row_axis(axis, gap_names(gaps), 1.22 * max(highest, 0.05), narrow)
    axis.set(xlabel="SpaceNet F1; bold: random minus spatial")
    handles = []
    for kind, marker in (("random", "s"), ("spatial", "o")):
        names = gaps[f"{kind}_split"].unique()
        label = f"{listed(names)} split{'s' if len(names) > 1 else ''}"
        handles.append(Line2D([], [], color=KIND_COLOURS[kind], marker=marker, label=label))
    figure.legend(handles=handles, loc="outside upper left", ncols=2)
    return figure


def gaps_drawn(gaps: pd.DataFrame) -> pd.DataFrame:
    """Chooses which rows of `comparison.leak_gaps` are drawn: all of them or, of very many, the largest gaps."""
    if len(gaps) <= MAX_ROWS:
        return gaps
    return gaps.sort_values("gap", ascending=False, kind="stable").head(MAX_ROWS)


def gap_names(gaps: pd.DataFrame) -> list[str]:
    """Names each row of `comparison.leak_gaps`: by its variant, and its splits too where several pairs have rows."""
    if len(gaps[["random_split", "spatial_split"]].drop_duplicates()) < 2:
        return [str(title) for title in gaps["title"]]
    return [f"{row.title} ({row.random_split} minus {row.spatial_split})" for row in gaps.itertuples()]


def _row_axis(axis: Axes, titles: list[str], right: float, narrow: bool) -> None:
    """Names the rows, at their left or above them, and leaves room at the right; F1 has no ticks beyond 1."""
    titles = [plain(title) for title in titles]
    axis.set(xlim=(0, right), ylim=(len(titles) - 0.5, -0.75))
    axis.set_xticks([tick for tick in axis.get_xticks() if tick <= min(1.0, right) + 1e-9])
    axis.set_yticks(range(len(titles)), [] if narrow else titles)
    axis.tick_params(axis="y", length=0, pad=8, labelcolor=INK)  # room for a dot at 0
    axis.grid(axis="y", visible=False)
    if narrow:
        for place, title in enumerate(titles):
            _label_above(axis, place, title)


def _score_row(axis: Axes, place: int, row: pd.Series, seeds: pd.Series, with_paper: bool, narrow: bool) -> None:
    if np.isnan(row["f1"]):
        _remark(axis, place, row["remark"] or "F1 not defined")
        return
    colour = ROLE_COLOURS[row["role"]]
    axis.plot([row["f1_low"], row["f1_high"]], [place, place], color=colour, linewidth=2.2, solid_capstyle="round")
    if len(seeds) > 1:
        axis.plot(seeds, [place] * len(seeds), linestyle="none", marker="|", color=colour, markersize=11)
    filled = colour if row["role"] == "candidate" else SURFACE
    axis.plot(
        row["f1"], place, marker="o", color=colour, markerfacecolor=filled, markersize=7, markeredgewidth=1.6,
        clip_on=False,  # whole at 0 too
    )  # fmt: skip
    right = np.nanmax([row["f1_high"], row["f1"]])
    label = f"{row['f1']:.3f}"
    if not narrow and not np.isnan(row["f1_low"]):
        label += f"  [{row['f1_low']:.3f}, {row['f1_high']:.3f}]"
    if with_paper and not np.isnan(row["paper_f1"]):
        axis.plot(row["paper_f1"], place, marker="D", color=ORANGE, markerfacecolor="none", markersize=7)
        right = max(right, row["paper_f1"])
        label += f"  paper {row['paper_f1']:.3f}"
    axis.annotate(label, (right, place), (8, 0), textcoords="offset points", va="center", fontsize=8.5)


def _remark(axis: Axes, place: int, text: str) -> None:
    axis.annotate(text, (0, place), (6, 0), textcoords="offset points", color=MUTED, va="center", fontsize=8)


def _label_above(axis: Axes, place: int, text: str) -> None:
    where = blended_transform_factory(axis.transAxes, axis.transData)
    axis.annotate(
        text, (0, place), (4, 7), xycoords=where, textcoords="offset points", va="bottom", fontsize=8.5, color=INK,
        bbox={"facecolor": SURFACE, "edgecolor": "none", "pad": 0.6},
    )  # fmt: skip
