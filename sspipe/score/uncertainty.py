"""How much a score would change with other test tiles: percentile bootstrap over tiles."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike

# Weights held at once: 8 bytes each, so 64 MiB whatever the number of tiles.
WEIGHTS_AT_ONCE = 8_000_000


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


def bootstrap_f1(
    tp: ArrayLike, fp: ArrayLike, fn: ArrayLike, *, samples: int, seed: int = 0, level: float = 0.95
) -> tuple[float, float]:
    """Percentile interval of the micro F1 (counts summed over tiles) under resampling of the tiles.

    Tiles, not buildings, are what is drawn anew: buildings of one tile share its look angle, its noise and its
    surroundings, so they are no independent draws.

    Args:
        tp: (N,) counts per tile.
        fp: (N,) counts per tile.
        fn: (N,) counts per tile.
        samples: number of resamples.
        seed: same seed, same interval.
        level: share of the resamples inside the interval.

    Returns:
        low, high.
    """
    counts = np.stack([np.asarray(count, np.float64) for count in (tp, fp, fn)], axis=1)
    scores = np.concatenate(
        [f1_score(*(weights @ counts).T) for weights in resample_weights(len(counts), samples, seed)]
    )
    low, high = np.quantile(scores, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def resample_weights(tiles: int, samples: int, seed: int) -> Iterator[np.ndarray]:
    """Draws how often each tile occurs in each resample.

    Args:
        tiles: number of tiles, N.
        samples: number of resamples.
        seed: same seed, same draws; so two variants can be compared on the same resamples.

    Yields:
        (some, N) float64 whose rows sum to N; `samples` rows in all.
    """
    random = np.random.default_rng(seed)
    even = np.full(tiles, 1 / tiles)
    at_once = max(1, WEIGHTS_AT_ONCE // tiles)
    for begin in range(0, samples, at_once):
        yield random.multinomial(tiles, even, size=min(at_once, samples - begin)).astype(np.float64)
