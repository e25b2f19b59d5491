"""Bringing the archive to this machine, verified."""

from __future__ import annotations

import hashlib
from pathlib import Path

from sspipe.data.byte_progress import MIB, ByteProgress
from sspipe.errors import UserError
from sspipe.files import whole_file
from sspipe.log import say


def fetch_archive(
    *,
    out: Path,
    source: str,
    path: Path | None,
    endpoint_url: str | None,
    region: str,
    bucket: str,
    key: str,
    size_bytes: int | None,
    sha256: str | None,
) -> None:
    """Brings the archive to `out`, verified: a link to a file on disk, or a download from a public bucket.

    Raises:
        UserError: there is no such archive, it cannot be read, or it is not the one that the config pins.
    """
    if source == "file":
        if path is None:
            raise UserError("archive.source is `file`, so archive.path must name the archive")
        _link(Path(path), out, size_bytes, sha256)
    elif source == "s3":
        from sspipe.data.object_store import download

        with whole_file(out) as partial:
            size, digest = download(
                partial, endpoint_url=endpoint_url, region=region, bucket=bucket, key=key, size_bytes=size_bytes
            )
            _verify(f"s3://{bucket}/{key}", size, digest, size_bytes, sha256)
    else:
        raise UserError(f"archive.source is `{source}`; fetch_archive knows `s3` and `file`")
    say(
        f"fetch_archive: {out} is whole" + ("" if sha256 else " (archive.sha256 is not set, so only its size is known)")
    )


def _link(path: Path, out: Path, size_bytes: int | None, sha256: str | None) -> None:
    """Verifies an archive on disk and links to it: at 42 GB a second copy would only cost space."""
    if not path.is_file():
        raise UserError(f"archive.path: {path} is not a file; it must name the archive")
    size = path.stat().st_size
    if size_bytes is not None and size != size_bytes:  # before an hour of reading
        _verify(str(path), size, "", size_bytes, None)
    _verify(str(path), size, _sha256(path) if sha256 else "", size_bytes, sha256)
    if out.resolve() == path.resolve():
        return
    out.parent.mkdir(parents=True, exist_ok=True)
    out.unlink(missing_ok=True)
    out.symlink_to(path.resolve())


def _sha256(path: Path) -> str:
    digest, progress = hashlib.sha256(), ByteProgress("fetch_archive: verifying", path.stat().st_size)
    with path.open("rb") as handle:
        while chunk := handle.read(4 * MIB):
            digest.update(chunk)
            progress.reach(handle.tell())
    return digest.hexdigest()


def _verify(where: str, size: int, digest: str, size_bytes: int | None, sha256: str | None) -> None:
    if size_bytes is not None and size != size_bytes:
        raise UserError(f"{where}: {size} bytes, not {size_bytes} (archive.size_bytes); fetch it again")
    if sha256 is not None and digest != sha256:
        raise UserError(f"{where}: sha256 {digest}, not {sha256} (archive.sha256); fetch it again")
