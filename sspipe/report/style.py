"""How figures look: one palette for light and dark, one matplotlib style, and SVG that a page can recolour.

Figures are drawn in the light colours. On the page every one of those colours becomes a CSS variable, so the same
drawing follows the reader's colour scheme. The series colours start from Okabe and Ito's set, which colour-blind
readers can tell apart.
"""

from __future__ import annotations

import functools
import html
import io
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ParamSpec

import matplotlib
import pandas as pd
from matplotlib.figure import Figure

Arguments = ParamSpec("Arguments")

# name: (light, dark). Every light value occurs once, because it is what is looked for in the SVG.
PALETTE = {
    "ink": ("#1a1f26", "#e9ecf0"),
    "muted": ("#56606b", "#a7b1bc"),
    "line": ("#d9dee4", "#363e48"),
    "surface": ("#ffffff", "#14181d"),
    "raised": ("#f4f6f8", "#1d232a"),
    "blue": ("#0072b2", "#5cb8ec"),
    "orange": ("#d55e00", "#ff9a4f"),
    "green": ("#008f68", "#3fd6a6"),
    "purple": ("#a8528c", "#e5a5d0"),
    "grey": ("#7d8792", "#949eaa"),
}
INK, MUTED, LINE, SURFACE, RAISED, BLUE, ORANGE, GREEN, PURPLE, GREY = (light for light, _ in PALETTE.values())

# Inches at 96 px to the inch: the page's column on a laptop, and a phone of 390 px less its margins.
WIDE_IN = 10.8
NARROW_IN = 3.7
# Below this width a figure puts labels above its rows and its panels below each other.
NARROW_BELOW_IN = 6.0
DIGITS = re.compile(r"(\.\d\d)\d+")

STYLE: Any = {
    "figure.facecolor": SURFACE,
    "savefig.facecolor": SURFACE,
    "figure.constrained_layout.use": True,
    "axes.facecolor": "none",
    "axes.edgecolor": GREY,
    "axes.labelcolor": MUTED,
    "axes.titlecolor": INK,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": LINE,
    "grid.linewidth": 0.8,
    "text.color": INK,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "font.family": "DejaVu Sans",  # ships with matplotlib: the layout is the same everywhere
    "font.size": 9,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "svg.fonttype": "none",  # real text: it can be read aloud, searched and selected
    "svg.hashsalt": "sspipe",  # the same drawing gives the same bytes
}


def styled(draw: Callable[Arguments, Figure]) -> Callable[Arguments, Figure]:
    """Runs a drawing function under the house style."""

    @functools.wraps(draw)
    def wrapper(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Figure:
        with matplotlib.rc_context(STYLE):
            return draw(*args, **kwargs)

    return wrapper


def plain(text: str) -> str:
    """Text for a figure that somebody else wrote: matplotlib takes what stands between two dollars for a formula."""
    return text.replace("$", r"\$")


def is_narrow(width_in: float) -> bool:
    """Whether a figure of this width is for a phone."""
    return width_in < NARROW_BELOW_IN


def svg_text(figure: Figure) -> str:
    """Draws a figure as SVG text: no date, no random ids."""
    buffer = io.StringIO()
    with matplotlib.rc_context(STYLE):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    # A viewer without that font takes its plain one, not a serif.
    return _slim(buffer.getvalue()).replace("'DejaVu Sans'", "'DejaVu Sans', sans-serif")


def _slim(svg: str) -> str:
    """Leaves out what nobody sees, about a third of the bytes: a page holds dozens of drawings, each in two widths."""
    # A hundredth of a point is below a pixel. Only where things lie: a number that is printed keeps its digits.
    svg = re.sub(r' (d|x|y|transform)="[^"]*"', lambda found: DIGITS.sub(r"\1", found[0]), svg)
    svg = re.sub(r' transform="rotate\(-0 [^"]*\)"', "", svg)
    referred = set(re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', svg))
    kept = {name for pair in referred for name in pair}
    svg = re.sub(r' id="([^"]+)"', lambda found: found[0] if found[1] in kept else "", svg)
    return re.sub(r"\n\s*", "\n", re.sub(r"\n(?=[LCQzM\"])", "", "".join(_without_bare_groups(svg))))


def _without_bare_groups(svg: str) -> Iterator[str]:
    """Leaves out `<g>` without attributes: it groups for nobody, once its id is gone."""
    kept: list[bool] = []
    # The text between the tags is at the even places.
    for place, part in enumerate(re.split(r"(<g\b[^>]*[^/]>|<g>|</g>)", re.sub(r"<g\b[^>]*/>", "", svg))):
        if place % 2 == 0:
            yield part
        elif part == "</g>":
            yield part if kept.pop() else ""
        else:
            kept.append(part != "<g>")
            yield part if kept[-1] else ""


def inline_svg(svg: str, name: str, alt: str) -> str:
    """Makes an SVG document fit into a page.

    Args:
        svg: the document, as `svg_text` gives it.
        name: put before every id, so that two figures on one page share none.
        alt: what a reader who cannot see it is told.

    Returns:
        An `<svg role="img">` element whose colours are the page's CSS variables and whose text is in the page's font.
    """
    body = svg[svg.index("<svg") :]
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.S)
    body = re.sub(r'\bid="([^"]+)"', rf'id="{name}-\1"', body)
    body = re.sub(r'href="#([^"]+)"', rf'href="#{name}-\1"', body)
    body = re.sub(r"url\(#([^)]+)\)", rf"url(#{name}-\1)", body)
    body = re.sub(r"'DejaVu Sans'[^;\"]*", "var(--font)", body)
    for colour, (light, _) in PALETTE.items():
        body = body.replace(light, f"var(--{colour})")
    label = html.escape(alt, quote=True)
    return body.replace("<svg ", f'<svg role="img" aria-label="{label}" ', 1)


def save_figure(svg: str, table: pd.DataFrame, folder: Path, name: str) -> None:
    """Writes `{name}.svg` and, beside it, the numbers in it as `{name}.csv`."""
    (folder / f"{name}.svg").write_text(svg)
    table.to_csv(folder / f"{name}.csv", index=False, lineterminator="\n")
