"""Writing files so that nothing half-written ever has its final name."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sspipe.errors import UserError


@contextmanager
def whole_file(final: Path) -> Iterator[Path]:
    """Yields a temporary path beside `final`; renames it to `final` if the block ends without an error.

    The temporary name keeps the suffix of `final` because format drivers choose by suffix.
    """
    final = Path(final)
    final.parent.mkdir(parents=True, exist_ok=True)
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
    final.parent.mkdir(parents=True, exist_ok=True)
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
