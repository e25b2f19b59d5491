"""The section on leakage: what test tiles share with training, where the tiles lie, and the gap it makes."""

from __future__ import annotations

import functools
from pathlib import Path

import pandas as pd

from sspipe.report import figures, wording
from sspipe.report.drawing import saved_drawing
from sspipe.report.results import Results
from sspipe.report.section import Section


def leakage_section(results: Results, gaps: pd.DataFrame, folder: Path) -> Section:
    """Draws the leakage of each split, the map of tiles and, if a variant was trained on both kinds of split, the gap.

    Args:
        results: of the experiment.
        gaps: `comparison.leak_gaps`.
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
    gap = None
    if len(gaps):
        gap = saved_drawing(
            folder,
            "leak_gap",
            functools.partial(figures.gap_figure, gaps),
            gaps,
            "Dumbbell chart: F1 on the random and on the spatial split of each variant trained on both. "
            + "; ".join(f"{row['title']}: gap {wording.signed(row['gap'])}" for _, row in gaps.iterrows())
            + ".",
            "F1 of the same variant on both splits, with 95 % intervals; bold: random minus spatial.",
        )
    content = {
        "drawings": {"leakage": leakage, "map": place, "gap": gap},
        "leakage": results.leakage.to_dict("records"),
        "counts": figures.subset_counts(results.tiles).to_dict("records"),
        "subsets": list(figures.SUBSET_WORDS),
        "subset_words": figures.SUBSET_WORDS,
    }
    return Section("leakage", "Leakage", "What the test tiles share with training", "leakage.html.jinja", content)
