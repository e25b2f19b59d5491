"""Pixels of one tile for the eye: stretched pictures of radar and optics, and small files of them."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import rasterio
from PIL import Image

from sspipe.errors import UserError

QUALITY, FINE_QUALITY, SMALL_PX = 75, 90, 300


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


def optical_picture(bands: np.ndarray, names: Sequence[str] = ()) -> np.ndarray:
    """Makes a picture of an optical tile: natural colours, or grey if it has fewer bands than three.

    Args:
        bands: (B, H, W); no-data is 0 (or NaN) in all bands.
        names: of the bands, in order. Those called red, green and blue are shown; where they are not named, the first
            three.

    Returns:
        (H, W, 3) uint8. The bands share one stretch, so that the colours stay true; no-data is black.
    """
    bands = np.nan_to_num(bands)
    places = {name.lower(): place for place, name in enumerate(names)}
    natural = [places[name] for name in ("red", "green", "blue") if name in places]
    shown = bands[natural if len(natural) == 3 else [0, 1, 2] if len(bands) >= 3 else [0, 0, 0]]
    return _stretched(shown, valid=(bands != 0).any(axis=0), together=True)


def radar_picture(bands: np.ndarray) -> np.ndarray:
    """Makes a false-colour composite of a SAR tile; `radar_words` says which colour is what.

    Args:
        bands: (B, H, W), log-scaled as SpaceNet 6 has them; no-data is 0 (or NaN) in all bands.

    Returns:
        (H, W, 3) uint8, each colour stretched by itself; no-data is black.
    """
    bands = np.nan_to_num(bands)
    valid = (bands != 0).any(axis=0)
    if len(bands) == 1:
        composite = bands[[0, 0, 0]]
    elif len(bands) == 2:
        # On a log scale the difference is the ratio, which is what such composites are commonly made of.
        composite = np.stack([bands[0], bands[1], bands[0] - bands[1]])
    elif len(bands) == 4:
        composite = np.stack([bands[0], (bands[1] + bands[2]) / 2, bands[3]])
    else:
        composite = bands[:3]
    return _stretched(composite, valid, together=False)


def radar_words(names: Sequence[str]) -> str:
    """Says which colour of `radar_picture` is what.

    Args:
        names: of the bands, in order.
    """
    if len(names) == 1:
        return f"Radar: {names[0]} in grey."
    if len(names) == 2:
        return f"Radar colours: red {names[0]}, green {names[1]}, blue {names[0]} minus {names[1]}."
    if len(names) == 4:
        return f"Radar colours: red {names[0]}, green the mean of {names[1]} and {names[2]}, blue {names[3]}."
    return f"Radar colours: red {names[0]}, green {names[1]}, blue {names[2]}."


def shrunk(picture: np.ndarray, side_px: int) -> np.ndarray:
    """Shrinks a square picture, (H, W, 3) uint8, to `side_px`; a smaller one stays as it is."""
    if len(picture) <= side_px:
        return picture
    # A box takes each pixel's ground whole, so speckle is averaged and nothing rings.
    return np.asarray(Image.fromarray(picture).resize((side_px, side_px), Image.Resampling.BOX))


def webp(picture: np.ndarray) -> bytes:
    """Encodes (H, W, 3) uint8 as WebP: of the speckle of a radar a quarter of what PNG needs."""
    buffer = io.BytesIO()
    # A small picture is enlarged on the page, where losses show; it costs little to keep them out.
    quality = FINE_QUALITY if len(picture) <= SMALL_PX else QUALITY
    Image.fromarray(picture).save(buffer, format="WEBP", quality=quality, method=4)
    return buffer.getvalue()


def data_uri(image: bytes) -> str:
    """A WebP as text that stands in a page."""
    return f"data:image/webp;base64,{base64.b64encode(image).decode()}"


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
