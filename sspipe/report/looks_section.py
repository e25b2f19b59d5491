"""The section "Many looks", and how the footprints of each run are made."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from sspipe.errors import UserError
from sspipe.files import read_json
from sspipe.report import wording
from sspipe.report.results import RUN, Results
from sspipe.report.section import Section

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
    rows = []
    for path in paths:
        record = _record(path, ("split", "variant", "seed", "looks_per_place", "one_look", "all_looks"))
        rows.append(
            {
                **{key: record[key] for key in RUN},
                "looks_per_place": record["looks_per_place"],
                **{f"one_{key}": record["one_look"][key] for key in ("f1", "precision", "recall", "buildings")},
                **{f"all_{key}": record["all_looks"][key] for key in ("f1", "precision", "recall", "buildings")},
            }
        )
    table = results.runs[[*RUN, "title"]].merge(pd.DataFrame(rows), on=RUN)
    parts = []
    for split, of_split in table.groupby("split", sort=False):
        means = of_split.drop(columns="seed").groupby(["variant", "title"], sort=False).mean(numeric_only=True)
        gained = int((means["all_f1"] > means["one_f1"]).sum())
        gain = (means["all_f1"] - means["one_f1"]).mean()
        parts.append(
            {
                "name": split,
                "sentence": (
                    f"On average {means['looks_per_place'].mean():.1f} tiles show a place of the test area. Taken "
                    f"together they give a higher F1 than one at a time for {gained} of {len(means)} variants; the "
                    f"mean change is {wording.signed(gain)}."
                ),
                "rows": means.reset_index().to_dict("records"),
            }
        )
    return parts


def tuning_rows(paths: Sequence[Path]) -> list[dict[str, Any]]:
    """How each run's footprints are made: one row a polygons.json."""
    rows = []
    for path in paths:
        record = _record(path, ("choice", "tuned"))
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


def _record(path: Path, keys: Sequence[str]) -> dict[str, Any]:
    record: dict[str, Any] = read_json(path)
    missing = [key for key in keys if key not in record]
    if missing:
        raise UserError(f"{path}: lacks {', '.join(missing)}; run the rule that writes it again")
    return record
