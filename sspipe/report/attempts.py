"""What failed in a training and was tried again, from the log in which all its attempts are."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

# Every line begins with the time of day; an attempt says first what runs where (sspipe/train/provenance.py).
_TIME = r"\d\d:\d\d:\d\d "
_ATTEMPT = re.compile(_TIME + r".*: sspipe \S+, commit \S+, settings \S+; (?P<job>.+?); (?P<where>.+)")
# What ended an attempt, in the words of those that notice it: the training, its launcher, Slurm, the command line.
_ENDS = (
    re.compile(_TIME + r".* seed \d+: (?P<why>stopped by [^;]+);"),
    re.compile(_TIME + r"Slurm job (?P<why>\S+ ended as \S+): going on"),
    re.compile(r"sspipe (?:train|launch): error: (?P<why>.+)"),
    re.compile(r"(?:slurmstepd|srun|scancel): (?:error: )?\*\*\* (?P<why>.+?) \*\*\*"),
)
_TRACEBACK = "Traceback (most recent call last)"
SHOWN_CHARACTERS = 160


class Attempts(NamedTuple):
    """Of one training.

    Attributes:
        begun: how often it began or went on, as its log says.
        ends: what ended attempts before the last, in their order; each once, with how often.
    """

    begun: int
    ends: list[str]


def read_attempts(log: Path) -> Attempts | None:
    """Reads a training's train.log; None if there is none."""
    try:
        text = log.read_text(errors="replace")
    except FileNotFoundError:
        return None
    return attempts_of(text.splitlines())


def attempts_of(lines: Iterable[str]) -> Attempts:
    """Counts attempts, and gathers why they ended."""
    count, ends, raised = 0, dict[str, int](), False
    for line in lines:
        if raised:
            # What was raised is the first line after the traceback that is not indented.
            if line and not line.startswith(" "):
                _note(ends, line)
                raised = False
            continue
        if _TRACEBACK in line:
            raised = True
        elif _ATTEMPT.match(line):
            count += 1
        else:
            match = next((found for found in (end.match(line) for end in _ENDS) if found), None)
            if match:
                _note(ends, match["why"])
    return Attempts(count, [why if times == 1 else f"{why} ({times} times)" for why, times in ends.items()])


def _note(ends: dict[str, int], why: str) -> None:
    short = why if len(why) <= SHOWN_CHARACTERS else why[: SHOWN_CHARACTERS - 1] + "…"
    ends[short] = ends.get(short, 0) + 1
