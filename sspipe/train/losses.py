"""The loss: lambda_D * Dice + lambda_B * BCE, averaged over views (section 3.4), one number an image.

Per image, because a batch is shared between ranks: the mean over the whole batch is the sum over all ranks' images
divided by how many there are, however unevenly they are dealt.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from sspipe.variants import Loss


class LossParts(NamedTuple):
    """`(B,)` each: what is minimised (its mean over images is), and its two terms before their weights."""

    total: Tensor
    dice: Tensor
    bce: Tensor


def dice_loss(logits_BCHW: Tensor, target_BCHW: Tensor, smoothing: float) -> Tensor:
    """Eq. 3: one minus the Dice coefficient per image over all channels and pixels, `(B,)`.

    `smoothing` is added to both parts of the fraction, so that an empty tile predicted empty has loss 0.

    Args:
        logits_BCHW: float, before the sigmoid.
        target_BCHW: float, 0 or 1.
        smoothing: greater than 0.
    """
    predicted = torch.sigmoid(logits_BCHW)
    overlap = (predicted * target_BCHW).sum(dim=(1, 2, 3))
    total = predicted.sum(dim=(1, 2, 3)) + target_BCHW.sum(dim=(1, 2, 3))
    return 1 - (2 * overlap + smoothing) / (total + smoothing)


def bce_loss(logits_BCHW: Tensor, target_BCHW: Tensor) -> Tensor:
    """Eq. 2: the mean binary cross-entropy of each image over channels and pixels, `(B,)`."""
    return F.binary_cross_entropy_with_logits(logits_BCHW, target_BCHW, reduction="none").mean(dim=(1, 2, 3))


def segmentation_loss(logits: dict[str, Tensor], target_BCHW: Tensor, weights: Loss) -> LossParts:
    """Eq. 4, and its mean over the views that were decoded (section 3.4), for each image.

    Args:
        logits: per view, `(B, 2, H, W)` float.
        target_BCHW: `(B, 2, H, W)` float, 0 or 1; the same for every view.
        weights: lambda_D, lambda_B and the smoothing of Dice.
    """
    dice = torch.stack([dice_loss(view, target_BCHW, weights.dice_smoothing) for view in logits.values()]).mean(dim=0)
    bce = torch.stack([bce_loss(view, target_BCHW) for view in logits.values()]).mean(dim=0)
    return LossParts(weights.dice * dice + weights.bce * bce, dice, bce)
