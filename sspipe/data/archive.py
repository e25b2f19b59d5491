"""Unpacking what is used of the archive."""

from __future__ import annotations

import errno
import gzip
import shutil
import tarfile
import zlib
from pathlib import Path, PurePosixPath
from typing import IO, Any

from sspipe.data import spacenet6
from sspipe.data.byte_progress import MIB, ByteProgress, human_bytes
from sspipe.errors import UserError
from sspipe.files import whole_folder, write_json
from sspipe.log import say

# The products that the pipeline reads; the others are most of the archive's bytes and are passed over.
WANTED = (
    spacenet6.SAR.folder,
    spacenet6.EO.folder,
    spacenet6.LABELS.folder,
    spacenet6.SUMMARY_FOLDER.name,
)
LISTED_NAMES = 10


def unpack_archive(*, archive: Path, out: Path, manifest: Path) -> None:
    """Unpacks the products in use in one pass over the stream, and writes what was found.

    Names are matched against those of SpaceNet 6; nothing else is written. The folder appears when the whole stream has
    been read and its checksum agreed.

    Args:
        archive: the `.tar.gz`.
        out: folder that will hold `train/AOI_11_Rotterdam/…`.
        manifest: JSON of members and bytes per product.

    Raises:
        UserError: the archive is damaged, holds a member that would leave the folder, or is another archive.
    """
    with whole_folder(out) as partial:
        try:
            found = _unpack(archive, partial)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            raise UserError(f"{out.parent}: the disk is full; free some space and run again") from None
        missing = [product for product in WANTED if not found["products"][product]["members"]]
        if missing:
            raise UserError(
                f"{archive}: holds no {', '.join(missing)} under ./{spacenet6.FOLDER}; it is not SpaceNet 6's "
                "training archive; correct archive.path or archive.key"
            )
    write_json(manifest, {"archive": archive.name, **found})
    kept = sum(entry["bytes"] for entry in found["products"].values())
    members = sum(entry["members"] for entry in found["products"].values())
    passed = sum(entry["members"] for entry in found["skipped"].values())
    say(f"unpack_archive: {members} members, {human_bytes(kept)}; passed over {passed} of products not in use")
    if found["unknown"]["members"]:
        say(f"unpack_archive: ignored {found['unknown']['members']} members of unknown name; {manifest} lists some")


def _unpack(archive: Path, folder: Path) -> dict[str, Any]:
    """Writes the wanted members under `folder`; returns the manifest."""
    counts = {product: {"members": 0, "bytes": 0} for product in (*WANTED, *spacenet6.PRODUCTS)}
    unknown: dict[str, Any] = {"members": 0, "names": []}
    where = "its first member"
    try:
        with archive.open("rb") as packed, gzip.GzipFile(fileobj=packed) as stream:
            progress = ByteProgress("unpack_archive", archive.stat().st_size)
            with tarfile.open(fileobj=stream, mode="r|", tarinfo=_StrictMember) as members:
                for member in members:
                    where = f"`{member.name}`"
                    progress.reach(packed.tell())
                    path = _safe_path(archive, member)
                    if member.isdir():
                        continue
                    product = spacenet6.product_of(path)
                    if product is None:
                        unknown["members"] += 1
                        unknown["names"] = [*unknown["names"], member.name][:LISTED_NAMES]
                        continue
                    if product in WANTED:
                        _write(members.extractfile(member), folder / path, archive)
                    counts[product]["members"] += 1
                    counts[product]["bytes"] += member.size
            _drain(stream)
    except FileNotFoundError:
        raise UserError(f"{archive}: no such file; run fetch_archive") from None
    except IsADirectoryError:
        raise UserError(
            f"{archive}: is a folder, expected the archive itself (.tar.gz); name the file, or run fetch_archive"
        ) from None
    except (EOFError, gzip.BadGzipFile, zlib.error, tarfile.TarError) as error:
        raise UserError(f"{archive}: damaged at or after {where} ({error}); delete it and fetch it again") from None
    products = {product: counts.pop(product) for product in WANTED}
    return {"products": products, "skipped": counts, "unknown": unknown}


def _safe_path(archive: Path, member: tarfile.TarInfo) -> PurePosixPath:
    """The member's path without a leading `./`; refuses what could write outside the folder."""
    path = PurePosixPath(member.name)
    reason = None
    if path.is_absolute():
        reason = "its path is absolute"
    elif ".." in path.parts:
        reason = "its path leads out of the folder"
    elif member.islnk() or member.issym():
        reason = f"it is a link to `{member.linkname}`"
    elif member.type not in (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.DIRTYPE):
        reason = "it is neither a file nor a folder"
    if reason:
        raise UserError(
            f"{archive}: refused member `{member.name}`: {reason}; nothing was unpacked, and the archive "
            "is not SpaceNet's: fetch it from its source"
        )
    return path


def _write(content: IO[bytes] | None, target: Path, archive: Path) -> None:
    assert content is not None  # _safe_path lets only files and folders through
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with target.open("xb") as handle:
            shutil.copyfileobj(content, handle, MIB)
    except FileExistsError:
        raise UserError(f"{archive}: member `{target.name}` occurs twice; fetch the archive again") from None


def _drain(stream: gzip.GzipFile) -> None:
    """Reads to the stream's end: only there does gzip compare its checksum and notice that bytes are missing."""
    while stream.read(MIB):
        pass


class _StrictMember(tarfile.TarInfo):
    """A member whose damaged or missing header is an error; tarfile alone would take it for the archive's end."""

    # Not `frombuf`: Pythons with the later security fixes read headers past it.
    @classmethod
    def fromtarfile(cls, archive: tarfile.TarFile) -> _StrictMember:
        try:
            return super().fromtarfile(archive)
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]
            raise
        except tarfile.HeaderError as error:
            raise tarfile.ReadError(f"{error} where a member was expected") from None
