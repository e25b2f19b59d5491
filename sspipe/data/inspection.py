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
from sspipe.data.agreement import Agreement, compare
from sspipe.data.bands import RANGES, BandSummary, summarize_bands
from sspipe.data.footprints import Footprint, FootprintProblem, LabelError, read_footprints
from sspipe.data.spacenet6 import Product

PIXEL_TOLERANCE = 1e-3  # of the pixel size: products of a tile differ by up to 0.02 %
LARGEST_VALUE = float(np.finfo(np.float16).max)  # tiles are packed as float16
FETCH_AGAIN = "unpack the archive again, and fetch it again if that does not help"


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
    truth: list[bytes] | None  # WKB of the CSV's polygons, tile pixels; None if the CSV does not name the tile


class ImageReport(NamedTuple):
    """What one image holds; `origin_m` is easting and northing of its upper-left corner."""

    origin_m: tuple[float, float]
    no_data_fraction: float
    bands: list[BandSummary]
    out_of_range: int  # valid values that the product should not have


class TileReport(NamedTuple):
    """What one tile holds; the images are None where they cannot be read."""

    tile_id: str
    sar: ImageReport | None
    eo: ImageReport | None
    footprints: list[Footprint]
    footprint_problems: list[FootprintProblem]
    agreement: Agreement | None  # None where SAR or labels cannot be read
    problems: list[Problem]


def inspect_tile(request: TileRequest) -> TileReport:
    """Reads a tile's SAR, EO and labels completely. Never raises for what is wrong with them: it is in the report."""
    sar, problems = inspect_image(request, spacenet6.SAR)
    eo, eo_problems = inspect_image(request, spacenet6.EO)
    problems += eo_problems
    # Each product has its own pixel size, so origins are all that can be compared of their transforms.
    if sar and eo and math.dist(sar.origin_m, eo.origin_m) > request.pixel_m:
        problems.append(
            Problem(
                str(spacenet6.file_path(spacenet6.EO, request.tile_id)),
                f"its corner is at {eo.origin_m}",
                f"that of the tile's SAR image, {sar.origin_m}",
                FETCH_AGAIN,
            )
        )
    footprints, footprint_problems, label_problems = _inspect_labels(request, sar)
    agreement = None
    if sar and not label_problems:
        outlines = [footprint.wkb for footprint in footprints]
        agreement = compare(outlines, request.truth, sar.origin_m, request.pixel_m)
    return TileReport(request.tile_id, sar, eo, footprints, footprint_problems, agreement, [*problems, *label_problems])


def inspect_image(request: TileRequest, product: Product) -> tuple[ImageReport | None, list[Problem]]:
    """Reads one product of a tile.

    Returns:
        what it holds, or None if it cannot be read or has not the form of its product; and what is wrong with it.
    """
    name = str(spacenet6.file_path(product, request.tile_id))
    path = request.raw / name
    if not path.is_file():
        return None, [Problem(name, "is missing", f"one {product.folder} image for each tile", FETCH_AGAIN)]
    try:
        with rasterio.open(path) as image:
            problems = _header_problems(image, name, request, product)
            pixels = image.read()
            origin_m = (image.transform.c, image.transform.f)
    except RasterioError as error:
        reason = " ".join(str(error.__cause__ or error).split())
        return None, [Problem(name, f"cannot be read to its end ({reason})", "a whole GeoTIFF", FETCH_AGAIN)]
    if problems:
        return None, problems
    # NaN fails each comparison, and is the least and the largest where there is one.
    if not (pixels.min() >= -LARGEST_VALUE and pixels.max() <= LARGEST_VALUE):
        count = int((~(np.abs(pixels) <= LARGEST_VALUE)).sum())
        found = f"values that are not finite, or beyond {LARGEST_VALUE:.0f}: {count}"
        return None, [Problem(name, found, "log-scaled amplitudes, 0 to about 93, and 0 for no-data", FETCH_AGAIN)]
    valid = pixels.any(axis=0)
    bands, out_of_range = summarize_bands(pixels, valid, RANGES[product.dtype])
    return ImageReport(origin_m, no_data_fraction(valid), bands, out_of_range), []


def no_data_fraction(valid: NDArray[np.bool_]) -> float:
    """Share of pixels that are 0 in every band; valid values may be as small as 1e-5, so nothing else counts.

    Args:
        valid: (H, W), whether any band is not 0.
    """
    return float(1 - np.mean(valid))


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
    side_px = spacenet6.side_px(product, request.size_px)
    if (image.height, image.width) != (side_px, side_px):
        found = f"{image.height} x {image.width} px"
        expected = f"{side_px} x {side_px} px (`tiles.size_px` in the config)"
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
    request: TileRequest, sar: ImageReport | None
) -> tuple[list[Footprint], list[FootprintProblem], list[Problem]]:
    name = str(spacenet6.file_path(spacenet6.LABELS, request.tile_id))
    path = request.raw / name
    side_m = request.size_px * request.pixel_m
    extent_m = (*sar.origin_m, side_m) if sar else None
    try:
        return *read_footprints(path, request.tile_id, extent_m), []
    except OSError as error:
        found, remedy = f"cannot be read ({error.strerror})", FETCH_AGAIN
    except LabelError as error:
        found = str(error)
        remedy = f"{FETCH_AGAIN}; labels of your own: reproject them to EPSG:{spacenet6.EPSG}"
    return [], [], [Problem(name, found, f"GeoJSON in EPSG:{spacenet6.EPSG} (m)", remedy)]
