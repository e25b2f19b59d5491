"""The scoring stage, from files to files."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from shapely import affinity, box

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
        *["tile_id", "strip", "orientation", "block", "tp", "fp", "fn", "f1", "matched_iou_sum", "boundary_iou_sum"],
        *[f"tp_{percent}" for percent in range(50, 100, 5)],
        *["pixel_intersection", "pixel_union", "pixel_iou"],
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
    assert (first["area_m2"], first["partner_id"]) == (25, 1)
    assert first["boundary_iou"] == pytest.approx(24 / (36 + 32 - 24))
    assert truth[~truth["matched"]][["partner_id", "boundary_iou"]].isna().all(axis=None)
    assert proposals["confidence"].tolist() == [1.0] * 4
    assert proposals["height_m"].isna().all()


@pytest.fixture
def city(tmp_path) -> Scene:
    """A dozen tiles in two blocks, with buildings found well, badly, twice or not at all."""
    random = np.random.default_rng(3)
    truth, predicted = {}, {}
    for number in range(12):
        tile = f"s_tile_{number}"
        here = [box(x, y, x + size, y + size) for x in (1, 17, 33) for y, size in ((1, 13), (17, 9), (33, 6))]
        truth[tile] = [shape for shape in here if random.random() < 0.7]
        moved = [affinity.translate(shape, *random.uniform(-3, 3, 2)) for shape in here]
        predicted[tile] = [shape for shape in moved if random.random() < 0.8]
    truth["s_tile_0"] = predicted["s_tile_0"] = []
    return write_scene(tmp_path, truth, predicted)


@pytest.mark.parametrize("block_m", [None, 250])
def test_every_number_follows_from_the_two_tables(city, block_m):
    scores = city.score(block_m=block_m)
    tiles = pd.read_parquet(city.folder / "tiles.parquet").set_index("tile_id")
    buildings = pd.read_parquet(city.folder / "buildings.parquet")
    truth, proposals = (buildings[buildings["kind"] == kind] for kind in ("truth", "proposal"))

    def counted(rows):
        return rows.groupby("tile_id").size().reindex(tiles.index, fill_value=0)

    tp, fp = counted(proposals[proposals["matched"]]), counted(proposals[~proposals["matched"]])
    fn = counted(truth[~truth["matched"]])
    pairs = truth[truth["matched"]]
    expected = {
        "tiles": len(tiles),
        "tp": tp.sum(),
        "fp": fp.sum(),
        "fn": fn.sum(),
        "precision": tp.sum() / len(proposals),
        "recall": tp.sum() / len(truth),
        "f1": 2 * tp.sum() / len(buildings),
        "precision_macro": (tp / (tp + fp)).mean(),
        "recall_macro": (tp / (tp + fn)).mean(),
        "f1_macro": (2 * tp / (2 * tp + fp + fn)).mean(),
        "matched_iou": pairs["iou"].mean(),
        "boundary_iou": pairs["boundary_iou"].mean(),
        "pixel_iou": (tiles["pixel_intersection"] / tiles["pixel_union"]).mean(),
        "pixel_iou_pooled": tiles["pixel_intersection"].sum() / tiles["pixel_union"].sum(),
    }
    at = {f"{percent / 100:.2f}": 2 * tiles[f"tp_{percent}"].sum() / len(buildings) for percent in range(50, 100, 5)}
    assert scores["f1_at_iou"] == pytest.approx(at)
    expected["f1_at_iou_mean"] = np.mean(list(at.values()))
    expected["bootstrap_units"] = tiles["block"].nunique()
    for name, value in expected.items():
        assert scores[name] == pytest.approx(value), name
    assert scores["bootstrap_over"] == ("tiles" if block_m is None else "blocks")
    assert (expected["bootstrap_units"] == 12) == (block_m is None)
    assert 0 < expected["f1"] < 1 and at["0.50"] > at["0.75"] > 0

    random = np.random.default_rng(0)
    units = tiles["block"].unique()
    drawn = random.multinomial(len(units), np.full(len(units), 1 / len(units)), 4000)
    weights = pd.DataFrame(drawn.T, index=units).loc[tiles["block"]].to_numpy()
    spread = 2 * tp.to_numpy() @ weights / ((2 * tp + fp + fn).to_numpy() @ weights)
    np.testing.assert_allclose(scores["intervals"]["f1"], np.nanquantile(spread, [0.025, 0.975]), atol=0.03)
    assert [scores["f1_low"], scores["f1_high"]] == scores["intervals"]["f1"]

    for key, values, edges in (
        ("recall_by_area_m2", truth["area_px"] * 0.25, [0, 10, 40, np.inf]),
        ("recall_by_height_m", truth["height_m"], [0, 4, np.inf]),
    ):
        bins = pd.cut(values, edges, right=False)
        found = truth.groupby(bins, observed=False)["matched"].agg(["size", "sum", "mean"])
        assert [row["buildings"] for row in scores[key]] == found["size"].tolist()
        assert [row["matched"] for row in scores[key]] == found["sum"].tolist()
        assert [row["recall"] for row in scores[key]] == pytest.approx(found["mean"].tolist())
        assert all(row["recall_low"] <= row["recall"] <= row["recall_high"] for row in scores[key])
        assert (scores[key][0]["from"], scores[key][-1]["to"]) == (None, None)
    for key in ("orientation", "strip"):
        for row in scores[f"by_{key}"]:
            mine = tiles.index[tiles[key] == row[key]]
            assert [row[name] for name in ("tiles", "tp", "fp", "fn")] == [
                *(len(mine), tp[mine].sum(), fp[mine].sum(), fn[mine].sum())
            ]
            assert row["f1"] == pytest.approx(
                2 * tp[mine].sum() / (2 * tp[mine].sum() + fp[mine].sum() + fn[mine].sum())
            )
        assert sum(row["tiles"] for row in scores[f"by_{key}"]) == 12


def test_counts_at_a_threshold_are_those_of_a_score_with_that_threshold(city):
    at = city.score()["f1_at_iou"]
    for threshold in (0.5, 0.65, 0.8):
        assert city.score(iou_threshold=threshold)["f1"] == pytest.approx(at[f"{threshold:.2f}"])


def test_tiles_of_one_block_have_no_interval(city, capsys):
    scores = city.score(block_m=1e7)
    assert (
        "all test tiles are one of the blocks that are resampled, so no score has an interval"
        in capsys.readouterr().err
    )
    assert set(map(tuple, scores["intervals"].values())) == {(None, None)}
    assert scores["bootstrap_units"] == 1
    assert (scores["f1_low"], scores["f1_high"]) == (None, None)
    assert scores["recall_by_area_m2"][0]["recall_low"] is None


def test_buildings_of_unknown_height_have_a_bin_of_their_own(scene):
    rows = pd.read_csv(scene.folder / "truth.csv")
    rows.loc[0, "Mean_Building_Height"] = np.nan
    rows.to_csv(scene.folder / "truth.csv", index=False)
    last = scene.score()["recall_by_height_m"][-1]
    assert (last["from"], last["to"], last["buildings"], last["matched"]) == (None, None, 1, 1)


def test_perfect_predictions_score_one(tmp_path):
    scores = write_scene(tmp_path, TRUTH, TRUTH).score()
    assert [scores[key] for key in ("f1", "f1_macro", "pixel_iou", "pixel_iou_pooled", "precision", "recall")] == [
        1
    ] * 6


def test_nothing_to_find_and_nothing_found_is_undefined_rather_than_good_or_bad(tmp_path):
    scores = write_scene(tmp_path, {"s_tile_1": []}, {"s_tile_1": []}).score()
    assert scores["f1"] == 0  # as solaris has it
    undefined = ["f1_macro", "recall_macro", "pixel_iou", "pixel_iou_pooled", "matched_iou", "boundary_iou"]
    assert [scores[key] for key in undefined] == [None] * 6


def test_a_run_that_finds_nothing_misses_every_building(tmp_path):
    scores = write_scene(tmp_path, TRUTH, {tile: [] for tile in TRUTH}).score()
    assert [scores[key] for key in ("tp", "fp", "fn")] == [0, 0, 3]
    assert {scores[key] for key in ("f1", "precision", "recall", "pixel_iou")} == {0}
    assert [scores[key] for key in ("precision_macro", "matched_iou", "boundary_iou")] == [None] * 3
    assert scores["intervals"]["f1"] == [0, 0] and scores["intervals"]["matched_iou"] == [None, None]
    assert [row["recall"] for row in scores["recall_by_area_m2"]] == [None, 0, None]


def test_tiles_without_buildings_make_every_proposal_wrong(tmp_path):
    scores = write_scene(tmp_path, {tile: [] for tile in TRUTH}, PREDICTED).score()
    assert [scores[key] for key in ("tp", "fp", "fn", "f1", "pixel_iou")] == [0, 4, 0, 0, 0]
    assert [scores[key] for key in ("recall_macro", "matched_iou")] == [None, None]
    bins = [*scores["recall_by_area_m2"], *scores["recall_by_height_m"]]
    assert {(row["buildings"], row["recall"], row["recall_low"]) for row in bins} == {(0, None, None)}


def test_one_test_tile_is_scored(tmp_path):
    scores = write_scene(tmp_path, {"s_tile_1": TRUTH["s_tile_1"]}, {"s_tile_1": PREDICTED["s_tile_1"]}).score()
    assert [scores[key] for key in ("tiles", "tp", "fp", "fn", "f1_low")] == [1, 1, 1, 1, None]


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
