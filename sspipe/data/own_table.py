"""The table of one's own tiles: read, and refused with the line and the remedy where it cannot be used."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable
from pathlib import Path

from sspipe.data.own_data import COLUMNS, OwnTile, is_file, rows
from sspipe.errors import UserError
from sspipe.log import counted
from sspipe.validation import nearest

LISTED = 10
# Ids become file names, and stand in tables, pages and the challenge's CSV form.
LONGEST_ID = 128
_ID = re.compile(rf"[A-Za-z0-9][A-Za-z0-9._-]{{0,{LONGEST_ID - 1}}}")


def read_own_table(table: Path) -> list[OwnTile]:
    """Reads the table.

    Args:
        table: CSV with the columns of `own_data.COLUMNS`; others are passed over. Paths are relative to its folder.

    Returns:
        its tiles, in its order.

    Raises:
        UserError: one message with the first problems, their lines and what to do.
    """
    try:
        (_, header), *found = rows(table)
    except FileNotFoundError:
        raise UserError(f"{table}: no such file; archive.path must name the table of tiles") from None
    except OSError as error:
        raise UserError(f"{table}: cannot be read ({error.strerror}); archive.path must name a CSV") from None
    except UnicodeDecodeError:
        raise UserError(f"{table}: is no text in UTF-8; save it as CSV (UTF-8)") from None
    except csv.Error as error:
        raise UserError(f"{table}: not a CSV file ({error}); save it as CSV, separated by commas") from None
    except ValueError as error:
        what = "is empty" if "unpack" in str(error) else str(error)
        raise UserError(f"{table}: {what}; expected the columns {','.join(COLUMNS)}, separated by commas") from None
    _refuse_header(table, list(header))
    if not found:
        raise UserError(f"{table}: has no tiles; add one line for each tile")
    problems: list[str] = []
    tiles = [tile for line, row in found if (tile := _tile(table, line, row, problems)) is not None]
    problems += _repeated(tiles, lambda tile: tile.tile_id.lower(), "tile_id")
    problems += _repeated(tiles, lambda tile: str(tile.sar), "sar_path")
    problems += _turned_strips(tiles)
    if not problems and all(tile.eo is None for tile in tiles):
        problems.append("eo_path is empty in every line: networks learn from optical images; name some")
    refuse(table, problems)
    return tiles


def refuse(table: Path, problems: list[str]) -> None:
    """Raises UserError if there are problems: the first of them, and how many there are."""
    if problems:
        more = [f"... and {len(problems) - LISTED} more"] if len(problems) > LISTED else []
        raise UserError(f"{table}: {counted(len(problems), 'problem')}:\n  " + "\n  ".join([*problems[:LISTED], *more]))


def _refuse_header(table: Path, header: list[str]) -> None:
    if len(header) == 1 and re.search("[;\t]", header[0]):
        raise UserError(f"{table}: line 1: cells are not separated by commas; save it as CSV with commas")
    twice = sorted({name for name in header if header.count(name) > 1})
    missing = [name for name in COLUMNS if name not in header]
    if missing:
        others = [name for name in header if name not in COLUMNS]
        hints = "".join(f"; for {name}{nearest(name, others).removeprefix(';')}" for name in missing if others)
        raise UserError(
            f"{table}: line 1: no column {', '.join(missing)}; the file has: {', '.join(header)}; rename or add the "
            f"column (expected: {','.join(COLUMNS)}; eo_path may be empty){hints if len(missing) == 1 else ''}"
        )
    if twice:
        raise UserError(f"{table}: line 1: the column {twice[0]} is there twice; remove one")


def _tile(table: Path, line: int, row: dict[str, str], problems: list[str]) -> OwnTile | None:
    """The tile of a row; None, and what is wrong, if there is none."""
    wrong = []
    if not _ID.fullmatch(row["tile_id"]):
        what = f"`{row['tile_id']}`" if row["tile_id"] else "empty"
        wrong.append(
            f"tile_id is {what}; expected up to {LONGEST_ID} letters, digits, `_`, `-` and `.`, the first of them a "
            "letter or a digit"
        )
    if not row["strip"]:
        wrong.append("strip is empty; name the acquisition that the tile was cut from")
    if row["orientation"] not in ("0", "1"):
        wrong.append(
            f"orientation is `{row['orientation']}`; expected 0 (imaged from the north) or 1 (from the south); "
            "0 for all if that does not matter"
        )
    for column in ("sar_path", "footprint_path", "eo_path"):
        if not row[column]:
            if column != "eo_path":
                extra = "; a tile without buildings names a file that has none in it" if "foot" in column else ""
                wrong.append(f"{column} is empty{extra or '; every tile needs its SAR image'}")
        elif not is_file(table.parent / row[column]):
            place = table.parent.resolve()
            wrong.append(f"{column}: {row[column]} is no file; paths are relative to the table's folder, {place}")
    problems += [f"line {line}: {each}" for each in wrong]
    if wrong:
        return None
    folder = table.parent.resolve()
    return OwnTile(
        line=line,
        tile_id=row["tile_id"],
        sar=folder / row["sar_path"],
        eo=folder / row["eo_path"] if row["eo_path"] else None,
        footprints=folder / row["footprint_path"],
        strip=row["strip"],
        orientation=int(row["orientation"]),
    )


def _repeated(tiles: list[OwnTile], key: Callable[[OwnTile], str], column: str) -> list[str]:
    first: dict[str, OwnTile] = {}
    problems = []
    for tile in tiles:
        before = first.setdefault(key(tile), tile)
        if before is not tile:
            shown = tile.tile_id if column == "tile_id" else str(tile.sar)
            as_in = "" if column != "tile_id" or before.tile_id == tile.tile_id else f", but for case {before.tile_id}"
            problems.append(f"line {tile.line}: {column} {shown} is that of line {before.line} too{as_in}; rename one")
    return problems


def _turned_strips(tiles: list[OwnTile]) -> list[str]:
    """A strip was imaged from one side, so tiles of one strip with both orientations are a slip."""
    first: dict[str, OwnTile] = {}
    return [
        f"line {tile.line}: strip {tile.strip} has orientation {tile.orientation}, and {before.orientation} in line "
        f"{before.line}; a strip has one"
        for tile in tiles
        if (before := first.setdefault(tile.strip, tile)).orientation != tile.orientation
    ]
