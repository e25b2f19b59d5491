"""Progress for people: plain timed lines, which a rule sends to its log and `sspipe follow` shows live."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable, Iterator, Sized
from datetime import datetime
from typing import TypeVar

Item = TypeVar("Item")


def say(message: str) -> None:
    """Prints one line with the time of day, at once (logs are read while they grow)."""
    show(f"{datetime.now():%H:%M:%S} {message}")


def show(text: str) -> None:
    """Prints text as it is, at once. If nobody reads it any more (`| head`), the work goes on without."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        # Into nothing from here on, or Python fails at its end, when it empties its buffer once more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def warn(message: str) -> None:
    """Prints one warning line to standard error."""
    print(f"{datetime.now():%H:%M:%S} warning: {message}", file=sys.stderr, flush=True)


def duration(seconds: float) -> str:
    """Formats seconds as `m:ss` or `h:mm:ss`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def counted(number: int, one: str, several: str = "") -> str:
    """`1 strip`, `1,204 strips`: a number and the noun that agrees with it.

    Args:
        number: how many.
        one: the noun for one.
        several: the noun for none or many; without it, `one` and an s.
    """
    return f"{number:,} {one if number == 1 else several or f'{one}s'}"


def progress(items: Iterable[Item], what: str, total: int | None = None, every_s: float = 5.0) -> Iterator[Item]:
    """Yields `items`, saying at most every `every_s` seconds how many are done and how long the rest will take."""
    if total is None and isinstance(items, Sized):
        total = len(items)
    begun = last = time.monotonic()
    for done, item in enumerate(items, start=1):
        yield item
        now = time.monotonic()
        if now - last >= every_s and total:
            left = (now - begun) / done * (total - done)
            say(f"{what}: {done} of {total}, {duration(left)} left")
            last = now
