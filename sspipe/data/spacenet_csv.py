"""Reading the challenge's CSV files: one row a polygon, in tile pixels, `POLYGON EMPTY` for a tile that has none."""

from __future__ import annotations

import csv
from collections.abc import Callable, Collection
from pathlib import Path

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


def read_spacenet_csv(path: Path, images: Collection[str] | None = None) -> pd.DataFrame:
    """Reads the polygons of a truth or proposal file.

    Args:
        path: a CSV with at least ImageId and PolygonWKT_Pix.
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
    table = _read_columns(Path(path))
    if images is not None:
        table = table[table[IMAGE].isin(list(images))]
    rows = table.index.to_numpy()
    _refuse(path, rows, (table[IMAGE] == "").to_numpy(), IMAGE, lambda row: "is blank; every row needs its tile's id")
    number = next((name for name in NUMBERS if name in table), None)
    return pd.DataFrame(
        {
            "image_id": table[IMAGE].to_numpy(),
            "building_id": table[number].to_numpy() if number else "",
            "geometry": _polygons(path, table),
            "confidence": _numbers(path, table, CONFIDENCE, blank=-np.inf),
            "height_m": _numbers(path, table, HEIGHT, blank=np.nan),
        }
    )


def _read_columns(path: Path) -> pd.DataFrame:
    """The columns we use, as text: nothing is guessed, so an ImageId such as `007` or `NA` stays what it is."""
    wanted = {IMAGE, WKT, CONFIDENCE, HEIGHT, *NUMBERS}
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False, usecols=lambda name: name in wanted)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except pd.errors.EmptyDataError:
        raise UserError(f"{path}: the file is empty; expected a CSV with a header {IMAGE},{WKT}") from None
    except (pd.errors.ParserError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not a CSV file ({str(error).strip()})") from None
    for name in (IMAGE, WKT):
        if name not in table:
            with Path(path).open(newline="") as handle:
                header = next(csv.reader(handle), [])
            raise UserError(f"{path}: line 1: no column {name}; the file has: {', '.join(header)}")
    # pandas fills cells that are missing at the end of a short line in spite of keep_default_na.
    return table.fillna("")


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
    return shapely.force_2d(geometry)


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
        line = _line(path, int(rows[first]))
        more = f" ({int(wrong.sum())} rows have this problem)" if wrong.sum() > 1 else ""
        raise UserError(f"{path}: line {line}, column {column}: {problem(first)}{more}")


def _line(path: Path, row: int) -> int:
    """The line in the file on which data row `row` ends; a quoted cell may span lines, so they are counted."""
    with Path(path).open(newline="") as handle:
        reader = csv.reader(handle)
        # pandas skips blank lines, so they count for no row.
        ends = (reader.line_num for cells in reader if cells)
        return next(line for position, line in enumerate(ends) if position == row + 1)


def _reason(text: str) -> str:
    """GEOS's own words about WKT that does not parse, shortened."""
    shown = text if len(text) <= 60 else f"{text[:57]}..."
    try:
        shapely.from_wkt(text)
    except shapely.errors.GEOSException as error:
        return f"{str(error).strip()} in `{shown}`"
    return f"`{shown}`"
