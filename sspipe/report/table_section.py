"""The paper's Table 1 beside ours, one table a split, with a row for whatever has no result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from sspipe.report import wording
from sspipe.report.absence import Absent
from sspipe.report.links import RunLinks
from sspipe.report.results import Results
from sspipe.report.section import Section
from sspipe.variants import Variant


def table_section(
    results: Results,
    table: pd.DataFrame,
    absent: Sequence[Absent],
    links: Mapping[tuple[str, str], Sequence[RunLinks]],
    synthetic: bool,
) -> Section:
    """Gathers the rows of each split's table.

    Args:
        results: of the experiment.
        table: `comparison.table_one`.
        absent: runs that the configuration asks for and that have no scores.
        links: files of the runs of each split and variant.
        synthetic: whether the data are generated; the paper's numbers then compare with nothing.
    """
    content = {
        "splits": [_split_part(results, table, split, absent, links, synthetic) for split in table["split"].unique()],
        "parameter_note": parameter_note(results.variants),
        "many_seeds": bool((table["seeds"] > 1).any()),
        "iou_threshold": results.config.score.iou_threshold,
        "any_gpu": bool(table["gpu_hours"].notna().any()),
    }
    return Section("table-1", "Table 1", "Table 1, beside the paper’s", "table_one.html.jinja", content)


def parameter_note(variants: Mapping[str, Variant]) -> str:
    """Says how our parameter counts and the paper's belong together."""
    text = (
        "Parameters are counted in two ways: each weight once, and with the encoder counted twice, which is how a "
        "common implementation's summary gives the paper's 44M for UNet16 (29.31M unique, 44.02M with the encoder "
        "twice; our inference). The paper's 36M for the network without skip connections cannot be reproduced: with "
        "the encoders counted twice it has 39.1M at full width, and 24.1M if each weight counts once."
    )
    widths = sorted({variant.model.width for variant in variants.values()})
    if widths != [1.0]:
        scaled = wording.listed([f"{width:g}" for width in widths])
        text += f" The networks here have {scaled} times the paper's channels, so their counts are smaller."
    return text


def _split_part(
    results: Results,
    table: pd.DataFrame,
    split: str,
    absent: Sequence[Absent],
    links: Mapping[tuple[str, str], Sequence[RunLinks]],
    synthetic: bool,
) -> dict[str, Any]:
    rows = table[table["split"] == split]
    radar = rows[(rows["role"] != "ceiling") & rows["f1"].notna()]
    best = radar["f1"].idxmax() if len(radar) else None
    settings = results.config.splits.get(split)
    if synthetic:
        note = "The paper's numbers are from SpaceNet 6 and stand here only to show the form of its Table 1."
    elif (settings.kind if settings else results.kind(split)) == "random":
        note = "The paper's numbers are from a random split as well (other tiles, one run)."
    else:
        note = "The paper's numbers are from a random split, so they do not compare with these."
    without = [run for run in absent if run.split == split]
    return {
        "name": split,
        "paper_note": note,
        "rows": [
            {
                **row,
                "best": index == best and len(radar) > 1,
                "runs": links.get((split, row["variant"]), ()),
                "absent": [run for run in without if run.variant == row["variant"]],
            }
            for index, row in rows.astype(object).where(rows.notna(), None).iterrows()
        ],
    }
