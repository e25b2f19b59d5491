"""Validation: loss and pixel IoU of every validation tile, each counted once whatever the number of ranks."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sspipe.models.build import Network
from sspipe.train.dataset import PackedTiles
from sspipe.train.distributed import Ranks
from sspipe.train.loader import BatchLoader, no_draws
from sspipe.train.losses import segmentation_loss
from sspipe.train.precision import Precision
from sspipe.train.transforms import Standardiser, network_input
from sspipe.variants import Loss, View


@dataclass(frozen=True)
class Validator:
    """Measures a network on the validation tiles.

    Whole batches are dealt to the ranks in turn, so that every batch is made up alike whoever takes it, and each tile's
    numbers stand in a table of their own row: the result is the same to the last bit for any number of ranks.

    Attributes:
        tiles: the validation tiles.
        view: that is given to the network; psi is 1.
        standardise: of the split.
        weights: of the loss.
        ranks: those that share the batches.
        precision: of the forward pass.
        batch_size: images at a time.
        workers: threads that read ahead.
    """

    tiles: PackedTiles
    view: View
    standardise: Standardiser
    weights: Loss
    ranks: Ranks
    precision: Precision
    batch_size: int
    workers: int

    @property
    def rounds(self) -> int:
        """How many batches the rank with the most takes."""
        return math.ceil(len(self.tiles) / self.batch_size / self.ranks.count)

    @torch.no_grad()
    def measure(self, network: Network, after_each: Callable[[int], None]) -> tuple[float, float]:
        """Takes one pass over the validation tiles.

        Tiles with neither a building nor a predicted one have no IoU and are left out of its mean.

        Args:
            network: in evaluation mode.
            after_each: called after every round with its number, from 1; on all ranks equally often.

        Returns:
            Mean loss, and mean of the tiles' pixel IoU.
        """
        device = self.ranks.device
        table = torch.zeros(len(self.tiles), 3, dtype=torch.float64, device=device)  # loss, intersection, union
        rows = [slice(first, first + self.batch_size) for first in range(0, len(self.tiles), self.batch_size)]
        mine = rows[self.ranks.rank :: self.ranks.count]
        order = np.concatenate([np.arange(len(self.tiles))[row] for row in mine] or [np.arange(0)])
        loader = BatchLoader(
            self.tiles, (self.view, "masks"), device=device, batch_size=self.batch_size, workers=self.workers
        )
        with loader:
            batches = loader.epoch(order, no_draws)
            for number in range(self.rounds):
                if number < len(mine):
                    table[mine[number]] = self._measured(network, next(batches).arrays)
                after_each(number + 1)
        losses, intersections, unions = self.ranks.sum(table).T.tolist()
        ious = [part / whole for part, whole in zip(intersections, unions, strict=True) if whole]
        return math.fsum(losses) / len(losses), math.fsum(ious) / max(1, len(ious))

    def _measured(self, network: Network, arrays: dict) -> Tensor:
        views, masks_BCHW = network_input(arrays, self.standardise)
        with self.precision.autocast():
            logits = network(views)[self.view]
        logits = logits.float()
        loss = segmentation_loss({self.view: logits}, masks_BCHW, self.weights).total
        size = self.tiles.size_px  # padding is not counted
        predicted = logits[:, 0, :size, :size] >= 0  # probability 0.5
        true = masks_BCHW[:, 0, :size, :size] > 0
        intersection, union = (predicted & true).sum(dim=(1, 2)), (predicted | true).sum(dim=(1, 2))
        return torch.stack([loss.double(), intersection.double(), union.double()], dim=1)
