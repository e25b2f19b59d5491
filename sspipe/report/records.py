"""Reading what other stages wrote: a file that is damaged or of another version is named, with what to do."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from sspipe.errors import UserError
from sspipe.files import read_json


def read_record(path: Path, keys: Sequence[str]) -> dict[str, Any]:
    """Reads a JSON object.

    Args:
        path: of the file.
        keys: that it must have.

    Raises:
        UserError: the file is missing, is not JSON, or lacks a key.
    """
    record: dict[str, Any] = read_json(path)
    missing = [key for key in keys if not isinstance(record, dict) or key not in record]
    if missing:
        raise UserError(f"{path}: lacks {', '.join(missing)}; run the rule that writes it again")
    return record


def read_csv(path: Path, columns: Sequence[str], rule: str) -> pd.DataFrame:
    """Reads a CSV table.

    Args:
        path: of the file.
        columns: that it must have.
        rule: that writes it.

    Raises:
        UserError: the file is missing, is not a table, or lacks a column.
    """
    try:
        table = pd.read_csv(path)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; run the rule {rule}") from None
    except ValueError as error:  # empty, rows of several lengths, or bytes that are no text
        raise UserError(f"{path}: not a table that can be used ({error}); run the rule {rule} again") from None
    missing = [name for name in columns if name not in table]
    if missing:
        raise UserError(f"{path}: lacks the columns {', '.join(missing)}; run the rule {rule} again")
    return table
