from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from sspipe.pack.halves import sar_to_float16

# Every binary exponent that float16 knows, and those below; the ties between two float16 numbers among them.
bits = st.integers(0, 2**32 - 1).map(lambda number: np.uint32(number).view(np.float32))
values = bits.filter(lambda value: abs(value) < 65519)
bands = hnp.arrays(np.float32, st.tuples(st.integers(1, 2), st.integers(1, 5), st.integers(1, 5)), elements=values)


@given(bands)
def test_every_value_is_rounded_to_the_nearest_and_only_no_data_is_0(image):
    halved, expected = sar_to_float16(image), image.astype(np.float16)
    lost = (expected == 0) & (image != 0)
    assert (halved[~lost].view(np.uint16) == expected[~lost].view(np.uint16)).all()  # -0 is told from 0
    assert ((halved == 0) == (image == 0)).all()
    assert (np.abs(halved[lost]) == 2.0**-24).all() and (np.sign(halved[lost]) == np.sign(image[lost])).all()


@given(hnp.arrays(np.float32, (1, 3, 4), elements=st.floats(0, 100, width=32)))
def test_values_of_radar_are_rounded_as_numpy_rounds_them(image):
    halved = sar_to_float16(image)
    assert ((halved == 0) == (image == 0)).all()
    assert (np.abs(halved.astype(np.float64) - image) <= np.maximum(np.abs(image) * 2.0**-11, 6e-8)).all()


def test_all_ties_from_1e_5_to_93_go_to_the_even_neighbour():
    numbers = np.arange(np.float16(1e-5).view(np.uint16), np.float16(93).view(np.uint16), dtype=np.uint16)
    below, above = (neighbour.view(np.float16).astype(np.float32) for neighbour in (numbers, numbers + 1))
    ties = ((below + above) / 2)[None, None]
    assert (sar_to_float16(ties).view(np.uint16) == ties.astype(np.float16).view(np.uint16)).all()


def test_the_smallest_valid_values_stay_valid():
    tiny = np.array([[[1e-5, 1e-9, 1e-45, 0.0]]], np.float32)
    assert (sar_to_float16(tiny) != 0).tolist() == [[[True, True, True, False]]]
    assert (sar_to_float16(np.float32([[[1e-5, -1e-30, 0.0]]])) != 0).tolist() == [[[True, True, False]]]


@pytest.mark.parametrize("turn", [(1, 1), (-1, -1), (-1, 1)])
def test_a_turned_and_padded_place_is_written_like_any_other(turn):
    image = np.random.default_rng(0).normal(30, 8, (4, 70, 70)).clip(1e-5, 93).astype(np.float32)
    image[:, :9] = 0
    padded = np.zeros((4, 96, 96), np.float16)
    place = padded[:, :70, :70][:, :: turn[0], :: turn[1]]
    assert sar_to_float16(image, out=place) is place
    assert (place == image.astype(np.float16)).all()
    assert not padded[:, 70:].any() and not padded[:, :, 70:].any()


@pytest.mark.parametrize("value", [70000.0, 65520.0, np.inf, np.nan, -70000.0, -np.inf])
def test_values_that_float16_cannot_hold_are_refused(value):
    with pytest.raises(ValueError, match="65504"):
        sar_to_float16(np.array([[[1.0, value]]], np.float32))


def test_the_largest_value_of_float16_is_not_refused():
    assert sar_to_float16(np.array([[[65504.0, 65519.0]]], np.float32)).tolist() == [[[65504.0, 65504.0]]]


def test_the_error_is_as_small_against_speckle_as_is_said():
    """The figures in the docstring, on values spread as the four bands of SpaceNet 6 are."""
    rng = np.random.default_rng(0)
    for mean, std in ((28.63, 8.41), (36.10, 8.27), (33.84, 8.32), (26.21, 8.64)):
        image = rng.normal(mean, std, (1, 900, 900)).clip(1e-5, 93).astype(np.float32)
        image[0, 0, 0] = 93
        error = sar_to_float16(image).astype(np.float64) - image
        for low, high, largest in ((16, 32, 0.008), (32, 64, 0.016), (64, 93, 0.032)):
            within = (image >= low) & (image < high)
            assert np.abs(error[within]).max() < largest
        rms = np.sqrt(np.mean(error**2))
        assert 0.005 < rms < 0.0085 and std / rms > 1000
        assert abs(error.mean()) < 1e-4
