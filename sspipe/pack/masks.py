"""Training targets: from footprints on the map to interior and border pixels of a tile (section 4.2)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import shapely
from numpy.typing import NDArray


def tile_masks(
    footprints: Sequence[shapely.Geometry],
    easting_m: float,
    northing_m: float,
    pixel_m: float,
    size_px: int,
    border_px: float,
    out: NDArray[np.uint8] | None = None,
) -> NDArray[np.uint8]:
    """Draws a tile's footprints on the grid of its SAR image.

    The two channels overlap by `border_px` inside each building, so they are two independent targets. Each building has
    its own outline: the wall that two touching buildings share is border, which is what parts them later. Both are
    exact: curves are not approximated by chords, and coordinates are rounded to nothing coarser than float64.

    Args:
        footprints: valid Polygons or MultiPolygons in map coordinates (x east, y north, m).
        easting_m: of the upper-left corner of the tile.
        northing_m: of the upper-left corner of the tile.
        pixel_m: side of a pixel, m.
        size_px: S, rows and columns of the tile, before orientation and padding.
        border_px: half width of the border band, px.
        out: (2, S, S) uint8 to write into, with any strides; None makes one.

    Returns:
        `out`: 0 and 1, row 0 in the north. Channel 0, interior: pixels whose centre lies in a footprint.
        Channel 1, border: pixels whose centre lies at most `border_px` from the outline of a footprint, on either side.
    """
    if out is None:
        out = np.zeros((2, size_px, size_px), np.uint8)
    starts, ends = _edges(footprints, easting_m, northing_m, pixel_m)
    interior = _Spans(size_px)
    interior.add_edges(starts, ends)
    interior.fill(out[0])
    # Near an outline is what is near one of its corners or beside one of its edges.
    border = _Spans(size_px)
    border.add_discs(starts, border_px)
    border.add_edges(*_strips_along(starts, ends, border_px))
    border.fill(out[1])
    return out


def _edges(
    footprints: Sequence[shapely.Geometry], easting_m: float, northing_m: float, pixel_m: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Start and end of every edge of every outline, (E, 2) (x, y) in pixels from the tile's corner, y down.

    Outlines run clockwise, and those of courtyards the other way, however the rings were drawn.
    """
    polygons = shapely.get_parts(np.asarray(footprints, dtype=object))
    rings, polygon_of_ring = shapely.get_rings(polygons, return_index=True)
    outer = np.diff(polygon_of_ring, prepend=-1) != 0  # a polygon's first ring; the others are its courtyards
    turned = shapely.is_ccw(rings) == outer
    points_m, ring_of_point = shapely.get_coordinates(rings, return_index=True)
    points = (points_m - (easting_m, northing_m)) / (pixel_m, -pixel_m)
    follows = ring_of_point[1:] == ring_of_point[:-1]
    starts, ends = points[:-1][follows], points[1:][follows]
    backwards = turned[ring_of_point[:-1][follows], None]
    return np.where(backwards, ends, starts), np.where(backwards, starts, ends)


def _strips_along(
    starts: NDArray[np.float64], ends: NDArray[np.float64], width_px: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The edges, clockwise, of a rectangle along each edge, which reaches `width_px` to both of its sides."""
    along = ends - starts
    length = np.hypot(along[:, 0], along[:, 1])
    starts, ends, along, length = (array[length > 0] for array in (starts, ends, along, length))
    aside = np.stack([along[:, 1], -along[:, 0]], axis=1) * (width_px / length)[:, None]
    corners = [starts - aside, starts + aside, ends + aside, ends - aside]
    return np.concatenate(corners), np.concatenate([*corners[1:], corners[0]])


class _Spans:
    """Runs of pixels down the columns: each adds 1 where it begins, takes 1 away where it ends, and a sum fills them.

    A pixel counts as its centre. However many shapes lie over it, it is covered if the sum is not 0.
    """

    def __init__(self, size_px: int) -> None:
        self._size = size_px
        # One more row for what ends at or beyond the tile's edge; int16 holds 32,767 shapes over one pixel.
        self._steps = np.zeros((size_px + 1, size_px), np.int16)

    def add_edges(self, starts: NDArray[np.float64], ends: NDArray[np.float64]) -> None:
        """Adds closed clockwise shapes by their edges: spans begin where these run east and end where they run west."""
        first, last = self._centre_from(starts[:, 0]), self._centre_from(ends[:, 0])
        edge, column = _ranges(np.minimum(first, last), np.maximum(first, last))
        x, y = starts[edge].T
        slope = (ends[edge, 1] - y) / (ends[edge, 0] - x)  # an edge down a column crosses no centres: never by 0
        self._step(column, y + (column + 0.5 - x) * slope, np.where(first < last, 1, -1).astype(np.int16)[edge])

    def add_discs(self, centres: NDArray[np.float64], radius_px: float) -> None:
        """Adds a disc around each centre, (N, 2) (x, y)."""
        first, last = (self._centre_from(centres[:, 0] + side) for side in (-radius_px, radius_px))
        disc, column = _ranges(first, last)
        x, y = centres[disc].T
        half = np.sqrt(np.maximum(radius_px**2 - (column + 0.5 - x) ** 2, 0))
        self._step(column, y - half, np.int16(1))
        self._step(column, y + half, np.int16(-1))

    def fill(self, out: NDArray[np.uint8]) -> None:
        """Writes 1 where a shape lies and 0 elsewhere, (S, S)."""
        covered = self._steps
        for row in range(1, self._size):  # whole rows at once: three times as fast as numpy's cumsum
            covered[row] += covered[row - 1]
        np.not_equal(covered[:-1], 0, out=out.view(np.bool_))

    def _centre_from(self, position: NDArray[np.float64]) -> NDArray[np.int64]:
        """The first row or column, 0 to S, whose centre is at or beyond a position."""
        return np.ceil(np.clip(position, 0, self._size) - 0.5).astype(np.int64)

    def _step(self, column: NDArray[np.int64], y: NDArray[np.float64], change: NDArray[np.int16] | np.int16) -> None:
        np.add.at(self._steps.reshape(-1), self._centre_from(y) * self._size + column, change)


def _ranges(first: NDArray[np.int64], end: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """For each i, the numbers from first[i] to end[i] (not included), one after another, and i beside each."""
    counts = end - first
    index = np.repeat(np.arange(len(counts)), counts)
    within = np.arange(len(index)) - np.repeat(np.cumsum(counts) - counts, counts)
    return index, first[index] + within
