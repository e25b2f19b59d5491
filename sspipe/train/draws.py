"""What is random in training: order, flips and skip draws, in streams that seed, epoch and sample name alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sspipe.models.skips import draw_psi, sources
from sspipe.train.order import epoch_order
from sspipe.train.transforms import draw_flips
from sspipe.variants import Variant

# First element of every stream's key after the seed: streams of different use never coincide.
_ORDER, _FLIPS, _SKIPS = 1, 2, 3


@dataclass(frozen=True)
class EpochDraws:
    """The random choices of one epoch, the same whatever the number of ranks and of loader's threads.

    Attributes:
        variant: says what is random.
        seed: of the run.
        stage: from 1.
        epoch: within the stage, from 1.
    """

    variant: Variant
    seed: int
    stage: int
    epoch: int

    def order(self, shard_of: NDArray[np.int64], shuffle_shards: int) -> NDArray[np.int64]:
        """The order of samples, see `sspipe.train.order`."""
        return epoch_order(shard_of, self._key(_ORDER), shuffle_shards)

    def __call__(self, samples: Sequence[int], share: slice) -> dict[str, NDArray[np.bool_]]:
        """A rank's share of a batch's draws, as the loader asks for them: `flips` `(b,)` and `psi` `(2, b, 5)`."""
        drawn = {}
        if self.variant.flip_left_right:
            drawn["flips"] = draw_flips(self._key(_FLIPS), samples[share])
        model = self.variant.model
        if "random" in sources(model):  # then every stage has both views, and psi a pass for each
            psi = draw_psi(self._key(_SKIPS), samples, p=model.skip_p, per=model.skip_draw)
            drawn["psi"] = psi[:, share]
        return drawn

    def _key(self, use: int) -> tuple[int, ...]:
        return (self.seed, use, self.stage, self.epoch)
