"""Which tiles are shown, and what is on their pictures."""

from __future__ import annotations

import io

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from shapely.geometry import Point, box

from sspipe.errors import UserError
from sspipe.report import imagery, panels


def tiles(counts: list[int], no_data: float = 0.0) -> pd.DataFrame:
    names = [f"tile_{place:02d}" for place in range(len(counts))]
    return pd.DataFrame({"tile_id": names, "building_count": counts, "sar_no_data_fraction": no_data})


def scores(table: pd.DataFrame, f1: list[float]) -> pd.DataFrame:
    return pd.DataFrame({"tile_id": table["tile_id"], "f1": f1})


def test_tiles_are_spread_over_building_counts_and_end_with_best_and_worst():
    table = tiles(list(range(1, 21)))
    f1 = [0.5] * 20
    f1[7], f1[12] = 0.9, 0.1
    chosen = panels.choose_tiles(table, scores(table, f1), 5)
    assert list(chosen["tile_id"][3:]) == ["tile_07", "tile_12"]
    assert list(chosen["reason"][3:]) == ["best F1", "worst F1"]
    assert list(chosen["tile_id"][:3]) == ["tile_03", "tile_10", "tile_17"]


def test_empty_tiles_and_tiles_outside_the_swath_are_left_out_while_there_are_others():
    table = tiles([0, 5, 9])
    table.loc[2, "sar_no_data_fraction"] = 0.8
    chosen = panels.choose_tiles(table, scores(table, [1.0, 0.5, 0.2]), 3)
    assert list(chosen["tile_id"]) == ["tile_01"]
    empty = tiles([0, 0])
    assert len(panels.choose_tiles(empty, scores(empty, [1.0, 1.0]), 3)) == 2


@given(st.lists(st.integers(0, 60), min_size=1, max_size=30), st.integers(1, 40), st.booleans(), st.randoms())
def test_no_tile_is_shown_twice_and_none_is_invented(counts, wanted, extremes, random):
    table = tiles(counts)
    chosen = panels.choose_tiles(table, scores(table, [random.random() for _ in counts]), wanted, extremes)
    pool = sum(count > 0 for count in counts) or len(counts)
    assert len(chosen) == min(wanted, pool)
    assert chosen["tile_id"].is_unique
    assert set(chosen["tile_id"]) <= set(table["tile_id"])


def test_outcomes_are_told_apart():
    predicted = np.array([[1, 1], [0, 0]], dtype=bool)
    truth = np.array([[1, 0], [1, 0]], dtype=bool)
    expected = [
        [imagery.TRUE_POSITIVE, imagery.FALSE_POSITIVE],
        [imagery.FALSE_NEGATIVE, imagery.BACKGROUND],
    ]
    assert imagery.outcome(predicted, truth).tolist() == expected


def test_truth_is_the_pixels_whose_centres_lie_in_a_footprint():
    west, north, size, pixel = 592_000.25, 5_752_000.75, 40, 0.5
    shapes = [Point(west + 8, north - 8).buffer(5.3), box(west + 12.1, north - 19, west + 17.3, north - 14.2)]
    mask = imagery.truth_mask(shapes, west, north, size, pixel)
    for row in range(size):
        for column in range(size):
            centre = Point(west + (column + 0.5) * pixel, north - (row + 0.5) * pixel)
            assert mask[row, column] == any(shape.contains(centre) for shape in shapes)


def test_a_tile_without_footprints_has_an_empty_truth():
    assert not imagery.truth_mask([], 0, 0, 8, 0.5).any()


def test_no_data_is_black_and_does_not_bend_the_stretch():
    rng = np.random.default_rng(0)
    bands = rng.uniform(20, 60, (4, 30, 30)).astype(np.float32)
    half = bands.copy()
    half[:, :, :15] = 0
    for picture in (imagery.radar_picture, imagery.optical_picture):
        shown = picture(half)
        assert (shown[:, :15] == 0).all()
        assert np.array_equal(shown[:, 15:], picture(bands[:, :, 15:]))
    assert (imagery.radar_picture(np.zeros((4, 5, 5), np.float32)) == 0).all()


def test_shrinking_keeps_classes_and_averages_colours():
    classes = np.repeat(np.repeat(np.array([[0, 3], [1, 2]], np.uint8), 3, axis=0), 3, axis=1)
    assert imagery.shrunk(classes, 2).tolist() == [[0, 3], [1, 2]]
    colours = np.zeros((4, 4, 3), np.uint8)
    colours[::2] = 200
    assert (imagery.shrunk(colours, 2) == 100).all()
    assert imagery.shrunk(classes, 6) is classes


def test_png_files_come_back_as_they_were():
    classes = np.random.default_rng(0).integers(0, 4, (20, 20)).astype(np.uint8)
    read = np.array(Image.open(io.BytesIO(imagery.outcome_png(classes))).convert("RGB"))
    assert np.array_equal(read, imagery.outcome_colours(classes))


@pytest.mark.parametrize(("tiles_shown", "variants"), [(8, 8), (14, 8), (42, 8), (14, 200), (42, 200)])
def test_real_size_panels_fit_into_the_page(tiles_shown, variants):
    side = panels.picture_side_px(tiles_shown, variants)
    rng = np.random.default_rng(0)
    speckle = imagery.colour_png(rng.integers(0, 256, (side, side, 3), dtype=np.uint8))
    blocks = rng.integers(0, 4, (side // 6 + 1, side // 6 + 1)).astype(np.uint8)
    classes = imagery.outcome_png(np.repeat(np.repeat(blocks, 6, axis=0), 6, axis=1)[:side, :side])
    total = tiles_shown * (2 * len(imagery.data_uri(speckle)) + (1 + variants) * len(imagery.data_uri(classes)))
    assert 60 <= side <= panels.MAX_SIDE_PX
    assert total < 13_000_000


@pytest.mark.parametrize(("side_m", "bar_m"), [(450, 100), (112.5, 20), (32, 10), (150, 50)])
def test_the_scale_bar_is_a_round_length(side_m, bar_m):
    assert panels.scale_bar_m(side_m) == bar_m


def test_probabilities_that_do_not_fit_their_list_of_tiles_are_refused(tmp_path):
    path = tmp_path / "probabilities.npy"
    np.save(path, np.zeros((2, 2, 4, 4), np.float16))
    path.with_suffix(".json").write_text('{"split": "s", "variant": "v", "seed": 0, "tile_ids": ["a"], "size_px": 4}')
    with pytest.raises(UserError, match="does not hold the 1 tiles"):
        panels.index_predictions([path])
