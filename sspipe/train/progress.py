"""How far a training is: a bar on a terminal, a line every few seconds in a log."""

from __future__ import annotations

import resource
import sys
import time
from types import TracebackType

import torch
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from sspipe.log import duration, say

_GIB = 2**30
_TERMINAL_SECONDS = 2.0


class Reporter:
    """Says how it goes, on one rank; the others hold one that is silent.

    Args:
        images: views of tiles that the whole training takes.
        done: of them, those that were taken in earlier sessions.
        log_seconds: between lines.
        device: whose memory is told.
        silent: says nothing.
    """

    def __init__(self, images: int, done: int, log_seconds: float, device: torch.device, silent: bool) -> None:
        self._images, self._done, self._device, self._silent = images, done, device, silent
        self._begun = self._said = time.monotonic()
        self._done_at_begin = self._done_at_said = done
        on_terminal = sys.stdout.isatty() and not silent
        self._every_s = min(log_seconds, _TERMINAL_SECONDS) if on_terminal else log_seconds
        self._bar: Progress | None = None
        if on_terminal:
            columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
            self._bar = Progress(*columns, transient=True)
            self._task = self._bar.add_task("", total=images, completed=done)

    def __enter__(self) -> Reporter:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def due(self) -> bool:
        """Whether it is time for the next line."""
        return not self._silent and time.monotonic() - self._said >= self._every_s

    def took(self, images: int) -> None:
        """Counts views of tiles that were taken."""
        self._done += images

    def tell(self, where: str, loss: float | None) -> None:
        """Says where the training is: loss, images per second since the last line, time left, memory."""
        if self._silent:
            return
        now = time.monotonic()
        pace = (self._done - self._done_at_said) / max(now - self._said, 1e-9)
        self._said, self._done_at_said = now, self._done
        text = where if loss is None else f"{where}: loss {loss:.3f}, {pace:.1f} images/s"
        text = f"{text}, {self.time_left()}, {memory_text(self._device)}"
        if self._bar is None:
            say(text)
        else:
            self._bar.update(self._task, completed=self._done, description=text, refresh=True)

    def time_left(self) -> str:
        """How long the rest will take at this session's pace, for a line."""
        seconds = self.seconds_left()
        return "time left unknown" if seconds is None else f"{duration(seconds)} left"

    def seconds_left(self) -> float | None:
        """How long the rest will take at this session's pace; None before it has one."""
        taken = self._done - self._done_at_begin
        if not taken:
            return None
        return (time.monotonic() - self._begun) / taken * (self._images - self._done)


def peak_memory(device: torch.device) -> int:
    """The most bytes that this process took: of the GPU, or of main memory where there is none."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def memory_text(device: torch.device) -> str:
    """The peak for a log line: `GPU 12.3 GiB`."""
    return f"{'GPU' if device.type == 'cuda' else 'memory'} {peak_memory(device) / _GIB:.1f} GiB"
