"""Reliability of probabilities: counted pixel by pixel, over what was imaged."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely import box

from sspipe.errors import UserError
from sspipe.score.reliability import Reliability, expected_calibration_error
from tests.score.scene import SIZE, write_scene

EVERYWHERE = np.ones((2, 2), bool)


def table_of(probability, building, imaged=EVERYWHERE, bins=4) -> pd.DataFrame:
    reliability = Reliability(bins)
    reliability.add(probability, building, imaged)
    return reliability.table()


def test_bins_are_equal_and_hold_their_lower_edge_and_the_last_one_1():
    table = table_of(np.array([[0.0, 0.25], [0.7499, 1.0]]), np.array([[False, True], [True, True]]))
    assert table["low"].tolist() == [0, 0.25, 0.5, 0.75]
    assert table["high"].tolist() == [0.25, 0.5, 0.75, 1]
    assert table["pixels"].tolist() == [1, 1, 1, 1]
    assert table["mean_probability"].tolist() == pytest.approx([0, 0.25, 0.7499, 1])
    assert table["building_share"].tolist() == [0, 1, 1, 1]


def test_empty_bins_are_blank_and_do_not_weigh():
    table = table_of(np.full((2, 2), 0.6), np.array([[True, False], [False, False]]))
    assert table["building_share"].isna().tolist() == [True, True, False, True]
    assert expected_calibration_error(table) == pytest.approx(0.35)


def test_pixels_without_data_do_not_count():
    imaged = np.array([[True, False], [False, False]])
    table = table_of(np.array([[0.9, 0.1], [0.1, 0.1]]), EVERYWHERE, imaged)
    assert table["pixels"].tolist() == [0, 0, 0, 1]
    nothing = table_of(np.zeros((2, 2)), EVERYWHERE, ~EVERYWHERE)
    assert nothing["pixels"].sum() == 0 and expected_calibration_error(nothing) is None


@pytest.mark.parametrize("wrong", [np.nan, -0.01, 1.01, np.inf])
def test_what_is_no_probability_is_refused(wrong):
    with pytest.raises(ValueError, match="from 0 to 1"):
        table_of(np.array([[0.5, wrong], [0, 0]]), EVERYWHERE)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 30))
def test_tile_by_tile_is_the_plain_sum_over_all_pixels(seed, bins):
    random = np.random.default_rng(seed)
    reliability = Reliability(bins)
    chosen = []
    for _ in range(3):
        probability = random.beta(0.5, 0.5, (9, 9)).astype(np.float16)
        building, imaged = random.random((2, 9, 9)) < 0.5
        reliability.add(probability, building, imaged)
        chosen += list(zip(probability[imaged].tolist(), building[imaged].tolist(), strict=True))
    table = reliability.table()
    error = 0.0
    for row in table.itertuples():
        mine = [(p, b) for p, b in chosen if row.low <= p < row.high or (p == 1 == row.high)]
        assert row.pixels == len(mine)
        if mine:
            assert row.mean_probability == pytest.approx(np.mean([p for p, _ in mine]))
            assert row.building_share == pytest.approx(np.mean([b for _, b in mine]))
            error += len(mine) / len(chosen) * abs(row.building_share - row.mean_probability)
    assert expected_calibration_error(table) == pytest.approx(error)


def test_calibrated_probabilities_have_no_error_and_overconfident_ones_have():
    random = np.random.default_rng(0)
    honest = random.random((600, 600))
    building = random.random((600, 600)) < honest
    everywhere = np.ones((600, 600), bool)
    assert expected_calibration_error(table_of(honest, building, everywhere, 20)) < 0.005
    sure = np.where(honest > 0.5, 1.0, 0.0)
    assert expected_calibration_error(table_of(sure, building, everywhere, 20)) == pytest.approx(0.25, abs=0.01)


def test_the_stage_writes_the_table_over_the_imaged_pixels_of_all_test_tiles(tmp_path):
    house, other = box(4, 4, 14, 14), box(20, 20, 30, 30)
    imaged = np.ones((SIZE, SIZE), bool)
    imaged[:10] = False  # the upper six rows of the house
    truth, predicted = {"a": [house], "b": [other]}, {"a": [house], "b": [house]}
    scene = write_scene(tmp_path, truth, predicted, imaged={"a": imaged})
    scores = scene.score()
    table = pd.read_csv(tmp_path / "reliability.csv")
    assert table.columns.tolist() == ["low", "high", "pixels", "mean_probability", "building_share"]
    assert len(table) == 20
    no, yes = 38 * SIZE - 40 + SIZE**2 - 100, 40 + 100
    assert table["pixels"].tolist() == [no, *[0] * 18, yes]
    assert table["building_share"].iloc[[0, -1]].tolist() == pytest.approx([100 / no, 40 / 140])
    assert table["building_share"].isna().sum() == 18
    assert scores["imaged_pixels"] == no + yes == int(imaged.sum()) + SIZE**2
    assert scores["expected_calibration_error"] == pytest.approx(200 / (no + yes))


def test_a_broken_probability_is_named_by_its_tile(tmp_path):
    scene = write_scene(tmp_path, {"a": [], "b": []}, {"a": [], "b": []})
    array = np.load(tmp_path / "probabilities.npy")
    array[1, 0, 3, 3] = np.nan
    np.save(tmp_path / "probabilities.npy", array)
    with pytest.raises(UserError, match=r"probabilities\.npy: tile b: a probability is not a number from 0 to 1"):
        scene.score()
    assert not (tmp_path / "scores.json").exists()
