"""The part of a download that is on disk: its bytes, and a journal of what is known to be whole.

`OUT.part` has the object's bytes at their places; `OUT.part.journal` has one line of JSON for the object's identity and
one for every finished part with its CRC-32. Lines are believed only as far as the bytes agree with them, so that no
order of writing to disk needs to be kept: whatever a kill or a power failure leaves can be gone on from.
"""

from __future__ import annotations

import fcntl
import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from isal import isal_zlib

from sspipe.data.remote import READ_BYTES, Remote
from sspipe.errors import UserError
from sspipe.files import FULL
from sspipe.log import say, warn


@dataclass(frozen=True)
class Identity:
    """What a journal's parts are parts of."""

    where: str
    version: str
    size: int
    part_bytes: int


class PartialDownload:
    """`OUT.part` and its journal, held by this process alone until it is closed.

    Raises:
        UserError: another process holds it.
    """

    def __init__(self, out: Path) -> None:
        self.path = out.with_name(out.name + ".part")
        self._journal_path = out.with_name(out.name + ".part.journal")
        self._out = out
        self._lock = threading.Lock()
        self._journal: int | None = None
        self._identity: Identity | None = None
        self.done: dict[int, int] = {}  # CRC-32 of each finished part
        self._file = _locked(self.path)

    @property
    def parts(self) -> int:
        """How many parts the object has."""
        assert self._identity is not None
        return -(-self._identity.size // self._identity.part_bytes)

    @property
    def part_bytes(self) -> int:
        """Size of all parts but the last."""
        assert self._identity is not None
        return self._identity.part_bytes

    def span(self, number: int) -> tuple[int, int]:
        """First byte of a part and the one after its last."""
        assert self._identity is not None
        begin = number * self._identity.part_bytes
        return begin, min(begin + self._identity.part_bytes, self._identity.size)

    @property
    def done_bytes(self) -> int:
        """Bytes of the finished parts."""
        return sum(end - begin for begin, end in map(self.span, self.done))

    @property
    def held_bytes(self) -> int:
        """Disk space that is taken already: finished parts, and those that a kill left unfinished."""
        return max(self.done_bytes, os.fstat(self._file).st_blocks * 512)

    def begin(self, remote: Remote, part_bytes: int) -> None:
        """Takes up what an earlier run left of this version of the object, or starts anew.

        Args:
            remote: the object.
            part_bytes: for a new start; what is taken up keeps its own.
        """
        header, lines = self._read_journal()
        left = os.fstat(self._file).st_size > 0
        if left and header is not None and _same(header, remote) and remote.ranges:
            self._identity = header
            self.done = {number: crc32 for number, crc32 in lines.items() if 0 <= number < self.parts}
        else:
            if left:
                reason = "it is of another version or source" if header else "its journal cannot be read"
                reason = reason if remote.ranges else "the server cannot go on from it"
                say(f"fetch_archive: {self.path} is of no use, as {reason}: starting anew")
            self.discard()
            self._identity = Identity(remote.where, remote.version, remote.size, part_bytes)

    def matches(self, number: int) -> bool:
        """Whether a finished part's bytes on disk are those that were received."""
        begin, end = self.span(number)
        found, crc32 = 0, 0
        for chunk in self.read(begin, end):
            found, crc32 = found + len(chunk), isal_zlib.crc32(chunk, crc32)
        return (found, crc32) == (end - begin, self.done[number])

    def forget(self, numbers: list[int]) -> None:
        """Takes parts for unfinished, and writes the journal anew with what remains."""
        for number in numbers:
            del self.done[number]
        self.rewrite_journal()

    def rewrite_journal(self) -> None:
        """Writes the journal whole (a kill may have cut its last line) and leaves it open for more lines."""
        assert self._identity is not None
        lines = [asdict(self._identity), *({"part": number, "crc32": crc32} for number, crc32 in self.done.items())]
        fresh = self._journal_path.with_name(self._journal_path.name + ".new")
        with self._disk_errors_told():
            with fresh.open("w") as handle:
                handle.write("".join(json.dumps(line) + "\n" for line in lines))
                handle.flush()
                os.fsync(handle.fileno())  # or a power cut may leave an empty one in the old one's place
            fresh.replace(self._journal_path)
            if self._journal is not None:
                os.close(self._journal)
            self._journal = os.open(self._journal_path, os.O_WRONLY | os.O_APPEND)

    def write(self, at: int, content: bytes) -> None:
        """Puts bytes in their place."""
        rest = memoryview(content)
        with self._disk_errors_told():
            while rest:
                written = os.pwrite(self._file, rest, at)
                rest, at = rest[written:], at + written

    def read(self, begin: int, end: int) -> Iterator[bytes]:
        """Reads bytes back; ends early where the file does."""
        while begin < end and (chunk := os.pread(self._file, min(READ_BYTES, end - begin), begin)):
            yield chunk
            begin += len(chunk)

    def write_out(self, number: int) -> None:
        """Has the system begin to put a part on disk, so that the last `sync` has little left to wait for."""
        begin, end = self.span(number)
        # Advice for a reader that needs it no more: Linux begins to write what is dirty, and waits for nothing.
        os.posix_fadvise(self._file, begin, end - begin, os.POSIX_FADV_DONTNEED)

    def finish(self, number: int, crc32: int) -> None:
        """Journals a part whose bytes are all written."""
        assert self._journal is not None
        with self._lock, self._disk_errors_told():
            os.write(self._journal, (json.dumps({"part": number, "crc32": crc32}) + "\n").encode())
            self.done[number] = crc32

    def sync(self) -> None:
        """Sees to it that a power failure takes nothing that was written before."""
        with self._disk_errors_told():
            os.fsync(self._file)
            if self._journal is not None:
                os.fsync(self._journal)

    def take_name(self) -> None:
        """Gives the file its final name: it is whole."""
        with self._disk_errors_told():
            os.ftruncate(self._file, self._identity.size if self._identity else 0)
            os.fsync(self._file)
            self.path.replace(self._out)
            folder = os.open(self._out.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        self._journal_path.unlink(missing_ok=True)

    def discard(self) -> None:
        """Forgets everything; the file stays, empty and held."""
        self.done = {}
        self._journal_path.unlink(missing_ok=True)
        os.ftruncate(self._file, 0)

    def close(self) -> None:
        """Lets go; a file that holds nothing to go on from is removed.

        Before `begin` nobody has looked at what an earlier run left, so it stays.
        """
        useless = not self.done if self._identity else os.fstat(self._file).st_size == 0
        if useless and self.path.exists() and _is(self.path, self._file):
            self._journal_path.unlink(missing_ok=True)
            self.path.unlink()
        if self._journal is not None:
            os.close(self._journal)
        os.close(self._file)

    def _read_journal(self) -> tuple[Identity | None, dict[int, int]]:
        """The identity and the CRC-32 of each part; lines that were cut or damaged are passed over."""
        try:
            first, *others = self._journal_path.read_bytes().split(b"\n")
            header = Identity(**_object(first))
        except (OSError, TypeError):
            return None, {}
        if not (isinstance(header.size, int) and isinstance(header.part_bytes, int) and header.part_bytes > 0):
            return None, {}
        parts: dict[int, int] = {}
        for line in others:
            match _object(line):
                case {"part": int(part), "crc32": int(crc32)}:
                    parts[part] = crc32
        return header, parts

    @contextmanager
    def _disk_errors_told(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno in FULL:
                raise UserError(
                    f"{self.path.parent}: the disk is full (or your quota is used up); what was fetched is kept in "
                    f"{self.path.name}: free some space and run again, and it goes on"
                ) from None
            raise UserError(f"{self.path}: cannot be written ({error.strerror}); run again, and it goes on") from None


def _locked(path: Path) -> int:
    """Opens the file and locks it; the kernel lets go when the process ends, however it ends."""
    while True:
        try:
            file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            raise UserError(f"{path}: cannot be written ({error.strerror}); name another output") from None
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(file)
            raise UserError(f"{path}: another fetch is writing it; wait for that one, or end it") from None
        except OSError as error:  # some network file systems have no locks
            warn(f"{path}: cannot be locked ({error.strerror}): see to it that only one fetch writes it")
        if path.exists() and _is(path, file):
            return file
        os.close(file)  # another fetch finished meanwhile, and gave the file its final name


def _is(path: Path, file: int) -> bool:
    return os.path.samestat(path.stat(), os.fstat(file))


def _same(identity: Identity, remote: Remote) -> bool:
    return (identity.where, identity.version, identity.size) == (remote.where, remote.version, remote.size)


def _object(line: bytes) -> dict[str, Any]:
    try:
        content = json.loads(line)
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}
