"""The section of learning curves, and the paper's Fig. 2."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import pandas as pd

from sspipe.report import comparison, curves, wording
from sspipe.report import learning_words as words
from sspipe.report.drawing import saved_drawing
from sspipe.report.multiples import cast
from sspipe.report.results import RUN, Results
from sspipe.report.section import Section

# Of Fig. 2's comparisons on one split: a hundred ablations may hold hundreds.
MOST_PAIRS = 4


def learning_section(results: Results, folder: Path) -> Section:
    """Draws the learning curves of each split, and Fig. 2's comparison wherever both its variants were trained.

    Args:
        results: of the experiment.
        folder: where figures are saved.

    Returns:
        the section; its content has `learning` (a part for each split that has trainings), `loss_pairs`, and
        `more_pairs`, which are not drawn.
    """
    epochs = with_chosen(results.epochs, results.trains)
    learning, pairs = [], []
    more: list[str] = []
    # As results.epochs has them, and a split whose runs have no scores yet too.
    for split in epochs["split"].unique():
        here = epochs[epochs["split"] == split]
        learning.append(_split_part(results, str(split), here, folder))
        trained = [pair for pair in comparison.loss_pairs(results.variants) if set(pair) <= set(here["variant"])]
        # One for each network, which names the figure.
        drawn = list({both: (alone, both) for alone, both in reversed(trained)}.values())[::-1][:MOST_PAIRS]
        for alone, both in drawn:
            pairs.append(_loss_part(str(split), here[here["variant"].isin([alone, both])], alone, both, folder))
        more += [f"{alone} and {both} ({split} split)" for alone, both in trained if (alone, both) not in drawn]
    content = {"learning": learning, "loss_pairs": pairs, "more_pairs": more and wording.listed(more)}
    return Section("learning", "Learning", "Learning", "learning.html.jinja", content)


def with_chosen(epochs: pd.DataFrame, trains: list[dict[str, Any]]) -> pd.DataFrame:
    """Marks the epoch whose weights each run kept.

    Args:
        epochs: `Results.epochs`.
        trains: `Results.trains`.

    Returns:
        epochs with `chosen` (bool); as train.json says it: the best, or the last where the variant selects that.
    """
    kept = pd.DataFrame(
        [{**{key: record[key] for key in RUN}, "stage": record["best"]["stage"], "epoch": record["best"]["epoch"]}
         for record in trains]
    )  # fmt: skip
    found = epochs.merge(kept.assign(chosen=True), on=[*RUN, "stage", "epoch"], how="left")
    return found.assign(chosen=found["chosen"].notna())


def _split_part(results: Results, split: str, epochs: pd.DataFrame, folder: Path) -> dict[str, Any]:
    config = results.config
    expected = config.variants_of(split) if split in config.splits else []
    variants = {**config.variants, **results.variants}
    names = dict.fromkeys([*(name for name in config.variants if name in expected), *epochs["variant"]])
    titles = {name: variants[name].title or name for name in names}
    last = epochs[epochs["stage"] == epochs["stages"]]
    best = last.groupby("variant", sort=False)["validation_iou"].max().to_dict()
    shown = cast(titles, best, config.score.baseline)
    caption = (
        "Training and validation loss, and pixel IoU on the validation tiles, by epoch. Thick: mean over seeds; thin: "
        "single seeds; dots: the epochs whose weights were kept. Dotted lines part the stages, labelled by the views "
        "they train on. Loss axes differ between variants."
    )
    if shown.unseen:
        caption += (
            f" Shown: the baseline and the variants with the best validation IoU, {len(shown.titles)} in all; "
            f"{shown.unseen} more are in the data."
        )
    return {
        "split": split,
        "missing": words.kept_out([titles[name] for name in names if name not in best], split),
        "drawing": saved_drawing(
            folder,
            f"learning_curves_{split}",
            functools.partial(curves.learning_figure, epochs, shown),
            _data(epochs, titles),
            f"Learning curves of {len(best)} variants on the {split} split: loss and validation pixel IoU by epoch. "
            f"{_best_sentence(best, titles)}",
            caption,
        ),
    }


def _best_sentence(best: dict[str, float], titles: dict[str, str]) -> str:
    told = [f"{titles[name]} {iou:.3f}" for name, iou in sorted(best.items(), key=lambda item: -item[1])[:4]]
    return f"Best validation IoU: {', '.join(told)}."


def _loss_part(split: str, epochs: pd.DataFrame, alone: str, both: str, folder: Path) -> dict[str, Any]:
    sentence = words.loss_sentence(epochs, alone, both)
    drawing = saved_drawing(
        folder,
        f"bce_against_bce_dice_{split}_{both}",
        functools.partial(curves.loss_figure, epochs, alone, both),
        _data(epochs, {}),
        f"Learning curves of {both} with BCE alone and with BCE + Dice on the {split} split. {sentence}",
        f"The same network ({both}) without and with the Dice loss, as in the paper’s Fig. 2. The losses are different "
        "sums: compare how restless they are and how far validation parts from training, not their height.",
    )
    return {"split": split, "sentence": sentence, "drawing": drawing}


def _data(epochs: pd.DataFrame, titles: dict[str, str]) -> pd.DataFrame:
    table = epochs.assign(views=["+".join(views) for views in epochs["views"]])
    return table.assign(title=table["variant"].map(titles)) if titles else table
