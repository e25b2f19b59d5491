"""One look against all looks: both counted alike, on what they show whole."""

import shutil

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely

from sspipe.score.looks import (
    COUNTS,
    SIDES,
    blocks_of_record,
    count_by_block,
    distinct_buildings,
    look_intervals,
    scores_of,
)
from sspipe.score.uncertainty import resample_weights
from tests.predict.map_scene import write_map_scene

SCORE = {"pixel_m": 0.5, "block_m": 1000, "iou_threshold": 0.5, "min_area_px": 4}


def count(truth, proposals, seen, **settings) -> dict:
    return scores_of(count_by_block(truth, proposals, seen, **settings))


def layer(*rows, columns=("tile_id", "geometry")):
    return gpd.GeoDataFrame(rows, columns=list(columns), geometry="geometry", crs=32631)


def test_a_building_cut_by_tiles_is_one_building_and_whole_again():
    table = layer((5, shapely.box(0, 0, 6, 4)), (5, shapely.box(4, 0, 10, 4)), (7, shapely.box(20, 0, 22, 2)),
                  columns=("building_id", "geometry"))  # fmt: skip
    distinct = distinct_buildings(table)
    assert sorted(shape.bounds for shape in distinct) == [(0, 0, 10, 4), (20, 0, 22, 2)]


def test_buildings_without_an_id_are_told_apart_by_their_place():
    """Their ids, -1, -2, …, begin anew in each tile."""
    table = layer((-1, shapely.box(0, 0, 6, 4)), (-2, shapely.box(1, 0, 6, 4)), (-1, shapely.box(30, 0, 35, 4)),
                  columns=("building_id", "geometry"))  # fmt: skip
    assert len(distinct_buildings(table)) == 2


def test_what_the_edge_cuts_is_neither_missed_nor_false():
    seen = gpd.GeoSeries({"a": shapely.box(0, 0, 100, 100)}, crs=32631)
    whole, cut, missed = shapely.box(10, 10, 20, 20), shapely.box(90, 40, 100, 50), shapely.box(40, 40, 50, 50)
    false, false_at_edge = shapely.box(60, 60, 70, 70), shapely.box(0, 60, 8, 70)
    truth = layer(("a", whole), ("a", cut), ("a", missed))
    found = layer(("a", whole), ("a", cut), ("a", false), ("a", false_at_edge)).assign(confidence=0.9)
    score = count(truth, found, seen, **SCORE)
    assert (score["buildings"], score["tp"], score["fp"], score["fn"]) == (2, 1, 1, 1)
    assert score["precision"] == score["recall"] == score["f1"] == 0.5


def test_areas_are_compared_in_pixels():
    seen = gpd.GeoSeries({"a": shapely.box(0, 0, 100, 100)}, crs=32631)
    truth = layer(("a", shapely.box(10, 10, 12, 12)))  # 4 m2, 16 px
    found = truth.assign(confidence=0.5)
    assert count(truth, found, seen, **{**SCORE, "min_area_px": 15})["tp"] == 1
    assert count(truth, found, seen, **{**SCORE, "min_area_px": 17})["buildings"] == 0


def test_nothing_found_and_nothing_there_are_scores_too():
    seen = gpd.GeoSeries({"a": shapely.box(0, 0, 100, 100)}, crs=32631)
    nothing = layer().assign(confidence=pd.Series(dtype=float))
    assert count(layer(), nothing, seen, **SCORE)["f1"] == 0
    assert count(layer(("a", shapely.box(10, 10, 20, 20))), nothing, seen, **SCORE)["fn"] == 1


def test_a_building_lies_in_the_block_of_its_centroid_and_so_does_what_is_wrongly_proposed():
    seen = gpd.GeoSeries({"a": shapely.box(0, 0, 100, 100)}, crs=32631)
    over_the_line, missed, false = shapely.box(45, 5, 52, 12), shapely.box(70, 70, 80, 80), shapely.box(20, 60, 30, 70)
    found = layer(("a", over_the_line), ("a", false)).assign(confidence=0.5)
    counts = count_by_block(layer(("a", over_the_line), ("a", missed)), found, seen, **SCORE | {"block_m": 50})
    assert counts.loc[["0_0", "0_1", "1_1"]].to_numpy().tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 1]]
    assert len(counts) == 3


def invented_blocks(seed: int, names: range) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    columns = pd.MultiIndex.from_product([SIDES, COUNTS])
    return pd.DataFrame(random.poisson(6, (len(names), 6)), index=[f"b{n:02}" for n in names], columns=columns)


def test_intervals_are_those_of_the_same_blocks_drawn_for_both_sides_and_for_every_seed():
    tables = [invented_blocks(0, range(9)), invented_blocks(1, range(2, 12))]  # the second saw other blocks
    found = look_intervals(tables, 300)
    everywhere = [f"b{n:02}" for n in range(12)]
    drawn = {"one_look": [], "all_looks": [], "difference": []}
    for weights in np.concatenate(list(resample_weights(12, 300, seed=0))):
        means = []
        for side in SIDES:
            f1 = []
            for table in tables:
                tp, fp, fn = (
                    sum(
                        weight * int(table.at[name, (side, count)])
                        for name, weight in zip(everywhere, weights, strict=True)
                        if name in table.index
                    )
                    for count in COUNTS
                )
                f1.append(2 * tp / (2 * tp + fp + fn))
            means.append(sum(f1) / 2)
            drawn[side].append(means[-1])
        drawn["difference"].append(means[1] - means[0])
    for name, scores in drawn.items():
        bounds = np.quantile(scores, [0.025, 0.975])
        assert [found[name]["f1_low"], found[name]["f1_high"]] == pytest.approx(bounds, abs=1e-12), name
    points = [np.mean([scores_of(table[side])["f1"] for table in tables]) for side in SIDES]
    assert found["difference"]["f1"] == pytest.approx(points[1] - points[0])


@pytest.mark.parametrize("blocks", [0, 1])
def test_fewer_than_two_blocks_have_no_interval(blocks):
    found = look_intervals([invented_blocks(0, range(blocks))], 50)
    assert found["one_look"] == found["all_looks"] == {"f1_low": None, "f1_high": None}
    assert found["difference"]["f1_low"] is None and found["difference"]["f1"] is not None


needs_gdal = pytest.mark.skipif(
    not (shutil.which("gdalbuildvrt") and shutil.which("gdal_translate")), reason="gdal-bin is not installed"
)


@needs_gdal
def test_perfect_predictions_are_perfect_in_both_and_the_map_knows_more_buildings(tmp_path):
    scene = write_map_scene(tmp_path)
    scene.mosaic()
    scene.map_polygons()
    score = scene.score_looks()
    for side in ("one_look", "all_looks"):
        assert score[side]["f1"] == 1 and score[side]["buildings"] > 0
    assert score["all_looks"]["buildings"] == 5  # each once; the sixth is cut by the outer edge
    assert score["looks_per_place"] == pytest.approx(5 * 45**2 / area_of(tmp_path), rel=0.02)
    assert score["difference"] == {"f1": 0, "f1_low": 0, "f1_high": 0}
    assert scene.score_looks(block_m=1e7)["all_looks"]["f1_low"] is None  # one block is nothing to draw from


def area_of(folder):
    return gpd.read_parquet(folder / "looks.parquet").union_all().area


@needs_gdal
def test_a_building_that_one_of_four_looks_misses_is_found_by_all_together(tmp_path):
    scene = write_map_scene(tmp_path)

    def blind(array):
        """The first tile misses all, and each sees a building of its own where none is."""
        array[0] = 0
        for number in range(4):
            row, column = 70 - 16 * (number // 2), 60 - 16 * (number % 2)
            array[number, 0, row : row + 8, column : column + 8] = 0.9

    scene.probabilities(blind)
    scene.mosaic()
    scene.map_polygons()
    score = scene.score_looks()
    assert score["one_look"]["fn"] > 0 and score["one_look"]["fp"] > 0
    assert score["all_looks"]["f1"] > score["one_look"]["f1"]
    # The counts of the blocks are what all the rest is made of.
    blocks = blocks_of_record(score)
    assert score["bootstrap_units"] == len(blocks) > 2
    for side in SIDES:
        assert {name: score[side][name] for name in COUNTS} == blocks[side].sum().to_dict()
        assert score[side]["f1_low"] <= score[side]["f1"] <= score[side]["f1_high"]
    assert score["difference"]["f1"] == pytest.approx(score["all_looks"]["f1"] - score["one_look"]["f1"])
    found = look_intervals([blocks], score["bootstrap_samples"])
    assert found["difference"] == score["difference"]
    assert found["one_look"] == {name: score["one_look"][name] for name in ("f1_low", "f1_high")}
    assert np.isclose(score["looks_per_place"], 5 * 45**2 / area_of(tmp_path), rtol=0.02)
