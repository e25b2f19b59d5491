"""Learning curves: each function takes a table of epochs and returns a matplotlib Figure."""

from __future__ import annotations

import math

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from sspipe.report.style import BLUE, GREEN, GREY, MUTED, ORANGE, is_narrow, styled

VIEW_WORDS = {"sar": "SAR", "eo": "EO"}


@styled
def learning_figure(epochs: pd.DataFrame, width_in: float) -> Figure:
    """Draws loss and validation pixel IoU by epoch: two panels a variant, a line a seed, dotted lines between stages.

    Args:
        epochs: `Results.epochs` of one split, with `title`.
        width_in: inches.
    """
    names = list(dict.fromkeys(epochs["variant"]))
    beside = 1 if is_narrow(width_in) or len(names) == 1 else 2
    rows = math.ceil(len(names) / beside)
    figure = Figure(figsize=(width_in, 0.5 + 1.75 * rows), layout="constrained")
    parts = figure.subfigures(rows, beside, squeeze=False)
    highest = max(0.05, epochs["validation_iou"].max()) * 1.08
    for part, name in zip(parts.flat, names, strict=False):
        runs = epochs[epochs["variant"] == name]
        part.suptitle(runs["title"].iloc[0], fontsize=9.5, fontweight="bold", x=0.02, ha="left")
        loss, iou = part.subplots(1, 2)
        for _, run in runs.groupby("seed"):
            loss.plot(run["step"], run["train_loss"], color=BLUE, linewidth=1.6)
            loss.plot(run["step"], run["validation_loss"], color=ORANGE, linewidth=1.2, linestyle=(0, (4, 1.5)))
            iou.plot(run["step"], run["validation_iou"], color=GREEN, linewidth=1.6)
            # Of the last stage: an earlier one is validated on another view.
            best = run.loc[run.loc[run["stage"] == run["stage"].max(), "validation_iou"].idxmax()]
            iou.plot(best["step"], best["validation_iou"], marker="o", color=GREEN, markersize=4)
        loss.set(ylabel="loss", xlabel="epoch")
        loss.set_ylim(bottom=0)
        iou.set(ylabel="IoU" if is_narrow(width_in) else "validation IoU", xlabel="epoch", ylim=(0, highest))
        for axis in (loss, iou):
            _mark_stages(axis, runs)
            axis.xaxis.set_major_locator(MaxNLocator(nbins=4, integer=True))
    handles = [
        Line2D([], [], color=BLUE, label="training loss"),
        Line2D([], [], color=ORANGE, linestyle=(0, (4, 1.5)), label="validation loss"),
        Line2D([], [], color=GREEN, marker="o", markersize=4, label="validation pixel IoU (dot: best)"),
    ]
    figure.legend(handles=handles, loc="outside upper left", ncols=1 if is_narrow(width_in) else 3)
    return figure


@styled
def loss_figure(epochs: pd.DataFrame, alone: str, both: str, width_in: float) -> Figure:
    """Draws the comparison of the paper's Fig. 2: BCE alone against BCE + Dice.

    The two total losses are different sums, so the panel of losses shows what both have: BCE on the training tiles.

    Args:
        epochs: `Results.epochs` of one split.
        alone: name of the variant trained with BCE alone.
        both: name of the one trained with BCE + Dice.
        width_in: inches.
    """
    narrow = is_narrow(width_in)
    figure = Figure(figsize=(width_in, 5.2 if narrow else 3.0), layout="constrained")
    bce, iou = figure.subplots(2, 1) if narrow else figure.subplots(1, 2)
    for name, colour, dashes in ((alone, ORANGE, (0, (4, 1.5))), (both, BLUE, "-")):
        for _, run in epochs[epochs["variant"] == name].groupby("seed"):
            bce.plot(run["step"], run["train_bce"], color=colour, linestyle=dashes, linewidth=1.8)
            iou.plot(run["step"], run["validation_iou"], color=colour, linestyle=dashes, linewidth=1.8)
    bce.set(title="BCE on the training tiles", xlabel="epoch")
    bce.set_ylim(bottom=0)
    bce.xaxis.set_major_locator(MaxNLocator(integer=True))
    iou.xaxis.set_major_locator(MaxNLocator(integer=True))
    iou.set(title="Pixel IoU on the validation tiles", xlabel="epoch")
    iou.set_ylim(bottom=0)
    handles = [
        Line2D([], [], color=ORANGE, linestyle=(0, (4, 1.5)), label="BCE alone"),
        Line2D([], [], color=BLUE, label="BCE + Dice"),
    ]
    figure.legend(handles=handles, loc="outside upper left", ncols=2)
    return figure


def _mark_stages(axis: Axes, runs: pd.DataFrame) -> None:
    """Marks where a stage begins and names its views, if there is more than one."""
    first = runs[runs["seed"] == runs["seed"].min()]
    starts = first.groupby("stage")["step"].min()
    if len(starts) < 2:
        return
    for stage, step in starts.items():
        views = first.loc[first["stage"] == stage, "views"].iloc[0]
        if step > 1:
            axis.axvline(step - 0.5, color=GREY, linewidth=1, linestyle=":")
        label = " + ".join(VIEW_WORDS[view] for view in views)
        axis.annotate(
            label, (step if step == 1 else step - 0.5, 1), (2, 1), xycoords=("data", "axes fraction"),
            textcoords="offset points", va="bottom", fontsize=8, color=MUTED,
        )  # fmt: skip
