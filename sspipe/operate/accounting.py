"""Slurm's accounting of jobs that ran: what is asked of sacct, and its answer read."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from sspipe.operate.profile import mebibytes
from sspipe.operate.site import slurm_minutes

_FIELDS = (
    *("JobIDRaw", "JobName", "State", "Submit", "Start", "End", "ElapsedRaw", "TimelimitRaw", "ReqMem", "AllocTRES"),
    *("TotalCPU", "MaxRSS", "TRESUsageInTot"),
)
_SACCT = ("sacct", "--duplicates", "--parsable2", "--noheader")
# Slurm's word for "no value" in 32 bits; 64 bits have a larger one.
_NO_ENERGY_J = 2**32 - 2


@dataclass(frozen=True)
class Attempt:
    """One attempt of a Slurm job: a requeued job has several.

    Attributes:
        job: its number.
        state: how it ended, or is.
        queued_s: from its submission or requeue to its start.
        used_s: that it ran.
        limit_s: walltime; None: none.
        memory_mb: asked for.
        used_mb: the most that a step's tasks had together; None before it was measured.
        cpus: that it had.
        cpu_s: that they worked.
        gpus: that it had.
        energy_j: that its node took meanwhile; None where the site does not measure it.
        rule: that Snakemake's executor submitted it for; empty if it was not asked for, or is of something else.
    """

    job: str
    state: str
    queued_s: float
    used_s: float
    limit_s: float | None
    memory_mb: float | None
    used_mb: float | None
    cpus: int
    cpu_s: float
    gpus: int
    energy_j: float | None = None
    rule: str = ""


def accounting_command(ids: Iterable[str]) -> list[str]:
    """Asks the accounting for all attempts of jobs, with their steps."""
    return [*_SACCT, f"--format={','.join(_FIELDS)}", f"--jobs={','.join(ids)}"]


def executor_command(names: Iterable[str], since: str) -> list[str]:
    """The same for jobs of these names: Snakemake's executor names those of one Snakemake alike.

    Which rule each is of stands in its comment, which the accounting has only as a part of how it was submitted.

    Args:
        names: of jobs.
        since: local time, ISO 8601, before which none of them was there.
    """
    form = ",".join((*_FIELDS, "SubmitLine"))
    return [*_SACCT, f"--format={form}", f"--name={','.join(names)}", f"--starttime={since}"]


def parse_accounting(text: str) -> dict[str, list[Attempt]]:
    """Reads what the commands above print: attempts by job, the first one first.

    A line of a job begins an attempt, and the lines of its steps follow it; memory and energy are with the steps alone.
    Steps run side by side on one node and each counts what the node takes, so the largest is the attempt's.
    """
    found: dict[str, list[Attempt]] = {}
    for line in text.splitlines():
        cells = line.split("|", len(_FIELDS))  # how it was submitted may have bars
        if len(cells) < len(_FIELDS):
            continue
        values = dict(zip((*_FIELDS, "SubmitLine"), [*cells, ""], strict=False))
        job, _, step = values["JobIDRaw"].partition(".")
        if not step:
            found.setdefault(job, []).append(_attempt(job, values))
        elif found.get(job):
            last = found[job][-1]
            used, energy = _step_mb(values) or 0, _step_energy_j(values)
            found[job][-1] = replace(
                last,
                used_mb=max(used, last.used_mb or 0) or None,
                energy_j=max(energy, last.energy_j or 0) or None,
            )
    return found


def _attempt(job: str, values: Mapping[str, str]) -> Attempt:
    begun, submitted = _moment(values["Start"]), _moment(values["Submit"])
    held = dict(pair.split("=", 1) for pair in values["AllocTRES"].split(",") if "=" in pair)
    limit = values["TimelimitRaw"]
    gpus = [int(count) for name, count in held.items() if re.fullmatch(r"gres/gpu(:\w+)?", name) and count.isdigit()]
    return Attempt(
        job=job,
        state=values["State"].split(" ")[0],
        queued_s=max(0.0, (begun - submitted).total_seconds()) if begun and submitted else 0.0,
        used_s=float(values["ElapsedRaw"] or 0),
        limit_s=60 * float(limit) if limit.isdigit() else None,
        # `4000Mn` and `1000Mc` are how older releases say a node's and a core's.
        memory_mb=mebibytes(held.get("mem", values["ReqMem"]).rstrip("nc")),
        used_mb=None,
        cpus=int(held.get("cpu", 0)),
        cpu_s=_cpu_seconds(values["TotalCPU"]),
        gpus=max(gpus, default=0),
        rule=_rule(values["SubmitLine"]),
    )


def _rule(submit_line: str) -> str:
    found = re.search(r"--comment[= ]'?rule_(\w+?)(?:_wildcards_|['\s]|$)", submit_line)
    return found[1] if found else ""


def _step_mb(values: Mapping[str, str]) -> float | None:
    """Memory of a step's tasks together; where the release does not add up, of its largest task."""
    together = re.search(r"(?:^|,)mem=([\d.]+[KMGT]?)", values["TRESUsageInTot"])
    text = together[1] if together else values["MaxRSS"]
    size = mebibytes(text)
    # A bare number is bytes here, not MB.
    return size / 2**20 if size and text.isdigit() else size


def _step_energy_j(values: Mapping[str, str]) -> float:
    """Energy of a step, J; 0 where the site does not measure it."""
    found = re.search(r"(?:^|,)energy=(\d+)(?:,|$)", values["TRESUsageInTot"])
    joules = float(found[1]) if found else 0.0
    return 0.0 if joules >= _NO_ENERGY_J else joules


def _cpu_seconds(text: str) -> float:
    """`1-02:03:04`, `02:03:04` or `03:04.567`, in seconds."""
    whole, _, fraction = text.partition(".")
    minutes = slurm_minutes(whole)
    return 0.0 if minutes is None else 60 * minutes + float(f"0.{fraction or 0}")


def _moment(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text)
    except ValueError:  # Unknown, None: not yet
        return None
