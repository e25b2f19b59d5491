"""Figures of where predictions fail: each function takes a table of one split and returns a matplotlib Figure."""

from __future__ import annotations

import calendar
import re
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import blended_transform_factory

from sspipe.report.data_figures import ORIENTATION_WORDS
from sspipe.report.failures import FEW_BUILDINGS, FEW_PIXELS, FEW_TILES
from sspipe.report.multiples import (
    Cast,
    bar_panel,
    draw_among,
    legend_among,
    panel_grid,
    remark,
)
from sspipe.report.style import BLUE, GREY, INK, MUTED, ORANGE, SURFACE, is_narrow, plain, styled

ORIENTATION_MARKS = {0: ("^", BLUE), 1: ("v", ORANGE)}
# Intervals of more strips than this would hide the dots.
MOST_INTERVALS = 40


@styled
def recall_figure(table: pd.DataFrame, cast: Cast, label: str, width_in: float) -> Figure:
    """Draws recall by bin: a panel a variant, and one of how many buildings there are.

    Args:
        table: rows of one split from `failures.recall_table`.
        cast: of the panels.
        label: what the bins are of, with its unit.
        width_in: inches.
    """
    bins = table.drop_duplicates("place").sort_values("place")
    figure, axes = panel_grid([*cast.titles.values(), "Number of buildings"], width_in, 1.45)
    drawn = table.assign(few=table["buildings"] < FEW_BUILDINGS)
    for axis, name in zip(axes, cast.titles, strict=False):
        draw_among(axis, drawn, name, cast, "place", "recall")
        axis.set(ylim=(-0.03, 1.03), yticks=[0, 0.5, 1])
    bar_panel(axes[-1], list(bins["place"]), list(bins["buildings"]))
    for axis in axes:
        _bin_edges(axis, bins)
    _label(figure, axes[:-1], label, "recall")
    legend_among(figure, drawn[drawn["recall"].notna()], cast, width_in, f"fewer than {FEW_BUILDINGS} buildings", True)
    return figure


@styled
def threshold_figure(table: pd.DataFrame, cast: Cast, width_in: float) -> Figure:
    """Draws F1 by the IoU that a match needs, a panel a variant.

    Args:
        table: rows of one split from `failures.threshold_table`.
        cast: of the panels.
        width_in: inches.
    """
    figure, axes = panel_grid(cast.titles.values(), width_in, 1.45)
    drawn = table.assign(few=False)
    highest = max(0.05, np.nanmax([*table["f1"], *table["f1_high"], 0.0]))
    for axis, name in zip(axes, cast.titles, strict=True):
        draw_among(axis, drawn, name, cast, "iou", "f1")
        axis.set(xlim=(0.48, 0.97), ylim=(-0.02 * highest, 1.06 * highest), xticks=[0.5, 0.6, 0.7, 0.8, 0.9])
    _label(figure, axes, "IoU that a match needs", "F1")
    legend_among(figure, drawn, cast, width_in, "", True)
    return figure


@styled
def reliability_figure(table: pd.DataFrame, cast: Cast, width_in: float) -> Figure:
    """Draws the share of building among pixels of one probability, a panel a variant.

    Args:
        table: rows of one split from `failures.reliability_table`.
        cast: of the panels.
        width_in: inches.
    """
    figure, axes = panel_grid(cast.titles.values(), width_in, 1.6 if is_narrow(width_in) else 1.95)
    drawn = table[table["pixels"] > 0].assign(few=table["pixels"] < FEW_PIXELS, bin=table["low"])
    errors = table.groupby("variant")["calibration_error"].first()
    for axis, name in zip(axes, cast.titles, strict=True):
        axis.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle=":")
        draw_among(axis, drawn, name, cast, "mean_probability", "building_share")
        if name in errors:
            axis.set_xlabel(f"error {errors[name]:.3f}", fontsize=8.5, color=INK, labelpad=1)
        axis.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03), xticks=[0, 0.5, 1], yticks=[0, 0.5, 1])
    _label(figure, axes, "probability of building", "share that is building")
    legend_among(figure, drawn, cast, width_in, f"fewer than {FEW_PIXELS} pixels", False)
    return figure


@styled
def orientation_figure(table: pd.DataFrame, cast: Cast, width_in: float) -> Figure:
    """Draws F1 by the side that the radar looks from, a row a variant.

    Args:
        table: rows of one split from `failures.group_table` of orientation.
        cast: of the rows.
        width_in: inches.
    """
    narrow = is_narrow(width_in)
    figure = Figure(figsize=(width_in, 0.9 + len(cast.titles) * (0.58 if narrow else 0.36)), layout="constrained")
    axis = figure.subplots()
    titles = [plain(title) for title in cast.titles.values()]
    for place, (name, title) in enumerate(zip(cast.titles, titles, strict=True)):
        own = table[(table["variant"] == name) & table["f1"].notna()]
        for _, row in own.iterrows():
            marker, colour = ORIENTATION_MARKS[row["orientation"]]
            at = place + (0.16 if row["orientation"] else -0.12)
            axis.plot([row["f1_low"], row["f1_high"]], [at, at], color=colour, linewidth=1.6)
            axis.plot(row["f1"], at, marker=marker, color=colour, markersize=6)
        if own.empty:
            axis.annotate("no scores", (0, place), (6, 0), textcoords="offset points", va="center", color=MUTED)
        if narrow:
            where = blended_transform_factory(axis.transAxes, axis.transData)
            axis.annotate(
                title, (0, place), (4, 9), xycoords=where, textcoords="offset points", va="bottom", fontsize=8.5,
                bbox={"facecolor": SURFACE, "edgecolor": "none", "pad": 0.6},
            )  # fmt: skip
    highest = max(0.05, np.nanmax([*table["f1"], *table["f1_high"], 0.0]))
    axis.set(xlim=(-0.01, min(1.02, 1.06 * highest)), ylim=(len(cast.titles) - 0.5, -0.8 if narrow else -0.5))
    axis.set_yticks(range(len(cast.titles)), [] if narrow else titles)
    axis.tick_params(axis="y", length=0, labelcolor=INK)
    axis.grid(axis="y", visible=False)
    axis.set_xlabel("F1, with 95 % interval")
    tiles = table.groupby("orientation")["tiles"].max()
    handles = [
        Line2D([], [], color=colour, marker=marker, markersize=6, label=f"{words}: {tiles[value]:.0f} tiles")
        for (value, words), (marker, colour) in zip(ORIENTATION_WORDS.items(), ORIENTATION_MARKS.values(), strict=True)
        if value in tiles
    ]
    figure.legend(handles=handles, loc="outside upper left", ncols=1 if narrow else 2)
    return figure


@styled
def strip_figure(table: pd.DataFrame, cast: Cast, width_in: float) -> Figure:
    """Draws F1 of each strip in the order of their names, a panel a variant, and one of how many tiles each has.

    Args:
        table: rows of one split from `failures.group_table` of strips, with `orientation`.
        cast: of the panels.
        width_in: inches.
    """
    strips = table.drop_duplicates("strip").sort_values("strip")
    places = {name: place for place, name in enumerate(strips["strip"], start=1)}
    figure, axes = panel_grid([*cast.titles.values(), "Number of test tiles"], width_in, 1.45)
    for axis, name in zip(axes, cast.titles, strict=False):
        own = table[(table["variant"] == name) & table["f1"].notna()]
        if own.empty:
            remark(axis, "no scores")
        _strip_dots(axis, own.assign(place=own["strip"].map(places)), intervals=len(places) <= MOST_INTERVALS)
        axis.set(ylim=(-0.04, 1.04), yticks=[0, 0.5, 1])
    bar_panel(axes[-1], list(places.values()), list(strips["tiles"]))
    for axis in axes:
        axis.set_xlim(0.2, len(places) + 0.8)
        axis.grid(axis="x", visible=False)
        _day_lines(axis, list(places))
    _label(figure, axes[:-1], "strip, in the order of their names (ticks: first of a day)", "F1")
    dot: Any = {"linestyle": "none", "markersize": 5}
    handles = [
        Line2D([], [], color=colour, marker=marker, label=ORIENTATION_WORDS[value], **dot)
        for value, (marker, colour) in ORIENTATION_MARKS.items()
        if (strips["orientation"] == value).any()
    ]
    if (strips["tiles"] < FEW_TILES).any():
        words = f"hollow: fewer than {FEW_TILES} test tiles"
        handles.append(Line2D([], [], color=GREY, marker="^", markerfacecolor=SURFACE, label=words, **dot))
    figure.legend(handles=handles, loc="outside upper left", ncols=1 if is_narrow(width_in) else 3)
    return figure


def _strip_dots(axis: Axes, own: pd.DataFrame, intervals: bool) -> None:
    for value, (marker, colour) in ORIENTATION_MARKS.items():
        for few in (True, False):
            here = own[(own["orientation"] == value) & ((own["tiles"] < FEW_TILES) == few)]
            if intervals and not few:
                axis.vlines(here["place"], here["f1_low"], here["f1_high"], color=colour, linewidth=1.2)
            axis.plot(
                here["place"], here["f1"], linestyle="none", marker=marker, color=colour, markersize=4.5,
                markerfacecolor=SURFACE if few else colour, markeredgewidth=0.9, alpha=0.8 if few else 1,
            )  # fmt: skip


def _day_lines(axis: Axes, strips: list[str]) -> None:
    """Parts the days, where the names begin with the time of imaging as SpaceNet's do."""
    if not all(re.match(r"\d{4}(0[1-9]|1[0-2])\d{8}_", name) for name in strips):
        axis.xaxis.set_major_locator(MaxNLocator(nbins=4, integer=True))
        return
    days = [name[:8] for name in strips]
    for place in range(1, len(days)):
        if days[place] != days[place - 1]:
            axis.axvline(place + 0.5, color=GREY, linewidth=0.8, linestyle=":")
    first = {day: days.index(day) + 1 for day in dict.fromkeys(days)}
    shown = list(first)[:: 1 + len(first) // 5]
    words = [f"{int(day[6:])} {calendar.month_abbr[int(day[4:6])]}" for day in shown]
    axis.set_xticks([first[day] for day in shown], words)
    for word in axis.get_xticklabels():
        word.set_horizontalalignment("left")


def _bin_edges(axis: Axes, bins: pd.DataFrame) -> None:
    """Ticks between the bins, at the values that part them; buildings without a value stand apart."""
    known = bins[bins["low"].notna() | bins["high"].notna()]
    ticks = [(row["place"] + 0.5, _short(row["high"])) for _, row in known.iterrows() if pd.notna(row["high"])]
    if len(known) < len(bins):
        ticks.append((float(bins["place"].max()), "?"))
    axis.set_xticks([place for place, _ in ticks], [word for _, word in ticks])
    axis.set_xlim(-0.6, len(bins) - 0.4)
    axis.tick_params(axis="x", labelsize=8)


def _short(value: float) -> str:
    return f"{value / 1000:g}k" if value >= 1000 else f"{value:g}"


def _label(figure: Figure, axes: list[Axes], x_label: str, y_label: str) -> None:
    """Labels the axes once for all panels; the numbers of the vertical one stand at the left panel of each row."""
    for axis in axes:
        place = axis.get_subplotspec()
        axis.tick_params(axis="y", labelleft=place is None or place.is_first_col())
    figure.supxlabel(x_label, fontsize=9, color=MUTED)
    figure.supylabel(y_label, fontsize=9, color=MUTED)
