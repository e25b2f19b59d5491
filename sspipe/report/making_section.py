"""The section "How it was made": data, splits, machines, cost, settings, what failed, and what was not done."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from sspipe.files import read_json
from sspipe.operate.efficiency import HEADER, Row, cells, read_csv
from sspipe.report import making_facts, wording
from sspipe.report.absence import Absent
from sspipe.report.attempts import read_attempts
from sspipe.report.describe import CARD, ITEM
from sspipe.report.links import relative
from sspipe.report.looks_section import tuning_rows
from sspipe.report.records import read_record
from sspipe.report.results import Results
from sspipe.report.section import Section

# Rows of a table of problems that a reader may still look through.
MAX_PROBLEMS = 200
MAX_ABSENT = 20
# What a variant is called, which is not how it was trained.
NAMES = {"title", "paper_row"}
_NBSP = "\u00a0"


def making_section(
    results: Results,
    *,
    trains: Sequence[Path],
    scores: Sequence[Path],
    manifest: Path,
    efficiency: Path | None,
    tunings: Sequence[Path],
    source: str,
    page: Path,
    absent: Sequence[Absent],
) -> Section:
    """Gathers what the page says about how the experiment was made.

    Args:
        results: of the experiment.
        trains: train.json of each run; train.log, the model card and the STAC item may lie beside it.
        scores: scores.json of each run; solaris.json may lie beside it.
        manifest: raw.json, what the archive held.
        efficiency: efficiency.csv; None leaves its table out.
        tunings: polygons.json of each run: how its footprints are made.
        source: archive.source, or `synthetic` where the data are generated.
        page: the page, for links.
        absent: runs without scores.
    """
    problems = results.data["footprints"]["problems"]
    rows = [] if efficiency is None else read_csv(efficiency)
    attempts = _attempt_rows(trains, page)
    content = {
        "data_facts": making_facts.data_facts(results, read_json(manifest), source),
        "problems": problems[:MAX_PROBLEMS],
        "problem_count": len(problems),
        "splits": making_facts.split_rows(results),
        "machine_facts": making_facts.machine_facts(results.trains),
        "trainings": _trainings(results, trains, page),
        "any_gpu": any(record.get("gpu_seconds") for record in results.trains),
        "cost_facts": making_facts.cost_facts(results.trains, rows),
        "efficiency_header": [words[:1].upper() + words[1:] for words in HEADER],
        "efficiency": [cells(row) for row in rows],
        "settings": _as_yaml(results.settings),
        "variants": _variant_settings(results),
        "tunings": tuning_rows(tunings),
        "failure_facts": _failure_facts(results, rows, scores, attempts),
        "attempts": attempts,
        "not_done": _not_done(results, absent),
    }
    return Section("made", "How it was made", "How it was made", "making.html.jinja", content)


def _as_yaml(content: Any) -> str:
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=100)


def _trainings(results: Results, trains: Sequence[Path], page: Path) -> list[dict[str, Any]]:
    rows = []
    by_run = {
        (record["split"], record["variant"], record["seed"]): (record, Path(path).parent)
        for record, path in zip(results.trains, trains, strict=True)
    }
    for run in results.runs[["split", "variant", "seed"]].itertuples(index=False):
        record, folder = by_run[tuple(run)]
        best, described = record["best"], ((CARD, "card"), (ITEM, "STAC"))
        rows.append(
            {
                "folder": f"train/{run.split}/{run.variant}/seed{run.seed}",
                "tiles": f"{record['tiles']['train']}{_NBSP}+{_NBSP}{record['tiles']['validation']}",
                "epoch": f"{best['epoch']} of stage{_NBSP}{best['stage']}",
                "iou": best["validation_iou"],
                "seconds": record["seconds"],
                "gpu_hours": (record.get("gpu_seconds") or 0) / 3600 or None,
                "device": ", ".join(str(record[key]) for key in ("device", "precision") if record.get(key)),
                "restarts": record.get("restarts", wording.NONE),
                "links": [
                    (words, relative(folder / name, page)) for name, words in described if (folder / name).is_file()
                ],
            }
        )
    return rows


def _variant_settings(results: Results) -> list[dict[str, Any]]:
    """Each variant with the settings that it was trained with; with several, if its trainings differ in them."""
    found: dict[tuple[str, str], list[str]] = {}
    names = [*results.config.variants, *results.variants]
    for record in sorted(results.trains, key=lambda record: names.index(record["variant"])):
        settings = {key: value for key, value in record["settings"].items() if key not in NAMES}
        run = f"{record['split']}/seed{record['seed']}"
        found.setdefault((record["variant"], _as_yaml(settings)), []).append(run)
    variants = [variant for variant, _ in found]
    return [
        {
            "variant": variant,
            "settings": settings,
            "runs": wording.listed(runs, MAX_ABSENT) if variants.count(variant) > 1 else "",
        }
        for (variant, settings), runs in found.items()
    ]


def _failure_facts(
    results: Results, rows: Sequence[Row], scores: Sequence[Path], attempts: Sequence[dict[str, Any]]
) -> list[tuple[str, str]]:
    trainings = [row for row in rows if row.what.startswith("train/")]
    restarts = {row.what: row.restarts for row in trainings if row.restarts}
    if restarts:
        again = f"{sum(restarts.values())} of {wording.listed(sorted(restarts))}"
    elif attempts:  # ended before there was a checkpoint to go on from
        again = "none went on from a checkpoint; the table has what began anew"
    else:
        again = "none: every training ran from its beginning to its end"
    reports = (Path(path).with_name("solaris.json") for path in scores)
    checks = [read_record(path, ("version",)) for path in reports if path.is_file()]
    versions = wording.listed(sorted({check["version"] for check in checks})) if checks else ""
    agreement = (
        f"solaris {versions}, run as it is, counts the same TP, FP and FN on every test tile, in {len(checks)} of "
        f"{len(scores)} runs; a difference would have stopped the run"
        if checks
        else "not run"
    )
    footprints = results.data["footprints"]
    facts = [("Trainings resumed", again)] if trainings else []
    return [
        *facts,
        ("Footprints skipped", f"{footprints['skipped']:,}; {footprints['repaired']:,} were repaired"),
        ("Reference evaluator", agreement),
        (
            "Other steps",
            "one that fails leaves nothing half-written and is run again as a whole, so none of it is in these "
            "results; logs/ has the last attempt of each",
        ),
    ]


def _attempt_rows(trains: Sequence[Path], page: Path) -> list[dict[str, Any]]:
    """Trainings of which an attempt failed or was ended, by their train.log."""
    rows = []
    for path in trains:
        log = Path(path).with_name("train.log")
        attempts = read_attempts(log)
        if attempts is not None and (attempts.begun > 1 or attempts.ends):
            folder = "/".join(Path(path).parent.parts[-4:])
            rows.append({"folder": folder, "log": relative(log, page), "count": attempts.begun, "ends": attempts.ends})
    return rows


def _not_done(results: Results, absent: Sequence[Absent]) -> list[str]:
    config = results.config
    lines = []
    if absent:
        names = wording.listed([run.name for run in absent], MAX_ABSENT)
        lines.append(f"Runs that the configuration asks for and that have no scores: {names}.")
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
