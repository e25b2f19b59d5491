"""The pack copied to a disk of the node itself, for clusters whose shared file system is slow or busy.

Runs on one node share a copy: its folder is named after the pack's checksums, whoever uses it holds a shared lock on
it, and who leaves it last removes it. What a killed run left is locked by nobody, and the next run removes it.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from sspipe import checksum
from sspipe.errors import UserError
from sspipe.files import FULL, read_json
from sspipe.log import progress, say, warn
from sspipe.pack.identity import pack_digest
from sspipe.train.dataset import Array

_GIB = 2**30


class _File(NamedTuple):
    source: Path
    copy: Path
    bytes: int
    checksum: str


def scratch_folder(setting: str | None, environment: Mapping[str, str]) -> Path | None:
    """The folder that `training.scratch` means.

    Args:
        setting: None for no staging, `auto` for `$TMPDIR`, or a folder.
        environment: of the process.

    Raises:
        UserError: `auto`, and there is no `$TMPDIR`.
    """
    if setting is None:
        return None
    if setting != "auto":
        return Path(setting)
    if not environment.get("TMPDIR"):
        raise UserError(
            "training.scratch is auto, which means $TMPDIR, and that is not set on this machine; "
            "name a folder on a disk of the node, or set it to null to read the pack where it is"
        )
    return Path(environment["TMPDIR"])


@contextmanager
def staged(manifests: Sequence[Path], arrays: Sequence[Array], scratch: Path | None) -> Iterator[dict[Path, Path]]:
    """Copies the arrays of all shards to `scratch` while the block runs; the copies are verified.

    Args:
        manifests: `pack/{shard}/manifest.json` of every shard.
        arrays: those that the run reads; others are not copied.
        scratch: a folder on a local disk; None copies nothing.

    Yields:
        for each shard's folder, the folder that its copied arrays are in; empty if nothing was copied.

    Raises:
        UserError: too little space, a copy that is damaged twice, or a pack that is damaged itself.
    """
    if scratch is None:
        yield {}
        return
    try:
        scratch.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"training.scratch: {scratch}: no folder can be made there ({error.strerror})") from None
    name = f"sspipe-{os.getuid()}-{pack_digest(manifests)}"
    contents = {manifest: read_json(manifest) for manifest in manifests}
    _remove_abandoned(scratch)
    with _in_use(scratch / name) as folder:
        places = {manifest.parent: folder / str(number) for number, manifest in enumerate(contents)}
        with _locked(folder / "copying.lock"):
            _copy_missing(_files(contents, arrays, places), scratch)
        yield places


def _files(contents: Mapping[Path, Any], arrays: Sequence[Array], places: Mapping[Path, Path]) -> list[_File]:
    files = []
    for manifest, content in contents.items():
        for array in arrays:
            about = content["files"][f"{array}.npy"]
            copy = places[manifest.parent] / f"{array}.npy"
            files.append(_File(manifest.parent / copy.name, copy, about["bytes"], about[checksum.NAME]))
    return files


def _copy_missing(files: Sequence[_File], scratch: Path) -> None:
    """Copies what no other run has copied yet; a file has its name only once it is verified."""
    missing = [file for file in files if not file.copy.exists()]
    needed, free = sum(file.bytes for file in missing), shutil.disk_usage(scratch).free
    if needed > free:
        raise UserError(_too_little(scratch, needed, free))
    if missing:
        say(f"copying {len(missing)} files of the pack, {needed / _GIB:.1f} GiB, to {scratch}")
    for file in progress(missing, "files of the pack copied"):
        partial = file.copy.with_suffix(".partial")
        try:
            file.copy.parent.mkdir(exist_ok=True)
            _copy_verified(file, partial)
        except OSError as error:
            if error.errno in FULL:
                raise UserError(_too_little(scratch, needed, shutil.disk_usage(scratch).free)) from None
            raise UserError(f"{file.source}: cannot be copied to {scratch} ({error.strerror})") from None
        finally:
            partial.unlink(missing_ok=True)


def _copy_verified(file: _File, partial: Path) -> None:
    for attempt in (1, 2):
        shutil.copyfile(file.source, partial)
        if _checksum_from_disk(partial) == file.checksum:
            partial.replace(file.copy)
            return
        if attempt == 1:
            warn(f"{file.copy}: the copy differs from the pack; copying it once more")
    if _checksum_from_disk(file.source) != file.checksum:
        raise UserError(
            f"{file.source}: is damaged: its checksum is not the manifest's; "
            "delete the shard's folder and run the target `data` again"
        )
    raise UserError(
        f"{file.copy}: was copied twice and differs from {file.source} both times; the disk is damaged: "
        "name another folder as training.scratch, or set it to null to read the pack where it is"
    )


def _checksum_from_disk(path: Path) -> str:
    """The checksum of what the disk has: written out, and dropped from memory before it is read."""
    with path.open("rb") as handle:
        os.fsync(handle.fileno())
        os.posix_fadvise(handle.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    return checksum.of_file(path)


def _too_little(scratch: Path, needed: int, free: int) -> str:
    return (
        f"training.scratch: {scratch} has {free / _GIB:.2f} GiB free, and the pack needs {needed / _GIB:.2f} GiB; "
        "name a larger disk, or set it to null to read the pack where it is"
    )


@contextmanager
def _in_use(folder: Path) -> Iterator[Path]:
    """Holds a shared lock on a copy, which begins empty if nobody has it, and goes with its last user."""
    lock = folder.with_name(f"{folder.name}.lock")
    handle = _opened_as_first(lock, folder)
    try:
        yield folder
    finally:
        if _try_lock(handle) and _same(handle, lock):  # nobody else has it
            _remove(folder, lock)
        os.close(handle)


def _opened_as_first(lock: Path, folder: Path) -> int:
    while True:
        handle = _opened(lock)
        if _try_lock(handle) and _same(handle, lock):
            shutil.rmtree(folder, ignore_errors=True)  # a killed run's, which nobody can vouch for
        fcntl.flock(handle, fcntl.LOCK_SH)
        if _same(handle, lock):  # else its last user removed it in the meantime
            return handle
        os.close(handle)


def _opened(lock: Path) -> int:
    try:
        lock.parent.mkdir(exist_ok=True)
        return os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise UserError(
            f"training.scratch: {lock.parent}: cannot be written to ({error.strerror}); "
            "name a folder on a disk of the node, or set it to null to read the pack where it is"
        ) from None


@contextmanager
def _locked(lock: Path) -> Iterator[None]:
    handle = _opened(lock)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _remove_abandoned(scratch: Path) -> None:
    """Removes copies of other packs that runs of this user left when they were killed."""
    for lock in scratch.glob(f"sspipe-{os.getuid()}-*.lock"):
        with suppress(FileNotFoundError):
            handle = os.open(lock, os.O_RDWR)
            if _try_lock(handle) and _same(handle, lock):
                _remove(lock.with_suffix(""), lock)
            os.close(handle)


def _try_lock(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        raise UserError(
            f"training.scratch: its file system has no locks ({error.strerror}); name a folder on a disk of the node"
        ) from None
    return True


def _same(handle: int, lock: Path) -> bool:
    """Whether the lock that is held is still the one that others will find."""
    try:
        return os.path.samestat(os.fstat(handle), lock.stat())
    except FileNotFoundError:
        return False


def _remove(folder: Path, lock: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    lock.unlink(missing_ok=True)
