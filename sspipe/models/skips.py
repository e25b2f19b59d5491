"""Randomized skip connections (Eq. 1): which view's features the decoder receives."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from sspipe.models.unet16 import LEVELS
from sspipe.variants import Model, SkipSource


def sources(model: Model) -> tuple[SkipSource, ...]:
    """Where the skip connection of each level (1 to 5) comes from: private levels first, then shared ones."""
    return tuple(
        model.skips.private if level <= model.private_blocks else model.skips.shared for level in range(1, LEVELS + 1)
    )


def draw_psi(
    key: Sequence[int],
    samples: Sequence[int],
    *,
    p: Literal["uniform"] | float = "uniform",
    per: Literal["image", "batch"] = "image",
    passes: int = 2,
) -> np.ndarray:
    """Draws psi of Eq. 1: per decoder pass, image and level, p ~ U[0,1] and then psi ~ Bernoulli(p).

    Each image has a random stream of its own, named by `key` and its sample number, so the draws do not depend on the
    number of loader workers or GPUs, nor on which images share its batch.

    Args:
        key: non-negative integers that name the step's place in the run: seed, stage, epoch (section 5.1: p is drawn
            "at each occurrence of a skip connection").
        samples: number of each image of the batch in the training set.
        p: `uniform`, or a fixed probability of taking SAR.
        per: `batch` uses the first image's draw for the whole batch.
        passes: decoder passes, one per view.

    Returns:
        `(passes, B, 5)` bool; True takes SAR's features, False EO's.
    """
    named = samples[:1] if per == "batch" else samples
    drawn = np.empty((passes, len(named), LEVELS), dtype=bool)
    for position, sample in enumerate(named):
        uniform = np.random.default_rng([*key, int(sample)]).random((2, passes, LEVELS))
        probability = uniform[0] if p == "uniform" else p
        drawn[:, position] = uniform[1] < probability  # random() < 1, so p = 1 always takes SAR
    return np.broadcast_to(drawn, (passes, len(samples), LEVELS)) if per == "batch" else drawn


def mix(features_VBCHW: Tensor, psi_VB: Tensor) -> Tensor:
    """Eq. 1's `psi * SAR + (1 - psi) * EO`, for the decoder passes of both views at one level.

    Args:
        features_VBCHW: `(2, B, C, H, W)`, the level's features of SAR and of EO.
        psi_VB: `(2, B)` bool, the draws of the pass that decodes SAR and of the pass that decodes EO.

    Returns:
        `(2, B, C, H, W)`: what the two passes receive.
    """
    sar_BCHW, eo_BCHW = features_VBCHW
    return torch.where(psi_VB[:, :, None, None, None], sar_BCHW, eo_BCHW)
