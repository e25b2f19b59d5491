"""Names of what `gather_tiles` writes, and of the columns of the table that it reads.

Only the standard library is imported: the workflow's rules use this too.
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import NamedTuple

COLUMNS = ("tile_id", "sar_path", "eo_path", "footprint_path", "strip", "orientation")

# Under raw/.
TILES_FILE = "tiles.csv"
TRUTH_FILE = "truth.csv"
LABELS_FOLDER = "labels"


class OwnTile(NamedTuple):
    """One row of the table."""

    line: int  # in the table; a quoted cell may span lines, then its last
    tile_id: str
    sar: Path  # absolute, as the others
    eo: Path | None
    footprints: Path
    strip: str
    orientation: int


def rows(table: Path) -> list[tuple[int, dict[str, str]]]:
    """Reads the table's rows as text without looking at what they say: line and cells by column.

    Raises:
        OSError: it cannot be read.
        ValueError: it is no text, or has cells beyond its header's.
        csv.Error: it is no CSV.
    """
    with table.open(newline="", encoding="utf-8-sig") as handle:
        reader = csv.reader(handle, strict=True)
        header = [name.strip() for name in next(reader, [])]
        found = [(0, dict.fromkeys(header, ""))] if header else []  # the header, as line 0
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            if len(cells) > len(header):
                raise ValueError(f"line {reader.line_num} has {len(cells)} cells, and the header {len(header)}")
            cells = [*cells, *[""] * (len(header) - len(cells))]
            found.append((reader.line_num, dict(zip(header, (cell.strip() for cell in cells), strict=True))))
    return found


def count_tiles(table: Path) -> int:
    """How many tiles a table names; 0 for one that cannot be read, as gather_tiles will say."""
    try:
        return max(0, len(rows(table)) - 1)
    except (OSError, ValueError, csv.Error):
        return 0


def named_files(table: Path) -> list[str]:
    """The files that a table names and that are there, so that a change of any is noticed; sorted.

    Of a table that cannot be read, none: gather_tiles says what is wrong, with the line.
    """
    try:
        found = rows(table)[1:]
    except (OSError, ValueError, csv.Error):
        return []
    names = {row.get(column, "") for _, row in found for column in COLUMNS if column.endswith("_path")} - {""}
    return sorted(str(path) for path in (table.parent / name for name in names) if is_file(path))


def is_file(path: Path) -> bool:
    """Whether there is a file of this name; none has one that is too long for the system, or in a closed folder."""
    try:
        return path.is_file()
    except OSError:
        return False
