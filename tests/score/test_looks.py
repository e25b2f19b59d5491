"""One look against all looks: both counted alike, on what they show whole."""

import shutil

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely

from sspipe.score.looks import count, distinct_buildings
from tests.predict.map_scene import write_map_scene

SCORE = {"pixel_m": 0.5, "iou_threshold": 0.5, "min_area_px": 4}


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
    assert np.isclose(score["looks_per_place"], 5 * 45**2 / area_of(tmp_path), rtol=0.02)
