"""Packed numbers become the network's input on the device."""

import numpy as np
import pytest
import torch

from sspipe.files import read_json
from sspipe.train.dataset import PackedTiles
from sspipe.train.transforms import Standardiser, draw_flips, flip_left_right, network_input
from tests.packed_tiles import SIZE


@pytest.fixture()
def standardise(packed):
    return Standardiser(read_json(packed.statistics), torch.device("cpu"))


def arrays_of(packed, samples, *names):
    tiles = PackedTiles(packed.manifests, packed.tile_ids)
    return {name: torch.from_numpy(np.stack([tiles.row(sample, name) for sample in samples])) for name in names}


def test_no_data_and_padding_are_exactly_0_after_standardising_and_valid_pixels_follow_the_statistics(
    packed, standardise
):
    for view, mean, std in (("sar", 26, 5), ("eo", 330, 130)):
        raw = arrays_of(packed, [0, 9], view)[view]
        done = standardise(raw, view)
        assert (done[:, :, :4] == 0).all()
        assert (done[:, :, SIZE:] == 0).all() and (done[:, :, :, SIZE:] == 0).all()
        expected = (raw.float() - mean) / std
        assert torch.allclose(done[:, :, 4:SIZE, :SIZE], expected[:, :, 4:SIZE, :SIZE], atol=1e-5)


def test_a_valid_pixel_that_is_0_in_one_band_is_not_taken_for_no_data(standardise):
    image = torch.tensor([0.0, 30.0, 30.0, 30.0])[None, :, None, None]
    assert standardise(image, "sar").flatten().tolist() == pytest.approx([-5.2, 0.8, 0.8, 0.8])


def test_optical_values_beyond_15_bits_stay_positive(standardise):
    image = torch.from_numpy(np.full((1, 4, 1, 1), 65535, np.uint16))
    assert standardise(image, "eo").flatten().tolist() == pytest.approx([(65535 - 330) / 130] * 4)


def test_the_network_gets_sar_first_and_masks_as_numbers_and_the_batch_stays_as_it_is(packed, standardise):
    arrays = arrays_of(packed, [0, 1], "eo", "sar", "masks")
    before = {name: array.clone() for name, array in arrays.items()}
    views, masks = network_input(arrays, standardise)
    assert list(views) == ["sar", "eo"]
    assert masks.dtype == torch.float32 and set(masks.unique().tolist()) == {0.0, 1.0}
    assert all(torch.equal(array, before[name]) for name, array in arrays.items())


def test_flips_turn_views_and_masks_together_along_columns(packed, standardise):
    arrays = arrays_of(packed, [3, 4], "sar", "eo", "masks")
    upright, upright_masks = network_input(arrays, standardise)
    flipped, flipped_masks = network_input(arrays, standardise, torch.tensor([False, True]))
    for before, after in [*((upright[view], flipped[view]) for view in upright), (upright_masks, flipped_masks)]:
        assert torch.equal(after[0], before[0])
        assert torch.equal(after[1], before[1].flip(-1))
        assert not torch.equal(after[1], before[1])


def test_a_rank_without_samples_has_empty_tensors(packed, standardise):
    arrays = {"sar": torch.empty(0, 4, 64, 64, dtype=torch.float16), "masks": torch.empty(0, 2, 64, 64)}
    views, masks = network_input(arrays, standardise, torch.from_numpy(draw_flips((0,), [])))
    assert views["sar"].shape == (0, 4, 64, 64) and masks.shape == (0, 2, 64, 64)


def test_flips_follow_from_the_key_and_the_sample_alone():
    assert np.array_equal(draw_flips((3, 1), [5, 2, 9]), draw_flips((3, 1), range(10))[[5, 2, 9]])
    assert 0.4 < draw_flips((0,), range(1000)).mean() < 0.6


def test_no_flip_leaves_an_image_as_it_is():
    image = torch.arange(12.0).reshape(1, 2, 2, 3)
    assert torch.equal(flip_left_right(image, torch.tensor([False])), image)
