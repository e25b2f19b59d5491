"""Reading the challenge's CSV files: one row a polygon, in tile pixels, `POLYGON EMPTY` for a tile that has none."""

from __future__ import annotations

import csv
import gzip
import sys
import warnings
import zlib
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import pandas as pd
import shapely

from sspipe.errors import UserError
from sspipe.log import warn

IMAGE = "ImageId"
WKT = "PolygonWKT_Pix"
CONFIDENCE = "Confidence"
HEIGHT = "Mean_Building_Height"
MEASURES = (CONFIDENCE, HEIGHT)
# The challenge's truth says TileBuildingId, proposals and older SpaceNets say BuildingId.
NUMBERS = ("TileBuildingId", "BuildingId")
PACKED = ".gz"
EXPECTED = "expected a POLYGON or MULTIPOLYGON"
# What the size of a packed file's text is estimated from.
SAMPLE_BYTES = 4 * 2**20
# Farther off no image and no map goes; the area of much more is no number.
FARTHEST = 1e9
# Rows in memory as text at one time: a few tens of MB, and enough to be fast.
ROWS_AT_ONCE = 50_000


def read_spacenet_csv(
    path: Path, images: Collection[str] | None = None, measures: Collection[str] = MEASURES
) -> pd.DataFrame:
    """Reads the polygons of a truth or proposal file.

    Args:
        path: a CSV with at least ImageId and PolygonWKT_Pix; a byte order mark, CRLF and other columns do no harm. One
            whose name ends in `.gz` is unpacked while it is read.
        images: read these images alone; the WKT of others is not even parsed. None: all.
        measures: which of the columns Confidence and Mean_Building_Height are needed. One that is not is like any other
            column: it may hold anything.

    Returns:
        One row per row of the file, in its order:
        image_id str; building_id str (TileBuildingId or BuildingId as written, "" where the file has neither);
        geometry object, shapely polygons (tile pixels, x right, y down), 3-D ones made 2-D, some empty or invalid;
        confidence float64, -inf where blank or where no such column is read; height_m float64, NaN where unknown.

    Raises:
        UserError: names the file, and line and column where there is one: no such file, not a CSV, a missing column,
            or twice the same, an ImageId that is blank, WKT that is blank or has no area, a coordinate that is none or
            is beyond `FARTHEST`, a Confidence or height that is no number.
    """
    return pd.concat(list(spacenet_csv_chunks(path, images, measures)), ignore_index=True)


def spacenet_csv_chunks(
    path: Path,
    images: Collection[str] | None = None,
    measures: Collection[str] = MEASURES,
    rows_at_once: int = ROWS_AT_ONCE,
) -> Iterator[pd.DataFrame]:
    """Reads a truth or proposal file some rows at a time.

    Args:
        path: as for `read_spacenet_csv`.
        images: as for `read_spacenet_csv`.
        measures: as for `read_spacenet_csv`.
        rows_at_once: rows of the file that a table is made from at most.

    Yields:
        Tables as `read_spacenet_csv` returns them, at least one; their index is the row in the file, from 0, for
        `line_of`.

    Raises:
        UserError: as `read_spacenet_csv` does, when it gets there.
    """
    path = Path(path)
    wanted = None if images is None else list(images)
    for text in _read_columns(path, measures, rows_at_once):
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
    with _open_text(path, errors="replace") as handle:
        ends = (end for _, end, _ in _records(handle))
        return next(line for position, line in enumerate(ends) if position == row + 1)


def text_size(path: Path) -> int:
    """Bytes of a file's text; of a packed one an estimate, by how much its beginning shrank.

    Raises:
        UserError: it cannot be read.
    """
    path = Path(path)
    with _telling(path):
        size = path.stat().st_size
        if path.suffix != PACKED:
            return size
        with path.open("rb") as packed, gzip.open(packed) as text:
            begin = len(text.read(SAMPLE_BYTES))
            return -(-begin * size // max(packed.tell(), 1))


def _open_text(path: Path, errors: str = "strict") -> TextIO:
    kind: Any = gzip.open if Path(path).suffix == PACKED else open
    opened: TextIO = kind(path, "rt", newline="", encoding="utf-8-sig", errors=errors)
    return opened


def _records(handle: TextIO) -> Iterator[tuple[int, int, list[str]]]:
    """First line, last line and cells of each record; blank lines are none, as pandas has it."""
    # Without the limit of 128 KiB a cell, which the outline of a large building can pass.
    csv.field_size_limit(sys.maxsize)
    reader = csv.reader(handle)
    end = 0
    for cells in reader:
        begin, end = end + 1, reader.line_num
        if len(cells) > 1 or (cells and cells[0].strip()):
            yield begin, end, cells


@contextmanager
def _telling(path: Path) -> Iterator[None]:
    """Turns what can be wrong with a file as a whole into a UserError that names it."""
    try:
        if path.exists() and not (path.is_file() or path.is_dir()):
            raise UserError(
                f"{path}: is a pipe or a device, and is read more than once; write it to a file, `.gz` if you like"
            )
        yield
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except IsADirectoryError:
        raise UserError(f"{path}: is a folder; name a CSV file in it") from None
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise UserError(f"{path}: not a whole gzip file ({error}); pack or fetch it again") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not a CSV file in UTF-8 ({error}); save it in that encoding") from None
    except (pd.errors.ParserError, csv.Error) as error:
        line = _line_of_open_quote(path) if "EOF inside string" in str(error) else None
        found = f"line {line}: a quote is opened here and never closed" if line else f"not a CSV file ({error})"
        raise UserError(f"{path}: {found}") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from None


def _line_of_open_quote(path: Path) -> int | None:
    """Where the last record begins: a quote that is never closed swallows all that follows."""
    line = None
    with _open_text(path, errors="replace") as handle:
        for begin, _, _ in _records(handle):
            line = begin
    return line


def _read_columns(path: Path, measures: Collection[str], rows_at_once: int) -> Iterator[pd.DataFrame]:
    """The columns we use, as text: nothing is guessed, so an ImageId such as `007` or `NA` stays what it is."""
    wanted = {IMAGE, WKT, *measures, *NUMBERS}
    with _telling(path):
        _refuse_header(path, wanted)
        with pd.read_csv(
            path,
            dtype=str,
            keep_default_na=False,
            usecols=lambda name: name in wanted,
            index_col=False,
            encoding="utf-8-sig",
            compression="gzip" if path.suffix == PACKED else None,
            chunksize=rows_at_once,
        ) as chunks:
            while (table := _next(chunks)) is not None:
                # pandas fills cells that are missing at the end of a short line in spite of keep_default_na.
                yield table.fillna("")


def _next(chunks: Iterator[pd.DataFrame]) -> pd.DataFrame | None:
    """The next table, or None after the last."""
    with warnings.catch_warnings():
        # Cells beyond the header's are WKT without quotes; what is left of it does not parse, and that is told.
        warnings.simplefilter("ignore", pd.errors.ParserWarning)
        return next(chunks, None)


def _refuse_header(path: Path, wanted: Collection[str]) -> None:
    """Refuses a file without a column that we need, or with two of a kind."""
    with _open_text(path) as handle:
        _, line, header = next(_records(handle), (0, 0, []))
    if not header:
        raise UserError(f"{path}: the file is empty; expected a CSV with a header {IMAGE},{WKT}")

    def alike(name: str) -> list[str]:
        return [cell for cell in header if cell.strip().casefold() == name.casefold()]

    for name in (IMAGE, WKT):
        if name not in header:
            hint = f"; its `{alike(name)[0]}` must be called {name}" if alike(name) else ""
            if len(header) == 1 and any(mark in header[0] for mark in ";\t|"):
                hint = "; cells must be parted by commas"
            raise UserError(f"{path}: line {line}: no column {name}; the file has: {', '.join(header)}{hint}")
    twice = sorted(name for name in wanted if header.count(name) > 1)
    if twice:
        raise UserError(f"{path}: line {line}: {header.count(twice[0])} columns are called {twice[0]}; which is meant?")
    for name in sorted({*MEASURES} & {*wanted} - {*header}):
        if alike(name):
            warn(f"{path}: line {line}: its column `{alike(name)[0]}` is not read; it must be called {name}")


def _polygons(path: Path, table: pd.DataFrame) -> np.ndarray:
    """Parses WKT: (n,) object."""
    text = table[WKT].to_numpy(dtype=object)
    rows = table.index.to_numpy()
    blank = np.array([not each.strip() for each in text], dtype=bool)
    _refuse(path, rows, blank, WKT, lambda row: "is blank; a tile without buildings has one row POLYGON EMPTY")
    with np.errstate(all="ignore"):  # of numbers that are none, which are told below
        try:
            geometry: np.ndarray = shapely.from_wkt(text, on_invalid="ignore")
        except NotImplementedError:
            curved = np.array([_is_curved(each) for each in text])
            _refuse(path, rows, curved, WKT, lambda row: f"is a curve; {EXPECTED}")
            raise
    _refuse(path, rows, shapely.is_missing(geometry), WKT, lambda row: f"does not parse: {_reason(text[row])}")
    # Polygons, multipolygons, and collections with one of them, such as clipping leaves: what solaris finds area in.
    areal = np.isin(shapely.get_type_id(geometry), (3, 6)) | shapely.is_empty(geometry)
    areal[~areal] = shapely.area(geometry[~areal]) > 0
    _refuse(path, rows, ~areal, WKT, lambda row: f"is a {geometry[row].geom_type} without area; {EXPECTED}")
    points, owner = shapely.get_coordinates(geometry, return_index=True)
    lost = np.zeros(len(geometry), bool)
    lost[owner[~(np.abs(points) <= FARTHEST).all(axis=1)]] = True  # NaN as well
    _refuse(path, rows, lost, WKT, lambda row: f"has a coordinate that is no number, or is beyond {FARTHEST:g}")
    deep = shapely.has_z(geometry)
    geometry[deep] = shapely.force_2d(geometry[deep])
    return geometry


def _is_curved(text: str) -> bool:
    try:
        shapely.from_wkt(text, on_invalid="ignore")
    except NotImplementedError:
        return True
    return False


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
