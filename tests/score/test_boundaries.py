"""Boundary IoU: what outlines alone make of it."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely import box

from sspipe.score import boundaries
from sspipe.score.boundaries import boundary_iou


def one(first, second, width_px: float = 1.0) -> float:
    return float(boundary_iou(np.array([first]), np.array([second]), width_px)[0])


def test_the_same_outline_scores_one_and_one_elsewhere_nothing():
    house = box(0, 0, 10, 6)
    assert one(house, house) == 1
    assert one(house, box(20, 0, 30, 6)) == 0
    assert one(house.buffer(5), house.buffer(1).buffer(-1)) == 0  # bands 1 px wide, 5 px apart


def test_a_hole_has_an_outline_too():
    # Its corners are rounded: outside a corner, the nearest of the outline is the corner.
    around = 20 - 4 + np.pi
    assert one(box(0, 0, 20, 20).difference(box(8, 8, 12, 12)), box(0, 0, 20, 20)) == pytest.approx(
        76 / (76 + around), abs=1e-3
    )


def test_a_shift_costs_a_large_building_as_much_as_a_small_one():
    def shifted(size: float) -> tuple[float, float]:
        a, b = box(0, 0, size, size), box(1, 0, size + 1, size)
        return one(a, b, 2), a.intersection(b).area / a.union(b).area

    (small, small_iou), (large, large_iou) = shifted(20), shifted(200)
    assert large_iou - small_iou > 0.08
    assert abs(large - small) < 0.04


def test_a_building_narrower_than_the_band_is_all_band():
    a, b = box(0, 0, 3, 30), box(1, 0, 4, 30)
    assert one(a, b, 2) == pytest.approx(a.intersection(b).area / a.union(b).area)


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.5, 5))
def test_it_is_symmetric_and_the_iou_of_bands_drawn_in_pixels(seed, width_px):
    random = np.random.default_rng(seed)
    hulls = [shapely.MultiPoint(random.uniform(0, 40, (6, 2))).convex_hull for _ in range(2)]
    found = one(*hulls, width_px)
    assert found == pytest.approx(one(*hulls[::-1], width_px))
    x, y = (axis.ravel() for axis in np.meshgrid(np.arange(0.2, 40, 0.4), np.arange(0.2, 40, 0.4)))
    points = shapely.points(x, y)
    bands = [shapely.contains_xy(hull, x, y) & (shapely.distance(hull.exterior, points) < width_px) for hull in hulls]
    drawn = (bands[0] & bands[1]).sum() / (bands[0] | bands[1]).sum()
    assert found == pytest.approx(drawn, abs=0.05)


def test_parts_make_no_difference(monkeypatch):
    shapes = np.array([box(0, 0, n + 2, 9) for n in range(7)])
    whole = boundary_iou(shapes, shapes[::-1], 1)
    monkeypatch.setattr(boundaries, "PAIRS_AT_ONCE", 3)
    np.testing.assert_array_equal(boundary_iou(shapes, shapes[::-1], 1), whole)
