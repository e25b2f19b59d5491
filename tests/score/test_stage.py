"""The scoring stage, from files to files."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from shapely import box

from sspipe.errors import UserError
from tests.score.scene import Scene, write_scene

HIT, MISSED, EXTRA = box(4, 4, 14, 14), box(20, 20, 30, 30), box(34, 4, 44, 14)
TRUTH = {"s_tile_1": [HIT, MISSED], "s_tile_2": [], "s_tile_3": [HIT], "s_tile_4": []}
PREDICTED = {"s_tile_1": [box(4, 4, 14, 12), EXTRA], "s_tile_2": [], "s_tile_3": [HIT], "s_tile_4": [EXTRA]}


@pytest.fixture
def scene(tmp_path) -> Scene:
    return write_scene(tmp_path, TRUTH, PREDICTED, others=("s_tile_8",))


def test_scores_are_what_one_counts_by_hand(scene):
    scores = scene.score()
    assert {key: scores[key] for key in ("split", "variant", "seed")} == {
        "split": "spatial",
        "variant": "ss_rsc",
        "seed": 1,
    }
    assert [scores[key] for key in ("tiles", "tp", "fp", "fn")] == [4, 2, 2, 1]
    assert scores["precision"] == 0.5
    assert scores["recall"] == pytest.approx(2 / 3)
    assert scores["f1"] == pytest.approx(4 / 7)
    assert scores["f1_low"] <= scores["f1"] <= scores["f1_high"]
    # Tile 2 has nothing to find and nothing found: it is in no mean.
    assert scores["f1_macro"] == pytest.approx((0.5 + 1 + 0) / 3)
    assert scores["pixel_iou"] == pytest.approx((80 / 300 + 1 + 0) / 3)
    assert scores["pixel_iou_pooled"] == pytest.approx(180 / 500)
    assert (scores["iou_threshold"], scores["min_area_px"], scores["bootstrap_samples"]) == (0.5, 20, 200)


def test_tiles_table_adds_up_to_the_scores(scene):
    scores = scene.score()
    tiles = pd.read_parquet(scene.folder / "tiles.parquet")
    assert tiles.columns.tolist() == [
        *["tile_id", "tp", "fp", "fn", "f1", "pixel_intersection", "pixel_union", "pixel_iou"]
    ]
    assert tiles["tile_id"].tolist() == list(TRUTH)
    assert [int(tiles[key].sum()) for key in ("tp", "fp", "fn")] == [scores[key] for key in ("tp", "fp", "fn")]
    assert tiles["pixel_union"].tolist() == [300, 0, 100, 100]
    assert tiles[["f1", "pixel_iou"]].isna().to_numpy().tolist() == [[False] * 2, [True] * 2, [False] * 2, [False] * 2]


def test_buildings_table_lists_what_was_counted(scene):
    scores = scene.score()
    buildings = pd.read_parquet(scene.folder / "buildings.parquet")
    truth, proposals = (buildings[buildings["kind"] == kind] for kind in ("truth", "proposal"))
    assert len(truth) == scores["tp"] + scores["fn"]
    assert len(proposals) == scores["tp"] + scores["fp"]
    assert truth["matched"].sum() == proposals["matched"].sum() == scores["tp"]
    first = truth.set_index(["tile_id", "building_id"]).loc[("s_tile_1", 1)]
    assert (first["area_px"], first["height_m"], first["matched"]) == (100, 3.0, True)
    assert first["iou"] == pytest.approx(0.8)
    assert proposals["confidence"].tolist() == [1.0] * 4
    assert proposals["height_m"].isna().all()


def test_perfect_predictions_score_one(tmp_path):
    scores = write_scene(tmp_path, TRUTH, TRUTH).score()
    assert [scores[key] for key in ("f1", "f1_macro", "pixel_iou", "pixel_iou_pooled", "precision", "recall")] == [
        1
    ] * 6


def test_nothing_to_find_and_nothing_found_is_undefined_rather_than_good_or_bad(tmp_path):
    scores = write_scene(tmp_path, {"s_tile_1": []}, {"s_tile_1": []}).score()
    assert scores["f1"] == 0  # as solaris has it
    assert [scores[key] for key in ("f1_macro", "pixel_iou", "pixel_iou_pooled")] == [None] * 3


def test_test_tile_without_truth_is_refused(scene):
    rows = pd.read_csv(scene.folder / "truth.csv")
    rows[rows["ImageId"] != "s_tile_2"].to_csv(scene.folder / "truth.csv", index=False)
    with pytest.raises(UserError, match=r"truth\.csv: 1 of 4 test tiles have no row.*s_tile_2"):
        scene.score()
    assert not (scene.folder / "scores.json").exists()


def test_submission_of_other_tiles_is_refused(scene):
    rows = pd.read_csv(scene.folder / "submission.csv")
    strange = pd.concat([rows, rows.tail(1).assign(ImageId="s_tile_8")])
    strange.to_csv(scene.folder / "submission.csv", index=False)
    with pytest.raises(UserError, match="not in the test set, the first is s_tile_8"):
        scene.score()
    rows[rows["ImageId"] != "s_tile_3"].to_csv(scene.folder / "submission.csv", index=False)
    with pytest.raises(UserError, match=r"submission\.csv: 1 of 4 test tiles have no row.*s_tile_3"):
        scene.score()


def test_split_without_test_tiles_is_refused(scene):

    np.save(scene.folder / "probabilities.npy", np.zeros((0, 2, 48, 48), np.float16))
    described = json.loads((scene.folder / "probabilities.json").read_text()) | {"tile_ids": []}
    (scene.folder / "probabilities.json").write_text(json.dumps(described))
    with pytest.raises(UserError, match="no test tiles"):
        scene.score()
