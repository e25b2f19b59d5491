"""Downloading an object over several connections, resumably, with its checksum taken on the way."""

from __future__ import annotations

import hashlib
import threading
import time
from collections import deque
from collections.abc import Callable

from isal import isal_zlib

from sspipe.data.byte_progress import MIB, ByteProgress, human_bytes
from sspipe.data.outage import Outage, StoppedError, TransientError
from sspipe.data.partial_download import PartialDownload
from sspipe.data.remote import Remote, Source, StoreHash
from sspipe.errors import UserError
from sspipe.log import counted, say

# A kill loses the parts under way: with these bounds at most a sixteenth of the object.
PARTS_PER_CONNECTION = 16
LARGEST_PART = 32 * MIB
SMALLEST_PART = MIB // 16
SYNC_S = 30.0  # a power failure loses at most this
VERIFIERS = 4  # threads that compare what an earlier run left
STOP_S = 2.0  # that connections are given to end by themselves
STUCK_TRIES = 3  # from the beginning, without ranges, that get no farther than one before: it would never end


def part_bytes(remote: Remote, connections: int) -> int:
    """Chooses the size of the parts that are fetched one by one."""
    if not remote.ranges:
        return max(remote.size, 1)
    whole_blocks = remote.size // (PARTS_PER_CONNECTION * connections) // SMALLEST_PART * SMALLEST_PART
    return min(max(whole_blocks, SMALLEST_PART), LARGEST_PART)


class Download:
    """One run: verifies what is there, fetches what is missing, and hashes everything in order.

    Args:
        source: where to read.
        remote: the version to read.
        partial: where to write; begun.
        outage: what to do when the source fails.
        connections: ranges fetched at once.
        stop: shared with `outage`; set when the run fails or is interrupted.
        compare: what to compare with the store's own digest; at half of sha256's speed, it is left out if not needed.
    """

    def __init__(
        self,
        source: Source,
        remote: Remote,
        partial: PartialDownload,
        outage: Outage,
        connections: int,
        stop: threading.Event,
        compare: StoreHash | None = None,
    ) -> None:
        self._source = source
        self._remote = remote
        self._partial = partial
        self._outage = outage
        self._connections = connections
        self._stop = stop
        self._changed = threading.Condition()
        self._failure: BaseException | None = None
        self._fetched = 0  # bytes, of this run
        self._sha256 = hashlib.sha256()
        self._compare = compare

    def run(self) -> str:
        """Returns the sha256 (hex) when every byte is on disk and hashed.

        Raises:
            UserError: the source or the disk failed for good; what is there is kept.
        """
        self._verify_what_is_there()
        self._fetch_the_rest()
        return self._sha256.hexdigest()

    def damaged(self) -> list[int]:
        """Finished parts whose bytes on disk are not those that were received."""
        waiting, damaged = deque(sorted(self._partial.done)), []
        total, seen = self._partial.done_bytes, 0

        def verify() -> None:
            nonlocal seen
            while (number := _next(waiting)) is not None and not self._stop.is_set():
                if not self._partial.matches(number):
                    damaged.append(number)
                with self._changed:
                    seen += self._partial.part_bytes

        with ByteProgress("fetch_archive: verifying what is there", total) as progress:
            self._run_threads([verify] * VERIFIERS, lambda: progress.reach(min(seen, total)))
        return sorted(damaged)

    def _verify_what_is_there(self) -> None:
        damaged = self.damaged() if self._partial.done else []
        if damaged:
            are = "is" if len(damaged) == 1 else "are"
            say(f"fetch_archive: {counted(len(damaged), 'part')} on disk {are} damaged and will be fetched again")
        self._partial.forget(damaged)
        if self._partial.done:
            say(
                f"fetch_archive: going on from {human_bytes(self._partial.done_bytes)} of "
                f"{human_bytes(self._remote.size)} that are there"
            )

    def _fetch_the_rest(self) -> None:
        waiting = deque(number for number in range(self._partial.parts) if number not in self._partial.done)
        already, synced = self._partial.done_bytes, time.monotonic()

        def fetch() -> None:
            while (number := _next(waiting)) is not None and not self._stop.is_set():
                self._fetch(number)

        def look() -> None:
            nonlocal synced
            progress.reach(already + self._fetched)
            if time.monotonic() - synced >= SYNC_S:
                self._partial.sync()
                synced = time.monotonic()

        self._outage.over()  # verifying took its time
        with ByteProgress("fetch_archive", self._remote.size, already=already) as progress:
            self._run_threads([self._hash_in_order, *[fetch] * self._connections], look)

    def _fetch(self, number: int) -> None:
        """Fetches one part; after a failure it goes on from the byte where it stopped."""
        begin, end = self._partial.span(number)
        at, crc32 = begin, 0
        farthest, stuck = begin, 0
        while at < end:
            try:
                for chunk in self._source.read(self._remote, at, end):
                    if self._stop.is_set():
                        raise StoppedError
                    if at + len(chunk) > end:
                        raise UserError(f"{self._remote.where}: the server sent more bytes than it promised; run again")
                    self._partial.write(at, chunk)
                    crc32 = isal_zlib.crc32(chunk, crc32)
                    at += len(chunk)
                    self._outage.over()
                    with self._changed:
                        self._fetched += len(chunk)
                if at < end:
                    raise TransientError(f"{self._remote.where}: the connection ended {end - at} bytes too early")
            except TransientError as error:
                if not self._remote.ranges and at > begin:
                    stuck = 0 if at > farthest else stuck + 1
                    farthest = max(farthest, at)
                    if stuck == STUCK_TRIES:
                        raise self._never_whole(farthest - begin, error) from None
                self._outage.wait(error)
                if not self._remote.ranges:
                    with self._changed:
                        self._fetched -= at - begin
                    at, crc32 = begin, 0
        self._partial.finish(number, crc32)
        with self._changed:
            self._changed.notify_all()

    def _never_whole(self, came: int, error: TransientError) -> UserError:
        return UserError(
            f"{error}; {STUCK_TRIES} more attempts got no farther than {human_bytes(came)} of "
            f"{human_bytes(self._remote.size)}, and the server cannot go on from there. Check archive.size_bytes, name "
            "another source, or fetch the archive elsewhere and set archive.source: file and archive.path"
        )

    def _hash_in_order(self) -> None:
        """Follows the finished parts from the beginning; what it reads was written just before."""
        for number in range(self._partial.parts):
            with self._changed:
                while number not in self._partial.done:
                    if self._stop.is_set():
                        return
                    self._changed.wait(0.5)
            for chunk in self._partial.read(*self._partial.span(number)):
                if self._stop.is_set():
                    return
                self._sha256.update(chunk)
                if self._compare is not None:
                    self._compare.update(chunk)
            self._partial.write_out(number)

    def _run_threads(self, tasks: list[Callable[[], None]], look: Callable[[], None]) -> None:
        """Runs each task in a thread, looking after them from this one, which is the one that signals interrupt."""
        # Daemons: one that waits for a dead server must not keep the process from ending.
        threads = [threading.Thread(target=self._guarded, args=(task,), daemon=True) for task in tasks]
        for thread in threads:
            thread.start()
        try:
            while any(thread.is_alive() for thread in threads) and self._failure is None:
                with self._changed:
                    self._changed.wait(0.2)
                look()
            if self._failure is not None:
                raise self._failure
        except BaseException:
            self._stop.set()
            limit = time.monotonic() + STOP_S
            for thread in threads:
                thread.join(max(limit - time.monotonic(), 0))
            raise

    def _guarded(self, task: Callable[[], None]) -> None:
        try:
            task()
        except StoppedError:
            pass
        except BaseException as error:
            with self._changed:
                self._failure = self._failure or error
                self._stop.set()
                self._changed.notify_all()
        else:
            with self._changed:
                self._changed.notify_all()


def _next(waiting: deque[int]) -> int | None:
    try:
        return waiting.popleft()
    except IndexError:
        return None
