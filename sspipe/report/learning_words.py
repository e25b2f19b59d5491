"""What the learning curves show, in plain sentences."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

from sspipe.report.wording import number

# Below this a network has found next to no building, and its curve says nothing of stability.
LEARNED_IOU = 0.05
LEARNED_NOTHING = (
    "One of the two found next to no building in the epochs it had, so these curves do not compare their stability."
)
CLAIM = "The paper reports better stability, less overfitting and higher validation accuracy with both losses"


class _Curve(NamedTuple):
    """Means over the seeds of one variant, in its last stage."""

    best: float
    jump: float
    parting: float


def loss_sentence(epochs: pd.DataFrame, alone: str, both: str) -> str:
    """Says what Fig. 2's comparison shows: accuracy, stability and overfitting, and whether the paper's claim holds.

    Args:
        epochs: `Results.epochs` of one split.
        alone: name of the variant trained with BCE alone.
        both: name of the one trained with BCE + Dice.
    """
    one, two = _curve(epochs, alone), _curve(epochs, both)
    text = (
        f"Best validation pixel IoU: {number(one.best)} with BCE alone, {number(two.best)} with BCE + Dice. Mean "
        f"change from one epoch to the next in the later half: {number(one.jump)} and {number(two.jump)}. In the last "
        f"epoch the validation loss is {number(one.parting, 2)} times the training loss with BCE alone and "
        f"{number(two.parting, 2)} times with both. {CLAIM}"
    )
    if np.nanmin([one.best, two.best]) < LEARNED_IOU:
        return f"{text}. {LEARNED_NOTHING}"
    claims = {
        "stability": two.jump < one.jump,
        "overfitting": two.parting < one.parting,
        "accuracy": two.best > one.best,
    }
    seeds = epochs[epochs["variant"].isin([alone, both])].groupby("variant")["seed"].nunique().min()
    held = [name for name, holds in claims.items() if holds]
    verdict = "all three hold" if len(held) == 3 else f"of these, {' and '.join(held) or 'none'} can be seen"
    return f"{text}; here {verdict}{' (one seed, so it may be chance)' if seeds == 1 else ''}."


def kept_out(missing: list[str], split: str) -> str:
    """Says which variants of a split have no training; empty if all have."""
    return f"No training on the {split} split: {', '.join(missing)}." if missing else ""


def _curve(epochs: pd.DataFrame, variant: str) -> _Curve:
    last = epochs[(epochs["variant"] == variant) & (epochs["stage"] == epochs["stages"])]
    runs = [run for _, run in last.groupby("seed")]
    # The later half: early on both climb, and a climb is not a jump.
    jumps = [run["validation_iou"].iloc[len(run) // 2 :].diff().abs().mean() for run in runs]
    return _Curve(
        best=float(np.mean([run["validation_iou"].max() for run in runs])),
        jump=float(np.mean(jumps)),
        parting=float(np.mean([run["validation_loss"].iloc[-1] / run["train_loss"].iloc[-1] for run in runs])),
    )
