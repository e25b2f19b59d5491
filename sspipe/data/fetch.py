"""The stage `fetch-archive`: brings the archive to this machine and verifies it."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from sspipe.data.byte_progress import MIB, ByteProgress, human_bytes
from sspipe.data.remote import READ_BYTES, Remote, StoreHash
from sspipe.errors import UserError
from sspipe.files import make_parent
from sspipe.log import counted, say, warn

if TYPE_CHECKING:
    from sspipe.data.download import Download
    from sspipe.data.partial_download import PartialDownload
    from sspipe.data.remote import Source

# The products in use (12.96 MB of radar, 6.48 MB of optical image a tile) are 66 GB of the real archive's 42.
UNPACKED_SHARE = 1.6


def fetch_archive(
    *,
    out: Path,
    source: str,
    path: Path | None = None,
    url: str | None = None,
    endpoint_url: str | None = None,
    region: str = "us-east-1",
    bucket: str = "",
    key: str = "",
    size_bytes: int | None = None,
    sha256: str | None = None,
    connections: int = 8,
    outage_minutes: float = 15,
    ca_bundle: Path | None = None,
) -> None:
    """Brings the archive to `out`, verified: a link to a file on disk, or a download from a bucket or a web server.

    A download grows in `{out}.part` and is gone on from by the next call, whatever ended this one; only what is whole
    and verified gets the name `out`.

    Args:
        out: the archive.
        source: `file`, `url` or `s3`.
        path: of the file.
        url: of a mirror.
        endpoint_url: the S3 store; None is the public cloud.
        region: of the bucket.
        bucket: a public one.
        key: of the object.
        size_bytes: what the archive must measure; None takes what there is.
        sha256: hex; None takes what there is.
        connections: ranges fetched at once.
        outage_minutes: how long a source that gives nothing is tried again.
        ca_bundle: PEM file of the authorities that may vouch for the server; None takes the usual ones.

    Raises:
        UserError: there is no such archive, it cannot be read or written, or it is not the one that the config pins.
        SystemExit: ended by a signal; the status is 128 and its number.
    """
    if out.is_dir() and not out.is_symlink():
        raise UserError(f"{out}: is a folder, where the archive itself is to be; remove it, or name another output")
    if source == "file":
        if path is None:
            raise UserError("archive.source is `file`, so archive.path must name the archive")
        _link(Path(path), out, size_bytes, sha256)
        say(f"fetch_archive: {out} is {'as archive.sha256 has it' if sha256 else 'there; archive.sha256 is not set'}")
        return
    _check_ca_bundle(ca_bundle)
    reader: Source
    # Imported here: boto3 takes half a second.
    if source == "s3":
        from sspipe.data.object_store import S3Object

        reader = S3Object(
            endpoint_url=endpoint_url,
            region=region,
            bucket=bucket,
            key=key,
            connections=connections,
            ca_bundle=ca_bundle,
        )
    elif source == "url":
        if url is None:
            raise UserError("archive.source is `url`, so archive.url must name the archive")
        from sspipe.data.mirror import WebFile

        reader = WebFile(url=url, connections=connections, ca_bundle=ca_bundle, size_bytes=size_bytes)
    else:
        raise UserError(f"archive.source is `{source}`; fetch_archive knows `s3`, `url` and `file`")
    make_parent(out)
    _download(reader, out, size_bytes, sha256, connections, outage_minutes)


def _download(
    source: Source, out: Path, size_bytes: int | None, sha256: str | None, connections: int, outage_minutes: float
) -> None:
    from sspipe.data.download import Download, part_bytes
    from sspipe.data.outage import Outage
    from sspipe.data.partial_download import PartialDownload

    stop = threading.Event()
    outage = Outage(source.where, outage_minutes * 60, stop)
    partial = PartialDownload(out)
    with _closed_when_it_ends(partial, stop):
        remote = outage.outlast(source.identify)
        _check_size(source.where, remote.size, size_bytes)
        partial.begin(remote, part_bytes(remote, connections))
        _refuse_small_disk(out.parent, remote.size, partial.held_bytes)
        if not remote.ranges:
            warn(
                f"{remote.where}: the server gives no ranges that can be held to one version, so the archive comes "
                "over one connection, and a download that is interrupted begins again"
            )
            connections = 1
        say(f"fetch_archive: {remote.where}, {human_bytes(remote.size)} over {connections} connections")
        compare = StoreHash(remote.digest.part_bytes) if remote.digest and sha256 is None else None
        download = Download(source, remote, partial, outage, connections, stop, compare)
        digest = download.run()
        agrees = remote.digest.agrees(compare.hexdigest()) if remote.digest and compare else None
        said = _verify(remote, partial, download, digest, sha256, agrees)
        partial.take_name()
    say(f"fetch_archive: {out} is whole: {said}")


@contextmanager
def _closed_when_it_ends(partial: PartialDownload, stop: threading.Event) -> Iterator[None]:
    """Leaves a state to go on from when the block fails, is interrupted or is told to end."""

    def end(number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    # Whoever started it under nohup wants no end when the terminal closes.
    ends = [number for number in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(number) == signal.SIG_DFL]
    before = {number: signal.signal(number, end) for number in ends}
    try:
        yield
    except (SystemExit, KeyboardInterrupt):
        stop.set()
        partial.sync()
        say(f"fetch_archive: stopped; {_what_is_kept(partial)}")
        raise
    except UserError:
        if partial.done:
            say(f"fetch_archive: {_what_is_kept(partial)}")
        raise
    finally:
        stop.set()
        partial.close()
        for number, handler in before.items():
            signal.signal(number, handler)


def _what_is_kept(partial: PartialDownload) -> str:
    kept = f"{human_bytes(partial.done_bytes)} are kept in {partial.path}; " if partial.done else ""
    return f"{kept}run again and it goes on from there"


def _verify(
    remote: Remote, partial: PartialDownload, download: Download, digest: str, sha256: str | None, agrees: bool | None
) -> str:
    """Compares what came with what is known of it; returns in words what agreed.

    Raises:
        UserError: it is something else. What cannot be used is gone, so that the next run fetches it anew.
    """
    if sha256 is not None and digest == sha256:
        return "its sha256 is archive.sha256"
    if sha256 is None and agrees is not False:
        checked = "its size and the store's own md5 agree" if agrees else "its size agrees, and no checksum was at hand"
        return f"{checked}; archive.sha256 is not set, so pin what came: sha256 {digest}"
    damaged = download.damaged()
    if damaged:
        partial.forget(damaged)
        raise UserError(
            f"{partial.path}: {counted(len(damaged), 'part')} changed on disk after being written; run again: nothing "
            "else is fetched again. If it happens twice, look after the disk"
        )
    wrong = f"{remote.where}: what came has sha256 {digest}"
    if sha256 is not None and _is_what_the_store_holds(remote, partial):
        raise UserError(
            f"{wrong}, not {sha256} (archive.sha256), and is what the source holds, as the md5 that it keeps agrees: "
            f"correct archive.sha256, or name another source. What came is kept in {partial.path}"
        )
    partial.discard()
    pinned = f", not {sha256} (archive.sha256)" if sha256 else ", and not the md5 that the store keeps of it"
    raise UserError(
        f"{wrong}{pinned}: it was damaged on the way, or is another archive. It was removed; run again to fetch it "
        "anew, over https if this was http, and check archive.sha256 if it happens twice"
    )


def _is_what_the_store_holds(remote: Remote, partial: PartialDownload) -> bool:
    if remote.digest is None:
        return False
    ours = StoreHash(remote.digest.part_bytes)
    with ByteProgress("fetch_archive: comparing with the store's md5", remote.size) as progress:
        for done, chunk in enumerate(partial.read(0, remote.size), start=1):
            ours.update(chunk)
            progress.reach(min(done * READ_BYTES, remote.size))
    return remote.digest.agrees(ours.hexdigest()) is True


def _refuse_small_disk(folder: Path, size: int, held: int) -> None:
    free, missing = shutil.disk_usage(folder).free, max(size - held, 0)
    if free < missing:
        raise UserError(
            f"{folder}: {human_bytes(free)} are free, and the archive needs {human_bytes(missing)}"
            f"{' more' if held else ''}; free some space, or set `results` to a folder on a larger disk"
        )
    unpacked = int(UNPACKED_SHARE * size)
    if free < missing + unpacked:
        warn(
            f"{folder}: {human_bytes(free)} are free: enough for the archive, but unpacking it will want about "
            f"{human_bytes(unpacked)} more"
        )


def _check_ca_bundle(ca_bundle: Path | None) -> None:
    if ca_bundle is None:
        return
    try:
        ssl.create_default_context(cafile=str(ca_bundle))
    except OSError as error:
        raise UserError(f"archive.ca_bundle: {ca_bundle} is not a PEM file of certificates ({error})") from None


def _link(path: Path, out: Path, size_bytes: int | None, sha256: str | None) -> None:
    """Verifies an archive on disk and links to it: at 42 GB a second copy would only cost space."""
    if not path.is_file():
        raise UserError(f"archive.path: {path} is not a file; it must name the archive")
    _check_size(str(path), path.stat().st_size, size_bytes)  # before minutes of reading
    if sha256 is not None and (digest := _sha256(path)) != sha256:
        raise UserError(f"{path}: sha256 {digest}, not {sha256} (archive.sha256); fetch it again")
    if out.exists() and out.samefile(path):
        return
    make_parent(out)
    # Made aside and renamed, so that two at once do not meet between one's removal and its link.
    link = out.with_name(f".{out.name}.link-{os.getpid()}")
    try:
        link.unlink(missing_ok=True)
        link.symlink_to(path.resolve())
        link.replace(out)
    except OSError as error:
        raise UserError(f"{out}: no link can be made there ({error.strerror}); name another output") from None


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    try:
        with ByteProgress("fetch_archive: verifying", path.stat().st_size) as progress, path.open("rb") as handle:
            while chunk := handle.read(4 * MIB):
                digest.update(chunk)
                progress.reach(handle.tell())
    except OSError as error:
        raise UserError(
            f"archive.path: {path} cannot be read ({error.strerror}); see to its permissions, or its disk"
        ) from None
    return digest.hexdigest()


def _check_size(where: str, size: int, size_bytes: int | None) -> None:
    if size_bytes is not None and size != size_bytes:
        raise UserError(
            f"{where} measures {size} bytes, expected {size_bytes}: it is not the archive that the config pins, or not "
            "all of it; name another source, or correct archive.size_bytes and archive.sha256"
        )
