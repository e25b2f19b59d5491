"""Tables of tile origins: the only thing that the audit of a split needs to know."""

from __future__ import annotations

import csv
import gzip
import re
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np
import pandas as pd

from sspipe.errors import UserError
from sspipe.files import read_table

LISTED_PROBLEMS = 5
ID_COLUMNS = ("image_id", "tile_id")  # the challenge's word, and the catalog's
ORIGIN = ("easting_m", "northing_m")


def read_origins(path: Path, tile_size_m: float) -> pd.DataFrame:
    """Reads a table of tile origins.

    Returns:
        tile_id, easting_m, northing_m, size_m, sorted by tile id.

    Raises:
        UserError: there is no such table, a column is missing, or values cannot be used; CSV errors name their lines.
    """
    if path.suffix == ".parquet":
        table = read_table(path)
        lines = [f"row {number}" for number in range(len(table))]
    else:
        table, lines = _read_csv(path)
    ids = next((name for name in ID_COLUMNS if name in table.columns), None)
    missing = [name for name in ORIGIN if name not in table.columns] + ([] if ids else [" or ".join(ID_COLUMNS)])
    if missing:
        raise UserError(
            f"{path}: has no column {', '.join(missing)}, but {', '.join(map(str, table.columns)) or 'none at all'}; "
            "expected one row a tile with its id and the easting and northing (m) of its upper-left corner"
        )
    if table.empty:
        raise UserError(f"{path}: has no tiles, only a head; expected one row a tile")
    sized = {"size_px", "pixel_m"} <= set(table.columns)
    numbers = [*ORIGIN, "size_px", "pixel_m"] if sized else list(ORIGIN)
    table[numbers] = table[numbers].apply(pd.to_numeric, errors="coerce").astype(float)
    names = table[ids].astype(str).str.strip()
    problems = _wrong_numbers(table[numbers], lines) + _wrong_ids(names, lines)
    _refuse_problems(path, problems)
    size_m = table["size_px"] * table["pixel_m"] if sized else tile_size_m
    origins = pd.DataFrame({"tile_id": names, "easting_m": table["easting_m"], "northing_m": table["northing_m"]})
    return origins.assign(size_m=size_m).sort_values("tile_id", ignore_index=True)


def _wrong_numbers(table: pd.DataFrame, lines: list[str]) -> list[str]:
    problems = []
    for name, numbers in table.items():
        wrong = ~np.isfinite(numbers) | ((numbers <= 0) & (name not in ORIGIN))
        what = "a number" if name in ORIGIN else "a number above 0"
        problems += [(at, f"{lines[at]}: {name} is not {what}") for at in np.flatnonzero(wrong)]
    return [text for _, text in sorted(problems, key=lambda problem: problem[0])]


def _wrong_ids(names: pd.Series, lines: list[str]) -> list[str]:
    problems = []
    first: dict[str, str] = {}
    for line, name in zip(lines, names, strict=True):
        if name in ("", "nan", "None"):
            problems.append(f"{line}: the tile has no id")
        elif name in first:
            problems.append(f"{line}: tile `{name}` was named before, in {first[name]}")
        else:
            first[name] = line
    return problems


def _read_csv(path: Path) -> tuple[pd.DataFrame, list[str]]:
    """A table of text, and the line that each row ends on."""
    rows, lines, problems = [], [], []
    try:
        with _opened(path) as handle:
            reader = csv.reader(handle, strict=True)
            head = [name.strip() for name in next(reader, [])]
            if len(head) == 1 and re.search("[;\t]", head[0]):
                raise UserError(
                    f"{path}: line 1: cells are not separated by commas; save it as CSV with commas, and with a point "
                    "in its numbers"
                )
            for row in reader:
                if not any(row):
                    continue
                if len(row) != len(head):
                    problems.append(
                        f"line {reader.line_num}: {len(row)} values, and the head names {len(head)} columns"
                    )
                rows.append((row + [""] * len(head))[: len(head)])
                lines.append(f"line {reader.line_num}")
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; name a table of tile origins with --tiles") from None
    except (UnicodeDecodeError, csv.Error, EOFError, zlib.error) as error:
        raise UserError(f"{path}: is not CSV text ({error}); expected .csv, .csv.gz or .parquet") from None
    except OSError as error:  # gzip's errors among them, which have no number
        raise UserError(f"{path}: cannot be read ({error.strerror or error}); name a table with --tiles") from None
    problems += [f"line 1: names column {name} {times} times" for name, times in Counter(head).items() if times > 1]
    _refuse_problems(path, problems)
    return pd.DataFrame(rows, columns=head, dtype=object), lines


@contextmanager
def _opened(path: Path) -> Iterator[IO[str]]:
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rt", encoding="utf-8-sig", newline="") as handle:
        yield handle


def _refuse_problems(path: Path, problems: list[str]) -> None:
    if problems:
        more = f"\n  and {len(problems) - LISTED_PROBLEMS} more" if len(problems) > LISTED_PROBLEMS else ""
        listed = "".join(f"\n  {problem}" for problem in problems[:LISTED_PROBLEMS])
        raise UserError(f"{path}: cannot be used; correct these lines:{listed}{more}")
