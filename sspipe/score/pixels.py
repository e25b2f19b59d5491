"""Pixel IoU of building pixels, in both senses: mean of the tiles' IoUs, and IoU of all pixels pooled."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from affine import Affine
from rasterio.features import rasterize


def building_mask(geometries: Iterable, transform: Affine, size_px: int) -> np.ndarray:
    """Burns footprints into a tile's grid.

    Args:
        geometries: shapely polygons in map coordinates; empty ones are passed over.
        transform: pixels (x, y) to map, of the tile's SAR grid.
        size_px: rows and columns.

    Returns:
        (size_px, size_px) bool, True where the pixel's centre lies in a footprint.
    """
    shapes = [geometry for geometry in geometries if not geometry.is_empty]
    if not shapes:
        return np.zeros((size_px, size_px), bool)
    return rasterize(shapes, (size_px, size_px), transform=transform, dtype=np.uint8).astype(bool)


def pixel_overlap(predicted: np.ndarray, truth: np.ndarray) -> tuple[int, int]:
    """Counts pixels that are building in both masks, and in either.

    Args:
        predicted: (S, S) bool.
        truth: (S, S) bool.

    Returns:
        intersection, union.
    """
    return int(np.count_nonzero(predicted & truth)), int(np.count_nonzero(predicted | truth))


def tile_iou(intersection: np.ndarray, union: np.ndarray) -> np.ndarray:
    """IoU of each tile.

    Args:
        intersection: (N,) pixels.
        union: (N,) pixels.

    Returns:
        (N,) float64; NaN where the union is empty: no building, and none predicted, is neither right nor wrong.
    """
    intersection, union = np.asarray(intersection, np.float64), np.asarray(union, np.float64)
    return np.divide(intersection, union, out=np.full(union.shape, np.nan), where=union > 0)
