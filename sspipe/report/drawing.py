"""A figure as a page shows it: for a laptop and for a phone, with its caption and its alt text."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pandas as pd
from matplotlib.figure import Figure

from sspipe.report import style


class Drawing(NamedTuple):
    """A figure on a page, in two widths."""

    name: str
    caption: str
    data: str  # where its numbers are
    wide: str  # <svg> elements
    narrow: str


def drawing(name: str, draw: Callable[[float], Figure], alt: str, caption: str, data: str) -> Drawing:
    """Draws a figure for laptop and phone.

    Args:
        name: of the figure, once on its page.
        draw: draws it in a width, inches.
        alt: what a reader who cannot see it is told.
        caption: below it.
        data: where its numbers are, for example `catalog.parquet`.
    """
    return _drawing(name, style.svg_text(draw(style.WIDE_IN)), draw, alt, caption, data)


def saved_drawing(
    folder: Path, name: str, draw: Callable[[float], Figure], table: pd.DataFrame, alt: str, caption: str
) -> Drawing:
    """Draws a figure, and saves the wide one in `folder` with its numbers and its caption beside it."""
    wide = style.svg_text(draw(style.WIDE_IN))
    style.save_figure(wide, table, folder, name)
    # As reStructuredText, which Snakemake's own report takes captions in (rules/captions/figure.rst).
    (folder / f"{name}.rst").write_text(f"{as_restructured_text(caption)}\n")
    return _drawing(name, wide, draw, alt, caption, f"figures/{name}.csv")


def as_restructured_text(text: str) -> str:
    """Escapes what reStructuredText would take for markup, in text of one paragraph."""
    return re.sub(r"([\\*`|_<>:.\[\]-])", r"\\\1", " ".join(text.split()))


def _drawing(name: str, wide: str, draw: Callable[[float], Figure], alt: str, caption: str, data: str) -> Drawing:
    narrow = style.svg_text(draw(style.NARROW_IN))
    return Drawing(
        name=name,
        caption=caption,
        data=data,
        wide=style.inline_svg(wide, f"{name}-wide", alt),
        narrow=style.inline_svg(narrow, f"{name}-narrow", alt),
    )
