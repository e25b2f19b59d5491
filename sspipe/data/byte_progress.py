"""Progress of long reads in bytes: a bar on a terminal, plain timed lines in a log."""

from __future__ import annotations

import sys
import time
from collections import deque
from types import TracebackType
from typing import TYPE_CHECKING

from sspipe.log import duration, say

if TYPE_CHECKING:
    from rich.progress import Progress

MIB = 1024**2
GIB = 1024**3
# Speed and time left are those of the last half minute: after an outage the average of hours would mislead.
WINDOW_S = 30.0


def human_bytes(count: int) -> str:
    """Formats a number of bytes in the unit that suits it, from B to GiB."""
    if count < MIB:
        return f"{count / 1024:.1f} KiB" if count >= 1024 else f"{count} B"
    return f"{count / MIB:.1f} MiB" if count < GIB else f"{count / GIB:.2f} GiB"


class ByteProgress:
    """Says how much of `total` bytes is done, how fast, and how long the rest takes.

    As a context manager it draws a bar where standard output is a terminal. Otherwise it says a line at most every
    `every_s` seconds.

    Args:
        what: goes before every line.
        total: bytes of the whole.
        every_s: seconds between lines.
        already: bytes that were done before, by another run; they took no time of this one.
    """

    def __init__(self, what: str, total: int, every_s: float = 5.0, already: int = 0) -> None:
        self._what = what
        self._total = total
        self._every_s = every_s
        self._last = time.monotonic()
        self._recent = deque([(self._last, already)])
        self._bar: Progress | None = None

    def __enter__(self) -> ByteProgress:
        if sys.stdout.isatty():
            self._bar = _bar()
            self._bar.add_task(self._what, total=self._total, completed=self._recent[0][1])
            self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def reach(self, done: int) -> None:
        """Tells that `done` bytes of the total are through."""
        now = time.monotonic()
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], completed=done)
            return
        if now - self._last < self._every_s or not done:
            return
        self._last = now
        self._recent.append((now, done))
        while now - self._recent[1][0] >= WINDOW_S:
            self._recent.popleft()
        begun, before = self._recent[0]
        speed = (done - before) / (now - begun)
        left = f"{duration(max(self._total - done, 0) / speed)} left" if speed > 0 else "standing still"
        share = f"{done / self._total:.1%} of {human_bytes(self._total)}" if self._total else human_bytes(done)
        say(f"{self._what}: {share}, {speed / MIB:.0f} MiB/s, {left}")


def _bar() -> Progress:
    from rich import progress

    return progress.Progress(
        progress.TextColumn("{task.description}"),
        progress.BarColumn(),
        progress.TaskProgressColumn(),
        progress.DownloadColumn(binary_units=True),
        progress.TransferSpeedColumn(),
        progress.TimeRemainingColumn(),
    )
