"""Sections of plots: each drawing in two widths, with its caption, its alt text and its data."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import pandas as pd

from sspipe.report import comparison, curves, figures, wording
from sspipe.report.drawing import Drawing, saved_drawing
from sspipe.report.results import Results


def score_drawings(
    results: Results,
    table: pd.DataFrame,
    gaps: pd.DataFrame,
    kinds: dict[str, str],
    synthetic: bool,
    folder: Path,
) -> dict[str, Drawing | None]:
    """Draws F1, leakage, the map of tiles and, if a variant was trained on both kinds of split, the gap."""
    paper_splits = () if synthetic else tuple(split for split, kind in kinds.items() if kind == "random")
    diamond = " Orange diamonds: the paper's F1 (its own random split)." if paper_splits else ""
    seeds = " Ticks: single seeds." if (table["seeds"] > 1).any() else ""
    f1 = saved_drawing(
        folder,
        "f1_by_variant",
        functools.partial(figures.f1_figure, table, results.runs, paper_splits=paper_splits),
        table,
        "Dot plot: SpaceNet F1 of each variant with its 95 % interval, one panel for each split. " + _spoken_f1(table),
        "SpaceNet F1 of each variant. Open grey dots: floor (never sees EO) and ceiling (EO at test too)."
        f"{seeds}{diamond}",
    )
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
    return {"f1": f1, "leakage": leakage, "map": place, "gap": gap}


def _spoken_f1(table: pd.DataFrame) -> str:
    parts = []
    for split, rows in table.groupby("split", sort=False):
        named = "; ".join(f"{row['title']} {wording.number(row['f1'])}" for _, row in rows.iterrows())
        parts.append(f"{split} split: {named}.")
    return " ".join(parts)


def learning_section(results: Results, folder: Path) -> dict[str, Any]:
    """Draws the learning curves of each split, and Fig. 2's comparison wherever both its variants were trained."""
    titles = dict(zip(results.runs["variant"], results.runs["title"], strict=True))
    epochs = results.epochs.assign(title=results.epochs["variant"].map(lambda name: titles.get(name, name)))
    learning, pairs = [], []
    for split in results.splits:
        here = epochs[epochs["split"] == split]
        data = here.assign(views=["+".join(views) for views in here["views"]])
        drawing = saved_drawing(
            folder,
            f"learning_curves_{split}",
            functools.partial(curves.learning_figure, here),
            data,
            f"Learning curves of {here['variant'].nunique()} variants on the {split} split: loss and validation pixel "
            "IoU by epoch.",
            "Training and validation loss, and pixel IoU on the validation tiles (dot: best epoch of the last stage); "
            "dotted lines part the stages, which are labelled by the views they train on. Loss axes differ between "
            "variants.",
        )
        learning.append({"split": split, "drawing": drawing})
        for alone, both in comparison.loss_pairs(results.variants):
            if {alone, both} <= set(here["variant"]):
                pairs.append(_loss_part(split, data[data["variant"].isin([alone, both])], alone, both, folder))
    return {"learning": learning, "loss_pairs": pairs}


def _loss_part(split: str, epochs: pd.DataFrame, alone: str, both: str, folder: Path) -> dict[str, Any]:
    sentence = wording.loss_sentence(epochs, alone, both)
    drawing = saved_drawing(
        folder,
        f"bce_against_bce_dice_{split}_{both}",
        functools.partial(curves.loss_figure, epochs, alone, both),
        epochs,
        f"Learning curves of {both} with BCE alone and with BCE + Dice on the {split} split. {sentence}",
        f"The same network ({both}) with and without the Dice loss. The totals are different sums, so the first panel "
        "shows what both have: BCE.",
    )
    return {"split": split, "sentence": sentence, "drawing": drawing}
