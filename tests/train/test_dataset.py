"""Packed tiles as samples: standardising, order, flips."""

import os
import shutil

import numpy as np
import pandas as pd
import pytest
import torch

from sspipe.errors import UserError
from sspipe.files import read_json
from sspipe.train.dataset import (
    PackedTiles,
    Standardiser,
    draw_flips,
    epoch_batches,
    flip_left_right,
    read_subset,
)
from tests.packed_tiles import SIZE


def test_no_data_and_padding_are_exactly_0_after_standardising_and_valid_pixels_follow_the_statistics(packed):
    tiles = PackedTiles(packed.manifests, packed.tile_ids)
    standardise = Standardiser(read_json(packed.statistics), torch.device("cpu"))
    raw = tiles.batch([0, 9], ("sar",))["sar"]
    done = standardise(raw, "sar")
    assert (done[:, :, :4] == 0).all()
    assert (done[:, :, SIZE:] == 0).all() and (done[:, :, :, SIZE:] == 0).all()
    assert torch.allclose(done[:, :, 4:SIZE, :SIZE], (raw[:, :, 4:SIZE, :SIZE] - 26) / 5, atol=1e-5)


def test_a_valid_pixel_that_is_0_in_one_band_is_not_taken_for_no_data(packed):
    standardise = Standardiser(read_json(packed.statistics), torch.device("cpu"))
    image = torch.tensor([0.0, 30.0, 30.0, 30.0])[None, :, None, None]
    assert standardise(image, "sar").flatten().tolist() == pytest.approx([-5.2, 0.8, 0.8, 0.8])


def test_tiles_come_in_the_order_asked_for_whatever_shard_they_are_in(packed):
    asked = [packed.tile_ids[9], packed.tile_ids[0], packed.tile_ids[15]]
    tiles = PackedTiles(packed.manifests, asked)
    for sample, tile_id in enumerate(asked):
        number = packed.tile_ids.index(tile_id)
        shard = np.load(packed.manifests[number // 8].parent / "sar.npy")
        assert np.array_equal(tiles.image(sample, "sar"), shard[number % 8])
        assert tiles.orientation(sample) == number % 2


def test_a_tile_that_no_shard_holds_is_named(packed):
    with pytest.raises(UserError, match="tile_999"):
        PackedTiles(packed.manifests, ["20190804111224_20190804111453_tile_999"])


def test_a_shard_whose_file_was_cut_or_lost_is_named_before_training(packed, tmp_path):
    shutil.copytree(packed.root / "pack" / "0", tmp_path / "0")
    sar = tmp_path / "0" / "sar.npy"
    os.truncate(sar, sar.stat().st_size // 2)
    with pytest.raises(UserError, match=r"sar\.npy: has \d+ bytes, expected \d+"):
        PackedTiles([tmp_path / "0" / "manifest.json"], packed.tile_ids[:2])
    sar.unlink()
    with pytest.raises(UserError, match=r"sar\.npy: is missing"):
        PackedTiles([tmp_path / "0" / "manifest.json"], packed.tile_ids[:2])
    (tmp_path / "0" / "manifest.json").write_text("{}")
    with pytest.raises(UserError, match="not a shard's manifest"):
        PackedTiles([tmp_path / "0" / "manifest.json"], packed.tile_ids[:2])


def test_an_empty_subset_is_refused(packed, tmp_path):
    pd.DataFrame({"tile_id": ["a"], "subset": ["train"]}).to_parquet(tmp_path / "split.parquet")
    with pytest.raises(UserError, match=r"split\.parquet: no test tiles"):
        read_subset(tmp_path / "split.parquet", "test")


def test_an_epoch_takes_every_sample_once_in_an_order_of_its_own():
    epochs = [[sample for batch in epoch_batches(13, 4, (0, 1, epoch)) for sample in batch] for epoch in (1, 2)]
    assert [sorted(order) for order in epochs] == [list(range(13))] * 2
    assert epochs[0] != epochs[1]
    assert [len(batch) for batch in epoch_batches(13, 4, (0,))] == [4, 4, 4, 1]


def test_flips_turn_image_and_masks_together_along_columns():
    batch = {"sar": torch.arange(2 * 4 * 3 * 3.0).reshape(2, 4, 3, 3), "masks": torch.arange(36).reshape(2, 2, 3, 3)}
    flipped = flip_left_right(batch, np.array([False, True]))
    for name in batch:
        assert torch.equal(flipped[name][0], batch[name][0])
        assert torch.equal(flipped[name][1], batch[name][1].flip(-1))


def test_flips_follow_from_the_key_and_the_sample_alone():
    assert np.array_equal(draw_flips((3, 1), [5, 2, 9]), draw_flips((3, 1), range(10))[[5, 2, 9]])
    assert 0.4 < draw_flips((0,), range(1000)).mean() < 0.6
