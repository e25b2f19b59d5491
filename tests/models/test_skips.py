"""Eq. 1: what randomized skip connections draw and mix."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from sspipe.models.skips import draw_psi, mix, sources
from sspipe.variants import Model, Skips


@given(st.permutations(list(range(12))), st.integers(1, 11))
def test_draws_of_a_sample_depend_neither_on_its_batch_nor_on_its_place_in_it(order, cut):
    together = draw_psi((7, 1, 3), range(12))
    parts = [draw_psi((7, 1, 3), samples) for samples in (order[:cut], order[cut:])]
    assert np.array_equal(np.concatenate(parts, axis=1), together[:, order])


def test_draws_differ_between_seeds_epochs_samples_passes_and_levels():
    drawn = draw_psi((0, 1, 1), range(64))
    assert not np.array_equal(drawn, draw_psi((1, 1, 1), range(64)))
    assert not np.array_equal(drawn, draw_psi((0, 1, 2), range(64)))
    assert not np.array_equal(drawn[0], drawn[1])
    assert all(0 < drawn[..., level].mean() < 1 for level in range(5))
    assert len(np.unique(drawn, axis=1).T) > 1


def test_uniform_p_takes_each_view_half_of_the_time():
    assert abs(draw_psi((0,), range(4000)).mean() - 0.5) < 0.01


def test_fixed_p_is_the_share_of_sar():
    assert draw_psi((0,), range(100), p=1.0).all()
    assert not draw_psi((0,), range(100), p=0.0).any()
    assert abs(draw_psi((0,), range(4000), p=0.8).mean() - 0.8) < 0.01


def test_draw_per_batch_is_the_same_for_all_its_images():
    drawn = draw_psi((0,), range(6), per="batch")
    assert drawn.shape == (2, 6, 5)
    assert (drawn == drawn[:, :1]).all()


def test_mixing_is_equation_1_for_every_image_and_pass():
    features = torch.randn(2, 3, 4, 5, 5)
    psi = torch.tensor([[True, False, True], [False, False, True]])
    mixed = mix(features, psi)
    for view in range(2):
        for image in range(3):
            weight = float(psi[view, image])
            expected = weight * features[0, image] + (1 - weight) * features[1, image]
            assert torch.equal(mixed[view, image], expected)


def test_private_levels_come_first():
    model = Model(private_blocks=2, skips=Skips(private="none", shared="random"))
    assert sources(model) == ("none", "none", "random", "random", "random")
