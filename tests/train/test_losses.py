"""Eqs. 2 to 4 against plain loops in float64."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sspipe.train.losses import dice_loss, segmentation_loss
from sspipe.variants import Loss


def plain_loss(logits, target, weights):
    """The equations as they are printed, one number at a time."""
    dice, bce = 0.0, 0.0
    for view in logits.values():
        view_dice, view_bce, count = 0.0, 0.0, 0
        for image, truth in zip(view.double().tolist(), target.double().tolist(), strict=True):
            overlap = predicted_sum = true_sum = 0.0
            for channel, true_channel in zip(image, truth, strict=True):
                for row, true_row in zip(channel, true_channel, strict=True):
                    for logit, y in zip(row, true_row, strict=True):
                        f = 1 / (1 + math.exp(-logit))
                        overlap += y * f
                        predicted_sum += f
                        true_sum += y
                        view_bce -= y * math.log(f) + (1 - y) * math.log(1 - f)
                        count += 1
            s = weights.dice_smoothing
            view_dice += 1 - (2 * overlap + s) / (true_sum + predicted_sum + s)
        dice += view_dice / len(view)
        bce += view_bce / count
    return weights.dice * dice / len(logits) + weights.bce * bce / len(logits)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 3), st.integers(1, 2), st.floats(0, 2), st.floats(0.1, 2))
def test_loss_equals_a_plain_loop_in_float64(seed, batch, views, dice, bce):
    generator = torch.Generator().manual_seed(seed)
    logits = {
        name: torch.randn(batch, 2, 4, 5, generator=generator, dtype=torch.float64) * 3
        for name in ("sar", "eo")[:views]
    }
    target = (torch.rand(batch, 2, 4, 5, generator=generator) < 0.3).double()
    weights = Loss(dice=dice, bce=bce)
    assert segmentation_loss(logits, target, weights).total.mean().item() == pytest.approx(
        plain_loss(logits, target, weights), rel=1e-9
    )


def test_perfect_prediction_costs_nothing_and_an_empty_tile_is_defined():
    target = torch.zeros(2, 2, 8, 8)
    target[0, :, 2:5, 2:5] = 1
    logits = (target * 2 - 1) * 50
    assert dice_loss(logits, target, 1.0).tolist() == pytest.approx([0, 0], abs=1e-6)
    assert segmentation_loss({"sar": logits}, target, Loss()).total.tolist() == pytest.approx([0, 0], abs=1e-6)


def test_dice_is_taken_per_image_so_a_large_tile_does_not_hide_a_small_one():
    target = torch.zeros(2, 2, 8, 8)
    target[0] = 1
    target[1, :, 0, 0] = 1
    misses_small = torch.full_like(target, -50.0)
    misses_small[0] = 50.0
    assert dice_loss(misses_small, target, 1e-6).tolist() == pytest.approx([0, 1], abs=1e-3)
