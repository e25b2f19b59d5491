"""What Snakemake would run and why: its own dry run, read back."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sspipe.errors import UserError

_HEAD = re.compile(r"(localrule|rule|checkpoint) (\w+):")
_FIELD = re.compile(r"    (\w+): (.*)")
_TAIL_LINES = 12


@dataclass(frozen=True)
class PlannedJob:
    """A job that would run.

    Attributes:
        rule: its name.
        local: whether it runs where Snakemake does, whatever the executor.
        wildcards: by name.
        reasons: why it would run, without the files that each names.
        threads: that it gets.
        resources: that it gets, as Snakemake prints them.
    """

    rule: str
    local: bool
    wildcards: dict[str, str]
    reasons: tuple[str, ...]
    threads: int
    resources: dict[str, str]


def dry_run(
    profile: Path | None, configfiles: Sequence[Path], config_values: Sequence[str], targets: Sequence[str]
) -> list[PlannedJob]:
    """Asks Snakemake for the jobs that it would run.

    A process of its own, and its text: the graph is then made from the same command line as the night's, with
    everything that a profile may hold.

    Args:
        profile: as `--profile`.
        configfiles: as `--configfile`.
        config_values: as `--config`.
        targets: rules or files, and further options of Snakemake.

    Raises:
        UserError: Snakemake refuses; its message is passed on.
    """
    command = [sys.executable, "-m", "snakemake", "--dry-run"]
    if profile is not None:
        command += ["--profile", str(profile)]
    else:
        command += ["--cores", "all"]
    if configfiles:
        command += ["--configfile", *map(str, configfiles)]
    if config_values:
        command += ["--config", *config_values]
    # A profile may keep rules quiet, and it is they that are read here.
    done = subprocess.run(
        [*command, "--quiet", "host", "--nocolor", *(targets or ["--", "all"])], capture_output=True, text=True
    )
    text = done.stdout + done.stderr
    if done.returncode:
        told = "\n".join(f"  {line}" for line in text.strip().splitlines()[-_TAIL_LINES:])
        raise UserError(f"snakemake cannot plan this:\n{told}")
    return parse_dry_run(text)


def parse_dry_run(text: str) -> list[PlannedJob]:
    """Reads the jobs from what a dry run prints; a target, which makes nothing itself, is none."""
    jobs = []
    kind = rule = None
    fields: dict[str, str] = {}
    for line in [*text.splitlines(), ""]:
        if head := _HEAD.fullmatch(line):
            kind, rule, fields = head[1], head[2], {}
        elif rule and (found := _FIELD.fullmatch(line)):
            fields[found[1]] = found[2]
        elif rule:
            if "output" in fields:
                jobs.append(_job(rule, kind == "localrule", fields))
            rule = None
    return jobs


def jobs_per_rule(jobs: Sequence[PlannedJob]) -> list[tuple[str, int, list[str]]]:
    """Rule, count, and its reasons with how many jobs have each, in the order of first appearance.

    The first reason of a job stands for it: Snakemake names what is missing or changed before what follows from other
    jobs.
    """
    counts = Counter(job.rule for job in jobs)
    reasons: dict[str, Counter[str]] = {}
    for job in jobs:
        reasons.setdefault(job.rule, Counter())[job.reasons[0] if job.reasons else "asked for"] += 1
    return [
        (
            rule,
            count,
            [reason if number == count else f"{reason} ({number})" for reason, number in reasons[rule].most_common()],
        )
        for rule, count in counts.items()
    ]


def _job(rule: str, local: bool, fields: dict[str, str]) -> PlannedJob:
    return PlannedJob(
        rule=rule,
        local=local,
        wildcards=_pairs(fields.get("wildcards", "")),
        reasons=tuple(_in_words(reason) for reason in fields.get("reason", "").split("; ") if reason),
        threads=int(fields.get("threads", 1)),
        resources=_pairs(fields.get("resources", "")),
    )


def _in_words(reason: str) -> str:
    """`Missing output files: a, b` -> `missing output files`."""
    words = reason.partition(":")[0].strip()
    return words[:1].lower() + words[1:]


def _pairs(text: str) -> dict[str, str]:
    """`a=1, b=x, y` -> {a: 1, b: "x, y"}: a comma parts two pairs only before a name."""
    pairs = (item.partition("=") for item in re.split(r", (?=\w+=)", text) if item)
    return {name: value for name, _, value in pairs}
