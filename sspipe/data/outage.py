"""Waiting through a source's outage: growing pauses, a line at each, and an end to patience."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

from sspipe.errors import UserError
from sspipe.log import duration, say

Result = TypeVar("Result")

FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 10.0  # so that little time is lost after the source is back


class TransientError(Exception):
    """The source failed in a way that may pass: no connection, a broken one, an overloaded server."""


class StoppedError(Exception):
    """Somebody else ends the download; there is nothing to tell."""


class Outage:
    """Decides, for all connections together, how long to wait after a failure and when to give up.

    Args:
        where: the source, for messages.
        patience_s: seconds without a single byte after which a failure is final.
        stop: ends every wait.
    """

    def __init__(self, where: str, patience_s: float, stop: threading.Event) -> None:
        self._where = where
        self._patience_s = patience_s
        self._stop = stop
        self._lock = threading.Lock()
        self._alive = time.monotonic()  # when the last byte came
        self._pause_s = 0.0
        self._resume = 0.0

    def over(self) -> None:
        """Tells that the source gave something."""
        self._alive = time.monotonic()
        self._pause_s = 0.0

    def wait(self, error: TransientError) -> None:
        """Waits before another attempt.

        Raises:
            UserError: nothing has come for longer than the patience.
            StoppedError: the wait was ended from outside.
        """
        with self._lock:
            now = time.monotonic()
            dead = now - self._alive
            if dead >= self._patience_s:
                raise UserError(
                    f"{self._where} cannot be read: {error}; nothing came for {duration(dead)} "
                    "(archive.outage_minutes). Check the network and run again: it goes on where it stopped. Or fetch "
                    "the archive elsewhere and set archive.source: file and archive.path"
                )
            if now >= self._resume:  # the first connection to fail pauses for all that fail meanwhile
                longest = min(LONGEST_PAUSE_S, self._patience_s - dead)
                self._pause_s = min(max(FIRST_PAUSE_S, 2 * self._pause_s), longest)
                self._resume = now + self._pause_s
                since = f"; nothing came for {duration(dead)}" if dead >= 1 else ""
                say(f"fetch_archive: {error}{since}; trying again in {self._pause_s:.0f} s")
            pause = self._resume - now
        if self._stop.wait(pause):
            raise StoppedError

    def outlast(self, action: Callable[[], Result]) -> Result:
        """Repeats `action` until it does not fail for the source's sake."""
        while True:
            try:
                result = action()
            except TransientError as error:
                self.wait(error)
            else:
                self.over()
                return result
