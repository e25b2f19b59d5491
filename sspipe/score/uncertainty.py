"""How much a score would change with other test tiles: percentile bootstrap over tiles, or over blocks of ground.

Every score here is a ratio of two sums over tiles, so a resample is one weighted sum of each.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

# Weights held at once: 8 bytes each, so 64 MiB whatever the number of units.
WEIGHTS_AT_ONCE = 8_000_000
# More units are first put together at random: sums of groups vary as the units do, and the draws stay affordable.
MAX_UNITS = 5_000
LEVEL = 0.95


def f1_score(tp: ArrayLike, fp: ArrayLike, fn: ArrayLike) -> np.ndarray:
    """F1 = 2 TP / (2 TP + FP + FN).

    Args:
        tp: counts of any shape.
        fp: counts of the same shape.
        fn: counts of the same shape.

    Returns:
        float64 of that shape; 0 where all counts are 0, as solaris has it.
    """
    hits, false, missed = (np.asarray(count, np.float64) for count in (tp, fp, fn))
    total = 2 * hits + false + missed
    return np.divide(2 * hits, total, out=np.zeros(total.shape), where=total > 0)


def resampled_sums(values: np.ndarray, units: ArrayLike | None, *, samples: int, seed: int = 0) -> np.ndarray:
    """Sums over tiles, for every resample of the units that tiles belong to.

    Tiles, not buildings, are the least that is drawn anew: buildings of one tile share its look angle, its noise and
    its surroundings, so they are no independent draws. Tiles that show the same ground are none either: blocks are.

    Args:
        values: (N, K), of each tile.
        units: (N,) labels; tiles of one label are drawn together. None: each tile is a unit.
        samples: number of resamples.
        seed: the same seed and the same set of units give the same draws, so two variants can be compared on them.

    Returns:
        (samples, K) float64.
    """
    values = np.asarray(values, np.float64)
    # Sorted, so that the draws do not depend on the order of the tiles.
    codes = np.arange(len(values)) if units is None else pd.factorize(np.asarray(units), sort=True)[0]
    count = int(codes.max()) + 1
    if count > MAX_UNITS:
        codes = np.random.default_rng(seed).permutation(count)[codes] % MAX_UNITS
        count = MAX_UNITS
    sums = np.stack([np.bincount(codes, weights=column, minlength=count) for column in values.T], axis=1)
    return np.concatenate([weights @ sums for weights in resample_weights(count, samples, seed)])


def ground_blocks(easting_m: ArrayLike, northing_m: ArrayLike, block_m: float) -> np.ndarray:
    """Names the blocks of ground that places lie in: whole multiples of `block_m` on the map's grid.

    Args:
        easting_m: (N,) of each place.
        northing_m: (N,) of each place.
        block_m: side of a block.

    Returns:
        (N,) object, `{column}_{row}`.
    """
    column, row = (np.floor(np.asarray(values, np.float64) / block_m).astype(int) for values in (easting_m, northing_m))
    return np.array([f"{x}_{y}" for x, y in zip(column, row, strict=True)], dtype=object)


def interval(scores: np.ndarray, level: float = LEVEL) -> tuple[float | None, float | None]:
    """Percentile interval of resampled scores; NaN (undefined there) is passed over, None if nothing is left."""
    scores = scores[np.isfinite(scores)]
    if not len(scores):
        return None, None
    low, high = np.quantile(scores, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def resample_weights(units: int, samples: int, seed: int) -> Iterator[np.ndarray]:
    """Draws how often each unit occurs in each resample.

    Args:
        units: number of units, U.
        samples: number of resamples.
        seed: same seed, same draws; so two variants can be compared on the same resamples.

    Yields:
        (some, U) float64 whose rows sum to U; `samples` rows in all.
    """
    random = np.random.default_rng(seed)
    even = np.full(units, 1 / units)
    at_once = max(1, WEIGHTS_AT_ONCE // units)
    for begin in range(0, samples, at_once):
        yield random.multinomial(units, even, size=min(at_once, samples - begin)).astype(np.float64)
