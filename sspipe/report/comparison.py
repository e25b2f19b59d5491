"""Table 1 of the paper beside ours, and what can be said from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import pandas as pd

from sspipe.report.absence import Absent
from sspipe.variants import Variant


class PaperRow(NamedTuple):
    """One row of the paper's Table 1, as printed."""

    parameters: str
    pixel_iou: float
    f1: float


PAPER_TABLE_1 = {
    "UNet16 with fine-tuning": PaperRow("44M", 0.596, 0.522),
    "SS with UNet skip-conns removed": PaperRow("36M", 0.577, 0.498),
    "SS with UNet skip-conns": PaperRow("44M", 0.639, 0.592),
    "SS with randomized skip-conns": PaperRow("44M", 0.635, 0.604),
    "SS with RSC only within the SS": PaperRow("44M", 0.639, 0.616),
}

NO_RESULT = "no result"
MEASURES = ["pixel_iou", "pixel_iou_pooled", "f1", "precision", "recall"]


def table_one(runs: pd.DataFrame, absent: Sequence[Absent] = ()) -> pd.DataFrame:
    """Summarises the runs of each variant over its seeds and sets the paper's numbers beside them.

    Args:
        runs: one row per split, variant and seed, as in `Results.runs`.
        absent: runs without scores; a variant that has none but these on a split gets a row of its own.

    Returns:
        One row per split and variant, in the order of `runs`, then those without any scores: split, variant, title,
        role, seeds, both parameter counts; mean of each measure and its standard deviation over seeds (`{measure}_sd`,
        NaN for one seed); f1_low and f1_high (the 95 % bounds over test tiles, averaged over seeds); train_seconds and
        gpu_hours (means of a training; NaN where no GPU was used); paper_row, paper_parameters, paper_pixel_iou,
        paper_f1 (empty where the paper has no such row); remark, which says that there is no result and why.
    """
    rows: list[dict[str, object]] = []
    for (split, variant), group in runs.groupby(["split", "variant"], sort=False):
        first = group.iloc[0]
        paper = PAPER_TABLE_1.get(first["paper_row"])
        row = {
            "split": split,
            "variant": variant,
            "title": first["title"],
            "role": first["role"],
            "seeds": len(group),
            "parameters_unique": int(first["parameters_unique"]),
            "parameters_paper_style": int(first["parameters_paper_style"]),
        }
        for measure in MEASURES:
            row[measure] = group[measure].mean()
            row[f"{measure}_sd"] = group[measure].std(ddof=1)
        row |= {
            "f1_low": group["f1_low"].mean(),
            "f1_high": group["f1_high"].mean(),
            "train_seconds": group["train_seconds"].mean(),
            "gpu_hours": group["gpu_hours"].mean(),
            "paper_row": first["paper_row"] if paper else None,
            "paper_parameters": paper.parameters if paper else None,
            "paper_pixel_iou": paper.pixel_iou if paper else float("nan"),
            "paper_f1": paper.f1 if paper else float("nan"),
            "remark": None,
        }
        rows.append(row)
    table = pd.DataFrame(rows)
    have = set(zip(table["split"], table["variant"], strict=True))
    lost: dict[tuple[str, str], list[Absent]] = {}
    for run in absent:
        if (run.split, run.variant) not in have:
            lost.setdefault((run.split, run.variant), []).append(run)
    if not lost:
        return table
    empty = [
        {
            "split": split, "variant": variant, "title": without[0].title, "role": without[0].role, "seeds": 0,
            "remark": remark(without),
        }
        for (split, variant), without in lost.items()
    ]  # fmt: skip
    return pd.concat([table, pd.DataFrame(empty).reindex(columns=table.columns)], ignore_index=True)


def remark(absent: Sequence[Absent]) -> str:
    """Says that runs have no result, and which states they are in: `no result (failed)`."""
    states = list(dict.fromkeys(run.state for run in absent if run.state))
    return f"{NO_RESULT} ({', '.join(states)})" if states else NO_RESULT


def leak_gaps(table: pd.DataFrame, kinds: Mapping[str, str]) -> pd.DataFrame:
    """Compares each variant on a random split with itself on a spatial split.

    Args:
        table: as `table_one` gives it.
        kinds: `random` or `spatial` for each split.

    Returns:
        One row per pair of splits and variant trained on both: random_split, spatial_split, variant, title, role,
        then f1, f1_low and f1_high of each as `random_f1`, `spatial_f1` and so on, and gap = random_f1 - spatial_f1.
        Variants whose F1 is not defined on one of the two are left out.
    """
    columns = ["variant", "title", "role", "f1", "f1_low", "f1_high"]
    measures = columns[3:]
    pairs = []
    for random in [name for name, kind in kinds.items() if kind == "random"]:
        for spatial in [name for name, kind in kinds.items() if kind == "spatial"]:
            left = table.loc[table["split"] == random, columns]
            right = table.loc[table["split"] == spatial, ["variant", *measures]]
            both = left.rename(columns={name: f"random_{name}" for name in measures}).merge(
                right.rename(columns={name: f"spatial_{name}" for name in measures}), on="variant"
            )
            both.insert(0, "random_split", random)
            both.insert(1, "spatial_split", spatial)
            pairs.append(both)
    if not pairs:
        names = [f"{kind}_{name}" for kind in ("random", "spatial") for name in measures]
        return pd.DataFrame(columns=["random_split", "spatial_split", *columns[:3], *names, "gap"])
    gaps = pd.concat(pairs, ignore_index=True)
    gaps["gap"] = gaps["random_f1"] - gaps["spatial_f1"]
    return gaps[gaps["gap"].notna()].reset_index(drop=True)


def loss_pairs(variants: Mapping[str, Variant]) -> list[tuple[str, str]]:
    """Finds the comparisons of the paper's Fig. 2: variants that differ in nothing but the weight of the Dice loss.

    Returns:
        (trained with BCE alone, trained with BCE + Dice), by name.
    """

    def rest(variant: Variant) -> object:
        return variant.model_dump(exclude={"title": True, "paper_row": True, "loss": {"dice", "bce"}})

    return [
        (alone, both)
        for alone, one in variants.items()
        for both, other in variants.items()
        if one.loss.dice == 0 < other.loss.dice and other.loss.bce > 0 and rest(one) == rest(other)
    ]
