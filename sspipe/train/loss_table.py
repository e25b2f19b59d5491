"""The losses of one epoch's images: a row each, so that sums depend on neither ranks nor restarts."""

from __future__ import annotations

import torch
from torch import Tensor

from sspipe.train.distributed import Ranks


class LossTable:
    """Loss, Dice and BCE of each image of the epoch, in the epoch's order; rows of other ranks stay 0.

    Args:
        images: of an epoch.
        ranks: those that share it.
    """

    def __init__(self, images: int, ranks: Ranks) -> None:
        self._rows = torch.zeros(images, 3, dtype=torch.float64, device=ranks.device)
        self._ranks = ranks

    def put(self, first: int, losses_B3: Tensor) -> None:
        """Writes images' losses from a row on; the device is not waited for."""
        self._rows[first : first + len(losses_B3)] = losses_B3

    def total(self, taken: int) -> Tensor:
        """`(taken, 3)` float64 on the CPU: the first rows, of all ranks together; waits for the device."""
        return self._ranks.sum(self._rows[:taken])

    def restore(self, losses: Tensor) -> None:
        """Takes over what `total` gave; one rank does, as rows are summed over ranks."""
        if self._ranks.first:
            self._rows[: len(losses)] = losses.to(self._rows.device)

    def clear(self) -> None:
        """Begins another epoch."""
        self._rows.zero_()
