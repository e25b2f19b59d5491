"""The section of learning curves, and the paper's Fig. 2."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import pandas as pd

from sspipe.report import comparison, curves, wording
from sspipe.report.drawing import saved_drawing
from sspipe.report.results import Results
from sspipe.report.section import Section


def learning_section(results: Results, folder: Path) -> Section:
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
    content = {"learning": learning, "loss_pairs": pairs}
    return Section("learning", "Learning", "Learning", "learning.html.jinja", content)


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
