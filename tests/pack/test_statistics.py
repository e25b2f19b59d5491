from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sspipe.errors import UserError
from sspipe.pack.halves import sar_to_float16
from sspipe.pack.statistics import MOMENTS, VIEWS, compute_statistics, merged, of_image

# (mean, standard deviation): the radar's, the optical bands', and large means of little spread.
SPREADS = {
    "float16": [(30.0, 8.0), (60000.0, 40.0), (1.0, 1e-3), (1e-4, 1e-6), (0.0, 5.0)],
    "uint16": [(300.0, 130.0), (65000.0, 2.0), (2.0, 1.0)],
}


def draw_images(rng, shapes, dtype, spread, no_data):
    """Images of normal values, of which a share is 0 in all bands."""
    images = []
    for rows, columns in shapes:
        values = rng.normal(*spread, (4, rows, columns))
        image = (np.abs(values) if dtype == "uint16" else values).astype(dtype)
        image[:, rng.random((rows, columns)) < no_data] = 0
        images.append(image)
    return images


def valid_values(images):
    """(bands, pixels) float64: all pixels that are not 0 in all bands."""
    return np.concatenate([image[:, (image != 0).any(axis=0)] for image in images], axis=1).astype(np.float64)


@settings(max_examples=60)
@given(
    st.integers(0, 2**32 - 1),
    st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), min_size=1, max_size=8),
    st.floats(0, 1),
    st.sampled_from([(dtype, spread) for dtype, spreads in SPREADS.items() for spread in spreads]),
)
def test_moments_are_what_float64_numpy_gives_on_all_valid_pixels(seed, shapes, no_data, form):
    images = draw_images(np.random.default_rng(seed), shapes, *form, no_data)
    moments = merged(map(of_image, images))
    valid = valid_values(images)
    assert moments.pixels == valid.shape[1]
    if moments.pixels:
        scale = np.abs(valid).max()
        np.testing.assert_allclose(moments.mean, valid.mean(axis=1), rtol=1e-9, atol=1e-12 * scale)
        np.testing.assert_allclose(moments.std, valid.std(axis=1), rtol=1e-9, atol=1e-12 * scale)


@pytest.mark.parametrize(("dtype", "spread"), [("uint16", (65000, 0.6)), ("float16", (60000, 20))])
def test_digits_survive_over_thousands_of_tiles_of_large_values_with_little_spread(dtype, spread):
    """What a running sum of squares in float32 has lost long before: the spread is a ten-thousandth of the mean."""
    images = draw_images(np.random.default_rng(0), [(16, 16)] * 1200, dtype, spread, 0.1)
    moments = merged(map(of_image, images))
    valid = valid_values(images)
    np.testing.assert_allclose(moments.mean, valid.mean(axis=1), rtol=1e-9)
    np.testing.assert_allclose(moments.std, valid.std(axis=1), rtol=1e-9)
    naive = valid.astype(np.float32)
    lost = np.sqrt(np.maximum((naive**2).mean(axis=1) - naive.mean(axis=1) ** 2, 0))
    assert (np.abs(lost / valid.std(axis=1) - 1) > 0.1).all()


def test_the_order_of_the_tiles_and_empty_ones_change_nothing():
    images = draw_images(np.random.default_rng(2), [(30, 30)] * 20, "float16", (30, 8), 0.2)
    images[7][:] = 0
    forward, backward = merged(map(of_image, images)), merged(map(of_image, images[::-1]))
    assert forward.pixels == backward.pixels
    np.testing.assert_allclose(forward.mean, backward.mean, rtol=1e-13)
    np.testing.assert_allclose(forward.squares, backward.squares, rtol=1e-13)
    assert merged([]).pixels == merged([of_image(images[7])]).pixels == 0


def test_rounding_to_float16_moves_the_statistics_by_far_less_than_speckle_does():
    """Facts: means about 26 to 36, deviations about 8.4; here what the rounding of 4 x 810,000 values makes of them."""
    rng = np.random.default_rng(3)
    means, stds = np.array([[28.63, 36.10, 33.84, 26.21], [8.41, 8.27, 8.32, 8.64]])[..., None, None]
    source = rng.normal(means, stds, (4, 900, 900)).clip(1e-5, 93).astype(np.float32)
    packed, exact = of_image(sar_to_float16(source)), source.reshape(4, -1).astype(np.float64)
    assert (np.abs(packed.mean - exact.mean(axis=1)) < 5e-5).all()
    assert (np.abs(packed.std / exact.std(axis=1) - 1) < 5e-6).all()


@pytest.mark.parametrize("zero", [0.0, -0.0])
def test_a_pixel_that_is_0_in_some_bands_only_is_valid(zero):
    image = np.array([[[0.0, zero, 4.0]], [[zero, 2.0, 0.0]]], np.float16)
    moments = of_image(image)
    assert moments.pixels == 2 and moments.mean.tolist() == [2.0, 1.0] and moments.std.tolist() == [2.0, 1.0]


@pytest.fixture
def measured(tmp_path):
    """The moments of four tiles, 8 px padded to 16, as `measure_tiles` writes them; the images by view and tile."""
    rng = np.random.default_rng(1)
    images = {}
    for number in range(4):
        for view, dtype in (("sar", np.float16), ("eo", np.uint16)):
            image = np.zeros((4, 16, 16), dtype)
            image[:, :8, :8] = rng.uniform(1, 90, (4, 8, 8))
            images[view, number] = image
    write_moments(tmp_path, images)
    return tmp_path, images


def write_moments(folder, images):
    rows = [
        (f"a_b_tile_{number}", view, band, moments.pixels, moments.mean[band], moments.squares[band], "5f3a")
        for (view, number), image in images.items()
        for moments in [of_image(image)]
        for band in range(4)
    ]
    pd.DataFrame(rows, columns=list(MOMENTS)).to_parquet(folder / "moments.parquet")


def compute(folder, train, count=4):
    subsets = ["train" if number in train else "test" for number in range(count)]
    tile_ids = [f"a_b_tile_{number}" for number in range(count)]
    pd.DataFrame({"tile_id": tile_ids, "subset": subsets}).to_parquet(folder / "split.parquet")
    out = folder / "statistics.json"
    compute_statistics(
        split="random", split_table=folder / "split.parquet", moments=folder / "moments.parquet", out=out
    )
    return json.loads(out.read_text())


def test_only_training_tiles_count_and_padding_does_not(measured):
    folder, images = measured
    statistics = compute(folder, {1, 2})
    assert (statistics["split"], statistics["subset"], statistics["tiles"]) == ("random", "train", 2)
    assert statistics["pack"] == "5f3a"
    for view in VIEWS:
        values = np.stack([images[view, number][:, :8, :8] for number in (1, 2)]).astype(np.float64)
        found = statistics["views"][view]
        np.testing.assert_allclose(found["mean"], values.mean(axis=(0, 2, 3)), rtol=1e-12)
        np.testing.assert_allclose(found["std"], values.std(axis=(0, 2, 3)), rtol=1e-12)
        assert found["valid_pixels"] == 2 * 64


def refusal(folder, *arguments, **changes):
    with pytest.raises(UserError) as error:
        compute(folder, *arguments, **changes)
    assert not (folder / "statistics.json").exists()
    return str(error.value)


def test_a_training_tile_in_no_shard_is_told(measured):
    message = refusal(measured[0], {0, 4}, count=5)
    assert "1 of its 2 training tiles are in none of the shards, such as a_b_tile_4" in message


def test_a_split_without_training_tiles_is_told(measured):
    assert "has no training tiles" in refusal(measured[0], set())


@pytest.mark.parametrize(
    ("value", "told"), [(0, "every sar pixel"), (7, "sar band 3 is 7 in all of its training tiles")]
)
def test_a_view_without_spread_is_told_because_it_cannot_be_standardised(measured, value, told):
    folder, images = measured
    for number in range(4):
        if value:
            images["sar", number][2, :8, :8] = value
        else:
            images["sar", number][:] = 0
    write_moments(folder, images)
    assert told in refusal(folder, {0, 3})
