"""The shared-space network and its training step written the plain way, with the engine's own layers and weights.

Float32, contiguous tensors (NCHW), eager, one pass per view through every part, the loss by its formulae, and Adam as
`torch.optim.Adam(parameters, lr)` gives it. It is what the engine is measured against; both must give the same losses.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sspipe.models.shared_space import SharedSpace


class PlainSharedSpace(nn.Module):
    """Decodes one view after the other."""

    def __init__(self, network: SharedSpace) -> None:
        super().__init__()
        self.body = copy.deepcopy(network)
        self.body.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload] # missing in torch's stubs

    def encode(self, view: str, image: Tensor) -> list[Tensor]:
        features: list[Tensor] = []
        private = self.body.private[view]
        assert isinstance(private, nn.ModuleList)
        for block in (*private, *self.body.shared):
            features.append(block(F.max_pool2d(features[-1], 2) if features else image))
        return features

    def decode(self, skips: list[Tensor | None], deepest: Tensor) -> Tensor:
        return self.body.decoder(deepest, skips)

    def forward(self, sar: Tensor, eo: Tensor, psi: Tensor) -> tuple[Tensor, Tensor]:
        encoded = {"sar": self.encode("sar", sar), "eo": self.encode("eo", eo)}
        logits = []
        for number, view in enumerate(("sar", "eo")):
            skips: list[Tensor | None] = []
            for level, source in enumerate(self.body.skip_sources):
                mine, theirs = encoded["sar"][level], encoded["eo"][level]
                if source == "none":
                    skips.append(None)
                elif source == "own":
                    skips.append(encoded[view][level])
                else:
                    share = psi[number, :, level].to(mine.dtype)[:, None, None, None]
                    skips.append(share * mine + (1 - share) * theirs)
            logits.append(self.decode(skips, encoded[view][-1]))
        return logits[0], logits[1]


def plain_loss(logits: Tensor, target: Tensor) -> Tensor:
    predicted = torch.sigmoid(logits)
    overlap = (predicted * target).sum(dim=(1, 2, 3))
    dice = 1 - (2 * overlap + 1) / (predicted.sum(dim=(1, 2, 3)) + target.sum(dim=(1, 2, 3)) + 1)
    return dice.mean() + F.binary_cross_entropy_with_logits(logits, target)


def plain_step(
    network: SharedSpace, learning_rate: float, autocast: Callable[[], AbstractContextManager] = nullcontext
) -> Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]:
    """A training step on standardised float32 tensors that are on the device already; it returns the loss."""
    plain = PlainSharedSpace(network)
    optimizer = torch.optim.Adam(plain.parameters(), lr=learning_rate)

    def step(sar: Tensor, eo: Tensor, masks: Tensor, psi: Tensor) -> Tensor:
        optimizer.zero_grad()
        with autocast():
            of_sar, of_eo = plain(sar, eo, psi)
            loss = (plain_loss(of_sar.float(), masks) + plain_loss(of_eo.float(), masks)) / 2
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step
