"""Footprints as a page draws them."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest
import shapely
from shapely.geometry import MultiPolygon, Polygon, box

from sspipe.errors import UserError
from sspipe.report import outlines
from sspipe.score.outcome import building_table, match_and_measure


def as_polygons(path: str, size_px: int) -> list[np.ndarray]:
    """Reads a path back: the corners of each ring, tile pixels."""
    rings = []
    for start, steps in re.findall(r"M([-\d ]+)l([-\d ]+)z", path):
        first = np.array([int(value) for value in start.split()])
        moves = np.array([int(value) for value in re.findall(r"-?\d+", steps)]).reshape(-1, 2)
        rings.append(np.vstack([first, first + np.cumsum(moves, axis=0)]) * size_px / outlines.SIDE_UNITS)
    return rings


def shapes(*geometries) -> np.ndarray:
    return np.array(geometries, dtype=object)


@pytest.mark.parametrize("size_px", [64, 225, 900])
def test_a_path_is_within_half_a_pixel_of_the_outline(size_px):
    rng = np.random.default_rng(size_px)
    corners = rng.uniform(0, size_px, (12, 2))
    hull = shapely.convex_hull(shapely.multipoints(corners))
    (ring,) = as_polygons(outlines.svg_path([hull], size_px), size_px)
    assert shapely.hausdorff_distance(Polygon(ring).exterior, hull.exterior) < 0.5
    assert Polygon(ring).area == pytest.approx(hull.area, rel=0.01)


def test_holes_turn_against_their_outline_so_that_they_stay_empty():
    ring = Polygon([(10, 10), (60, 10), (60, 60), (10, 60)], [[(20, 20), (40, 20), (40, 40), (20, 40)]])
    outer, inner = (Polygon(part).exterior.is_ccw for part in as_polygons(outlines.svg_path([ring], 100), 100))
    assert outer != inner


def test_parts_are_drawn_one_by_one_and_nothing_is_drawn_of_nothing():
    both = MultiPolygon([box(0, 0, 5, 5), box(20, 20, 30, 30)])
    assert len(as_polygons(outlines.svg_path([both, box(50, 50, 60, 60)], 100), 100)) == 3
    assert outlines.svg_path([], 100) == ""
    assert outlines.svg_path([Polygon()], 100) == ""
    assert outlines.svg_path([box(5, 5, 5.001, 5.001)], 100) == ""  # smaller than a unit


def scene() -> tuple[pd.DataFrame, pd.DataFrame]:
    """One tile: two buildings with the same id, a shed, two proposals (one right), and a speck."""
    truth = pd.DataFrame(
        {
            "image_id": "a",
            "building_id": [7, 5, 7],
            "geometry": [box(0, 0, 20, 20), box(40, 40, 43, 43), box(60, 60, 80, 80)],
            "confidence": -np.inf,
            "height_m": 3.0,
        }
    )
    proposals = pd.DataFrame(
        {
            "image_id": "a",
            "building_id": [1, 2, 3],
            "geometry": [box(60, 60, 80, 78), box(30, 0, 50, 20), box(90, 90, 92, 92)],
            "confidence": [0.9, 0.8, 0.7],
            "height_m": np.nan,
        }
    )
    return truth, proposals


def test_outlines_are_sorted_exactly_as_the_score_counts():
    truth, proposals = scene()
    outcome = match_and_measure(truth, proposals, iou_threshold=0.5, min_area_px=80)
    table = building_table(outcome, truth, proposals)
    tile = outlines.truth_of(truth["geometry"].to_numpy(dtype=object), 80)
    assert list(tile.scored) == [truth["geometry"][0], truth["geometry"][2]]
    assert list(tile.unscored) == [truth["geometry"][1]]
    judged = outlines.judged(tile, proposals, table, "a run")
    assert list(judged.found) == [proposals["geometry"][0]]
    assert list(judged.false) == [proposals["geometry"][1]]
    # Both buildings have the id 7: the order of the file tells them apart.
    assert list(judged.missed) == [truth["geometry"][0]]
    assert list(judged.unscored) == [proposals["geometry"][2]]
    assert judged.counts() == tuple(outcome.matching.images[["tp", "fp", "fn"]].iloc[0])


def test_a_run_without_footprints_misses_every_building():
    truth, proposals = scene()
    none = proposals.iloc[:0]
    table = building_table(match_and_measure(truth, none, iou_threshold=0.5, min_area_px=80), truth, none)
    judged = outlines.judged(outlines.truth_of(truth["geometry"].to_numpy(object), 80), none, table, "a run")
    assert judged.counts() == (0, 0, 2)


def test_a_tile_without_buildings_has_none():
    judged = outlines.judged(
        outlines.truth_of(shapes(Polygon()), 80),
        pd.DataFrame({"building_id": [], "geometry": []}),
        pd.DataFrame({"kind": [], "building_id": [], "matched": []}),
        "a run",
    )
    assert judged.counts() == (0, 0, 0)


def test_scores_of_other_buildings_are_refused():
    truth, proposals = scene()
    table = building_table(match_and_measure(truth, proposals, iou_threshold=0.5, min_area_px=80), truth, proposals)
    tile = outlines.truth_of(truth["geometry"].to_numpy(object), 80)
    with pytest.raises(UserError, match=r"a run: .* counted 2 buildings on a tile where the truth has 1"):
        outlines.judged(outlines.Truth(tile.scored[:1], tile.unscored), proposals, table, "a run")
    with pytest.raises(UserError, match="counted other footprints than"):
        outlines.judged(tile, proposals.iloc[1:], table, "a run")
