from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from sspipe.data.splits import assign_splits, baseline_subsets, random_subsets, spatial_subsets
from sspipe.errors import UserError

tile_tables = st.lists(
    st.tuples(st.floats(0, 5000), st.floats(0, 2000), st.floats(10, 900)), min_size=1, max_size=60
).map(lambda rows: np.array(rows, float))
fractions = st.floats(0.05, 0.95)
USED = ("train", "validation", "test")


def areas_shared(tiles, subsets, one, other):
    """Areas (m2) of ground that each pair of tiles from two subsets shares."""
    x, y, side = tiles.T
    squares = shapely.box(x, y - side, x + side, y)
    first, second = squares[subsets == one], squares[subsets == other]
    return shapely.area(shapely.intersection(first[:, None], second[None, :]))


@given(st.integers(0, 4000), fractions, fractions, st.integers(0, 9))
def test_a_random_split_puts_every_tile_in_one_subset_of_the_size_asked_for(tiles, test, validation, seed):
    subsets = random_subsets(tiles, test, validation, seed)
    counts = {name: int((subsets == name).sum()) for name in USED}
    assert sum(counts.values()) == tiles
    assert counts["test"] == round(test * tiles)
    assert counts["validation"] == round(validation * (tiles - counts["test"]))


def test_the_papers_split_has_680_test_tiles_and_the_seed_decides_which():
    first, again, other = (random_subsets(3401, 0.2, 0.2, seed) for seed in (0, 0, 1))
    assert [(first == name).sum() for name in USED] == [2177, 544, 680]
    assert (first == again).all()
    assert (first != other).any()


@given(tile_tables, fractions, fractions, st.none() | st.floats(0, 5000))
def test_no_two_tiles_of_different_subsets_of_a_spatial_split_share_ground(tiles, test, validation, line):
    subsets = spatial_subsets(tiles[:, 0], tiles[:, 2], test, validation, line)
    assert set(subsets) <= {*USED, "guard", "validation_guard"}
    for one, other in (("test", "train"), ("test", "validation"), ("validation", "train")):
        # An edge may reach over by a millionth of a metre, along a side of at most 900 m.
        assert (areas_shared(tiles, subsets, one, other) <= 900 * 1.01e-6).all()


@given(tile_tables, fractions, st.floats(0, 5000))
def test_a_spatial_splits_test_tiles_are_those_at_or_east_of_the_line(tiles, validation, line):
    subsets = spatial_subsets(tiles[:, 0], tiles[:, 2], 0.2, validation, line)
    assert ((subsets == "test") == (tiles[:, 0] >= line)).all()


def test_tiles_that_only_touch_along_an_edge_are_kept_on_both_sides():
    easting_m = np.arange(10) * 450.0
    subsets = spatial_subsets(easting_m, np.full(10, 450.0), 0.2, 0.25, None)
    assert subsets.tolist() == ["train"] * 6 + ["validation"] * 2 + ["test"] * 2


def test_without_a_line_the_spatial_split_comes_as_near_to_the_fractions_as_the_tiles_allow():
    easting_m = np.linspace(0, 90000, 2001)
    subsets = spatial_subsets(easting_m, np.full(2001, 450.0), 0.2, 0.2, None)
    test, left = (subsets == "test").sum(), ((subsets != "test") & (subsets != "guard")).sum()
    assert test == 400
    assert abs((subsets == "validation").sum() - 0.2 * left) <= 1


@given(tile_tables, st.floats(0, 2000), st.floats(1, 3000))
def test_the_baselines_slices_are_equally_wide_and_the_outer_ones_take_what_lies_beyond(tiles, west, width):
    easting_m = tiles[:, 0]
    subsets = baseline_subsets(easting_m, (west, west + 5 * width))
    near = np.abs((easting_m - west) / width % 1 - 0.5) > 0.4999999  # at a border, where rounding decides
    assert ((subsets == "test") == (easting_m >= west + 4 * width))[~near].all()
    assert ((subsets == "validation") == ((easting_m >= west + 3 * width) & (subsets != "test")))[~near].all()


@pytest.fixture
def catalog(tmp_path):
    """Twenty tiles of 32 m from west to east, half a tile apart, from easting 592000 m."""
    tiles = pd.DataFrame({"tile_id": [f"a_b_tile_{number:02d}" for number in range(20)]})
    tiles["easting_m"] = 592000.0 + 16 * np.arange(20)
    tiles["northing_m"], tiles["size_px"], tiles["pixel_m"] = 5749000.0, 64, 0.5
    tiles["eo_path"] = [f"{tile_id}.tif" if number else "" for number, tile_id in enumerate(tiles["tile_id"])]
    tiles.to_parquet(tmp_path / "catalog.parquet")
    return tmp_path / "catalog.parquet"


def assign(catalog, **changes):
    folder = catalog.parent
    settings = {"split": "here", "kind": "random", "seed": 0, "test_fraction": 0.2, "validation_fraction": 0.2}
    outputs = {"out_split": folder / "here.parquet", "out_leakage": folder / "here.leakage.json"}
    assign_splits(catalog=catalog, **{**settings, "test_line_m": None, "edges_m": None, **outputs, **changes})
    return pd.read_parquet(outputs["out_split"]), json.loads(outputs["out_leakage"].read_text())


def test_the_split_is_written_with_one_row_a_tile_and_its_leak_beside_it(catalog):
    table, leakage = assign(catalog)
    assert table.columns.tolist() == ["tile_id", "subset", "has_eo"]
    assert table.loc[~table["has_eo"], "tile_id"].tolist() == ["a_b_tile_00"]  # the one without an EO image
    assert table["tile_id"].is_monotonic_increasing and len(table) == 20
    assert leakage["counts"] == {"train": 13, "validation": 3, "test": 4, "guard": 0, "validation_guard": 0}
    assert leakage["test_against_train_and_validation"]["over_0"] == 1
    assert leakage["headline"] in leakage


def test_a_spatial_split_leaks_nothing(catalog):
    table, leakage = assign(catalog, kind="spatial", test_line_m=592250.0)
    assert leakage["counts"] == {"train": 11, "validation": 3, "test": 4, "guard": 1, "validation_guard": 1}
    for pair in ("test_against_train", "validation_against_train", "test_against_train_and_validation"):
        assert set(leakage[pair].values()) == {0.0}
    assert table.loc[table["subset"] == "test", "tile_id"].tolist() == [f"a_b_tile_{n}" for n in (16, 17, 18, 19)]


def test_the_baselines_split_keeps_no_guard_and_its_leak_is_audited(catalog):
    table, leakage = assign(catalog, kind="baseline_x", edges_m=(592000.0, 592320.0))
    assert leakage["counts"] == {"train": 12, "validation": 4, "test": 4, "guard": 0, "validation_guard": 0}
    assert table["subset"].tolist() == ["train"] * 12 + ["validation"] * 4 + ["test"] * 4
    assert leakage[leakage["headline"]]["over_0"] == 0.25  # the tile at the border, half of it


def test_slices_that_miss_the_tiles_are_told_with_the_range_of_the_data(catalog):
    with pytest.raises(UserError) as error:
        assign(catalog, kind="baseline_x")
    message = str(error.value)
    assert "no tiles are left for validation" in message or "no tiles are left for train" in message
    assert "between eastings 592000.000 and 592304.000 m" in message and "splits.here.edges_m" in message


@pytest.mark.parametrize(("line", "empty"), [(600000.0, "test"), (591000.0, "train and validation")])
def test_a_line_that_leaves_a_subset_empty_is_told_with_the_range_of_the_data(catalog, line, empty):
    with pytest.raises(UserError) as error:
        assign(catalog, kind="spatial", test_line_m=line)
    message = str(error.value)
    assert "split `here`" in message and f"no tiles are left for {empty} " in message
    assert f"easting {line:.0f} m" in message
    assert "between eastings 592000.000 and 592304.000 m" in message
    assert "splits.here.test_line_m" in message
    assert sorted(path.name for path in catalog.parent.iterdir()) == ["catalog.parquet"]


def test_too_few_tiles_for_a_random_split_are_told(catalog):
    pd.read_parquet(catalog).iloc[:2].to_parquet(catalog)
    with pytest.raises(UserError, match="split `here`: no tiles are left for validation and test: 2 tiles are too few"):
        assign(catalog)


def test_a_negative_seed_is_refused_by_name(tmp_path):
    settings = {"split": "mine", "kind": "random", "test_fraction": 0.2, "validation_fraction": 0.2}
    paths = {"out_split": tmp_path / "mine.parquet", "out_leakage": tmp_path / "mine.leakage.json"}
    with pytest.raises(UserError, match=r"splits\.mine\.seed is -1; expected 0 or more"):
        assign_splits(
            catalog=tmp_path / "catalog.parquet", seed=-1, test_line_m=None, edges_m=None, **settings, **paths
        )
