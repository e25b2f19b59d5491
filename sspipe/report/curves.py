"""Learning curves: each function takes a table of epochs and returns a matplotlib Figure."""

from __future__ import annotations

import math
import textwrap

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from sspipe.report.multiples import DASHES, Cast, draw_others, others_handle, remark
from sspipe.report.style import BLUE, GREEN, GREY, MUTED, ORANGE, is_narrow, plain, styled

VIEW_WORDS = {"sar": "SAR", "eo": "EO"}
# Points of the thin lines of one panel together: more would be megabytes that nobody can tell apart.
THIN_POINTS = 400


@styled
def learning_figure(epochs: pd.DataFrame, cast: Cast, width_in: float) -> Figure:
    """Draws loss and validation pixel IoU by epoch: two panels a variant, dotted lines between its stages.

    Thick lines are means over seeds, thin ones single seeds; behind a variant's IoU is that of the others.

    Args:
        epochs: `Results.epochs` of one split, with `chosen` (bool): the epoch whose weights were kept.
        cast: of the panels; a variant without epochs leaves a marked gap.
        width_in: inches.
    """
    narrow = is_narrow(width_in)
    names = list(cast.titles)
    beside = 1 if narrow or len(names) == 1 else 2
    rows = math.ceil(len(names) / beside)
    figure = Figure(figsize=(width_in, (0.9 if narrow else 0.5) + 1.8 * rows), layout="constrained")
    parts = figure.subfigures(rows, beside, squeeze=False)
    highest = 1.08 * max(0.05, np.nanmax([0.0, *epochs["validation_iou"]]))
    means = epochs.groupby(["variant", "step"], sort=False)["validation_iou"].mean().reset_index()
    for part, name in zip(parts.flat, names, strict=False):
        runs = epochs[epochs["variant"] == name]
        title = textwrap.shorten(plain(cast.titles[name]), 48 if narrow else 62, placeholder=" …")
        part.suptitle(title, fontsize=9.5, fontweight="bold", x=0.02, ha="left")
        loss, iou = part.subplots(1, 2)
        draw_others(iou, means[means["variant"] != name], "step", "validation_iou")
        iou.set(ylabel="IoU" if narrow else "validation IoU", ylim=(0, highest))
        loss.set(ylabel="loss")
        if runs.empty:
            remark(loss, "no training")
            remark(iou, "no training")
            continue
        _curves(loss, runs, "train_loss", BLUE, "-")
        _curves(loss, runs, "validation_loss", ORANGE, DASHES)
        _curves(iou, runs, "validation_iou", GREEN, "-")
        kept = runs[runs["chosen"]]
        iou.plot(kept["step"], kept["validation_iou"], linestyle="none", marker="o", color=GREEN, markersize=4)
        loss.set_ylim(bottom=0)
        for axis in (loss, iou):
            _mark_stages(axis, runs)
            axis.set_xlim(0.5, runs["step"].max() + 0.5)
            axis.xaxis.set_major_locator(MaxNLocator(nbins=4, integer=True))
        part.supxlabel(_facts(runs), fontsize=8.5, color=MUTED)
    handles = [
        Line2D([], [], color=BLUE, label="training loss"),
        Line2D([], [], color=ORANGE, linestyle=DASHES, label="validation loss"),
        Line2D([], [], color=GREEN, marker="o", markersize=4, label="validation pixel IoU (dot: weights kept)"),
        *others_handle(means["variant"].nunique() - 1),
    ]
    figure.legend(handles=handles, loc="outside upper left", ncols=1 if narrow else 4)
    return figure


@styled
def loss_figure(epochs: pd.DataFrame, alone: str, both: str, width_in: float) -> Figure:
    """Draws the comparison of the paper's Fig. 2: (a) BCE alone, (b) BCE + Dice, and the validation IoU of both.

    The two losses are different sums, so each has an axis of its own; how far validation parts from training, and how
    restless it is, can be compared.

    Args:
        epochs: `Results.epochs` of one split.
        alone: name of the variant trained with BCE alone.
        both: name of the one trained with BCE + Dice.
        width_in: inches.
    """
    narrow = is_narrow(width_in)
    figure = Figure(figsize=(width_in, 7.0 if narrow else 3.0), layout="constrained")
    panels = figure.subplots(3, 1) if narrow else figure.subplots(1, 3)
    iou = panels[2]
    titles = ("(a) BCE alone: loss", "(b) BCE + Dice: loss")
    for axis, name, title, dashes in zip(panels[:2], (alone, both), titles, (DASHES, "-"), strict=True):
        runs = epochs[epochs["variant"] == name]
        _curves(axis, runs, "train_loss", BLUE, "-")
        _curves(axis, runs, "validation_loss", ORANGE, DASHES)
        _curves(iou, runs, "validation_iou", GREEN, dashes)
        axis.set(title=title)
    iou.set(title="Pixel IoU on the validation tiles")
    for axis in panels:
        axis.set(xlabel="epoch")
        axis.set_ylim(bottom=0)
        axis.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    handles = [
        Line2D([], [], color=BLUE, label="training loss"),
        Line2D([], [], color=ORANGE, linestyle=DASHES, label="validation loss"),
        Line2D([], [], color=GREEN, linestyle=DASHES, label="validation IoU, BCE alone"),
        Line2D([], [], color=GREEN, label="validation IoU, BCE + Dice"),
    ]
    figure.legend(handles=handles, loc="outside upper left", ncols=1 if narrow else 4)
    return figure


def _curves(axis: Axes, runs: pd.DataFrame, column: str, colour: str, dashes: object) -> None:
    """Draws the mean over seeds, and each seed thinly if there are several."""
    mean = runs.groupby("step", sort=True)[column].mean()
    seeds = runs["seed"].nunique()
    if seeds > 1:
        for _, run in runs.groupby("seed", sort=False):
            few = np.unique(np.linspace(0, len(run) - 1, max(30, THIN_POINTS // seeds)).round().astype(int))
            thin = run.iloc[few]
            axis.plot(thin["step"], thin[column], color=colour, linewidth=0.6, alpha=0.45, linestyle=dashes)
    axis.plot(mean.index, mean, color=colour, linewidth=1.6, linestyle=dashes)


def _facts(runs: pd.DataFrame) -> str:
    """`epoch (learning rate 0.001; kept: IoU 0.521 at epoch 7)`, over several seeds with their range."""
    words = []
    if "learning_rate" in runs:
        rates = runs["learning_rate"].dropna().unique()
        shown = [f"{rate:g}" for rate in (rates if len(rates) <= 2 else (rates.max(), rates.min()))]
        words += [f"learning rate {' to '.join(shown)}"] if shown else []
    kept = runs[runs["chosen"] & runs["validation_iou"].notna()]
    if len(kept):
        steps = sorted({int(step) for step in kept["step"]})
        when = f"epoch {steps[0]}" if len(steps) == 1 else f"epochs {steps[0]} to {steps[-1]}"
        words.append(f"kept: IoU {kept['validation_iou'].mean():.3f} at {when}")
    return f"epoch ({'; '.join(words)})" if words else "epoch"


def _mark_stages(axis: Axes, runs: pd.DataFrame) -> None:
    """Marks where a stage begins and names its views."""
    first = runs[runs["seed"] == runs["seed"].min()]
    starts = first.groupby("stage")["step"].min()
    for stage, step in starts.items():
        views = first.loc[first["stage"] == stage, "views"].iloc[0]
        if step > 1:
            axis.axvline(step - 0.5, color=GREY, linewidth=1, linestyle=":")
        label = " + ".join(VIEW_WORDS[view] for view in views)
        axis.annotate(
            label, (step - 0.5, 1), (2, 1), xycoords=("data", "axes fraction"), textcoords="offset points",
            va="bottom", fontsize=8, color=MUTED,
        )  # fmt: skip
