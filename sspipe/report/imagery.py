"""Pixels of one tile for the eye: stretched pictures, outcomes per pixel, small PNG files."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import rasterio.features
from PIL import Image
from rasterio.transform import from_origin

from sspipe.errors import UserError

# Values of `outcome`.
BACKGROUND, TRUE_POSITIVE, FALSE_POSITIVE, FALSE_NEGATIVE = range(4)
# Light grey, orange and blue on near black: apart in lightness as well as in hue.
OUTCOME_COLOURS = ("#15191e", "#dfe4ea", "#f2792b", "#2f8fe0")
OUTCOME_WORDS = ("background", "building, found", "not a building, but predicted", "building, missed")


def read_tile(path: Path) -> np.ndarray:
    """Reads every band of one tile, shape (bands, rows, columns), dtype of the file.

    Raises:
        UserError: the file is missing or cannot be read.
    """
    try:
        with rasterio.open(path) as source:
            return source.read()
    except rasterio.errors.RasterioIOError as error:
        raise UserError(f"{path}: cannot be read ({error}); unpack the archive again") from None


def optical_picture(bands: np.ndarray) -> np.ndarray:
    """Makes a natural-colour picture of a PS-RGBNIR tile.

    Args:
        bands: (4, H, W), red, green, blue, near infrared; no-data is 0 in all bands.

    Returns:
        (H, W, 3) uint8. All three bands share one stretch, so that the colours stay true; no-data is black.
    """
    return _stretched(bands[:3], valid=(bands != 0).any(axis=0), together=True)


def radar_picture(bands: np.ndarray) -> np.ndarray:
    """Makes a false-colour composite of a SAR tile.

    Args:
        bands: (4, H, W) float32, HH, HV, VH, VV, log-scaled; no-data is 0 in all bands.

    Returns:
        (H, W, 3) uint8: red HH, green the mean of HV and VH, blue VV, each stretched by itself; no-data is black.
    """
    composite = np.stack([bands[0], (bands[1] + bands[2]) / 2, bands[3]])
    return _stretched(composite, valid=(bands != 0).any(axis=0), together=False)


def truth_mask(outlines: Iterable[Any], west_m: float, north_m: float, size_px: int, pixel_m: float) -> np.ndarray:
    """Rasterises footprints onto a tile's grid.

    Args:
        outlines: polygons in map coordinates.
        west_m: easting of the tile's upper-left corner.
        north_m: northing of it.
        size_px: rows and columns.
        pixel_m: size of a pixel, m.

    Returns:
        (size_px, size_px) bool; a pixel is building if its centre is.
    """
    shapes = [outline for outline in outlines if not outline.is_empty]
    if not shapes:
        return np.zeros((size_px, size_px), dtype=bool)
    transform = from_origin(west_m, north_m, pixel_m, pixel_m)
    return rasterio.features.rasterize(shapes, (size_px, size_px), transform=transform, dtype="uint8").astype(bool)


def outcome(predicted: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Classes each pixel, (H, W) uint8: background, true positive, false positive, false negative."""
    return np.select(
        [predicted & truth, predicted & ~truth, ~predicted & truth],
        [TRUE_POSITIVE, FALSE_POSITIVE, FALSE_NEGATIVE],
        BACKGROUND,
    ).astype(np.uint8)


def shrunk(picture: np.ndarray, side_px: int) -> np.ndarray:
    """Shrinks a square picture by a whole factor until it is no larger than `side_px`.

    Colours (H, W, 3) are averaged over blocks; classes (H, W) take each block's centre, for a mean of classes means
    nothing. Rows and columns that do not fill a block are left off.
    """
    factor = -(-picture.shape[0] // side_px)
    if factor <= 1:
        return picture
    side = picture.shape[0] // factor
    blocks = picture[: side * factor, : side * factor]
    if picture.ndim == 2:
        return blocks[factor // 2 :: factor, factor // 2 :: factor]
    return blocks.reshape(side, factor, side, factor, 3).mean(axis=(1, 3)).round().astype(np.uint8)


def colour_png(picture: np.ndarray) -> bytes:
    """Encodes (H, W, 3) uint8 as PNG of 128 colours: a third of the size, and no difference that the eye finds."""
    return _encoded(Image.fromarray(picture).quantize(128, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE))


def outcome_png(classes: np.ndarray) -> bytes:
    """Encodes (H, W) classes of `outcome` as PNG of four colours."""
    image = Image.fromarray(classes, mode="P")
    image.putpalette([int(colour[i : i + 2], 16) for colour in OUTCOME_COLOURS for i in (1, 3, 5)])
    return _encoded(image)


def outcome_colours(classes: np.ndarray) -> np.ndarray:
    """Colours (H, W) classes of `outcome`: (H, W, 3) uint8."""
    table = [[int(colour[i : i + 2], 16) for i in (1, 3, 5)] for colour in OUTCOME_COLOURS]
    return np.array(table, dtype=np.uint8)[classes]


def data_uri(png: bytes) -> str:
    """A PNG as text that stands in a page."""
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


def _stretched(bands: np.ndarray, valid: np.ndarray, together: bool) -> np.ndarray:
    """Stretches the 2nd to 98th percentile of valid pixels to 0..255."""
    if not valid.any():
        return np.zeros((*valid.shape, 3), dtype=np.uint8)
    pixels = bands[:, valid].astype(np.float64)
    low, high = np.percentile(pixels, (2, 98), axis=None if together else 1)
    low, high = np.reshape(low, (-1, 1)), np.reshape(high, (-1, 1))
    scaled = np.clip((pixels - low) / np.maximum(high - low, 1e-9), 0, 1)
    picture = np.zeros((*valid.shape, 3), dtype=np.uint8)
    picture[valid] = np.rint(255 * scaled).astype(np.uint8).T
    return picture


def _encoded(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()
