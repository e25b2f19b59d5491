"""The section "How it was made": data, software, machines, and what was not done."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from sspipe.operate.efficiency import HEADER, cells, read_csv
from sspipe.report import comparison, wording
from sspipe.report.looks_section import tuning_rows
from sspipe.report.results import Results
from sspipe.report.section import Section

# Rows of a table of problems that a reader may still look through.
MAX_PROBLEMS = 200
MAX_ABSENT = 20


def making_section(results: Results, efficiency: Path | None, tunings: Sequence[Path]) -> Section:
    """Gathers what the page says about how the experiment was made.

    Args:
        results: of the experiment.
        efficiency: efficiency.csv; None leaves its table out.
        tunings: polygons.json of each run: how its footprints are made.
    """
    problems = results.data["footprints"]["problems"]
    content = {
        "data_facts": _data_facts(results.data),
        "problems": problems[:MAX_PROBLEMS],
        "problem_count": len(problems),
        "machine_facts": _machine_facts(results.trains),
        "trainings": _trainings(results),
        "efficiency_header": [words[:1].upper() + words[1:] for words in HEADER],
        "efficiency": [] if efficiency is None else [cells(row) for row in read_csv(efficiency)],
        "settings": yaml.safe_dump(results.settings, sort_keys=False, allow_unicode=True, width=100),
        "not_done": _not_done(results),
        "tunings": tuning_rows(tunings),
    }
    return Section("made", "How it was made", "How it was made", "making.html.jinja", content)


def _data_facts(data: Mapping[str, Any]) -> list[tuple[str, str]]:
    footprints = data["footprints"]
    turned = data["orientation"]
    return [
        ("Tiles", f"{data['tiles']:,} from {data['strips']:,} flight strips"),
        ("Orientation", f"{turned.get('0', 0):,} tiles seen from the north, {turned.get('1', 0):,} from the south"),
        ("No-data", f"{wording.percent(data['no_data_fraction'])} of radar pixels on average"),
        ("Buildings", f"{data['buildings']:,} footprints over all tiles (a building on several tiles counts on each)"),
        (
            "Footprints",
            f"{footprints['kept']:,} as they were, {footprints['repaired']:,} repaired, "
            f"{footprints['skipped']:,} skipped",
        ),
    ]


def _machine_facts(trains: list[dict[str, Any]]) -> list[tuple[str, str]]:
    def distinct(values: list[Any]) -> str:
        words = sorted({str(value) for value in values if value})
        return wording.listed(words, most=6) if words else "not recorded"

    versions: dict[str, list[Any]] = {}
    for record in trains:
        for name, version in record["versions"].items():
            versions.setdefault(name, []).append(version)
    return [
        ("Versions", ", ".join(f"{name} {distinct(found)}" for name, found in sorted(versions.items()))),
        ("Commit", distinct([record["commit"] for record in trains])),
        ("Device", distinct([record["device"] for record in trains])),
        ("Trainings", f"{len(trains)}, {wording.time(sum(record['seconds'] for record in trains))} in all"),
        ("Dates", f"{_minute(min(r['started'] for r in trains))} to {_minute(max(r['finished'] for r in trains))}"),
    ]


def _minute(moment: str) -> str:
    """An ISO 8601 moment without seconds and zone."""
    return moment[:16].replace("T", " ")


def _trainings(results: Results) -> list[dict[str, Any]]:
    rows = []
    by_run = {(record["split"], record["variant"], record["seed"]): record for record in results.trains}
    for run in results.runs[["split", "variant", "seed"]].itertuples(index=False):
        record = by_run[tuple(run)]
        best = record["best"]
        rows.append(
            {
                "folder": f"train/{run.split}/{run.variant}/seed{run.seed}",
                "tiles": f"{record['tiles']['train']} + {record['tiles']['validation']}",
                "epoch": f"{best['epoch']} of stage {best['stage']}",
                "iou": best["validation_iou"],
                "seconds": record["seconds"],
                "device": record["device"],
                "finished": _minute(record["finished"]),
            }
        )
    return rows


def _not_done(results: Results) -> list[str]:
    config = results.config
    lines = []
    expected = {split: list(config.variants_of(split)) for split in config.splits}
    absent = comparison.absent_runs(results.runs, expected, list(config.seeds))
    if absent:
        lines.append(
            f"Runs that the configuration asks for and that have no scores: {wording.listed(absent, MAX_ABSENT)}."
        )
    unread = [name for name in config.splits if name not in results.splits]
    if unread:
        lines.append(f"Splits without any score: {wording.listed(unread)}.")
    for split in results.splits:
        left_out = [name for name in config.variants if name not in config.variants_of(split)]
        if left_out:
            lines.append(f"By configuration, not trained on the {split} split: {wording.listed(left_out, MAX_ABSENT)}.")
    if len(config.seeds) == 1:
        lines.append("One seed a variant: how far scores spread between trainings of the same variant is not known.")
    lines += [
        f"The intervals resample test tiles, on a split by place blocks of {config.score.block_m:g} m "
        f"({config.score.bootstrap_samples} times); they hold the spread between places, not that between trainings.",
        "Intervals that overlap do not show that two variants are equal: comparisons.csv, beside this page, compares "
        f"each with {config.score.baseline} on the same resamples.",
        "No ensembles, and no averaging over turned or flipped copies at test time.",
        "The paper names neither initialisation nor normalisation; the configuration above says what was taken.",
    ]
    return lines
