"""How much of the test ground a network has seen in training: overlap of tiles, from their origins alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray

# Of a tile's area: far below a pixel, far above the rounding of map coordinates of 1e6 m.
TOLERANCE = 1e-6

# What counts as seen in the headline. Validation tiles choose the epoch, so they are seen as well; and it is this
# reading that gives the known figures of SpaceNet 6 under a random split (over many seeds 99.6 % and 95.0 %; training
# tiles alone: 99.6 % and 93.5 %).
HEADLINE = "test_against_train_and_validation"


def audit(tiles: pd.DataFrame) -> dict[str, dict[str, float]]:
    """Measures the leak between the subsets of a split.

    Args:
        tiles: columns easting_m, northing_m (upper-left corner), size_m (side), subset.

    Returns:
        the shares of `coverage` for test against train, validation against train, and test against both (the headline).
    """
    corners = tiles[["easting_m", "northing_m", "size_m"]].to_numpy(float)
    subset = tiles["subset"].to_numpy(str)
    train, validation, test = (corners[subset == name] for name in ("train", "validation", "test"))
    return {
        "test_against_train": coverage(test, train),
        "validation_against_train": coverage(validation, train),
        HEADLINE: coverage(test, np.concatenate([train, validation])),
    }


def coverage(tiles: NDArray[np.float64], seen: NDArray[np.float64]) -> dict[str, float]:
    """Shares of `tiles` that lie on ground covered by `seen`.

    Args:
        tiles: (N, 3) float64, easting and northing of the upper-left corner and side, m.
        seen: (M, 3) float64, likewise.

    Returns:
        `over_0`, `over_50`, `over_90`: share of tiles of which one tile of `seen` covers more than 0, 50, 90 %;
        `inside_union`: share lying wholly on ground that the tiles of `seen` cover together. All 0 where N or M is 0.
    """
    if not len(tiles) or not len(seen):
        return {"over_0": 0.0, "over_50": 0.0, "over_90": 0.0, "inside_union": 0.0}
    best = _largest_cover(tiles, seen)
    squares = _squares(tiles)
    uncovered = shapely.area(shapely.difference(squares, shapely.union_all(_squares(seen)))) / shapely.area(squares)
    return {
        "over_0": float(np.mean(best > TOLERANCE)),
        "over_50": float(np.mean(best > 0.5)),
        "over_90": float(np.mean(best > 0.9)),
        "inside_union": float(np.mean(uncovered <= TOLERANCE)),
    }


def _largest_cover(tiles: NDArray[np.float64], seen: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N,) the largest share of each tile that one tile of `seen` covers."""
    row, other = shapely.STRtree(_squares(seen)).query(_squares(tiles))
    x, y, side = tiles[row].T
    other_x, other_y, other_side = seen[other].T
    width = np.minimum(x + side, other_x + other_side) - np.maximum(x, other_x)
    height = np.minimum(y, other_y) - np.maximum(y - side, other_y - other_side)  # northings fall from the corner
    best = np.zeros(len(tiles))
    np.maximum.at(best, row, np.clip(width, 0, None) * np.clip(height, 0, None) / side**2)
    return best


def _squares(tiles: NDArray[np.float64]) -> NDArray[Any]:
    easting, northing, side = tiles.T
    return shapely.box(easting, northing - side, easting + side, northing)
