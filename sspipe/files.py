"""Writing files so that nothing half-written ever has its final name."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sspipe.errors import UserError

if TYPE_CHECKING:
    import pandas as pd


@contextmanager
def whole_file(final: Path) -> Iterator[Path]:
    """Yields a temporary path beside `final`; renames it to `final` if the block ends without an error.

    The temporary name keeps the suffix of `final` because format drivers choose by suffix.
    """
    final = Path(final)
    _make_parent(final)
    partial = final.with_name(f".partial-{os.getpid()}-{final.name}")
    try:
        yield partial
        with partial.open("rb+") as handle:
            os.fsync(handle.fileno())
        partial.replace(final)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def whole_folder(final: Path) -> Iterator[Path]:
    """Yields an empty temporary folder beside `final`; it takes the place of `final` if the block ends well."""
    final = Path(final)
    _make_parent(final)
    partial = final.with_name(f".partial-{os.getpid()}-{final.name}")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    try:
        yield partial
        if final.exists():
            shutil.rmtree(final)
        partial.replace(final)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


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
    except json.JSONDecodeError as error:
        raise UserError(f"{path}: not valid JSON ({error}); delete it and run again") from None


def _make_parent(final: Path) -> None:
    """Makes the folder that will hold `final`; one that cannot be written is told before hours of work, not after."""
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"{final.parent}: no folder can be made there ({error.strerror}); name another output"
        ) from None
    if not os.access(final.parent, os.W_OK):
        raise UserError(f"{final.parent}: you may not write there; name another output, or change its permissions")
