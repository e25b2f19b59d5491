"""Reading the challenge's CSV files: one row a polygon, in tile pixels, `POLYGON EMPTY` for a tile that has none."""

from __future__ import annotations

import csv
import sys
import warnings
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import shapely

from sspipe.errors import UserError

IMAGE = "ImageId"
WKT = "PolygonWKT_Pix"
CONFIDENCE = "Confidence"
HEIGHT = "Mean_Building_Height"
# The challenge's truth says TileBuildingId, proposals and older SpaceNets say BuildingId.
NUMBERS = ("TileBuildingId", "BuildingId")
# Rows in memory as text at one time: a few tens of MB, and enough to be fast.
ROWS_AT_ONCE = 50_000


def read_spacenet_csv(path: Path, images: Collection[str] | None = None) -> pd.DataFrame:
    """Reads the polygons of a truth or proposal file.

    Args:
        path: a CSV with at least ImageId and PolygonWKT_Pix; a byte order mark, CRLF and other columns do no harm.
        images: read these images alone; the WKT of others is not even parsed. None: all.

    Returns:
        One row per row of the file, in its order:
        image_id str; building_id str (TileBuildingId or BuildingId as written, "" where the file has neither);
        geometry object, shapely polygons (tile pixels, x right, y down), 3-D ones made 2-D, some empty or invalid;
        confidence float64, -inf where blank or where the file has no such column; height_m float64, NaN where unknown.

    Raises:
        UserError: names the file, and line and column where there is one: no such file, not a CSV, a missing column,
            an ImageId that is blank, WKT that is blank or no polygon, a Confidence or height that is no number.
    """
    return pd.concat(list(spacenet_csv_chunks(path, images)), ignore_index=True)


def spacenet_csv_chunks(
    path: Path, images: Collection[str] | None = None, rows_at_once: int = ROWS_AT_ONCE
) -> Iterator[pd.DataFrame]:
    """Reads a truth or proposal file some rows at a time.

    Args:
        path: as for `read_spacenet_csv`.
        images: as for `read_spacenet_csv`.
        rows_at_once: rows of the file that a table is made from at most.

    Yields:
        Tables as `read_spacenet_csv` returns them, at least one; their index is the row in the file, from 0, for
        `line_of`.

    Raises:
        UserError: as `read_spacenet_csv` does, when it gets there.
    """
    path = Path(path)
    wanted = None if images is None else list(images)
    for text in _read_columns(path, rows_at_once):
        table = text if wanted is None else text[text[IMAGE].isin(wanted)]
        rows = table.index.to_numpy()
        blank = (table[IMAGE] == "").to_numpy()
        _refuse(path, rows, blank, IMAGE, lambda row: "is blank; every row needs its tile's id")
        number = next((name for name in NUMBERS if name in table), None)
        yield pd.DataFrame(
            {
                "image_id": table[IMAGE],
                "building_id": table[number] if number else "",
                "geometry": _polygons(path, table),
                "confidence": _numbers(path, table, CONFIDENCE, blank=-np.inf),
                "height_m": _numbers(path, table, HEIGHT, blank=np.nan),
            },
            index=table.index,
        )


def line_of(path: Path, row: int) -> int:
    """The line in the file on which data row `row` (from 0) ends; a quoted cell may span lines, so they are counted."""
    with Path(path).open(newline="", encoding="utf-8-sig", errors="replace") as handle:
        # pandas skips blank lines, so they count for no row.
        reader = _cells(handle)
        ends = (reader.line_num for cells in reader if len(cells) > 1 or (cells and cells[0].strip()))
        return next(line for position, line in enumerate(ends) if position == row + 1)


def _cells(handle: Iterator[str]) -> Any:
    """A CSV reader without the limit of 128 KiB a cell, which the outline of a large building can pass."""
    csv.field_size_limit(sys.maxsize)
    return csv.reader(handle)


def _read_columns(path: Path, rows_at_once: int) -> Iterator[pd.DataFrame]:
    """The columns we use, as text: nothing is guessed, so an ImageId such as `007` or `NA` stays what it is."""
    wanted = {IMAGE, WKT, CONFIDENCE, HEIGHT, *NUMBERS}
    try:
        with pd.read_csv(
            path,
            dtype=str,
            keep_default_na=False,
            usecols=lambda name: name in wanted,
            index_col=False,
            encoding="utf-8-sig",
            chunksize=rows_at_once,
        ) as chunks:
            while (table := _next(chunks)) is not None:
                _refuse_missing_columns(path, table)
                # pandas fills cells that are missing at the end of a short line in spite of keep_default_na.
                yield table.fillna("")
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except IsADirectoryError:
        raise UserError(f"{path}: is a folder; name a CSV file in it") from None
    except pd.errors.EmptyDataError:
        raise UserError(f"{path}: the file is empty; expected a CSV with a header {IMAGE},{WKT}") from None
    except (pd.errors.ParserError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not a CSV file ({str(error).strip()})") from None


def _next(chunks: Iterator[pd.DataFrame]) -> pd.DataFrame | None:
    """The next table, or None after the last."""
    with warnings.catch_warnings():
        # Cells beyond the header's are WKT without quotes; what is left of it does not parse, and that is told.
        warnings.simplefilter("ignore", pd.errors.ParserWarning)
        return next(chunks, None)


def _refuse_missing_columns(path: Path, table: pd.DataFrame) -> None:
    for name in (IMAGE, WKT):
        if name not in table:
            with path.open(newline="", encoding="utf-8-sig", errors="replace") as handle:
                header: list[str] = next(_cells(handle), [])
            raise UserError(f"{path}: line 1: no column {name}; the file has: {', '.join(header)}")


def _polygons(path: Path, table: pd.DataFrame) -> np.ndarray:
    """Parses WKT: (n,) object."""
    text = table[WKT].to_numpy(dtype=object)
    rows = table.index.to_numpy()
    blank = np.array([not each.strip() for each in text], dtype=bool)
    _refuse(path, rows, blank, WKT, lambda row: "is blank; a tile without buildings has one row POLYGON EMPTY")
    geometry: np.ndarray = shapely.from_wkt(text, on_invalid="ignore")
    _refuse(path, rows, shapely.is_missing(geometry), WKT, lambda row: f"does not parse: {_reason(text[row])}")
    # 3 is a polygon, 6 a multipolygon; an area cannot come from anything else.
    areal = np.isin(shapely.get_type_id(geometry), (3, 6)) | shapely.is_empty(geometry)
    _refuse(path, rows, ~areal, WKT, lambda row: f"is a {geometry[row].geom_type}; expected a POLYGON or MULTIPOLYGON")
    bounds = shapely.bounds(geometry)
    endless = ~np.isfinite(bounds).all(axis=1) & ~shapely.is_empty(geometry)
    _refuse(path, rows, endless, WKT, lambda row: "has a coordinate that is not a finite number")
    deep = shapely.has_z(geometry)
    geometry[deep] = shapely.force_2d(geometry[deep])
    return geometry


def _numbers(path: Path, table: pd.DataFrame, column: str, blank: float) -> np.ndarray:
    """Parses a column of numbers: (n,) float64, `blank` where a cell is blank or the column is absent."""
    if column not in table:
        return np.full(len(table), blank)
    text = table[column].str.strip()
    values = pd.to_numeric(text, errors="coerce").to_numpy(np.float64)
    wrong = np.isnan(values) & ~text.str.lower().isin(["", "nan"]).to_numpy()
    cells = text.to_numpy(dtype=object)
    _refuse(path, table.index.to_numpy(), wrong, column, lambda row: f"is `{cells[row]}`; expected a number")
    return np.where(np.isnan(values), blank, values)


def _refuse(path: Path, rows: np.ndarray, wrong: np.ndarray, column: str, problem: Callable[[int], str]) -> None:
    """Raises UserError for the first wrong row: its line, its column, and what `problem(position)` says of it."""
    if wrong.any():
        first = int(np.flatnonzero(wrong)[0])
        line = line_of(path, int(rows[first]))
        others = int(wrong.sum()) - 1
        more = f" (as have {others} of the {len(wrong) - first - 1} rows after it)" if others else ""
        raise UserError(f"{path}: line {line}, column {column}: {problem(first)}{more}")


def _reason(text: str) -> str:
    """GEOS's own words about WKT that does not parse, shortened."""
    shown = text if len(text) <= 60 else f"{text[:57]}..."
    try:
        shapely.from_wkt(text)
    except shapely.errors.GEOSException as error:
        cut = "; it ends early: WKT has commas, so it must stand in quotes" if text.count("(") > text.count(")") else ""
        return f"{str(error).strip()} in `{shown}`{cut}"
    return f"`{shown}`"
