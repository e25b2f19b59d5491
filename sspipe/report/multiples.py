"""Small multiples: a panel a variant, so that many are told apart by their place and title, not by colour."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from sspipe.report.style import BLUE, GREY, INK, LINE, MUTED, ORANGE, SURFACE, is_narrow, plain

MOST_PANELS = 8
# With more than this many others their lines are one grey mass: the band they lie in says as much.
MOST_OTHERS = 12
# Of a line that only stands behind another.
MOST_POINTS = 80
NARROW_COLUMNS = 2
DASHES = (0, (4, 1.5))


@dataclass(frozen=True)
class Cast:
    """Who has a panel, and beside whom.

    Attributes:
        titles: of each variant with a panel, by name, in the order of the panels.
        baseline: whom every other is drawn beside; None if it has no scores.
        baseline_title: its title.
        unseen: how many more variants have scores.
    """

    titles: dict[str, str]
    baseline: str | None
    baseline_title: str = ""
    unseen: int = 0


def cast(titles: Mapping[str, str], scores: Mapping[str, float], baseline: str, told: str | None = None) -> Cast:
    """Chooses the variants with a panel: all if they are few, else the baseline and those with the best scores.

    Args:
        titles: of all variants, by name, in the order of the panels; one without a score gets an empty panel if there
            is room for all.
        scores: of those that ran.
        baseline: name of the baseline.
        told: name of the variant that the text beside the figure tells of; it has a panel like the baseline.
    """
    names = list(titles)
    if len(names) > MOST_PANELS:
        best = sorted(scores, key=lambda name: -np.nan_to_num(scores[name], nan=-1.0))
        chosen = dict.fromkeys([*(name for name in (baseline, told) if name in scores), *best])
        kept = set(list(chosen)[:MOST_PANELS])
        names = [name for name in names if name in kept]
    return Cast(
        titles={name: titles[name] for name in names},
        baseline=baseline if baseline in scores else None,
        baseline_title=titles.get(baseline, ""),
        unseen=len(set(scores) - set(names)),
    )


def columns_of(count: int, width_in: float) -> int:
    """How many panels stand side by side: as many as leave the last row fullest."""
    if is_narrow(width_in):
        return min(NARROW_COLUMNS, count)
    if count <= 4:
        return max(2, count)
    return min((4, 3), key=lambda columns: -count % columns)


def panel_grid(
    titles: Iterable[str],
    width_in: float,
    panel_in: float,
    columns: int | None = None,
    title_in: float | None = None,
) -> tuple[Figure, list[Axes]]:
    """Makes a figure of one axes a title, left to right and then down.

    Args:
        titles: of the panels; long ones are broken over three lines, as they often differ at their ends.
        width_in: of the figure, inches.
        panel_in: height of a panel with its title, inches.
        columns: side by side; None: `columns_of`.
        title_in: room for a title, inches; None: a panel's width.
    """
    titles = list(titles)
    columns = columns or columns_of(len(titles), width_in)
    rows = math.ceil(len(titles) / columns)
    letters = int(72 * (title_in or width_in / columns) / 6.2)
    broken = ["\n".join(textwrap.wrap(title, letters, max_lines=3, placeholder=" …")) for title in map(plain, titles)]
    # The legend is a row on a laptop, and a row for each of its entries on a phone.
    around_in = 1.5 if is_narrow(width_in) else 0.75
    more_in = 0.14 * max((title.count("\n") for title in broken), default=0)
    figure = Figure(figsize=(width_in, around_in + rows * (panel_in + more_in)), layout="constrained")
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axis, title in zip(axes, broken, strict=False):
        axis.set_title(title, fontsize=8.5)
    for axis in axes[len(titles) :]:
        axis.remove()
    return figure, axes[: len(titles)]


def draw_others(axis: Axes, table: pd.DataFrame, x: str, y: str) -> None:
    """Draws many variants as what lies behind one: a grey line each, or the band that they lie in.

    Args:
        axis: a panel.
        table: variant, x and y; and `bin`, where the variants' x differ within what is one bin for all.
        x: column.
        y: column.
    """
    if table["variant"].nunique() > MOST_OTHERS:
        places = table.dropna(subset=[y]).groupby(table.get("bin", table[x]))
        band = _thinned(pd.DataFrame({x: places[x].mean(), "low": places[y].min(), "high": places[y].max()}))
        axis.fill_between(band[x], band["low"], band["high"], color=LINE, linewidth=0)
        return
    for _, other in table.groupby("variant", sort=False):
        line = _thinned(other)
        axis.plot(line[x], line[y], color=GREY, linewidth=0.7, alpha=0.6)


def others_handle(count: int) -> list[Artist]:
    """What the legend says of `draw_others`; nothing if there are none."""
    if count > MOST_OTHERS:
        return [Patch(color=LINE, label=f"where {count} other variants lie")]
    return [Line2D([], [], color=GREY, linewidth=0.7, label="other variants")] if count > 0 else []


def draw_among(axis: Axes, table: pd.DataFrame, name: str, cast: Cast, x: str, y: str) -> None:
    """Draws a variant's line over the baseline's and everybody's.

    Args:
        axis: its panel.
        table: variant, x and y, `{y}_low` and `{y}_high` if there are intervals, and `few` (bool): drawn hollow.
        name: of the variant.
        cast: of the figure.
        x: column.
        y: column.
    """
    draw_others(axis, table[~table["variant"].isin([name, cast.baseline])], x, y)
    if cast.baseline not in (None, name):
        beside = table[table["variant"] == cast.baseline]
        axis.plot(beside[x], beside[y], color=ORANGE, linewidth=1.4, linestyle=DASHES)
    own = table[table["variant"] == name]
    if own[y].notna().sum() == 0:
        remark(axis, "no scores")
        return
    axis.plot(own[x], own[y], color=BLUE, linewidth=1.8)
    for few, fill in ((False, BLUE), (True, SURFACE)):
        here = own[(own["few"] == few) & own[y].notna()]
        if here.empty:
            continue  # an unclipped line without points has no extent that the layout could work with
        if f"{y}_low" in own:
            thin = 0.7 if few else 1.3
            axis.vlines(here[x], here[f"{y}_low"], here[f"{y}_high"], color=BLUE, linewidth=thin)
        axis.plot(
            here[x], here[y], linestyle="none", marker="o", markersize=4.5, color=BLUE, markerfacecolor=fill,
            markeredgewidth=1.2, clip_on=False, zorder=3,
        )  # fmt: skip


def legend_among(figure: Figure, table: pd.DataFrame, cast: Cast, width_in: float, few: str, intervals: bool) -> None:
    """Adds the legend of `draw_among`.

    Args:
        figure: of the panels.
        table: as there.
        cast: of the figure.
        width_in: inches.
        few: what hollow dots mean; shown where there are any.
        intervals: whether there are intervals.
    """
    own = "this variant, with 95 % interval" if intervals else "this variant"
    handles: list[Artist] = [Line2D([], [], color=BLUE, marker="o", markersize=4.5, linewidth=1.8, label=own)]
    names = table["variant"].nunique()
    if cast.baseline is not None and names > 1:
        label = textwrap.fill(f"baseline: {plain(cast.baseline_title)}", 46)
        handles.append(Line2D([], [], color=ORANGE, linestyle=DASHES, linewidth=1.4, label=label))
    # In the panel of the baseline all the others are grey.
    apart = cast.baseline is not None and (cast.baseline not in cast.titles or names > MOST_OTHERS + 2)
    handles += others_handle(names - 1 - apart)
    if table["few"].any():
        hollow: Any = {"marker": "o", "markersize": 4.5, "markerfacecolor": SURFACE, "linestyle": "none"}
        handles.append(Line2D([], [], color=BLUE, label=few, **hollow))
    figure.legend(handles=handles, loc="outside upper left", ncols=1 if is_narrow(width_in) else 4)


def _thinned(line: pd.DataFrame) -> pd.DataFrame:
    """At most `MOST_POINTS` of its rows, the first and the last among them."""
    if len(line) <= MOST_POINTS:
        return line
    return line.iloc[np.linspace(0, len(line) - 1, MOST_POINTS).round().astype(int)]


def bar_panel(axis: Axes, x: Sequence[float], counts: Sequence[float]) -> None:
    """Draws how many there are, each bar with its number."""
    bars = axis.bar(x, counts, width=0.72, color=GREY)
    if len(counts) <= MOST_OTHERS:
        axis.bar_label(bars, [f"{count:.0f}" for count in counts], padding=1, fontsize=7.5, color=INK)
        axis.set_yticks([])
    axis.set_ylim(0, max([1.0, *counts]) * 1.18)
    axis.grid(visible=False)


def remark(axis: Axes, text: str) -> None:
    """Writes into an empty panel why it is empty."""
    axis.text(0.5, 0.5, text, transform=axis.transAxes, ha="center", va="center", color=MUTED, fontsize=8.5)
