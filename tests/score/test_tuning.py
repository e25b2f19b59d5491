"""How footprints are made is chosen on validation tiles, by the best F1 of a stated grid."""

import json

import numpy as np
import pytest
import shapely

from sspipe.errors import UserError
from sspipe.predict.settings import PolygonSettings, read_settings
from sspipe.score.tuning import count_matches, tune_polygons
from tests.predict.test_polygons import masks

SIZE = 64
OWN = {"interior_threshold": 0.5, "border_threshold": 0.5, "min_area_px": 20, "simplify_px": 1.0}
GRID = {
    "interior_thresholds": [0.5, 0.7],
    "border_thresholds": [0.5, 0.9],
    "min_areas_px": [20],
    "simplifications_px": [1.0],
}
BUILDINGS = [shapely.box(5, 5, 25, 25), shapely.box(35, 8, 55, 30), shapely.box(8, 38, 30, 56)]


@pytest.fixture
def tiles(tmp_path):
    """Ten validation tiles in which border_threshold 0.5 tears buildings apart: faint borders run through them."""
    predicted, rows = [], ["ImageId,TileBuildingId,PolygonWKT_Pix"]
    for number in range(10):
        tile = masks(*BUILDINGS, size=SIZE)
        for left in (13, 44, 18):
            tile[1, :, left : left + 3] = np.maximum(tile[1, :, left : left + 3], 0.6)
        predicted.append(tile)
        rows += [f'tile_{number},{index},"{shape.wkt}"' for index, shape in enumerate(BUILDINGS)]
    rows += ["another_tile,1,POLYGON EMPTY"]
    np.save(tmp_path / "validation.npy", np.stack(predicted))
    about = {"split": "spatial", "variant": "v", "seed": 0, "subset": "validation", "view": "sar"}
    (tmp_path / "validation.json").write_text(json.dumps({**about, "tile_ids": [f"tile_{n}" for n in range(10)]}))
    (tmp_path / "truth.csv").write_text("\n".join(rows) + "\n")
    return tmp_path


def tuned(folder, **changed):
    arguments = {
        "probabilities": folder / "validation.npy",
        "truth": folder / "truth.csv",
        **OWN,
        **GRID,
        "iou_threshold": 0.6,
        "score_min_area_px": 20,
        "processes": 1,
        "out": folder / "polygons.json",
    }
    tune_polygons(**{**arguments, **changed})
    return json.loads((folder / "polygons.json").read_text())


def test_the_best_of_the_grid_is_chosen_and_every_combination_is_told(tiles):
    outcome = tuned(tiles)
    assert outcome["choice"]["border_threshold"] == 0.9
    assert outcome["f1"] == 1 and outcome["f1_as_configured"] < 0.5
    assert outcome["tiles"] == 10 and outcome["subset"] == "validation"
    tried = [(row["interior_threshold"], row["border_threshold"]) for row in outcome["scores"]]
    assert sorted(tried) == [(0.5, 0.5), (0.5, 0.9), (0.7, 0.5), (0.7, 0.9)]
    assert all(row["tp"] + row["fn"] == 30 for row in outcome["scores"])
    assert read_settings(tiles / "polygons.json") == PolygonSettings(0.5, 0.9, 20, 1.0)


def test_of_equals_the_configurations_own_settings_stay(tiles):
    np.save(tiles / "validation.npy", np.zeros((10, 2, SIZE, SIZE), np.float16))
    outcome = tuned(tiles)
    assert outcome["choice"] == OWN
    assert outcome["f1"] == 0


def test_without_predictions_the_configurations_settings_are_pinned(tiles):
    outcome = tuned(tiles, probabilities=None)
    assert outcome == {"tuned": False, "choice": OWN}
    assert read_settings(tiles / "polygons.json") == PolygonSettings(**OWN)


def test_test_tiles_are_refused(tiles):
    about = json.loads((tiles / "validation.json").read_text())
    (tiles / "validation.json").write_text(json.dumps({**about, "subset": "test"}))
    with pytest.raises(UserError, match="holds test tiles, and settings are chosen on validation tiles alone"):
        tuned(tiles)
    assert not (tiles / "polygons.json").exists()


def test_truth_that_lacks_a_tile_is_refused(tiles):
    lines = (tiles / "truth.csv").read_text().splitlines()
    (tiles / "truth.csv").write_text("\n".join(line for line in lines if not line.startswith("tile_7")) + "\n")
    with pytest.raises(UserError, match="1 of 10 validation tiles have no row, such as tile_7"):
        tuned(tiles)


def test_several_processes_count_what_one_counts(tiles):
    candidates = [PolygonSettings(**OWN), PolygonSettings(0.5, 0.9, 20, 1.0)]
    one, two = (
        count_matches(tiles / "validation.npy", tiles / "truth.csv", candidates, 0.6, 20, processes)
        for processes in (1, 2)
    )
    assert np.array_equal(one, two) and one.sum() > 0


def test_settings_file_without_a_choice_is_refused(tmp_path):
    (tmp_path / "polygons.json").write_text('{"choice": {"interior_threshold": 0.5}}')
    with pytest.raises(UserError, match=r"polygons\.json: names no settings"):
        read_settings(tmp_path / "polygons.json")
