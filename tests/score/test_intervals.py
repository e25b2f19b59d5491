"""Every interval of scores.json, recomputed from the tables beside it: one resample after the other, sums by hand."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from shapely import affinity, box

from tests.score.scene import Scene, write_scene

SAMPLES = 60
AREA_EDGES_M2, HEIGHT_EDGES_M = (10, 40), (4,)


@pytest.fixture(scope="module")
def city(tmp_path_factory) -> Scene:
    """Tiles with buildings found well, badly, twice or not at all; one is empty, one has proposals alone."""
    random = np.random.default_rng(3)
    truth, predicted = {}, {}
    for number in range(14):
        tile = f"s_tile_{number:02}"
        here = [box(x, y, x + size, y + size) for x in (1, 17, 33) for y, size in ((1, 13), (17, 9), (33, 6))]
        truth[tile] = [shape for shape in here if random.random() < 0.7]
        moved = [affinity.translate(shape, *random.uniform(-3, 3, 2)) for shape in here]
        predicted[tile] = [shape for shape in moved if random.random() < 0.8]
    truth["s_tile_03"] = predicted["s_tile_03"] = truth["s_tile_05"] = predicted["s_tile_07"] = []
    return write_scene(tmp_path_factory.mktemp("city"), truth, predicted)


def draws(units: list) -> list[dict]:
    """How often each unit is drawn, in each resample: whole draws with replacement, units in their sorted order."""
    names = sorted(set(units))
    random = np.random.default_rng(0)
    drawn = random.multinomial(len(names), [1 / len(names)] * len(names), SAMPLES)
    return [dict(zip(names, row.tolist(), strict=True)) for row in drawn]


def over(numerator: float, denominator: float, nothing: float = math.nan) -> float:
    return numerator / denominator if denominator else nothing


def scores_of(tiles: list, buildings: dict, times: dict) -> dict[str, float]:
    """All scores of a resample: of each tile as often as its block was drawn."""
    sums = dict.fromkeys(["tp", "fp", "fn", "iou", "fit", "both", "either"], 0.0)
    hits = dict.fromkeys(range(50, 100, 5), 0.0)
    means: dict[str, list[float]] = {"precision": [], "recall": [], "f1": [], "pixel_iou": []}
    for tile in tiles:
        for _ in range(times[tile.block]):
            rows = buildings[tile.tile_id]
            tp = sum(row.matched for row in rows if row.kind == "truth")
            fp = sum(not row.matched for row in rows if row.kind == "proposal")
            fn = sum(not row.matched for row in rows if row.kind == "truth")
            for name, value in (("tp", tp), ("fp", fp), ("fn", fn)):
                sums[name] += value
            sums["iou"] += sum(row.iou for row in rows if row.kind == "truth" and row.matched)
            sums["fit"] += sum(row.boundary_iou for row in rows if row.kind == "truth" and row.matched)
            sums["both"] += tile.pixel_intersection
            sums["either"] += tile.pixel_union
            for percent in hits:
                hits[percent] += getattr(tile, f"tp_{percent}")
            for name, value in (
                ("precision", over(tp, tp + fp)),
                ("recall", over(tp, tp + fn)),
                ("f1", over(2 * tp, 2 * tp + fp + fn)),
                ("pixel_iou", over(tile.pixel_intersection, tile.pixel_union)),
            ):
                if not math.isnan(value):
                    means[name].append(value)
    tp, fp, fn = sums["tp"], sums["fp"], sums["fn"]
    found = {
        "precision": over(tp, tp + fp, 0),
        "recall": over(tp, tp + fn, 0),
        "f1": over(2 * tp, 2 * tp + fp + fn, 0),
        "matched_iou": over(sums["iou"], tp),
        "boundary_iou": over(sums["fit"], tp),
        "pixel_iou": over(sum(means["pixel_iou"]), len(means["pixel_iou"])),
        "pixel_iou_pooled": over(sums["both"], sums["either"]),
        **{f"{name}_macro": over(sum(means[name]), len(means[name])) for name in ("precision", "recall", "f1")},
        **{f"f1_at_{percent / 100:.2f}": over(2 * hits[percent], 2 * tp + fp + fn, 0) for percent in hits},
    }
    return found | {"f1_at_iou_mean": sum(found[f"f1_at_{percent / 100:.2f}"] for percent in hits) / len(hits)}


def bounds(values: list[float]) -> list[float]:
    return np.quantile([value for value in values if not math.isnan(value)], [0.025, 0.975]).tolist()


@pytest.fixture(scope="module", params=[None, 250], ids=["tiles", "blocks"])
def scored(request, city):
    """scores.json, the rows of tiles.parquet, and those of buildings.parquet by tile."""
    scores = city.score(block_m=request.param, bootstrap_samples=SAMPLES)
    tiles = list(pd.read_parquet(city.folder / "tiles.parquet").itertuples())
    assert len({tile.block for tile in tiles}) == (14 if request.param is None else scores["bootstrap_units"])
    table = pd.read_parquet(city.folder / "buildings.parquet")
    return scores, tiles, {tile.tile_id: list(table[table["tile_id"] == tile.tile_id].itertuples()) for tile in tiles}


def test_intervals_of_all_scores(scored):
    scores, tiles, buildings = scored
    resamples = [scores_of(tiles, buildings, times) for times in draws([tile.block for tile in tiles])]
    assert scores["intervals"].keys() == resamples[0].keys()
    for name, interval in scores["intervals"].items():
        assert interval == pytest.approx(bounds([each[name] for each in resamples]), abs=1e-12), name
        assert interval[0] < interval[1] or name in ("f1_at_0.90", "f1_at_0.95"), name  # nothing fits so well
    assert [scores["f1_low"], scores["f1_high"]] == scores["intervals"]["f1"]


@pytest.mark.parametrize(
    ("key", "column", "edges"),
    [("recall_by_area_m2", "area_m2", AREA_EDGES_M2), ("recall_by_height_m", "height_m", HEIGHT_EDGES_M)],
)
def test_intervals_of_recall_in_bins(scored, key, column, edges):
    scores, tiles, buildings = scored
    limits = [-math.inf, *edges, math.inf]
    for number, row in enumerate(scores[key]):
        drawn = []
        for times in draws([tile.block for tile in tiles]):
            there = found = 0
            for tile in tiles:
                for each in buildings[tile.tile_id]:
                    if each.kind == "truth" and limits[number] <= getattr(each, column) < limits[number + 1]:
                        there += times[tile.block]
                        found += times[tile.block] * each.matched
            drawn.append(over(found, there))
        assert [row["recall_low"], row["recall_high"]] == pytest.approx(bounds(drawn), abs=1e-12), row


@pytest.mark.parametrize("column", ["orientation", "strip"])
def test_intervals_of_the_tiles_that_share_a_property(scored, column):
    scores, tiles, buildings = scored
    for row in scores[f"by_{column}"]:
        mine = [tile for tile in tiles if getattr(tile, column) == row[column]]
        drawn = [scores_of(mine, buildings, times) for times in draws([tile.block for tile in mine])]
        for name in ("precision", "recall", "f1"):
            expected = bounds([each[name] for each in drawn])
            assert [row[f"{name}_low"], row[f"{name}_high"]] == pytest.approx(expected, abs=1e-12), (row, name)
        assert row["bootstrap_units"] == len({tile.block for tile in mine})
