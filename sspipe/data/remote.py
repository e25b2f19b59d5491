"""What a download knows about the object it reads, and what it asks of a source of objects."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from sspipe.data.byte_progress import MIB
from sspipe.data.outage import TransientError
from sspipe.errors import UserError

READ_BYTES = MIB // 4  # at a time, from the network and from disk: fits the processor's cache
# Of one connection. A stalled one is given up after READ_TIMEOUT_S and opened anew.
CONNECT_TIMEOUT_S = 15
READ_TIMEOUT_S = 30


class ReplacedError(UserError):
    """The object is no longer the version that the download began with."""

    def __init__(self, where: str) -> None:
        super().__init__(
            f"{where}: the object was replaced while it was being fetched; run again: it starts anew with the new one"
        )


@dataclass(frozen=True)
class StoreDigest:
    """The md5 that a store keeps of an object: of the whole, or of the md5s of the parts it was uploaded in.

    Attributes:
        text: the ETag without quotes.
        part_bytes: of all parts but the last; None if it was uploaded whole.
        known: the store told `part_bytes`. If not, it is a guess: a digest that agrees is proof, another shows nothing.
    """

    text: str
    part_bytes: int | None
    known: bool

    def agrees(self, ours: str) -> bool | None:
        """Compares with the digest of what came (see StoreHash); None if that cannot tell."""
        return True if ours == self.text else (False if self.known else None)


class StoreHash:
    """Takes the digest that a store would keep of the bytes it is given in order.

    Args:
        part_bytes: of the store's parts; None for an object that was uploaded whole.
    """

    def __init__(self, part_bytes: int | None) -> None:
        self._part_bytes = part_bytes
        self._part, self._in_part = _md5(), 0
        self._parts = _md5()
        self._count = 0

    def update(self, content: bytes) -> None:
        """Goes on with more bytes."""
        rest = memoryview(content)
        while rest:
            piece = rest if self._part_bytes is None else rest[: self._part_bytes - self._in_part]
            self._part.update(piece)
            self._in_part += len(piece)
            rest = rest[len(piece) :]
            if self._in_part == self._part_bytes:
                self._end_part()

    def hexdigest(self) -> str:
        """The digest; nothing may be added after it."""
        if self._part_bytes is None:
            return self._part.hexdigest()
        if self._in_part:
            self._end_part()
        return f"{self._parts.hexdigest()}-{self._count}"

    def _end_part(self) -> None:
        self._parts.update(self._part.digest())
        self._part, self._in_part = _md5(), 0
        self._count += 1


def _md5() -> hashlib._Hash:
    return hashlib.md5(usedforsecurity=False)


@dataclass(frozen=True)
class Remote:
    """One version of an object.

    Attributes:
        where: it is, for people; also a part of its identity.
        size: bytes.
        version: ETag or date that the source will be held to; empty if it tells none.
        ranges: any part can be asked for, held to `version`. If not, there is only the whole, from its beginning.
        digest: what the store knows of the content.
    """

    where: str
    size: int
    version: str
    ranges: bool
    digest: StoreDigest | None = None


class Source(Protocol):
    """Somewhere an object can be read from. Safe to use from several threads at once."""

    where: str

    def identify(self) -> Remote:
        """Asks what is there.

        Raises:
            TransientError: the source cannot be reached now.
            UserError: there is no such object, or it may not be read.
        """
        ...

    def read(self, remote: Remote, begin: int, end: int) -> Iterator[bytes]:
        """Reads bytes `begin` to `end` (exclusive) of the version that was identified; may break off before the end.

        Raises:
            TransientError: the connection failed, now or while reading.
            ReplacedError: another version is there.
            UserError: it may not be read any more.
        """
        ...


def refusal(where: str, status: int, detail: str, keys: str) -> UserError:
    """What a status that will not pass means for the user.

    Args:
        where: the object.
        status: of HTTP.
        detail: the server's own word.
        keys: of the config, where the user would look.
    """
    if status in (404, 410):
        return UserError(f"{where}: there is no such object; check {keys}")
    if status in (401, 403):
        return UserError(f"{where}: not readable without credentials, or not there; check {keys}")
    return UserError(f"{where}: refused ({status} {detail}); check {keys}")


def is_passing(status: int) -> bool:
    """Whether an HTTP status says "not now" rather than "no"."""
    return status >= 500 or status in (408, 429)


def failure(where: str, error: Exception) -> Exception:
    """What a failed connection is: one that may work later, unless the server's certificate is refused."""
    if "CERTIFICATE_VERIFY_FAILED" in str(error):
        return UserError(
            f"{where}: the server's certificate is not trusted ({error}); if the server is your own, name the PEM file "
            "of its authority in archive.ca_bundle"
        )
    return TransientError(f"{where}: {error}")


def check_range(where: str, content_range: str, begin: int, end: int, size: int) -> None:
    """Refuses an answer that is not the range that was asked for; a proxy in between may send another.

    Raises:
        UserError: it is not.
    """
    expected = f"bytes {begin}-{end - 1}/{size}"
    if content_range != expected:
        raise UserError(f"{where}: the server answered with range `{content_range}`, asked for `{expected}`; run again")


def guess_part_bytes(size: int, count: int) -> int | None:
    """The part size that an object of `size` bytes was probably uploaded with if it came in `count` parts.

    Clients upload in whole MiB, mostly in powers of two.
    """
    fitting = [mib for mib in range(1, 5 * 1024 + 1) if -(-size // (mib * MIB)) == count]
    powers = [mib for mib in fitting if mib & (mib - 1) == 0]
    return min(powers or fitting, default=0) * MIB or None


def md5_parts(etag: str) -> int | None:
    """How many parts an S3 ETag was made of: 0 for an object uploaded whole, None if it is no md5."""
    found = re.fullmatch(r"[0-9a-f]{32}(?:-([0-9]{1,5}))?", etag)
    return int(found[1] or 0) if found else None
