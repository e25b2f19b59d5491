"""The printed form of a test tile: the paper's Figs. 4 to 6, as one figure."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import shapely
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import PlaceHolderLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, PathPatch
from matplotlib.path import Path as Outline

from sspipe.report import outlines, wording
from sspipe.report.outlines import FALSE, FOUND, MISSED, UNSCORED, Judged
from sspipe.report.panels import Panel, scale_bar_m
from sspipe.report.style import plain, styled

# Over a grey radar picture: apart in hue for colour-blind readers, and in fill and line for those who print in grey.
COLOURS = {FOUND: "#4cc3ff", FALSE: "#ff8c2e", MISSED: "#ffe14d", UNSCORED: "#ffffff"}
LINES: dict[str, Any] = {FOUND: "-", FALSE: "-", MISSED: (0, (3, 1.5)), UNSCORED: (0, (1, 2))}
COLUMNS = 4
# More variants than these make a figure of many thousand pixels, and minutes of them; the page has them all.
MOST_VARIANTS = 21
GAP_IN, LABEL_IN, LEGEND_IN = 0.07, 0.34, 0.55


@styled
def panel_figure(panel: Panel, width_in: float) -> Figure:
    """Draws one tile at one scale: EO, SAR, truth over SAR, and variants' footprints over SAR.

    Args:
        panel: the tile; of very many variants those with the highest F1 on it are drawn.
        width_in: inches.
    """
    scores = panel.scores
    if len(scores) > MOST_VARIANTS:
        best = scores.sort_values("f1", ascending=False, kind="stable", na_position="last").head(MOST_VARIANTS)
        scores = scores.loc[scores.index.isin(best.index)]
    rows = math.ceil((len(scores) + 3) / COLUMNS)
    side = (width_in - GAP_IN * (COLUMNS + 1)) / COLUMNS
    height = rows * (side + LABEL_IN + GAP_IN) + LEGEND_IN
    # Placed by hand: an automatic layout draws every picture once more, and most of the time goes into that.
    figure = Figure(figsize=(width_in, height), layout=PlaceHolderLayoutEngine(True, True))
    axes = []
    for place in range(len(scores) + 3):
        row, column = divmod(place, COLUMNS)
        left, top = GAP_IN + column * (side + GAP_IN), (row + 1) * (side + LABEL_IN + GAP_IN)
        axes.append(figure.add_axes((left / width_in, 1 - top / height, side / width_in, side / height)))
        axes[-1].set_axis_off()
    grey = _greyed(panel.radar)
    if panel.optical is None:
        axes[0].text(0.5, 0.5, "no optical image", ha="center", va="center", transform=axes[0].transAxes)
        axes[0].set_title("Optical (EO)", fontsize=8.5)
        axes[0].set(xlim=(0, panel.size_px), ylim=(panel.size_px, 0), aspect="equal")
    else:
        _picture(axes[0], panel, panel.optical, "Optical (EO)")
    _picture(axes[1], panel, panel.radar, "Radar (SAR)")
    _picture(axes[2], panel, grey, f"Truth: {wording.counted(len(panel.truth.scored), 'building')}")
    _outline(axes[2], panel.truth.scored, "white", "-", width=1.0)
    _outline(axes[2], panel.truth.unscored, COLOURS[UNSCORED], LINES[UNSCORED], width=0.7)
    for axis, score in zip(axes[3:], scores.itertuples(), strict=True):
        _picture(axis, panel, grey, f"{plain(str(score.title))}\nF1 {wording.number(score.f1, 2)}")
        _footprints(axis, panel.judged[str(score.variant)])
    _scale_and_north(axes[1], panel)
    figure.legend(handles=_handles(), loc="lower left", ncols=2, borderaxespad=0.4)
    if len(scores) < len(panel.scores):
        words = f"The {len(scores)} highest F1 on this tile, of {len(panel.scores)} variants"
        figure.text(1 - GAP_IN / width_in, GAP_IN / height, words, ha="right", va="bottom", fontsize=8.5)
    return figure


def _picture(axis: Axes, panel: Panel, picture: np.ndarray, label: str) -> None:
    axis.imshow(picture, extent=(0, panel.size_px, panel.size_px, 0), interpolation="nearest")
    axis.set_title(label, fontsize=8.5)


def _greyed(picture: np.ndarray) -> np.ndarray:
    """Takes the colours out and some of the light, so that those of the footprints stand out."""
    grey = picture @ np.array([0.299, 0.587, 0.114]) * 0.8
    return np.repeat(np.rint(grey).astype(np.uint8)[..., None], 3, axis=2)


def _footprints(axis: Axes, shown: Judged) -> None:
    _outline(axis, shown.unscored, COLOURS[UNSCORED], LINES[UNSCORED], width=0.7)
    _outline(axis, shown.false, COLOURS[FALSE], LINES[FALSE], hatch="/////")
    _outline(axis, shown.missed, COLOURS[MISSED], LINES[MISSED])
    _outline(axis, shown.found, COLOURS[FOUND], LINES[FOUND], fill=0.35)


def _outline(
    axis: Axes,
    shapes: Iterable[shapely.Geometry],
    colour: str,
    line: Any,
    width: float = 1.2,
    fill: float = 0.0,
    hatch: str | None = None,
) -> None:
    parts = [
        Outline(shapely.get_coordinates(ring), closed=True)
        for polygon in shapely.get_parts(shapely.orient_polygons(np.array(list(shapes), dtype=object)))
        for ring in shapely.get_rings(polygon)
    ]
    if not parts:
        return
    outline = Outline.make_compound_path(*parts)
    axis.add_patch(PathPatch(outline, facecolor="none", edgecolor="black", linewidth=width + 1.1, alpha=0.75))
    if fill or hatch:
        axis.add_patch(PathPatch(outline, facecolor=(colour, fill), edgecolor=(colour, 0.8), linewidth=0, hatch=hatch))
    axis.add_patch(PathPatch(outline, facecolor="none", edgecolor=colour, linewidth=width, linestyle=line))


def _handles() -> list[Patch | Line2D]:
    ground = "#4a5058"
    return [
        Patch(facecolor=ground, edgecolor=COLOURS[FOUND], linewidth=1.5, label=outlines.KIND_WORDS[FOUND]),
        Patch(
            facecolor=ground, edgecolor=COLOURS[FALSE], linewidth=1.5, hatch="////", label=outlines.KIND_WORDS[FALSE]
        ),
        Patch(
            facecolor=ground,
            edgecolor=COLOURS[MISSED],
            linewidth=1.5,
            linestyle="--",
            label=outlines.KIND_WORDS[MISSED],
        ),
        Patch(
            facecolor=ground,
            edgecolor=COLOURS[UNSCORED],
            linewidth=1.0,
            linestyle=":",
            label=outlines.KIND_WORDS[UNSCORED],
        ),
    ]


def _scale_and_north(axis: Axes, panel: Panel) -> None:
    side = panel.size_px
    length, margin = scale_bar_m(panel.side_m) / panel.side_m * side, side * 0.05
    for colour, width in (("black", 5.5), ("white", 3)):
        axis.plot([margin, margin + length], [side - margin] * 2, color=colour, linewidth=width, solid_capstyle="butt")
    box = {"facecolor": "black", "pad": 1.5, "alpha": 0.6, "edgecolor": "none"}
    label = f"{scale_bar_m(panel.side_m):g} m"
    axis.text(margin, side - 1.7 * margin, label, color="white", fontsize=8.5, bbox=box)
    axis.annotate(
        "N",
        xy=(side - margin, margin * 0.8),
        xytext=(side - margin, margin * 3.4),
        color="white",
        fontsize=9,
        fontweight="bold",
        ha="center",
        va="center",
        bbox=box,
        arrowprops={"arrowstyle": "-|>", "color": "white", "linewidth": 1.5},
    )
    axis.set(xlim=(0, side), ylim=(side, 0))
