"""The loss: lambda_D * Dice + lambda_B * BCE, averaged over views (section 3.4)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from sspipe.variants import Loss


class LossParts(NamedTuple):
    """Scalars of one step: what is minimised, and its two terms before their weights."""

    total: Tensor
    dice: Tensor
    bce: Tensor


def dice_loss(logits_BCHW: Tensor, target_BCHW: Tensor, smoothing: float) -> Tensor:
    """Eq. 3: one minus the Dice coefficient per image over all channels and pixels, then the mean over images.

    `smoothing` is added to both parts of the fraction, so that an empty tile predicted empty has loss 0.

    Args:
        logits_BCHW: float, before the sigmoid.
        target_BCHW: float, 0 or 1.
        smoothing: greater than 0.
    """
    predicted = torch.sigmoid(logits_BCHW).flatten(1)
    target = target_BCHW.flatten(1)
    overlap = (predicted * target).sum(dim=1)
    total = predicted.sum(dim=1) + target.sum(dim=1)
    return (1 - (2 * overlap + smoothing) / (total + smoothing)).mean()


def segmentation_loss(logits: dict[str, Tensor], target_BCHW: Tensor, weights: Loss) -> LossParts:
    """Eq. 4, and its mean over the views that were decoded (section 3.4).

    Args:
        logits: per view, `(B, 2, H, W)` float.
        target_BCHW: `(B, 2, H, W)` float, 0 or 1; the same for every view.
        weights: lambda_D, lambda_B and the smoothing of Dice.
    """
    dice = torch.stack([dice_loss(view, target_BCHW, weights.dice_smoothing) for view in logits.values()]).mean()
    bce = torch.stack([F.binary_cross_entropy_with_logits(view, target_BCHW) for view in logits.values()]).mean()
    return LossParts(weights.dice * dice + weights.bce * bce, dice, bce)
