from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sspipe.pack.orientation import HOW, orient, restore

sides = st.integers(1, 12)


def pixels(bands, rows, columns, dtype=np.int64):
    """(bands, rows, columns), every pixel another value, none of them 0."""
    return np.arange(1, bands * rows * columns + 1, dtype=dtype).reshape(bands, rows, columns)


@given(sides, st.integers(0, 9), st.sampled_from([0, 1]), st.sampled_from(HOW), st.integers(1, 4))
def test_a_tile_written_through_its_turned_grid_is_restored_to_the_pixel(size_px, padding_px, orientation, how, bands):
    tile = pixels(bands, size_px, size_px)
    packed = np.zeros((bands, size_px + padding_px, size_px + padding_px), tile.dtype)
    orient(packed[:, :size_px, :size_px], orientation, how)[...] = tile
    assert (restore(packed, orientation, how, size_px) == tile).all()
    assert np.count_nonzero(packed) == tile.size


@given(sides, st.sampled_from(HOW))
def test_turning_twice_gives_the_tile_back(size_px, how):
    tile = pixels(2, size_px, size_px)
    assert (orient(orient(tile, 1, how), 1, how) == tile).all()
    assert (orient(tile, 0, how) == tile).all()


def test_rotating_by_180_degrees_brings_the_south_east_corner_to_the_north_west():
    tile = pixels(1, 3, 4)
    turned = orient(tile, 1, "rotate180")
    assert turned[0, 0, 0] == tile[0, 2, 3] and turned[0, 0, 3] == tile[0, 2, 0]
    assert (turned == np.rot90(tile, 2, axes=(1, 2))).all()


def test_flipping_up_and_down_keeps_west_in_the_west():
    tile = pixels(1, 3, 4)
    assert orient(tile, 1, "flipud")[0, 0].tolist() == tile[0, 2].tolist()


@pytest.mark.parametrize(("orientation", "how"), [(2, "none"), (1, "rot180"), (-1, "flipud")])
def test_an_unknown_turn_is_refused(orientation, how):
    with pytest.raises(ValueError, match="unknown"):
        orient(np.zeros((1, 2, 2)), orientation, how)
