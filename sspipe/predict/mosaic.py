"""Looks at one place put together: where pixels of a mosaic lie in a tile, and what a look counts there.

Tiles lie at any fraction of a pixel to each other. So a tile is resampled to the mosaic's grid, linearly between the
centres of its pixels, with its own pixel size. Pixels without data are no look: they neither count nor weigh.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

# A look's weight at its very edge, so that a place that only edges see is seen.
LEAST_WEIGHT = 1e-3


@dataclass(frozen=True)
class Grid:
    """The pixels of a mosaic.

    Attributes:
        west_m: easting of the upper left corner.
        north_m: northing of the upper left corner.
        pixel_m: side of a pixel, m.
        rows: pixels from north to south.
        columns: pixels from west to east.
    """

    west_m: float
    north_m: float
    pixel_m: float
    rows: int
    columns: int

    @property
    def bounds_m(self) -> tuple[float, float, float, float]:
        """West, south, east, north."""
        east = self.west_m + self.columns * self.pixel_m
        return self.west_m, self.north_m - self.rows * self.pixel_m, east, self.north_m


@dataclass(frozen=True)
class Block:
    """A part of a grid: rows `top` to `bottom` and columns `left` to `right`, ends left out."""

    top: int
    bottom: int
    left: int
    right: int


@dataclass(frozen=True)
class Look:
    """What one tile says of a part of a block.

    Attributes:
        rows: of the block.
        columns: of the block.
        values: (C, r, c) float32, resampled; 0 where there are no data.
        weight: (r, c) float32; 0 where there are no data.
    """

    rows: slice
    columns: slice
    values: np.ndarray
    weight: np.ndarray


def grid_over(places: pd.DataFrame) -> Grid:
    """The smallest grid over tiles whose lines lie at whole multiples of the pixel.

    Args:
        places: easting_m, northing_m (upper left corners), pixel_m, size_px.
    """
    pixel_m = float(places["pixel_m"].median())
    side_m = places["size_px"] * places["pixel_m"]
    west = np.floor(places["easting_m"].min() / pixel_m)
    north = np.ceil(places["northing_m"].max() / pixel_m)
    east = np.ceil((places["easting_m"] + side_m).max() / pixel_m)
    south = np.floor((places["northing_m"] - side_m).min() / pixel_m)
    return Grid(west * pixel_m, north * pixel_m, pixel_m, int(north - south), int(east - west))


def blocks_of(grid: Grid, block_px: int) -> Iterator[Block]:
    """Cuts a grid into blocks, row by row."""
    for top in range(0, grid.rows, block_px):
        for left in range(0, grid.columns, block_px):
            yield Block(top, min(top + block_px, grid.rows), left, min(left + block_px, grid.columns))


def tiles_on(grid: Grid, block: Block, places: pd.DataFrame) -> np.ndarray:
    """Positions of the tiles that have the centre of a pixel of the block."""
    rows = [_range(grid, place, block, vertical=True) for place in places.itertuples()]
    columns = [_range(grid, place, block, vertical=False) for place in places.itertuples()]
    met = [high > low and right > left for (low, high), (left, right) in zip(rows, columns, strict=True)]
    return np.flatnonzero(met)


def look_at(grid: Grid, block: Block, place: pd.Series, values: np.ndarray, valid: np.ndarray, edge_m: float) -> Look:
    """Resamples one tile to the part of a block that it covers.

    Args:
        grid: of the mosaic.
        block: of the grid.
        place: the tile's easting_m, northing_m, pixel_m and size_px.
        values: (C, S, S), any float type, in the tile's own grid.
        valid: (S, S) bool, pixels with data.
        edge_m: from the tile's edge to this distance inside the weight rises from `LEAST_WEIGHT` to 1, along rows and
            along columns; the weight is the product of both.
    """
    top, bottom = _range(grid, place, block, vertical=True)
    left, right = _range(grid, place, block, vertical=False)
    size, pixel_m = int(place.size_px), float(place.pixel_m)
    y = _in_tile(grid, place, np.arange(top, bottom), vertical=True)
    x = _in_tile(grid, place, np.arange(left, right), vertical=False)
    with_data = np.where(valid, np.asarray(values, np.float32), np.float32(0))
    share = _between(_between(valid.astype(np.float32), y, axis=0), x, axis=1)
    mixed = _between(_between(with_data, y, axis=1), x, axis=2)
    seen = valid[np.ix_(_nearest(y, size), _nearest(x, size))]
    # Next to missing pixels the others stand for all: divided by their share of the four neighbours.
    mixed = np.where(seen, mixed / np.where(seen, share, 1), 0).astype(np.float32)
    weight = np.outer(_ramp(y, size, pixel_m, edge_m), _ramp(x, size, pixel_m, edge_m)).astype(np.float32)
    return Look(
        slice(top - block.top, bottom - block.top),
        slice(left - block.left, right - block.left),
        mixed,
        np.where(seen, weight, np.float32(0)),
    )


class Sums:
    """Weighted means of looks over one block, and how many there were.

    Args:
        block: of the mosaic.
        channels: of a look's values.
    """

    def __init__(self, block: Block, channels: int) -> None:
        shape = (block.bottom - block.top, block.right - block.left)
        self._values = np.zeros((channels, *shape), np.float32)
        self._weight = np.zeros(shape, np.float32)
        self.looks = np.zeros(shape, np.uint16)

    def add(self, look: Look) -> None:
        """Takes a look in."""
        self._values[:, look.rows, look.columns] += look.weight * look.values
        self._weight[look.rows, look.columns] += look.weight
        self.looks[look.rows, look.columns] += look.weight > 0

    def mean(self, no_data: float) -> np.ndarray:
        """(C, r, c) float32; `no_data` where there was no look."""
        seen = self.looks > 0
        return np.where(seen, self._values / np.where(seen, self._weight, 1), np.float32(no_data))


def _in_tile(grid: Grid, place: pd.Series, lines: np.ndarray, vertical: bool) -> np.ndarray:
    """Where centres of rows or columns of the grid lie in a tile: float64, px, 0 is the centre of its first pixel."""
    if vertical:
        metres = place.northing_m - grid.north_m + (lines + 0.5) * grid.pixel_m
    else:
        metres = grid.west_m - place.easting_m + (lines + 0.5) * grid.pixel_m
    return metres / place.pixel_m - 0.5


def _range(grid: Grid, place: pd.Series, block: Block, vertical: bool) -> tuple[int, int]:
    """First row or column of the block whose centre lies in the tile, and the one after the last."""
    low, high = (block.top, block.bottom) if vertical else (block.left, block.right)
    first, step = (float(_in_tile(grid, place, np.array(line), vertical)) for line in (0, 1))
    step -= first
    begin = int(np.ceil((-0.5 - first) / step))
    end = int(np.ceil((place.size_px - 0.5 - first) / step))
    return min(max(begin, low), high), min(max(end, low), high)


def _nearest(position: np.ndarray, size: int) -> np.ndarray:
    return np.clip(np.floor(position + 0.5).astype(np.int64), 0, size - 1)


def _between(values: np.ndarray, position: np.ndarray, axis: int) -> np.ndarray:
    """Linear interpolation along one axis; beyond the outermost centres their value holds."""
    size = values.shape[axis]
    position = np.clip(position, 0, size - 1)
    low = np.floor(position).astype(np.int64)
    shape = [1] * values.ndim
    shape[axis] = -1
    share = (position - low).astype(np.float32).reshape(shape)
    return values.take(low, axis) * (1 - share) + values.take(np.minimum(low + 1, size - 1), axis) * share


def _ramp(position: np.ndarray, size: int, pixel_m: float, edge_m: float) -> np.ndarray:
    inside_m = (np.minimum(position, size - 1 - position) + 0.5) * pixel_m
    return np.clip(inside_m / edge_m, LEAST_WEIGHT, 1)
