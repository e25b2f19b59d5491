"""Unpacking what is used of the archive, in one pass over its stream."""

from __future__ import annotations

import gzip
import hashlib
import io
import shutil
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, Any

from isal import igzip_threaded, isal_zlib

from sspipe.data import spacenet6
from sspipe.data.byte_progress import GIB, MIB, ByteProgress, human_bytes
from sspipe.data.fetch import UNPACKED_SHARE
from sspipe.errors import UserError
from sspipe.files import FULL, whole_folder, write_json
from sspipe.log import counted, say

# The products that the pipeline reads; the others are passed over.
WANTED = (
    spacenet6.SAR.folder,
    spacenet6.EO.folder,
    spacenet6.LABELS.folder,
    spacenet6.SUMMARY_FOLDER.name,
)
# Decompressed at a time: an error loses what was read with it, so small ones tell the member at fault, at no cost.
BLOCK = 128 * 1024

COPIED = 256 * 1024  # at a time, to the disk: what fits a processor's cache is copied in half the time of 1 MiB

LISTED_NAMES = 10
SHOWN_CHARACTERS = 200

# Nothing in SpaceNet 6 comes near: an image has 13 MB, the table of all footprints some 60 MB.
LARGEST_MEMBER = GIB

# Headers that only say more of the next one (a long name); tarfile holds their content in memory.
EXTENSIONS = (
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
)
LARGEST_EXTENSION = MIB

ISAL_ERROR: type[Exception] = isal_zlib.error  # type: ignore[assignment]  # typed as one error, and is a class


def unpack_archive(*, archive: Path, out: Path, manifest: Path) -> None:
    """Unpacks the products in use in one pass over the stream, and writes what was found.

    Names are matched against those of SpaceNet 6; nothing else is written. The folder appears when the whole stream has
    been read and its checksum agreed.

    Args:
        archive: the `.tar.gz`, or a link to it.
        out: folder that will hold `train/AOI_11_Rotterdam/…`.
        manifest: JSON of the archive's size and sha256, and of members and bytes per product.

    Raises:
        UserError: the archive is damaged, holds a member that would leave the folder, or is another archive; or the
            disk is too small for it. Nothing is left of it then.
    """
    _refuse_what_is_no_gzip(archive)
    with whole_folder(out) as partial:
        _refuse_small_disk(archive, out)
        try:
            found = _unpack(archive, partial)
        except OSError as error:
            full = error.errno in FULL
            what = "the disk is full" if full else f"unpacking {archive} failed ({error.strerror})"
            remedy = "free some space" if full else "look after the disk"
            raise UserError(f"{out.parent}: {what}; {remedy} and run again") from None
        missing = [product for product in WANTED if not found["products"][product]["members"]]
        if missing:
            raise UserError(
                f"{archive}: holds no {', '.join(missing)} under ./{spacenet6.FOLDER}; it is not SpaceNet 6's "
                "training archive; correct archive.path or archive.key"
            )
    write_json(manifest, {"archive": archive.name, "bytes": archive.stat().st_size, **found})
    kept = sum(entry["bytes"] for entry in found["products"].values())
    members = sum(entry["members"] for entry in found["products"].values())
    passed = sum(entry["members"] for entry in found["skipped"].values())
    unpacked = f"{counted(members, 'member')}, {human_bytes(kept)}"
    say(f"unpack_archive: {unpacked}; passed over {passed} of products not in use")
    if found["unknown"]["members"]:
        unknown = counted(found["unknown"]["members"], "member")
        say(f"unpack_archive: ignored {unknown} of unknown name; {manifest} lists some")


def _unpack(archive: Path, folder: Path) -> dict[str, Any]:
    """Writes the wanted members under `folder`; returns the manifest."""
    counts = {product: {"members": 0, "bytes": 0} for product in (*WANTED, *spacenet6.PRODUCTS)}
    unknown: dict[str, Any] = {"members": 0, "names": []}
    where = f"at or after {_first_member(archive)}"
    digest = hashlib.sha256()
    try:
        with _members(archive, digest) as members:
            while (member := members.next()) is not None:
                vars(members)["members"].clear()  # tarfile would keep the headers of them all
                shown = _shown(member.name)
                where = f"in member `{shown}`"
                path = _safe_path(archive, member, shown)
                if member.isdir():
                    continue
                product = spacenet6.product_of(path)
                if product in WANTED:
                    _write(members.extractfile(member), folder / path, archive)
                if product is not None:
                    counts[product]["members"] += 1
                    counts[product]["bytes"] += member.size
                else:
                    if spacenet6.public_test_tile(path.name):
                        _refuse_test_set(archive, counts)
                    unknown["members"] += 1
                    unknown["names"] = [*unknown["names"], shown][:LISTED_NAMES]
                where = f"after member `{shown}`"
            _refuse_more(members.fileobj)
    except (EOFError, gzip.BadGzipFile, ISAL_ERROR, tarfile.TarError) as error:
        raise UserError(
            f"{archive}: damaged, as was noticed {where} ({error}); nothing was unpacked; delete the archive and "
            "fetch it again"
        ) from None
    products = {product: counts.pop(product) for product in WANTED}
    return {"sha256": digest.hexdigest(), "products": products, "skipped": counts, "unknown": unknown}


def _first_member(archive: Path) -> str:
    """How to call the archive's beginning, should its damage lie within the first block."""
    try:
        with archive.open("rb") as packed:
            begin = zlib.decompressobj(wbits=31).decompress(packed.read(BLOCK), 8 * tarfile.BLOCKSIZE)
        with tarfile.open(fileobj=io.BytesIO(begin), mode="r:", tarinfo=_StrictMember) as members:
            member = members.next()
    except (zlib.error, tarfile.TarError):
        member = None
    return f"its first member, `{_shown(member.name)}`" if member else "its beginning"


def _shown(name: str) -> str:
    """A member's name for people: in one line, not too long, with no characters that a terminal would act on."""
    return ascii(name)[1:-1][:SHOWN_CHARACTERS]


@contextmanager
def _members(archive: Path, digest: Any) -> Iterator[tarfile.TarFile]:
    """Opens the tar inside the archive; leaving the block ends the thread that decompresses.

    What is read of the archive goes into `digest` on the way, in that thread: at the stream's end it is that of the
    whole file.
    """
    with (
        archive.open("rb", buffering=0) as packed,
        igzip_threaded.open(_Digested(packed, digest), "rb", block_size=BLOCK) as unpacked,
        ByteProgress("unpack_archive", archive.stat().st_size) as progress,
    ):
        stream: Any = _Stream(packed, unpacked, progress)
        with tarfile.open(fileobj=stream, mode="r|", bufsize=BLOCK, tarinfo=_StrictMember) as members:
            yield members


class _Digested(io.RawIOBase):
    """What isal reads: the archive's bytes, each of them once and in order."""

    def __init__(self, packed: io.FileIO, digest: Any) -> None:
        self._packed, self._digest = packed, digest

    def readable(self) -> bool:
        """Yes."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fills as much of the buffer as there is, and takes it into the digest."""
        count = self._packed.readinto(buffer)
        self._digest.update(memoryview(buffer)[:count])
        return count


class _Stream:
    """What tarfile reads: bytes that a thread has decompressed ahead, two blocks at most."""

    def __init__(self, packed: IO[bytes], unpacked: io.BufferedReader, progress: ByteProgress) -> None:
        self._packed = packed
        self._unpacked = unpacked
        self._progress = progress

    def read(self, size: int) -> bytes:
        """Reads up to `size` bytes; none at the end, when the checksum has agreed."""
        self._progress.reach(self._packed.tell())
        # The second time because isal takes its thread's end for the stream's, though the last block may have come
        # between its looking for a block and its looking for the thread.
        return self._unpacked.read1(size) or self._unpacked.read1(size)


def _refuse_what_is_no_gzip(archive: Path) -> None:
    try:
        with archive.open("rb") as handle:
            begin = handle.read(512)
    except FileNotFoundError:
        raise UserError(f"{archive}: no such file; run fetch_archive") from None
    except IsADirectoryError:
        raise UserError(
            f"{archive}: is a folder, expected the archive itself (.tar.gz); name the file, or run fetch_archive"
        ) from None
    except OSError as error:
        raise UserError(f"{archive}: cannot be read ({error.strerror}); see to its permissions or its disk") from None
    if begin.startswith(b"\x1f\x8b"):
        return
    kinds = {
        "an empty file": not begin,
        "a zip file": begin.startswith(b"PK"),
        "a plain tar": begin[257:262] == b"ustar",
    }
    kind = next((name for name, found in kinds.items() if found), "something else")
    raise UserError(
        f"{archive}: Not a gzipped file but {kind}, expected a .tar.gz; delete it and fetch the archive again"
    )


def _refuse_small_disk(archive: Path, out: Path) -> None:
    """Compares what the archive is likely to need with what is free, before an hour of work rather than after."""
    needed, free = int(UNPACKED_SHARE * archive.stat().st_size), shutil.disk_usage(out.parent).free
    if free < needed:
        earlier = f"; {out}, unpacked earlier, may be deleted first" if out.exists() else ""
        raise UserError(
            f"{out.parent}: {human_bytes(free)} free, and what is used of {archive} takes about {human_bytes(needed)} "
            f"({UNPACKED_SHARE:g} times its size); free some space, or set `results` to a larger disk{earlier}"
        )


def _refuse_test_set(archive: Path, counts: dict[str, dict[str, int]]) -> None:
    """Says so at the first file of the public test archive, not after 17 GB of it; strays among others are ignored."""
    if not any(entry["members"] for entry in counts.values()):
        raise UserError(
            f"{archive}: this is SpaceNet 6's public test archive (SAR alone, without labels), and nothing can be "
            "trained or scored on it; name the training archive in archive.path or archive.key"
        )


def _safe_path(archive: Path, member: tarfile.TarInfo, shown: str) -> PurePosixPath:
    """The member's path without a leading `./`; refuses what could write outside the folder, or without end."""
    path = PurePosixPath(member.name)
    reason = None
    if path.is_absolute():
        reason = "its path is absolute"
    elif ".." in path.parts:
        reason = "its path leads out of the folder"
    elif member.islnk() or member.issym():
        reason = f"it is a link to `{_shown(member.linkname)}`"
    elif member.type not in (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.DIRTYPE):
        reason = "it is neither a file nor a folder"
    elif member.issparse():
        reason = "it is sparse, so its size says nothing of its content"
    elif not 0 <= member.size <= LARGEST_MEMBER:
        reason = f"its size is given as {member.size} bytes, expected at most {human_bytes(LARGEST_MEMBER)}"
    if reason:
        raise UserError(
            f"{archive}: refused member `{shown}`: {reason}; nothing was unpacked, and the archive "
            "is not SpaceNet's: fetch it from its source"
        )
    return path


def _write(content: IO[bytes] | None, target: Path, archive: Path) -> None:
    assert content is not None  # _safe_path lets only files and folders through
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with target.open("xb", buffering=0) as handle:
            shutil.copyfileobj(content, handle, COPIED)
    except FileExistsError:
        raise UserError(f"{archive}: member `{target.name}` occurs twice; fetch the archive again") from None


def _refuse_more(stream: Any) -> None:
    """Reads to the stream's end: only there is its checksum compared, and seen whether anything is missing.

    Raises:
        tarfile.ReadError: something follows the end of the tar but the zeros that fill its last block.
    """
    while rest := stream.read(MIB):
        if rest.count(0) != len(rest):
            raise tarfile.ReadError("data follow the archive's end")


class _StrictMember(tarfile.TarInfo):
    """A member whose damaged or missing header is an error; tarfile alone would take it for the archive's end."""

    # Not `frombuf`: Pythons with the later security fixes read headers past it.
    @classmethod
    def fromtarfile(cls, archive: tarfile.TarFile) -> _StrictMember:
        try:
            return super().fromtarfile(archive)
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]
            raise
        except (tarfile.HeaderError, ValueError, OverflowError, RecursionError) as error:
            raise tarfile.ReadError(f"{error} where a member was expected") from None

    def _proc_member(self, archive: tarfile.TarFile) -> Any:
        """The place that tarfile leaves for subclasses: the header is read, and what it announces not yet."""
        if self.size < 0 or (self.type in EXTENSIONS and self.size > LARGEST_EXTENSION):
            raise tarfile.ReadError(f"a header of {self.size} bytes where a member was expected")
        return super()._proc_member(archive)  # type: ignore[misc]
