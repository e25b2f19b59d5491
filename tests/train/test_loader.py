"""Batches: the same whoever reads them, in an order that follows from the seed alone."""

import os
import shutil
import threading
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sspipe.errors import UserError
from sspipe.train.dataset import PackedTiles
from sspipe.train.loader import BatchLoader, no_draws
from sspipe.train.order import epoch_order, share_of
from sspipe.train.transforms import draw_flips

BATCH = 3


@pytest.fixture()
def tiles(packed):
    return PackedTiles(packed.manifests, packed.tile_ids[:13])


def draws(samples, share):
    flipped = draw_flips((7,), samples)
    return {"flipped": flipped[share], "psi": np.stack([flipped, ~flipped])[:, share]}


def batches(tiles, *, arrays=("sar", "eo", "masks"), first_step=0, key=(0, 1), rank=0, ranks=1, workers=0):
    order = epoch_order(tiles.shard_of, key, shuffle_shards=2)
    with BatchLoader(
        tiles, arrays, device=torch.device("cpu"), batch_size=BATCH, rank=rank, ranks=ranks, workers=workers
    ) as loader:
        # Copies, as a batch's memory is used again.
        return [
            replace(batch, arrays={name: array.clone() for name, array in batch.arrays.items()})
            for batch in loader.epoch(order, draws, first_step)
        ]


def assert_identical(one, other):
    assert [(batch.step, batch.samples, batch.share) for batch in one] == [
        (batch.step, batch.samples, batch.share) for batch in other
    ]
    for mine, yours in zip(one, other, strict=True):
        for these, those in ((mine.arrays, yours.arrays), (mine.draws, yours.draws)):
            assert list(these) == list(those)
            assert all(torch.equal(these[name], those[name]) for name in these)


@pytest.mark.parametrize("workers", [1, 3])
def test_the_number_of_workers_changes_nothing(tiles, workers):
    assert_identical(batches(tiles, workers=0), batches(tiles, workers=workers))


def test_a_batch_holds_the_tiles_as_they_are_packed(tiles):
    for batch in batches(tiles, workers=1):
        assert {name: array.dtype for name, array in batch.arrays.items()} == {
            "sar": torch.float16,
            "eo": torch.uint16,
            "masks": torch.uint8,
        }
        for position, sample in enumerate(batch.samples):
            for name, array in batch.arrays.items():
                assert np.array_equal(array[position].numpy(), tiles.row(sample, name))


@pytest.mark.parametrize("ranks", [2, 4])
def test_the_ranks_shares_together_are_the_batch_of_one_rank(tiles, ranks):
    whole = batches(tiles)
    parts = [batches(tiles, rank=rank, ranks=ranks, workers=1) for rank in range(ranks)]
    for step, batch in enumerate(whole):
        mine = [part[step] for part in parts]
        assert all(part.samples == batch.samples for part in mine)
        for name, array in batch.arrays.items():
            assert torch.equal(torch.cat([part.arrays[name] for part in mine]), array)
        assert torch.equal(torch.cat([part.draws["psi"] for part in mine], dim=1), batch.draws["psi"])


def test_a_rank_reads_its_share_alone(packed):
    for rank in range(2):
        tiles = PackedTiles(packed.manifests, packed.tile_ids[:13])
        read = []
        row = tiles.row
        tiles.row = lambda sample, name, row=row, read=read: read.append(sample) or row(sample, name)
        mine = [
            sample
            for batch in batches(tiles, arrays=("sar",), rank=rank, ranks=2)
            for sample in batch.samples[batch.share]
        ]
        assert read == mine and 0 < len(mine) < 13


def test_a_run_resumed_inside_an_epoch_gets_the_batches_that_were_left_and_reads_no_others(tiles):
    whole = batches(tiles)
    read = []
    row = tiles.row
    tiles.row = lambda sample, name: read.append(sample) or row(sample, name)
    rest = batches(tiles, first_step=2, arrays=("sar", "eo", "masks"))
    assert_identical(rest, whole[2:])
    assert set(read) == {sample for batch in whole[2:] for sample in batch.samples}
    assert batches(tiles, first_step=len(whole)) == []


def test_only_the_arrays_asked_for_are_opened(packed, tmp_path):
    for shard in range(2):
        shutil.copytree(packed.root / "pack" / str(shard), tmp_path / str(shard))
    tiles = PackedTiles([tmp_path / str(shard) / "manifest.json" for shard in range(2)], packed.tile_ids)
    for shard in range(2):
        (tmp_path / str(shard) / "eo.npy").unlink()
    assert len(batches(tiles, arrays=("sar", "masks"), workers=1)) == 6


def test_a_damaged_file_stops_the_run_whoever_reads_it(packed, tmp_path):
    for shard in range(2):
        shutil.copytree(packed.root / "pack" / str(shard), tmp_path / str(shard))
    tiles = PackedTiles([tmp_path / str(shard) / "manifest.json" for shard in range(2)], packed.tile_ids)
    os.truncate(tmp_path / "1" / "sar.npy", 1000)
    for workers in (0, 2):
        with pytest.raises(UserError, match=r"1/sar\.npy: cannot be read"):
            batches(tiles, workers=workers)


def test_leaving_an_epoch_early_leaves_no_thread_behind(tiles):
    before = threading.active_count()
    with BatchLoader(tiles, ("sar",), device=torch.device("cpu"), batch_size=1, workers=3) as loader:
        assert next(loader.epoch(range(13), no_draws)).samples == (0,)
    assert threading.active_count() == before


@pytest.mark.parametrize("workers", [0, 2])
def test_a_batch_holds_while_later_ones_are_read(tiles, workers):
    order = list(range(13))
    with BatchLoader(tiles, ("sar",), device=torch.device("cpu"), batch_size=2, workers=workers) as loader:
        for _ in range(2):  # the second epoch finds the first one's memory
            for batch in loader.epoch(order, no_draws):
                time.sleep(0.01)  # for the workers to get ahead
                expected = [tiles.row(sample, "sar") for sample in batch.samples]
                assert np.array_equal(batch.arrays["sar"].numpy(), expected)


def test_memory_is_used_again(tiles):
    with BatchLoader(tiles, ("sar",), device=torch.device("cpu"), batch_size=1, workers=2) as loader:
        places = [batch.arrays["sar"].data_ptr() for _ in range(5) for batch in loader.epoch(range(13), no_draws)]
    assert len(places) == 65
    assert len(set(places)) <= 5  # two read, two wait, one is used


def test_an_epoch_takes_every_sample_once_in_an_order_of_its_own(tiles):
    orders = [epoch_order(tiles.shard_of, (0, epoch), shuffle_shards=2).tolist() for epoch in (1, 2)]
    assert [sorted(order) for order in orders] == [list(range(13))] * 2
    assert orders[0] != orders[1]
    assert [len(batch.samples) for batch in batches(tiles)] == [3, 3, 3, 3, 1]


@given(st.integers(1, 9), st.integers(1, 12), st.integers(0, 1000))
def test_an_order_works_through_windows_of_shards_one_after_the_other(shards, window, seed):
    shard_of = np.random.default_rng(seed).integers(0, shards, 40)
    order = epoch_order(shard_of, (seed,), window)
    assert sorted(order.tolist()) == list(range(40))
    visited = shard_of[order]
    seen = list(dict.fromkeys(visited.tolist()))  # shards by first appearance
    first = {shard: visited.tolist().index(shard) for shard in seen}
    last = {shard: 39 - visited.tolist()[::-1].index(shard) for shard in seen}
    at_once = max(sum(first[shard] <= place <= last[shard] for shard in seen) for place in range(40))
    assert at_once <= window


@given(st.integers(0, 50), st.integers(1, 8))
def test_shares_part_a_batch_evenly(count, ranks):
    shares = [list(range(count)[share_of(count, rank, ranks)]) for rank in range(ranks)]
    assert [sample for share in shares for sample in share] == list(range(count))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
