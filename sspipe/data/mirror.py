"""A file on a plain web server, such as a mirror of the archive."""

from __future__ import annotations

import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import urllib3
import urllib3.exceptions

from sspipe.data.outage import TransientError
from sspipe.data.remote import (
    CONNECT_TIMEOUT_S,
    READ_BYTES,
    READ_TIMEOUT_S,
    Remote,
    ReplacedError,
    check_range,
    failure,
    is_passing,
    refusal,
)
from sspipe.errors import UserError

KEYS = "archive.url"
REDIRECTS = 10


class WebFile:
    """What a URL leads to.

    Args:
        url: http or https.
        connections: most that will be used at once.
        ca_bundle: PEM file of the authorities that may vouch for the server; None takes the usual ones.
        size_bytes: expected, for servers that do not tell a size.

    Raises:
        UserError: it is not a URL of the web.
    """

    def __init__(self, *, url: str, connections: int, ca_bundle: Path | None, size_bytes: int | None) -> None:
        try:
            parts = urlsplit(url)
        except ValueError as error:
            raise UserError(f"archive.url: `{url}` is no address of the web ({error}); correct it") from None
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise UserError(f"archive.url: `{url}` must begin with http:// or https:// and name a server")
        self.where = url
        self._size_bytes = size_bytes
        self._pool = _pool(parts.scheme, parts.hostname, connections, ca_bundle)

    def identify(self) -> Remote:
        """Asks what is there by reading its first byte, as some servers answer no HEAD (see Source)."""
        with self._answer({"Range": "bytes=0-0"}) as answer:
            etag, date = answer.headers.get("ETag", ""), answer.headers.get("Last-Modified", "")
            # A weak tag names a meaning, not bytes.
            version = date if not etag or etag.startswith("W/") else etag
            if answer.status == 206:
                total = answer.headers.get("Content-Range", "").rpartition("/")[2]
            else:
                total = answer.headers.get("Content-Length", "")
        if not total.isdigit() and self._size_bytes is None:
            raise UserError(f"{self.where}: the server does not tell the size; set archive.size_bytes")
        size = int(total) if total.isdigit() else int(self._size_bytes or 0)
        return Remote(self.where, size, version, ranges=answer.status == 206 and total.isdigit() and version != "")

    def read(self, remote: Remote, begin: int, end: int) -> Iterator[bytes]:
        """Reads a range of the version that was identified, or the whole (see Source)."""
        asked = {}
        if remote.ranges:
            asked["Range"] = f"bytes={begin}-{end - 1}"
            asked["If-Match" if remote.version.startswith('"') else "If-Unmodified-Since"] = remote.version
        with self._answer(asked) as answer:
            # Not every server heeds the condition.
            now = answer.headers.get("ETag" if remote.version.startswith('"') else "Last-Modified", "")
            if now != remote.version:
                raise ReplacedError(self.where)
            if remote.ranges:
                check_range(self.where, answer.headers.get("Content-Range", "none"), begin, end, remote.size)
            with self._told():
                yield from answer.stream(READ_BYTES, decode_content=False)

    @contextmanager
    def _answer(self, headers: dict[str, str]) -> Iterator[urllib3.BaseHTTPResponse]:
        with self._told():
            answer = self._pool.request(
                "GET", self.where, headers={"Accept-Encoding": "identity", **headers}, preload_content=False
            )
        try:
            if answer.status == 412:
                raise ReplacedError(self.where)
            if is_passing(answer.status):
                raise TransientError(f"{self.where}: the server answered {answer.status} {answer.reason}")
            if answer.status not in (200, 206):
                raise refusal(self.where, answer.status, str(answer.reason), KEYS)
            yield answer
        finally:
            answer.close()

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            if _leads_nowhere(error):
                raise UserError(
                    f"{self.where}: the server sends on to where nothing can be fetched ({error}); check {KEYS}"
                ) from None
            raise failure(self.where, error) from None


def _leads_nowhere(error: Exception) -> bool:
    """Whether redirections go round in a circle, or to no address of the web: waiting would not help."""
    if isinstance(error, urllib3.exceptions.MaxRetryError):
        return isinstance(error.reason, urllib3.exceptions.ResponseError)
    return isinstance(error, ValueError)  # urllib3's own of addresses among them


def _pool(scheme: str, host: str, connections: int, ca_bundle: Path | None) -> urllib3.PoolManager:
    settings: dict[str, Any] = {
        "maxsize": connections,
        "timeout": urllib3.Timeout(connect=CONNECT_TIMEOUT_S, read=READ_TIMEOUT_S),
        # The download retries, for all connections together.
        "retries": urllib3.Retry(connect=0, read=0, status=0, other=0, redirect=REDIRECTS),
        "ca_certs": str(ca_bundle) if ca_bundle else None,
    }
    # As boto3 does: many clusters reach the web through a proxy alone.
    proxy = None if urllib.request.proxy_bypass(host) else urllib.request.getproxies().get(scheme)
    return urllib3.ProxyManager(proxy, **settings) if proxy else urllib3.PoolManager(**settings)
