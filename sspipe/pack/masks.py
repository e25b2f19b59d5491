"""Training targets: from footprints on the map to interior and border pixels of a tile (section 4.2)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import shapely
from numpy.typing import NDArray
from rasterio.features import rasterize
from rasterio.transform import Affine

# Chords per quarter of a circle in the border band's rounded corners: they stay within 0.2 % of its half width.
CORNER_SEGMENTS = 16


def tile_masks(
    footprints: Sequence[shapely.Geometry],
    easting_m: float,
    northing_m: float,
    pixel_m: float,
    size_px: int,
    border_px: float,
) -> NDArray[np.uint8]:
    """Draws a tile's footprints on the grid of its SAR image.

    The two channels overlap by `border_px` inside each building, so they are two independent targets. Each building has
    its own outline: the wall that two touching buildings share is border, which is what parts them later.

    Args:
        footprints: Polygons or MultiPolygons in map coordinates (x east, y north, m).
        easting_m: of the upper-left corner of the tile.
        northing_m: of the upper-left corner of the tile.
        pixel_m: side of a pixel, m.
        size_px: S, rows and columns of the tile, before orientation and padding.
        border_px: half width of the border band, px.

    Returns:
        (2, S, S) uint8 of 0 and 1, row 0 in the north. Channel 0, interior: pixels whose centre lies in a footprint.
        Channel 1, border: pixels whose centre lies at most `border_px` from the outline of a footprint, on either side.
    """
    masks = np.zeros((2, size_px, size_px), np.uint8)
    if not len(footprints):
        return masks
    shapes = np.asarray(footprints, dtype=object)
    outlines = shapely.boundary(shapes)
    bands = shapely.buffer(outlines, border_px * pixel_m, quad_segs=CORNER_SEGMENTS)
    grid = Affine(pixel_m, 0, easting_m, 0, -pixel_m, northing_m)
    for channel, areas in enumerate((shapes, bands)):
        rasterize(list(areas), out=masks[channel], transform=grid, default_value=1, all_touched=False)
    return masks
