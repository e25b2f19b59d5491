"""The stage `efficiency`: what was asked for against what was used, of every training and every rule."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from statistics import fmean
from typing import Any

from sspipe.errors import UserError
from sspipe.files import whole_file
from sspipe.log import say, warn
from sspipe.operate.accounting import Attempt, accounting_command, executor_command, parse_accounting
from sspipe.operate.profile import read_config, read_profile
from sspipe.operate.runs import read_record, slurm_job_id
from sspipe.operate.text import columns, hours
from sspipe.session import read_sessions
from sspipe.slurm import SlurmAwayError, call

# Of what people read; in brackets what was asked for, or held.
HEADER = ("what", "jobs", "time (limit)", "GiB (asked)", "cores busy", "GPU-h (held)", "restarts", "queued")
JOULES_PER_KWH = 3.6e6


@dataclass(frozen=True)
class Row:
    """One line of the table; None is not known.

    Attributes:
        what: a run, or a rule.
        jobs: how many it stands for.
        device: of a training.
        requested_s: walltime of one attempt.
        used_s: of all attempts, or of all jobs together.
        requested_mb: memory of one job.
        used_mb: most memory of one.
        cpus: of one job.
        cpu_share: of the cores' time that they worked.
        gpu_hours_requested: GPUs x time that the job held them.
        gpu_hours_used: of them, those spent training.
        restarts: how often it went on.
        queued_s: that it waited, all attempts together.
        energy_j: that nodes took while it ran, all attempts together; other jobs on the node are in it.
    """

    what: str
    jobs: int
    device: str | None = None
    requested_s: float | None = None
    used_s: float | None = None
    requested_mb: float | None = None
    used_mb: float | None = None
    cpus: int | None = None
    cpu_share: float | None = None
    gpu_hours_requested: float | None = None
    gpu_hours_used: float | None = None
    restarts: int | None = None
    queued_s: float | None = None
    energy_j: float | None = None


def efficiency(
    *,
    profile: Path | None,
    configfile: Sequence[Path],
    folder: Path | None,
    out: Path | None,
    as_json: bool,
    config_values: Sequence[str] = (),
) -> None:
    """Prints what was asked for against what was used, or writes it: the stage `efficiency`.

    Without Slurm, or while its accounting is away, there is what train.json and Snakemake's benchmark files know.

    Args:
        profile: as Snakemake's `--profile`.
        configfile: as Snakemake's `--configfile`.
        folder: `results/{experiment}`, in place of the two.
        out: CSV to write; None prints.
        as_json: prints JSON.
        config_values: as Snakemake's `--config`.

    Raises:
        UserError: profile or configuration cannot be used.
    """
    folder = folder or read_config(read_profile(profile), configfile, config_values).folder
    rows = measured(folder)
    if out is not None:
        with whole_file(out) as partial:
            partial.write_text(as_csv(rows))
        say(f"efficiency of {len(rows)} trainings and rules: {out}")
    elif as_json:
        print(json.dumps([asdict(row) for row in rows], indent=2), flush=True)
    else:
        print(as_text(rows, folder), flush=True)


def measured(folder: Path) -> list[Row]:
    """Every training of an experiment that has begun, and every rule that was measured."""
    runs = [path for path in sorted(folder.glob("train/*/*/seed*")) if path.is_dir()]
    ids = {path: job for path in runs if (job := slurm_job_id(path)) is not None}
    attempts = _accounting(accounting_command(sorted(ids.values()))) if ids else {}
    trainings = [training_row(path, folder, attempts.get(ids.get(path, ""), [])) for path in runs]
    return [row for row in trainings if row is not None] + rule_rows(folder / "benchmarks", _jobs_of_rules(folder))


def training_row(path: Path, folder: Path, attempts: Sequence[Attempt]) -> Row | None:
    """One training, by its own record and by Slurm's accounting; None if neither knows it."""
    record = read_record(path / "train.json") or {}
    if not record and not attempts:
        return None
    gpu_seconds = record.get("gpu_seconds")
    row = Row(
        what=str(path.relative_to(folder)),
        jobs=1,
        device=record.get("device"),
        used_s=record.get("seconds"),
        used_mb=1024 * record["peak_memory_gib"] if "peak_memory_gib" in record and not gpu_seconds else None,
        gpu_hours_used=gpu_seconds / 3600 if gpu_seconds else None,
        restarts=record.get("restarts"),
    )
    if not attempts:
        # Snakemake measured the training itself; under Slurm it measures the launcher alone.
        by_snakemake = _benchmark_row(row.what, 1, _lines(folder / "benchmarks" / f"{row.what}.tsv"))
        return replace(row, used_mb=row.used_mb or by_snakemake.used_mb, cpu_share=by_snakemake.cpu_share)
    return replace(
        _with_accounting(row, attempts),
        used_s=sum(each.used_s for each in attempts),
        restarts=max(len(attempts) - 1, row.restarts or 0),
        energy_j=_sum_if_all_known(each.energy_j for each in attempts),
    )


def rule_rows(benchmarks: Path, jobs: Mapping[str, Sequence[Sequence[Attempt]]]) -> list[Row]:
    """One row a rule; trainings have rows of their own.

    Args:
        benchmarks: folder of Snakemake's benchmark files: what ran took.
        jobs: attempts of each job that Snakemake's executor submitted, by rule: what it asked for, and its waiting.
    """
    rules: dict[str, list[dict[str, str]]] = {rule: [] for rule in jobs}
    for path in sorted(benchmarks.rglob("*.tsv")):
        rule = path.relative_to(benchmarks).parts[0].removesuffix(".tsv")
        if rule != "train":
            rules.setdefault(rule, []).extend(_lines(path))
    rows = []
    for rule, lines in rules.items():
        row = _benchmark_row(f"rule {rule}", len(lines), lines)
        submitted = jobs.get(rule, ())
        attempts = [attempt for each in submitted for attempt in each]
        if attempts:
            row = replace(
                _with_accounting(row, attempts),
                jobs=max(row.jobs, len(submitted)),
                used_s=row.used_s or sum(each.used_s for each in attempts),
                restarts=len(attempts) - len(submitted),
            )
        rows.append(row)
    return sorted(rows, key=lambda row: -(row.used_s or 0))


def as_csv(rows: Sequence[Row]) -> str:
    """The table as CSV; what is not known is empty."""
    text = io.StringIO()
    writer = csv.DictWriter(text, [each.name for each in fields(Row)], lineterminator="\n")
    writer.writeheader()
    for row in rows:
        values = asdict(row).items()
        writer.writerow({name: round(value, 4) if isinstance(value, float) else value for name, value in values})
    return text.getvalue()


def as_text(rows: Sequence[Row], folder: Path) -> str:
    """The table for a terminal, and its sums."""
    if not rows:
        return f"{folder}: nothing has run there yet"
    shown = [cells(row) for row in rows]
    held = sum(row.gpu_hours_requested or 0 for row in rows)
    used = sum(row.gpu_hours_used or 0 for row in rows)
    total = f"\n{used:.1f} GPU-hours of training in {held:.1f} that jobs held" if held else ""
    energy = [row.energy_j for row in rows if row.energy_j is not None]
    if energy:
        taken = f"{sum(energy) / JOULES_PER_KWH:.3g} kWh"
        total += f"\n{taken} that nodes took while trainings ran on them ({len(energy)} measured)"
    return f"{folder}\n{columns(HEADER, shown)}{total}"


def _lines(path: Path) -> list[dict[str, str]]:
    """A benchmark file of Snakemake's; none if it is not there."""
    return list(csv.DictReader(io.StringIO(path.read_text()), delimiter="\t")) if path.exists() else []


def _with_accounting(row: Row, attempts: Sequence[Attempt]) -> Row:
    """What Slurm knows of attempts that asked for the same."""
    last = attempts[-1]
    worked, held = sum(each.cpu_s for each in attempts), sum(each.cpus * each.used_s for each in attempts)
    peaks = [each.used_mb for each in attempts if each.used_mb]
    return replace(
        row,
        requested_s=last.limit_s,
        requested_mb=last.memory_mb,
        used_mb=max(peaks) if peaks else row.used_mb,
        cpus=last.cpus,
        cpu_share=worked / held if held else None,
        gpu_hours_requested=sum(each.gpus * each.used_s for each in attempts) / 3600 if last.gpus else None,
        queued_s=sum(each.queued_s for each in attempts),
    )


def _benchmark_row(what: str, jobs: int, lines: Sequence[Mapping[str, str]]) -> Row:
    seconds, peaks, loads = (_numbers(line.get(name) for line in lines) for name in ("s", "max_rss", "mean_load"))
    return Row(
        what=what,
        jobs=jobs,
        used_s=sum(seconds) if seconds else None,
        used_mb=max(peaks, default=None),
        # Of one core: mean_load is a percentage of it, and how many a job had is not in the file.
        cpu_share=fmean(loads) / 100 if loads else None,
    )


def read_csv(path: Path) -> list[Row]:
    """What `as_csv` gave, back again.

    Raises:
        UserError: the file is missing or is of another form.
    """
    try:
        # Tables of earlier versions have no energy.
        lines = [{"energy_j": "", **line} for line in csv.DictReader(io.StringIO(path.read_text()))]
        return [
            Row(**{each.name: _back(each.name, line[each.name]) for each in fields(Row)})  # type: ignore[arg-type]
            for line in lines
        ]
    except (OSError, KeyError, ValueError) as error:
        raise UserError(f"{path}: not a table of efficiency ({error}); run the rule measure_efficiency") from None


def cells(row: Row) -> tuple[str, ...]:
    """A row as people read it, under `HEADER`."""
    return (
        row.what,
        str(row.jobs),
        # The limit is one job's, the time that of all.
        _pair(row.used_s, row.requested_s, hours, " each" if row.jobs > 1 else ""),
        _pair(row.used_mb, row.requested_mb, lambda value: f"{value / 1024:.1f}"),
        "-" if row.cpu_share is None else f"{100 * row.cpu_share:.0f} %" + (f" of {row.cpus}" if row.cpus else ""),
        _pair(row.gpu_hours_used, row.gpu_hours_requested, lambda value: f"{value:.2f}"),
        "-" if row.restarts is None else str(row.restarts),
        "-" if row.queued_s is None else hours(row.queued_s),
    )


def _back(name: str, text: str) -> str | int | float | None:
    if name in ("what", "device"):
        return text or None
    if not text:
        return None
    return int(text) if name in ("jobs", "cpus", "restarts") else float(text)


def _jobs_of_rules(folder: Path) -> dict[str, list[list[Attempt]]]:
    """Attempts of each job that Snakemake's executor submitted for this experiment, by rule; see `sspipe.session`."""
    sessions: dict[str, str] = read_sessions(folder / "slurm")["sessions"]
    found: dict[str, list[list[Attempt]]] = {}
    if sessions:
        for attempts in _accounting(executor_command(sorted(sessions), min(sessions.values()))).values():
            if attempts[0].rule:
                found.setdefault(attempts[0].rule, []).append(attempts)
    return found


def _accounting(command: Sequence[str]) -> dict[str, list[Attempt]]:
    try:
        return parse_accounting(call(command))
    except SlurmAwayError as error:
        warn(f"the accounting does not answer ({error}): what was asked for, and the queue's times, are left out")
        return {}


def _sum_if_all_known(values: Iterable[float | None]) -> float | None:
    """A sum of which no part is missing; None otherwise."""
    known = list(values)
    return None if None in known else sum(value for value in known if value is not None)


def _numbers(texts: Iterable[str | None]) -> list[float]:
    """Those that are numbers: Snakemake writes `-` and `NA` for what it could not measure."""
    return [float(text) for text in texts if text and re.fullmatch(r"\d+(\.\d+)?(e-?\d+)?", text)]


def _pair(used: float | None, asked: float | None, shown: Any, unit: str = "") -> str:
    first = "-" if used is None else shown(used)
    return first if asked is None else f"{first} ({shown(asked)}{unit})"
