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

from sspipe.data.agreement import Agreement, compare
from sspipe.data.bands import BandSummary, summarize_bands
from sspipe.data.footprints import Footprint, FootprintProblem, LabelError, read_footprints
from sspipe.data.forms import Form, Forms, TileFiles

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
    files: TileFiles
    forms: Forms
    truth: list[bytes] | None  # WKB of the CSV's polygons, tile pixels; None if the CSV does not name the tile


class ImageReport(NamedTuple):
    """What one image holds; `origin_m` is easting and northing of its upper-left corner."""

    origin_m: tuple[float, float]
    dtype: str
    no_data_fraction: float
    bands: list[BandSummary]
    out_of_range: int  # valid values that the product should not have


class TileReport(NamedTuple):
    """What one tile holds; the images are None where they cannot be read, EO also where the tile has none."""

    tile_id: str
    sar: ImageReport | None
    eo: ImageReport | None
    footprints: list[Footprint]
    footprint_problems: list[FootprintProblem]
    agreement: Agreement | None  # None where SAR or labels cannot be read
    problems: list[Problem]


def inspect_tile(request: TileRequest) -> TileReport:
    """Reads a tile's SAR, EO and labels completely. Never raises for what is wrong with them: it is in the report."""
    files, forms = request.files, request.forms
    sar, problems = inspect_image(request.raw, files.sar, forms.sar)
    eo = None
    if files.eo is not None:
        eo, eo_problems = inspect_image(request.raw, files.eo, forms.eo)
        problems += eo_problems
        # Products may have pixel sizes of their own, so origins are all that can be compared of their transforms.
        if sar and eo and math.dist(sar.origin_m, eo.origin_m) > forms.corner_m:
            found, expected = f"its corner is at {eo.origin_m}", f"that of the tile's SAR image, {sar.origin_m}"
            problems.append(Problem(files.eo, found, expected, forms.eo.remedy))
    footprints, footprint_problems, label_problems = _inspect_labels(request, sar)
    agreement = None
    if sar and not label_problems:
        outlines = [footprint.wkb for footprint in footprints]
        agreement = compare(outlines, request.truth, sar.origin_m, forms.sar.pixel_m)
    return TileReport(request.tile_id, sar, eo, footprints, footprint_problems, agreement, [*problems, *label_problems])


def inspect_image(raw: Path, name: str, form: Form) -> tuple[ImageReport | None, list[Problem]]:
    """Reads one image of a tile.

    Args:
        raw: the folder that names are relative to.
        name: of the file.
        form: what it must be.

    Returns:
        what it holds, or None if it cannot be read or has not its form; and what is wrong with it.
    """
    path = raw / name
    if not path.is_file():
        return None, [Problem(name, "is missing", f"one {form.kind} image for each tile", form.remedy)]
    try:
        with rasterio.open(path) as image:
            problems = header_problems(image, name, form)
            pixels = image.read()
            origin_m = (image.transform.c, image.transform.f)
    except RasterioError as error:
        reason = " ".join(str(error.__cause__ or error).split())
        return None, [Problem(name, f"cannot be read to its end ({reason})", "a whole GeoTIFF", form.remedy)]
    if problems:
        return None, problems
    # NaN fails each comparison, and is the least and the largest where there is one.
    if not (pixels.min() >= -LARGEST_VALUE and pixels.max() <= LARGEST_VALUE):
        count = int((~(np.abs(pixels) <= LARGEST_VALUE)).sum())
        found = f"values that are not finite, or beyond {LARGEST_VALUE:.0f}: {count}"
        return None, [Problem(name, found, form.values_words, form.remedy)]
    valid = pixels.any(axis=0)
    bands, out_of_range = summarize_bands(pixels, valid, form.values)
    return ImageReport(origin_m, pixels.dtype.name, no_data_fraction(valid), bands, out_of_range), []


def no_data_fraction(valid: NDArray[np.bool_]) -> float:
    """Share of pixels that are 0 in every band; valid values may be as small as 1e-5, so nothing else counts.

    Args:
        valid: (H, W), whether any band is not 0.
    """
    return float(1 - np.mean(valid))


def header_problems(image: Any, name: str, form: Form) -> list[Problem]:
    """Compares an open image with what it must be."""
    return [*content_problems(image, name, form), *grid_problems(image, name, form)]


def content_problems(image: Any, name: str, form: Form) -> list[Problem]:
    """Compares an open image's bands with what they must be."""
    problems = []
    if image.count != form.bands:
        expected, remedy = f"{form.bands}", form.remedy
        if form.bands_key:
            expected += f" (`{form.bands_key}` in the config)"
            remedy = f"name as many bands in {form.bands_key} as the files have"
        problems.append(Problem(name, f"{image.count} bands", expected, remedy))
    dtypes = sorted(set(image.dtypes))
    if len(dtypes) != 1 or dtypes[0] not in form.dtypes:
        problems.append(Problem(name, f"dtype {', '.join(dtypes)}", " or ".join(form.dtypes), form.remedy))
    return problems


def grid_problems(image: Any, name: str, form: Form) -> list[Problem]:
    """Compares an open image's CRS, size and pixels with what they must be."""
    problems = []
    if image.crs != CRS.from_epsg(form.epsg):
        found = f"CRS {crs_name(image.crs)}"
        problems.append(Problem(name, found, f"EPSG:{form.epsg}", _crs_remedy(form)))
    if (image.height, image.width) != (form.side_px, form.side_px):
        found = f"{image.height} x {image.width} px"
        expected = f"{form.side_px} x {form.side_px} px (`tiles.size_px` in the config)"
        problems.append(Problem(name, found, expected, "set tiles.size_px (and tiles.padded_px) to what the data has"))
    grid, pixel_m = image.transform, form.pixel_m
    if grid.b or grid.d or abs(grid.a / pixel_m - 1) > PIXEL_TOLERANCE or abs(-grid.e / pixel_m - 1) > PIXEL_TOLERANCE:
        found = f"pixels of {grid.a:.6g} x {-grid.e:.6g} m" + (", rotated" if grid.b or grid.d else "")
        expected = f"{pixel_m:.6g} m within 0.1 % (`tiles.pixel_m` in the config), north up"
        problems.append(Problem(name, found, expected, "set tiles.pixel_m to what the data has"))
    return problems


def _crs_remedy(form: Form) -> str:
    if form.bands_key:
        return "set tiles.epsg to what the data has, or reproject them (gdalwarp -t_srs)"
    return f"reproject the data to EPSG:{form.epsg}, or fetch SpaceNet 6's own archive"


def crs_name(crs: Any) -> str:
    """What a CRS is called in messages."""
    if not crs:
        return "missing"
    return f"EPSG:{crs.to_epsg()}" if crs.to_epsg() else " ".join(crs.to_wkt().split())[:60]


def _inspect_labels(
    request: TileRequest, sar: ImageReport | None
) -> tuple[list[Footprint], list[FootprintProblem], list[Problem]]:
    name, form = request.files.labels, request.forms.sar
    extent_m = (*sar.origin_m, form.side_px * form.pixel_m) if sar else None
    try:
        return *read_footprints(request.raw / name, request.tile_id, extent_m, form.epsg), []
    except OSError as error:
        found, remedy = f"cannot be read ({error.strerror})", form.remedy
    except LabelError as error:
        found, remedy = str(error), request.forms.labels_remedy
    return [], [], [Problem(name, found, f"GeoJSON in EPSG:{form.epsg} (m)", remedy)]
