"""Writing files so that nothing half-written ever has its final name.

Work goes on under a temporary name beside the final one and is renamed when whole. The temporary name says which
process made it: `.partial-{host}-{process id}-{its start}-{final name}`. A process that is killed leaves it behind, up
to tens of GB; the next one that writes the same output removes it if that process ran on this machine and is gone (its
id is free, or belongs to a process with another start). Of other machines nothing can be known: what was left from
there is named in a warning, and stays.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import re
import shutil
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sspipe.errors import UserError
from sspipe.log import say, warn

if TYPE_CHECKING:
    import pandas as pd

FULL = (errno.ENOSPC, errno.EDQUOT)

# A folder that is being replaced has a name of its own for a moment, so that no half-removed one has the final name.
_TEMPORARY = re.compile(r"\.(?:partial|replaced)-(?P<host>[^-]*)-(?P<process>\d+)-(?P<start>\d+)-(?P<final>.+)", re.S)


@contextmanager
def whole_file(final: Path) -> Iterator[Path]:
    """Yields a temporary path beside `final`; renames it to `final` if the block ends without an error.

    The temporary name keeps the suffix of `final` because format drivers choose by suffix.

    Raises:
        UserError: `final` cannot be written, or is a folder or a device, whose place no file may take.
    """
    final = Path(final)
    make_parent(final)
    if final.exists() and not final.is_file():
        raise UserError(f"{final}: is {'a folder' if final.is_dir() else 'no plain file'}; name another output")
    _remove_leftovers(final)
    partial = _temporary(final, "partial")
    try:
        with _full_disk_told(final):
            yield partial
            with partial.open("rb+") as handle:
                os.fsync(handle.fileno())
            partial.replace(final)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def whole_folder(final: Path) -> Iterator[Path]:
    """Yields an empty temporary folder beside `final`; it takes the place of `final` if the block ends well.

    What was written is on the disk before the folder gets its name: after a power cut it is whole or not there.
    """
    final = Path(final)
    make_parent(final)
    _remove_leftovers(final)
    partial, replaced = _temporary(final, "partial"), _temporary(final, "replaced")
    try:
        with _full_disk_told(final):
            partial.mkdir()
            yield partial
            _sync_file_system(partial)
            if final.exists():
                final.replace(replaced)
            partial.replace(final)
            _sync(final.parent)
    finally:
        _remove(partial)
        _remove(replaced)


@contextmanager
def _full_disk_told(final: Path) -> Iterator[None]:
    """Tells that there is no room for an output; every other error is its writer's to tell.

    Raises:
        UserError: the disk is full, or a quota is used up.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise UserError(
            f"{final}: cannot be written, as the disk is full (or your quota is used up); free some space and run again"
        ) from None


@contextmanager
def scratch_folder(final: Path) -> Iterator[Path]:
    """Yields an empty folder beside `final` for what is needed on the way to it; the folder is removed at the end."""
    folder = Path(final).with_name(f"{Path(final).name}.scratch")
    make_parent(folder)
    _remove_leftovers(folder)
    scratch = _temporary(folder, "partial")
    scratch.mkdir()
    try:
        yield scratch
    finally:
        _remove(scratch)


def write_json(final: Path, content: Any) -> None:
    """Writes `content` as indented JSON, atomically. NaN is refused: JSON has none."""
    with whole_file(Path(final)) as partial:
        partial.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n")


def read_table(path: Path, columns: Sequence[str] | None = None) -> pd.DataFrame:
    """Reads a Parquet table.

    Args:
        path: of the table.
        columns: those wanted; None for all.

    Raises:
        UserError: the file is missing, is not Parquet, or lacks a column.
    """
    import pandas as pd  # 0.5 s that the command line does not have for every stage

    try:
        return pd.read_parquet(path, columns=None if columns is None else list(columns))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; run the rule that writes it") from None
    except (OSError, ValueError) as error:  # pyarrow's errors are ValueErrors
        raise UserError(f"{path}: not a table that can be used ({error}); delete it and run again") from None


def read_json(path: Path) -> Any:
    """Reads JSON.

    Raises:
        UserError: the file is missing or is not JSON.
    """
    try:
        return json.loads(Path(path).read_text())
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; run the rule that writes it") from None
    except OSError as error:  # a folder, or a file of somebody else's
        raise UserError(f"{path}: cannot be read ({error.strerror}); name a JSON file that you may read") from None
    except ValueError as error:  # also of bytes that are no text
        raise UserError(f"{path}: not valid JSON ({error}); delete it and run again") from None


def make_parent(final: Path) -> None:
    """Makes the folder that will hold `final`; one that cannot be written is told before hours of work, not after."""
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"{final.parent}: no folder can be made there ({error.strerror}); name another output"
        ) from None
    if not os.access(final.parent, os.W_OK):
        raise UserError(f"{final.parent}: you may not write there; name another output, or change its permissions")


def _temporary(final: Path, kind: str) -> Path:
    return final.with_name(f".{kind}-{_host()}-{os.getpid()}-{_start_of(os.getpid())}-{final.name}")


def _host() -> str:
    """This machine's name without dashes, which part the temporary name."""
    return socket.gethostname().replace("-", "_").replace("/", "_")


def _remove_leftovers(final: Path) -> None:
    """Removes what killed processes of this machine left beside `final`."""
    for path in final.parent.iterdir():
        match = _TEMPORARY.fullmatch(path.name)
        if match is None or match["final"] != final.name:
            continue
        if match["host"] != _host():
            warn(f"{path}: left from a run on {match['host']}; delete it if nothing writes {final.name} there")
        elif not _runs(int(match["process"]), int(match["start"])):
            say(f"removing {path}, left from a run that was killed")
            _remove(path)


def _runs(process: int, start: int) -> bool:
    """Whether the process that had this id and this start is still at work."""
    try:
        os.kill(process, 0)  # sends nothing
    except ProcessLookupError:
        return False
    except PermissionError:
        return True  # another user's, whose start may be hidden: leave what could be its
    return _start_of(process) == start


def _start_of(process: int) -> int | None:
    """When a process began, in the kernel's ticks since boot; None if it has ended; 0 where there is no /proc."""
    try:
        # The second field is the program's name, in brackets, and may hold anything.
        state, *fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None if Path("/proc/self/stat").exists() else 0
    return None if state in ("Z", "X") else int(fields[18])


def _remove(path: Path) -> None:
    """Removes a file or folder, if it is there; what cannot be removed is told, and stops nothing."""
    try:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    except FileNotFoundError:
        pass  # somebody else removed it at the same time
    except OSError as error:
        warn(f"{path}: cannot be removed ({error.strerror}); delete it")


def _sync_file_system(folder: Path) -> None:
    """Waits until everything written to the folder's file system is on its disk.

    Once for all files: `fsync` of each waits for the disk in turn, and thousands of them take several times as long.
    """
    syncfs = getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)
    if syncfs is None:  # not Linux
        os.sync()
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        if syncfs(handle):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(folder))
    finally:
        os.close(handle)


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
