"""Progress of long reads, in GiB, for logs."""

from __future__ import annotations

import time

from sspipe.log import duration, say

MIB = 1024**2
GIB = 1024**3


def human_bytes(count: int) -> str:
    """Formats a number of bytes in the unit that suits it, from B to GiB."""
    if count < MIB:
        return f"{count / 1024:.1f} KiB" if count >= 1024 else f"{count} B"
    return f"{count / MIB:.1f} MiB" if count < GIB else f"{count / GIB:.2f} GiB"


class ByteProgress:
    """Says at most every `every_s` seconds how much of `total` bytes is done, how fast, and how long the rest takes."""

    def __init__(self, what: str, total: int, every_s: float = 5.0) -> None:
        self._what = what
        self._total = total
        self._every_s = every_s
        self._begun = self._last = time.monotonic()

    def reach(self, done: int) -> None:
        """Tells that `done` bytes of the total are through."""
        now = time.monotonic()
        if now - self._last < self._every_s or not done:
            return
        self._last = now
        speed = done / (now - self._begun)
        left = duration(max(self._total - done, 0) / speed)
        say(f"{self._what}: {human_bytes(done)} of {human_bytes(self._total)}, {speed / MIB:.0f} MiB/s, {left} left")
