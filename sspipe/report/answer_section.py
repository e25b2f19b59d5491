"""The first section: what each split says, and F1 of every variant with its interval."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from sspipe.report import figures, wording
from sspipe.report.drawing import saved_drawing
from sspipe.report.results import Results
from sspipe.report.section import Section


def answer_section(
    results: Results, table: pd.DataFrame, gaps: pd.DataFrame, kinds: Mapping[str, str], synthetic: bool, folder: Path
) -> Section:
    """Says who does best on each split and how large the leak is, and draws F1.

    Args:
        results: of the experiment.
        table: `comparison.table_one`.
        gaps: `comparison.leak_gaps`.
        kinds: `random`, `spatial` or `baseline_x` for each split.
        synthetic: whether the data are generated; the paper's numbers are then not drawn.
        folder: where figures are saved.
    """
    paper_splits = () if synthetic else tuple(split for split, kind in kinds.items() if kind == "random")
    diamond = " Orange diamonds: the paper's F1 (its own random split)." if paper_splits else ""
    seeds = " Ticks: single seeds." if (table["seeds"] > 1).any() else ""
    drawing = saved_drawing(
        folder,
        "f1_by_variant",
        functools.partial(figures.f1_figure, table, results.runs, paper_splits=paper_splits),
        table,
        "Dot plot: SpaceNet F1 of each variant with its 95 % interval, one panel for each split. " + _spoken_f1(table),
        "SpaceNet F1 of each variant. Open grey dots: floor (never sees EO) and ceiling (EO at test too)."
        f"{seeds}{diamond}",
    )
    content = {
        "splits": [
            {"name": split, "sentence": wording.best_sentence(table[table["split"] == split])}
            for split in results.splits
        ],
        "gap_sentence": wording.gap_sentence(gaps, results.leakage),
        "drawing": drawing,
    }
    return Section("answer", "The answer", "The answer", "answer.html.jinja", content)


def _spoken_f1(table: pd.DataFrame) -> str:
    parts = []
    for split, rows in table.groupby("split", sort=False):
        named = "; ".join(f"{row['title']} {wording.number(row['f1'])}" for _, row in rows.iterrows())
        parts.append(f"{split} split: {named}.")
    return " ".join(parts)
