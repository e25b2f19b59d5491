"""The section on leakage: what test tiles share with training, and where the tiles lie."""

from __future__ import annotations

import functools
from pathlib import Path

from sspipe.report import figures
from sspipe.report.drawing import saved_drawing
from sspipe.report.results import Results
from sspipe.report.section import Section


def leakage_section(results: Results, folder: Path) -> Section:
    """Draws the leakage of each split and the map of tiles; the gap that it makes is in the answer.

    Args:
        results: of the experiment.
        folder: where figures are saved.
    """
    leakage = saved_drawing(
        folder,
        "leakage",
        functools.partial(figures.leakage_figure, results.leakage),
        results.leakage,
        "Bar chart: share of test tiles whose ground training has seen, for each split; numbers in the table below.",
        "How much of the test tiles' ground was seen: training tiles, and the validation tiles that choose the epoch.",
    )
    counted = results.tiles[["split", "tile_id", "subset", "easting_m", "northing_m", "size_px", "pixel_m"]]
    place = saved_drawing(
        folder,
        "tile_map",
        functools.partial(figures.tile_map_figure, results.tiles),
        counted,
        "Map of the outlines of all tiles, coloured by subset, one panel for each split; counts in the table above.",
        "Where the tiles lie: a box for each tile's outline and a mark at its centre, test on top.",
    )
    content = {
        "drawings": {"leakage": leakage, "map": place},
        "leakage": results.leakage.to_dict("records"),
        "counts": figures.subset_counts(results.tiles).to_dict("records"),
        "subsets": list(figures.SUBSET_WORDS),
        "subset_words": figures.SUBSET_WORDS,
    }
    return Section("leakage", "Leakage", "What the test tiles share with training", "leakage.html.jinja", content)
