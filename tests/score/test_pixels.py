"""Pixel IoU by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from shapely import Polygon, box

from sspipe.predict.polygons import tile_transform
from sspipe.score.measures import ratios, score
from sspipe.score.pixels import building_mask, pixel_overlap, tile_iou


def test_footprint_is_burnt_where_it_lies_on_the_map():
    transform = tile_transform(1000.0, 2000.0, 0.5)
    mask = building_mask([box(1001, 1996, 1003, 1999), Polygon()], transform, 20)
    expected = np.zeros((20, 20), bool)
    expected[2:8, 2:6] = True  # rows from the top, columns from the west
    np.testing.assert_array_equal(mask, expected)


def test_tile_without_footprints_is_all_false():
    assert not building_mask([], tile_transform(0, 0, 1), 4).any()


def test_overlap_counts_pixels():
    predicted, truth = np.zeros((2, 4, 4), bool)
    predicted[0], truth[:, 0] = True, True
    assert pixel_overlap(predicted, truth) == (1, 7)


def summed(name, intersection, union):
    tiles = pd.DataFrame({"tp": 0, "fp": 0, "fn": 0, "pixel_intersection": intersection, "pixel_union": union})
    return score(name, *(part.sum() for part in ratios(tiles)[name]))


def test_mean_of_tiles_and_pooled_pixels_are_not_the_same():
    intersection, union = np.array([1, 90]), np.array([10, 100])
    assert summed("pixel_iou", intersection, union) == pytest.approx(0.5)
    assert summed("pixel_iou_pooled", intersection, union) == pytest.approx(91 / 110)


def test_tiles_with_an_empty_union_are_left_out_of_the_mean():
    intersection, union = np.array([5, 0, 0]), np.array([10, 0, 3])
    assert np.isnan(tile_iou(intersection, union)).tolist() == [False, True, False]
    assert summed("pixel_iou", intersection, union) == pytest.approx(0.25)
    assert summed("pixel_iou", np.array([0]), np.array([0])) is None
    assert summed("pixel_iou_pooled", np.array([0]), np.array([0])) is None
