"""In which order samples come, and which of them a rank takes: from seed and epoch alone, not from who reads them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def epoch_order(shard_of: NDArray[np.int64], key: Sequence[int], shuffle_shards: int) -> NDArray[np.int64]:
    """Shuffles one epoch so that few files are read at a time.

    Shards come in random order. Windows of `shuffle_shards` of them are taken one after the other, and the tiles of a
    window are shuffled all together. Every shard is a fair sample of the city, and so is every window. With a narrow
    window few files are read at a time; with a wide one more tiles can meet in a batch.

    Args:
        shard_of: `(N,)`, the shard of every sample.
        key: non-negative integers that name the epoch: seed, use, stage, epoch.
        shuffle_shards: width of the window, shards; as many as there are, or more, shuffle everything.

    Returns:
        `(N,)` sample numbers, each once.
    """
    random = np.random.default_rng(list(key))
    shards = random.permutation(np.unique(shard_of))
    windows = [shards[first : first + shuffle_shards] for first in range(0, len(shards), shuffle_shards)]
    return np.concatenate([random.permutation(np.flatnonzero(np.isin(shard_of, window))) for window in windows])


def share_of(count: int, rank: int, ranks: int) -> slice:
    """The consecutive positions of a batch of `count` samples that are a rank's; all ranks' together are the batch.

    Shares differ by at most one sample. A rank has none where the last batch has fewer samples than there are ranks.
    """
    return slice(count * rank // ranks, count * (rank + 1) // ranks)
