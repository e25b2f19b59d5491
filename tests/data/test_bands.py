from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from sspipe.data.bands import RANGES, as_json, merged, summarize_bands

SAR = RANGES["float32"]
images = arrays.arrays(np.float32, (2, 3, 4), elements=st.floats(0, 99, width=32))


def summaries(image, values=SAR):
    return summarize_bands(image, image.any(axis=0), values)[0]


@given(st.lists(images, min_size=1, max_size=5))
def test_summaries_of_tiles_add_up_to_that_of_all_their_pixels(tiles):
    everything = np.concatenate(tiles, axis=1).astype(np.float64)
    everything = everything[:, everything.any(axis=0)]
    for band, parts in zip(everything, zip(*map(summaries, tiles), strict=True), strict=True):
        found = merged(parts)
        assert found.pixels == band.size == found.histogram.sum()
        if band.size:
            assert (found.lowest, found.highest) == (band.min(), band.max())
            assert found.mean == pytest.approx(band.mean(), rel=1e-9, abs=1e-12)
            assert found.deviation == pytest.approx(band.std(), rel=1e-9, abs=1e-6)


@given(arrays.arrays(np.uint16, (2, 3, 4), elements=st.integers(0, 4095)))
def test_whole_numbers_are_summarised_as_any_others(image):
    values = RANGES["uint16"]
    for exact, found in zip(summaries(image.astype(np.float64), values), summaries(image, values), strict=True):
        assert (found.pixels, found.lowest, found.highest) == (exact.pixels, exact.lowest, exact.highest)
        assert found.mean == pytest.approx(exact.mean, rel=1e-12)
        assert found.squares == pytest.approx(exact.squares, rel=1e-9, abs=1e-6)
        assert found.histogram.tolist() == exact.histogram.tolist()


def test_small_values_are_data_and_zero_in_all_bands_is_not():
    image = np.zeros((2, 1, 3), np.float32)
    image[0, 0, :2] = 1e-5, 8
    first, second = summaries(image)
    assert (first.pixels, first.lowest, first.highest) == (2, np.float32(1e-5), 8)
    assert (second.pixels, second.lowest, second.highest) == (2, 0, 0)  # 0 in this band, not in the other


def test_values_beyond_the_bins_are_counted_at_the_ends():
    image = np.array([[[-5, 0.5, 99.5, 250]]], np.float32)
    (band,), outside = summarize_bands(image, np.ones((1, 4), bool), SAR)
    assert (band.histogram[0], band.histogram[-1], band.histogram.sum(), outside) == (2, 2, 4, 2)


def test_a_tile_without_valid_pixels_has_no_range_and_changes_no_sum():
    empty, full = summaries(np.zeros((2, 3, 4), np.float32)), summaries(np.full((2, 3, 4), 7, np.float32))
    assert as_json(empty[0])["min"] is None and math.isnan(empty[0].deviation)
    assert as_json(merged([empty[0], full[0], empty[0]])) == as_json(full[0])
    assert as_json(merged([empty[0], empty[1]]))["mean"] is None


def test_means_of_a_large_offset_keep_their_digits():
    rng = np.random.default_rng(0)
    tiles = [(rng.normal(2000, 0.5, (1, 50, 50))).astype(np.float32) for _ in range(40)]
    found = merged(summaries(tile)[0] for tile in tiles)
    everything = np.concatenate(tiles).astype(np.float64)
    assert found.mean == pytest.approx(everything.mean(), rel=1e-14)
    assert found.deviation == pytest.approx(everything.std(), rel=1e-12)
