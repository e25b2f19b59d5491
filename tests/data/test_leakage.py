from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from sspipe.data.leakage import HEADLINE, audit, coverage
from sspipe.data.splits import random_subsets, spatial_subsets

corners = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30), st.integers(1, 12)), max_size=12).map(
    lambda rows: np.array(rows, float).reshape(-1, 3)
)


@pytest.fixture(scope="module")
def real_tiles():
    """Origins of SpaceNet 6's 3401 training tiles, sorted by tile id."""
    tiles = pd.read_csv(Path(__file__).with_name("tile_geometry.csv.gz")).sort_values("image_id", ignore_index=True)
    return tiles.assign(size_m=450.0)


def test_the_papers_random_split_shows_nearly_all_test_ground_in_training(real_tiles):
    shares = audit(real_tiles.assign(subset=random_subsets(len(real_tiles), 0.2, 0.2, seed=0)))
    assert shares[HEADLINE]["over_50"] == pytest.approx(0.996, abs=0.003)
    assert shares[HEADLINE]["inside_union"] == pytest.approx(0.95, abs=0.01)


def test_over_many_seeds_the_random_splits_leak_is_the_known_one(real_tiles):
    leaks = [
        audit(real_tiles.assign(subset=random_subsets(len(real_tiles), 0.2, 0.2, seed)))[HEADLINE] for seed in range(8)
    ]
    assert np.mean([leak["over_50"] for leak in leaks]) == pytest.approx(0.996, abs=0.003)
    assert np.mean([leak["inside_union"] for leak in leaks]) == pytest.approx(0.951, abs=0.01)


def test_the_spatial_split_of_spacenet_6_has_681_test_tiles_and_leaks_nothing(real_tiles):
    easting_m, size_m = real_tiles["easting_m"].to_numpy(), real_tiles["size_m"].to_numpy()
    subsets = spatial_subsets(easting_m, size_m, 0.2, 0.2, 595343.0)
    left = np.isin(subsets, ["train", "validation", "validation_guard"])
    assert ((subsets == "test").sum(), (subsets == "guard").sum(), left.sum()) == (681, 346, 2374)
    assert (subsets == "validation").sum() == pytest.approx(0.2 * 2374, rel=0.02)
    for shares in audit(real_tiles.assign(subset=subsets)).values():
        assert set(shares.values()) == {0.0}


def test_the_line_found_by_fraction_is_that_of_the_config(real_tiles):
    easting_m, size_m = real_tiles["easting_m"].to_numpy(), real_tiles["size_m"].to_numpy()
    by_fraction = spatial_subsets(easting_m, size_m, 0.2, 0.2, None)
    assert (by_fraction == spatial_subsets(easting_m, size_m, 0.2, 0.2, 595343.0)).all()


@settings(deadline=None)
@given(corners, corners)
def test_coverage_is_that_of_the_squares_drawn_one_by_one(tiles, seen):
    def square(corner):
        x, y, side = corner
        return shapely.box(x, y - side, x + side, y)

    shares = coverage(tiles, seen)
    if not len(tiles) or not len(seen):
        assert set(shares.values()) == {0.0}
        return
    best, inside = [], []
    together = shapely.union_all([square(other) for other in seen])
    for tile in tiles:
        best.append(max(square(tile).intersection(square(other)).area for other in seen) / square(tile).area)
        inside.append(square(tile).difference(together).area == pytest.approx(0, abs=1e-9))
    assert shares["over_0"] == np.mean(np.array(best) > 1e-9)
    assert shares["over_50"] == np.mean(np.array(best) > 0.5)
    assert shares["over_90"] == np.mean(np.array(best) > 0.9)
    assert shares["inside_union"] == np.mean(inside)


def test_a_tile_may_lie_inside_the_union_though_no_single_tile_covers_it():
    halves = np.array([[0.0, 10.0, 10.0], [10.0, 10.0, 10.0]])
    shares = coverage(np.array([[5.0, 10.0, 10.0]]), halves)
    assert shares == {"over_0": 1.0, "over_50": 0.0, "over_90": 0.0, "inside_union": 1.0}


@pytest.mark.parametrize(("gap_m", "inside"), [(0.0, 1.0), (0.001, 0.0)])
def test_a_strip_of_a_millimetre_keeps_a_tile_out_of_the_union(gap_m, inside):
    west, east = (592000.0, 5749000.0, 450.0), (592450.0 + gap_m, 5749000.0, 450.0)
    shares = coverage(np.array([[592225.0, 5749000.0, 450.0]]), np.array([west, east]))
    assert shares["inside_union"] == inside
