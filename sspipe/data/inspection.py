"""Reading one tile to its end and listing everything about it that the pipeline could not work with."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.errors import RasterioError

from sspipe.data import spacenet6
from sspipe.data.footprints import Footprint, FootprintProblem, LabelError, read_footprints
from sspipe.data.spacenet6 import Product

PIXEL_TOLERANCE = 1e-3  # of the pixel size: products of a tile differ by up to 0.02 %


class Problem(NamedTuple):
    """One thing wrong with one file."""

    file: str  # relative to raw/
    found: str
    expected: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.file}: {self.found}, expected {self.expected}; {self.remedy}"


class TileRequest(NamedTuple):
    """One tile to inspect."""

    raw: Path
    tile_id: str
    size_px: int
    pixel_m: float


class TileReport(NamedTuple):
    """What one tile holds; `origin_m` is easting and northing of the upper-left corner of its SAR image."""

    tile_id: str
    origin_m: tuple[float, float]
    sar_no_data_fraction: float
    eo_no_data_fraction: float
    footprints: list[Footprint]
    footprint_problems: list[FootprintProblem]
    problems: list[Problem]


class _Image(NamedTuple):
    origin_m: tuple[float, float]
    no_data_fraction: float


FETCH_AGAIN = "unpack the archive again, and fetch it again if that does not help"


def inspect_tile(request: TileRequest) -> TileReport:
    """Reads a tile's SAR, EO and labels completely. Never raises for what is wrong with them: it is in the report."""
    problems: list[Problem] = []
    sar = _inspect_image(request, spacenet6.SAR, problems)
    eo = _inspect_image(request, spacenet6.EO, problems)
    if sar and eo and math.dist(sar.origin_m, eo.origin_m) > request.pixel_m:
        problems.append(
            Problem(
                str(spacenet6.file_path(spacenet6.EO, request.tile_id)),
                f"its corner is at {eo.origin_m}",
                f"that of the tile's SAR image, {sar.origin_m}",
                FETCH_AGAIN,
            )
        )
    footprints, footprint_problems = _inspect_labels(request, sar, problems)
    return TileReport(
        request.tile_id,
        sar.origin_m if sar else (math.nan, math.nan),
        sar.no_data_fraction if sar else math.nan,
        eo.no_data_fraction if eo else math.nan,
        footprints,
        footprint_problems,
        problems,
    )


def _inspect_image(request: TileRequest, product: Product, problems: list[Problem]) -> _Image | None:
    """Reads one product of the tile; None if there is nothing to read."""
    name = str(spacenet6.file_path(product, request.tile_id))
    path = request.raw / name
    if not path.is_file():
        problems.append(Problem(name, "is missing", f"one {product.folder} image for each tile", FETCH_AGAIN))
        return None
    try:
        with rasterio.open(path) as image:
            header = _header_problems(image, name, request, product)
            problems.extend(header)
            pixels = image.read()
            origin_m = (image.transform.c, image.transform.f)
    except RasterioError as error:
        reason = " ".join(str(error.__cause__ or error).split())
        problems.append(Problem(name, f"cannot be read to its end ({reason})", "a whole GeoTIFF", FETCH_AGAIN))
        return None
    if pixels.dtype.kind == "f" and not np.isfinite(pixels).all():
        count = int((~np.isfinite(pixels)).sum())
        problems.append(
            Problem(name, f"values that are not finite: {count}", "numbers, and 0 for no-data", FETCH_AGAIN)
        )
    return _Image(origin_m, no_data_fraction(pixels))


def no_data_fraction(pixels: NDArray[Any]) -> float:
    """Share of pixels that are 0 in every band; valid values may be as small as 1e-5, so nothing else counts.

    Args:
        pixels: (bands, H, W).
    """
    return float(np.mean(~pixels.any(axis=0)))


def _header_problems(image: Any, name: str, request: TileRequest, product: Product) -> list[Problem]:
    """Compares an open image with what its product must be."""
    problems = []
    if image.count != product.bands:
        problems.append(Problem(name, f"{image.count} bands", f"{product.bands}", FETCH_AGAIN))
    dtypes = sorted(set(image.dtypes))
    if dtypes != [product.dtype]:
        problems.append(Problem(name, f"dtype {', '.join(dtypes)}", product.dtype, FETCH_AGAIN))
    if image.crs != CRS.from_epsg(spacenet6.EPSG):
        found = f"CRS {_crs_name(image.crs)}"
        remedy = f"reproject the data to EPSG:{spacenet6.EPSG}, or fetch SpaceNet 6's own archive"
        problems.append(Problem(name, found, f"EPSG:{spacenet6.EPSG}", remedy))
    if (image.height, image.width) != (request.size_px, request.size_px):
        found = f"{image.height} x {image.width} px"
        expected = f"{request.size_px} x {request.size_px} px (`tiles.size_px` in the config)"
        problems.append(Problem(name, found, expected, "set tiles.size_px (and tiles.padded_px) to what the data has"))
    grid, pixel_m = image.transform, spacenet6.pixel_size_m(product, request.pixel_m)
    if grid.b or grid.d or abs(grid.a / pixel_m - 1) > PIXEL_TOLERANCE or abs(-grid.e / pixel_m - 1) > PIXEL_TOLERANCE:
        found = f"pixels of {grid.a:.6g} x {-grid.e:.6g} m" + (", rotated" if grid.b or grid.d else "")
        expected = f"{pixel_m:.6g} m within 0.1 % (`tiles.pixel_m` in the config), north up"
        problems.append(Problem(name, found, expected, "set tiles.pixel_m to what the data has"))
    return problems


def _crs_name(crs: Any) -> str:
    if not crs:
        return "missing"
    return f"EPSG:{crs.to_epsg()}" if crs.to_epsg() else " ".join(crs.to_wkt().split())[:60]


def _inspect_labels(
    request: TileRequest, sar: _Image | None, problems: list[Problem]
) -> tuple[list[Footprint], list[FootprintProblem]]:
    name = str(spacenet6.file_path(spacenet6.LABELS, request.tile_id))
    path = request.raw / name
    if not path.is_file():
        expected = "one label file for each tile (an empty one where there is no building)"
        problems.append(Problem(name, "is missing", expected, FETCH_AGAIN))
        return [], []
    side_m = request.size_px * request.pixel_m
    try:
        extent = None if sar is None else (*sar.origin_m, side_m)
        return read_footprints(path, request.tile_id, extent)
    except LabelError as error:
        problems.append(Problem(name, str(error), f"GeoJSON in EPSG:{spacenet6.EPSG}", FETCH_AGAIN))
        return [], []
