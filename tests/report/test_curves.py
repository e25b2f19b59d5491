"""Learning curves: each variant, each seed, each stage, and what Fig. 2's comparison says."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest

from sspipe.report import curves, style
from sspipe.report.learning_section import with_chosen
from sspipe.report.learning_words import loss_sentence
from sspipe.report.multiples import MOST_PANELS, cast

WIDTHS = [style.WIDE_IN, style.NARROW_IN]


def texts(figure) -> list[str]:
    return re.findall(r"<text[^>]*>([^<]*)</text>", style.svg_text(figure))


def epochs(variants: int, seeds: int = 1, steps: int = 6) -> pd.DataFrame:
    """Two stages of equal length; IoU rises by a tenth of the whole an epoch, and the last is kept."""
    step = np.arange(1, steps + 1)
    stage = 1 + (step > steps // 2)
    one = pd.DataFrame(
        {
            "step": step, "stage": stage, "stages": 2, "epoch": np.where(stage == 1, step, step - steps // 2),
            "views": [["eo"] if part == 1 else ["sar"] for part in stage], "train_loss": 1 / step,
            "train_bce": 1 / step, "validation_loss": 1.5 / step, "validation_iou": step / (2 * steps),
            "learning_rate": 0.002, "chosen": step == steps,
        }
    )  # fmt: skip
    return pd.concat(
        [one.assign(variant=f"v{variant}", seed=seed) for variant in range(variants) for seed in range(seeds)],
        ignore_index=True,
    )


def everyone(table: pd.DataFrame, more: tuple[str, ...] = ()):
    names = [*dict.fromkeys(table["variant"]), *more]
    scores = table.groupby("variant")["validation_iou"].max().to_dict()
    return cast({name: name.replace("v", "Variant ") for name in names}, scores, "v0")


def lines(axis, colour: str) -> list:
    return [line for line in axis.lines if line.get_color() == colour and line.get_linestyle() != "None"]


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("variants", [1, 3])
def test_curves_label_their_stages_and_say_which_epoch_was_kept(width, variants):
    table = epochs(variants, seeds=2)
    shown = texts(curves.learning_figure(table, everyone(table), width))
    assert {f"Variant {place}" for place in range(variants)} <= set(shown)
    assert shown.count("EO") == shown.count("SAR") == 2 * variants
    assert shown.count("epoch (learning rate 0.002; kept: IoU 0.500 at epoch 6)") == variants


def test_the_thick_line_is_the_mean_of_the_seeds_and_thin_ones_are_the_seeds():
    table = epochs(1, seeds=3)
    table["validation_iou"] += 0.01 * table["seed"]
    _, iou = curves.learning_figure(table, everyone(table), style.WIDE_IN).subfigs[0].axes
    found = lines(iou, style.GREEN)
    thick = max(found, key=lambda line: line.get_linewidth())
    assert thick.get_ydata() == pytest.approx([step / 12 + 0.01 for step in range(1, 7)])
    thin = [line.get_ydata() for line in found if line is not thick]
    assert len(thin) == 3
    assert np.sort([line[-1] for line in thin]) == pytest.approx([0.5, 0.51, 0.52])


def test_a_variant_without_training_leaves_a_marked_gap():
    table = epochs(2)
    shown = texts(curves.learning_figure(table, everyone(table, ("v9",)), style.WIDE_IN))
    assert "Variant 9" in shown and shown.count("no training") == 2


def test_a_run_whose_loss_is_no_number_is_still_drawn():
    table = epochs(2)
    table.loc[table["variant"] == "v1", ["train_loss", "validation_loss", "validation_iou"]] = np.nan
    assert "epoch (learning rate 0.002)" in texts(curves.learning_figure(table, everyone(table), style.NARROW_IN))


@pytest.mark.parametrize(("variants", "seeds"), [(100, 1), (8, 13)])
def test_two_hundred_runs_stay_readable_and_small(variants, seeds):
    table = epochs(variants, seeds, steps=200)
    shown = everyone(table)
    figure = curves.learning_figure(table, shown, style.WIDE_IN)
    assert len(figure.subfigs) == MOST_PANELS and "v0" in shown.titles
    assert shown.unseen == variants - MOST_PANELS
    assert len(style.svg_text(figure)) < 700_000


def test_the_chosen_epoch_is_the_one_that_train_json_names():
    table = epochs(1, seeds=2).drop(columns="chosen").assign(split="spatial")
    trains = [
        {"split": "spatial", "variant": "v0", "seed": seed, "best": {"stage": 2, "epoch": epoch, "validation_iou": 0}}
        for seed, epoch in ((0, 1), (1, 3))
    ]
    found = with_chosen(table, trains)
    assert len(found) == len(table)
    kept = found[found["chosen"]]
    assert list(zip(kept["seed"], kept["step"], strict=True)) == [(0, 4), (1, 6)]


@pytest.mark.parametrize("width", WIDTHS)
def test_fig_2_has_both_losses_and_the_iou_of_both(width):
    figure = curves.loss_figure(epochs(2), "v0", "v1", width)
    shown = texts(figure)
    assert {"(a) BCE alone: loss", "(b) BCE + Dice: loss", "Pixel IoU on the validation tiles"} <= set(shown)
    *_, iou = figure.axes
    assert len(lines(iou, style.GREEN)) == 2
    assert len({line.get_linestyle() for line in lines(iou, style.GREEN)}) == 2  # apart without colour


def loss_epochs(**runs: tuple[list[float], float]) -> pd.DataFrame:
    """By variant: validation IoU of each epoch, and how many times the training loss the validation loss is."""
    rows = [
        {
            "variant": variant, "seed": 0, "stage": 1, "stages": 1, "validation_iou": iou, "train_loss": 0.5,
            "validation_loss": 0.5 * ratio,
        }
        for variant, (ious, ratio) in runs.items()
        for iou in ious
    ]  # fmt: skip
    return pd.DataFrame(rows)


def test_stability_is_not_compared_with_a_network_that_found_nothing():
    table = loss_epochs(alone=([0.0, 0.001, 0.0, 0.0], 1.2), both=([0.2, 0.4, 0.5, 0.45], 1.1))
    told = loss_sentence(table, "alone", "both")
    assert "found next to no building" in told and "here" not in told


def test_the_sentence_says_which_claims_of_the_paper_can_be_seen():
    table = loss_epochs(alone=([0.1, 0.3, 0.2, 0.4], 1.5), both=([0.2, 0.4, 0.45, 0.5], 1.1))
    told = loss_sentence(table, "alone", "both")
    assert "0.400 with BCE alone, 0.500 with BCE + Dice" in told
    assert "0.200 and 0.050" in told
    assert "1.50 times the training loss with BCE alone and 1.10 times with both" in told
    assert told.endswith("here all three hold (one seed, so it may be chance).")
    table.loc[table["variant"] == "both", "validation_loss"] *= 2
    assert "here of these, stability and accuracy can be seen" in loss_sentence(table, "alone", "both")
