"""Which test tiles the report shows."""

from __future__ import annotations

import geopandas as gpd
import numpy as np
import pandas as pd
from hypothesis import given
from hypothesis import strategies as st
from shapely.geometry import Polygon, box

from sspipe.report import choice


def tiles(counts: list[int], no_data: float = 0.0) -> pd.DataFrame:
    names = [f"tile_{place:02d}" for place in range(len(counts))]
    return pd.DataFrame({"tile_id": names, "building_count": counts, "sar_no_data_fraction": no_data})


def scores(table: pd.DataFrame, f1: list[float], tp: int | list[int] = 5) -> pd.DataFrame:
    return pd.DataFrame({"tile_id": table["tile_id"], "f1": f1, "tp": tp, "fp": 2, "fn": 3})


def buildings(shapes: dict[str, list[Polygon]]) -> gpd.GeoDataFrame:
    rows = [(name, shape.area, shape) for name, group in shapes.items() for shape in group]
    return gpd.GeoDataFrame(
        pd.DataFrame(rows, columns=["tile_id", "area_m2", "geometry"]), geometry="geometry", crs=None
    )


def plain(table: pd.DataFrame) -> gpd.GeoDataFrame:
    """On every tile as many squares as it counts, all alike."""
    return buildings(
        {row.tile_id: [box(0, 0, 10, 10)] * row.building_count for row in table.itertuples() if row.building_count}
    )


def test_each_rule_finds_its_tile_and_says_why():
    table = tiles([4] * 12)
    f1, base = [0.5] * 12, [0.4] * 12
    f1[2], f1[3], base[4] = 0.9, 0.1, 0.05
    base[2] = 0.9
    shapes = {name: [box(0, 0, 10, 10)] * 4 for name in table["tile_id"]}
    shapes["tile_05"] = [box(0, 0, 3, 4)] * 4
    # An L of 84 m²: smaller than the plain hall on tile 7, but far from any rectangle.
    shapes["tile_06"] = [Polygon([(0, 0), (40, 0), (40, 5), (5, 5), (5, 40), (0, 40)]), *shapes["tile_06"][1:]]
    shapes["tile_07"] = [box(0, 0, 40, 20), *shapes["tile_07"][1:]]
    chosen = choice.choose_tiles(
        table, scores(table, f1), scores(table, base), buildings(shapes), 8, "The best", "The base"
    )
    found = dict(zip(chosen["group"], chosen["tile_id"], strict=True))
    expected = {
        choice.BEST: "tile_02",
        choice.WORST: "tile_03",
        choice.IMPROVED: "tile_04",
        choice.SMALL: "tile_05",
        choice.COMPLEX: "tile_06",
    }
    assert {group: found[group] for group in expected} == expected
    assert list(chosen["group"][:5]) == list(choice.GROUPS[:5])
    reasons = dict(zip(chosen["group"], chosen["reason"], strict=True))
    assert reasons[choice.BEST] == "best F1 of “The best”: 0.90"
    assert reasons[choice.IMPROVED] == "most improved over “The base”: F1 +0.45 with “The best”"
    assert reasons[choice.SMALL] == "small buildings: 12 m² in the median of 4"
    assert reasons[choice.COMPLEX] == "large complex buildings: one of 375 m² with 6 corners"
    assert (chosen["group"] == choice.SPREAD).sum() == 3


def test_a_tile_of_several_rules_is_shown_once_with_every_reason():
    table = tiles([4] * 6)
    f1 = [0.5, 0.9, 0.5, 0.5, 0.1, 0.5]
    base = [0.5, 0.2, 0.5, 0.5, 0.5, 0.5]
    chosen = choice.choose_tiles(table, scores(table, f1), scores(table, base), plain(table), 4)
    top = chosen[chosen["tile_id"] == "tile_01"].iloc[0]
    assert top["group"] == choice.BEST
    assert top["reason"].startswith("best F1 of") and "; most improved over" in top["reason"]


def test_of_equally_good_tiles_the_one_with_more_buildings_is_best():
    table = tiles([2, 30, 5])
    chosen = choice.choose_tiles(table, scores(table, [1.0, 1.0, 0.2], tp=[2, 30, 1]), None, plain(table), 3)
    assert chosen.loc[chosen["group"] == choice.BEST, "tile_id"].item() == "tile_01"


def test_nothing_is_called_improved_where_nothing_rises():
    table = tiles([4] * 5)
    same = scores(table, [0.5] * 5)
    assert choice.IMPROVED not in set(choice.choose_tiles(table, same, same, plain(table), 5)["group"])


def test_the_rest_is_spread_over_building_counts():
    table = tiles(list(range(1, 21)))
    chosen = choice.choose_tiles(table, scores(table, [float("nan")] * 20), None, buildings({}), 3)
    assert list(chosen["tile_id"]) == ["tile_03", "tile_10", "tile_16"]
    assert chosen["reason"].iloc[0] == "1 of 3 by building count: 4 buildings of any size"


def test_empty_tiles_and_tiles_outside_the_swath_are_left_out_while_there_are_others():
    table = tiles([0, 5, 9])
    table.loc[2, "sar_no_data_fraction"] = 0.8
    chosen = choice.choose_tiles(table, scores(table, [1.0, 0.5, 0.2]), None, plain(table), 3)
    assert list(chosen["tile_id"]) == ["tile_01"]
    empty = tiles([0, 0])
    assert len(choice.choose_tiles(empty, scores(empty, [1.0, 1.0]), None, buildings({}), 3)) == 2


@given(st.lists(st.integers(0, 60), min_size=1, max_size=30), st.integers(1, 40), st.randoms())
def test_no_tile_is_shown_twice_and_none_is_invented(counts, wanted, random):
    table = tiles(counts)
    judge = scores(table, [random.random() for _ in counts])
    base = scores(table, [random.choice([0.5, np.nan]) for _ in counts])
    chosen = choice.choose_tiles(table, judge, base, plain(table) if sum(counts) else buildings({}), wanted)
    pool = sum(count > 0 for count in counts) or len(counts)
    assert len(chosen) == min(wanted, pool)
    assert chosen["tile_id"].is_unique
    assert set(chosen["tile_id"]) <= set(table["tile_id"])
    assert set(chosen["group"]) <= set(choice.GROUPS)
    if wanted > 1 and pool > 5:
        assert choice.SPREAD in set(chosen["group"])
