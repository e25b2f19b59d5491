"""The section "Many looks", and how the footprints of each run are made."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from sspipe.report import wording
from sspipe.report.records import read_record
from sspipe.report.results import RUN, Results
from sspipe.report.section import Section
from sspipe.score.looks import SIDES, blocks_of_record, look_intervals

SETTINGS = ("interior_threshold", "border_threshold", "min_area_px", "simplify_px")


def looks_section(results: Results, looks: Sequence[Path]) -> Section | None:
    """Gathers one look against all looks; None where there are no maps.

    Args:
        results: of the experiment.
        looks: looks.json of each run, or none where the maps were left out.

    Returns:
        the section; `looks` of its content has one entry a split, with a sentence and a row for each variant (means
        over seeds).
    """
    if not looks:
        return None
    content = {"looks": _looks(results, looks)}
    return Section("looks", "Many looks", "Many looks at one place", "looks.html.jinja", content)


def _looks(results: Results, paths: Sequence[Path]) -> list[dict[str, Any]]:
    keys = (*RUN, "looks_per_place", *SIDES, "difference", "blocks", "block_m", "bootstrap_samples")
    records = pd.DataFrame(
        [{key: value for key, value in read_record(path, keys).items() if key in keys} for path in paths]
    )
    table = results.runs[[*RUN, "title"]].merge(records, on=RUN)
    parts = []
    for split, of_split in table.groupby("split", sort=False):
        variants = of_split.groupby(["variant", "title"], sort=False)
        rows = [{"variant": variant, "title": title, **_over_seeds(runs)} for (variant, title), runs in variants]
        depth, block_m = of_split["looks_per_place"].mean(), of_split["block_m"].iloc[0]
        parts.append({"name": split, "sentence": _sentence(rows, depth, block_m), "rows": rows})
    return parts


def _over_seeds(runs: pd.DataFrame) -> dict[str, Any]:
    """One variant's row: means over its seeds, with the intervals of these means."""
    bounds = look_intervals(
        [blocks_of_record({"blocks": blocks}) for blocks in runs["blocks"]], int(runs["bootstrap_samples"].iloc[0])
    )
    row: dict[str, Any] = {}
    for side, short in zip(SIDES, ("one", "all"), strict=True):
        means = pd.DataFrame(list(runs[side]))[["f1", "precision", "recall", "buildings"]].mean()
        row |= {f"{short}_{name}": value for name, value in means.items()}
        row[f"{short}_f1_bounds"] = _bracketed(bounds[side], wording.number)
    difference = bounds["difference"]
    row |= {f"difference_{name}": value for name, value in difference.items()}
    row["difference_f1_text"] = wording.signed(row["all_f1"] - row["one_f1"])
    row["difference_f1_bounds"] = _bracketed(difference, wording.signed)
    return row


def _bracketed(bounds: dict[str, Any], words: Callable[[float], str]) -> str:
    """`[0.401, 0.463]`; nothing where there is no interval."""
    low, high = bounds["f1_low"], bounds["f1_high"]
    return "" if low is None else f"[{words(low)}, {words(high)}]"


def _sentence(rows: Sequence[dict[str, Any]], looks_per_place: float, block_m: float) -> str:
    """Says what many looks gain on one split, and for how many variants that is more than chance."""
    gains = pd.DataFrame(rows)[["difference_f1", "difference_f1_low", "difference_f1_high"]].astype(float)
    gained, lost = (int(clear.sum()) for clear in (gains["difference_f1_low"] > 0, gains["difference_f1_high"] < 0))
    unclear = len(gains) - gained - lost
    text = f"On average {looks_per_place:.1f} tiles show a place of the test area. "
    if gains["difference_f1_low"].isna().any():
        return text + "All that is counted lies in one block of ground, so nothing says how sure the differences are."
    return text + (
        f"For {gained} of {len(gains)} variants all looks together have a clearly higher F1 than one at a time, for "
        f"{lost} a clearly lower one; for {unclear} the two are not distinguishable: the 95 % interval of the "
        f"difference, over blocks of {block_m:g} m, holds 0. The mean difference is "
        f"{wording.signed(gains['difference_f1'].mean())}."
    )


def tuning_rows(paths: Sequence[Path]) -> list[dict[str, Any]]:
    """How each run's footprints are made: one row a polygons.json."""
    rows = []
    for path in paths:
        record = read_record(path, ("choice", "tuned"))
        rows.append(
            {
                "folder": "/".join(Path(path).parts[-4:-1]),  # split, variant, seed
                **{name: f"{record['choice'][name]:g}" for name in SETTINGS},
                "f1": record.get("f1"),
                "f1_as_configured": record.get("f1_as_configured"),
                "combinations": len(record.get("scores", [])),
            }
        )
    return rows
