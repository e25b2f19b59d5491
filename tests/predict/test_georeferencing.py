"""A footprint drawn, turned, padded, predicted perfectly and extracted comes back where it was, at any pixel size."""

from __future__ import annotations

import json

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from sspipe.data.spacenet6 import EO, PAN, PS_RGB, RGBNIR, SAR, pixel_size_m
from sspipe.pack.masks import tile_masks
from sspipe.pack.orientation import orient, restore
from sspipe.predict.instances import tile_polygons
from sspipe.predict.polygons import extract_polygons

SIZE, PADDED = 100, 128
SETTINGS = {"interior_threshold": 0.5, "border_threshold": 0.5, "min_area_px": 10, "simplify_px": 0}
# Of every raster product of SpaceNet 6, whose pixels differ a little; and of another resolution.
PIXEL_SIZES_M = sorted({pixel_size_m(product, 0.5) for product in (SAR, EO, PS_RGB, PAN, RGBNIR)} | {0.25})

corners = st.tuples(st.floats(590_000, 598_000), st.floats(5_745_000, 5_755_000))
turns = st.tuples(st.sampled_from([0, 1]), st.sampled_from(["rotate180", "flipud", "none"]))
pixel_sizes = st.sampled_from(PIXEL_SIZES_M)


def there_and_back(buildings, corner, turn, pixel_m, border_px=2.0) -> np.ndarray:
    """(2, S, S) float16: what a perfect network predicts of footprints on the map, back in the tile's own grid."""
    masks = tile_masks(buildings, *corner, pixel_m, SIZE, border_px)
    padded = np.zeros((2, PADDED, PADDED), np.float16)
    padded[:, :SIZE, :SIZE] = orient(masks, *turn)
    return restore(padded, *turn, SIZE)


def on_the_map(shape_px, corner, pixel_m):
    return shapely.transform(shape_px, lambda points: corner + points * (pixel_m, -pixel_m))


def extracted(folder, predicted, corner, pixel_m) -> gpd.GeoDataFrame:
    """Runs the stage on one tile."""
    place = {"tile_id": ["t"], "easting_m": [corner[0]], "northing_m": [corner[1]], "pixel_m": [pixel_m]}
    pd.DataFrame({**place, "size_px": [SIZE], "epsg": 32631}).to_parquet(folder / "catalog.parquet")
    np.save(folder / "probabilities.npy", predicted[None])
    (folder / "probabilities.json").write_text(json.dumps({"tile_ids": ["t"]}))
    (folder / "polygons.json").write_text(json.dumps({"choice": SETTINGS}))
    extract_polygons(
        probabilities=folder / "probabilities.npy",
        catalog=folder / "catalog.parquet",
        settings=folder / "polygons.json",
        out_parquet=folder / "polygons.parquet",
        out_gpkg=folder / "polygons.gpkg",
        out_submission=folder / "submission.csv",
    )
    return gpd.read_parquet(folder / "polygons.parquet")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("tile")


edges = st.floats(3, 60), st.floats(3, 60), st.floats(8, 35), st.floats(8, 35)


@settings(max_examples=40, deadline=None)
@given(*edges, corners, turns, pixel_sizes)
def test_a_footprint_comes_back_within_half_a_pixel(folder, left, top, width, height, corner, turn, pixel_m):
    true = on_the_map(shapely.box(left, top, left + width, top + height), corner, pixel_m)
    found = extracted(folder, there_and_back([true], corner, turn, pixel_m), corner, pixel_m)
    assert len(found) == 1
    off_px = (np.array(found.total_bounds) - true.bounds) / pixel_m
    assert np.abs(off_px).max() <= 0.5 + 1e-6


@settings(max_examples=40, deadline=None)
@given(st.floats(0, 90), st.floats(12, 40), st.floats(12, 40), corners, turns, pixel_sizes)
def test_a_tilted_footprint_is_off_by_no_more_than_the_stairs_of_its_pixels(
    angle, length, width, corner, turn, pixel_m
):
    shape = shapely.affinity.rotate(
        shapely.box(50 - length / 2, 50 - width / 2, 50 + length / 2, 50 + width / 2), angle
    )
    predicted = there_and_back([on_the_map(shape, corner, pixel_m)], corner, turn, pixel_m)
    (found,) = tile_polygons(*predicted, **SETTINGS).geometry
    # Every corner of the stairs is one of a pixel whose centre is within half a pixel's diagonal.
    distance = shapely.distance(shapely.points(found.exterior.coords), shape.exterior)
    assert distance.max() <= np.sqrt(0.5) + 1e-6
    # Just half a pixel where opposite edges go through pixel centres: one side's pixels are in, the other's are not.
    moved = np.abs(np.subtract(found.centroid.coords[0], shape.centroid.coords[0]))
    assert moved.max() <= 0.5 + 1e-6


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 5), st.floats(10, 14), st.floats(12, 30), st.floats(-40, 40), turns)
def test_a_terrace_of_touching_houses_comes_out_house_by_house(count, width, depth, angle, turn):
    row = [shapely.box(width * number, 0, width * (number + 1), depth) for number in range(count)]
    middle = shapely.union_all(row).centroid
    houses = [
        shapely.affinity.translate(shapely.affinity.rotate(house, angle, origin=middle), 50 - middle.x, 50 - middle.y)
        for house in row
    ]
    corner = (594_000.0, 5_750_000.0)
    predicted = there_and_back([on_the_map(house, corner, 0.5) for house in houses], corner, turn, 0.5)
    found = tile_polygons(*predicted, **SETTINGS).geometry
    assert len(found) == count
    for house in houses:
        overlap = shapely.area(shapely.intersection(found, house)) / shapely.area(shapely.union(found, house))
        assert overlap.max() > 0.7
    assert shapely.union_all(found).area == shapely.area(found).sum()  # none lies on another


@settings(max_examples=30, deadline=None)
@given(st.floats(8, 20), st.floats(8, 20), st.floats(-40, 40), turns, st.sampled_from([0.0, 1.0]))
def test_a_courtyard_survives_turning_and_simplifying(width, height, angle, turn, simplify_px):
    yard = shapely.box(50 - width / 2, 50 - height / 2, 50 + width / 2, 50 + height / 2)
    building = shapely.affinity.rotate(yard.buffer(14, join_style="mitre").difference(yard), angle, origin=(50, 50))
    corner = (594_000.0, 5_750_000.0)
    predicted = there_and_back([on_the_map(building, corner, 0.5)], corner, turn, 0.5)
    (found,) = tile_polygons(*predicted, **{**SETTINGS, "simplify_px": simplify_px}).geometry
    assert len(found.interiors) == 1
    hole = shapely.Polygon(found.interiors[0])
    assert hole.area == pytest.approx(width * height, rel=0.25)
    assert found.intersection(building).area / found.union(building).area > 0.9


@settings(max_examples=30, deadline=None)
@given(st.floats(-8, 95), st.floats(-8, 95), turns)
def test_a_building_cut_by_the_tile_is_kept_and_flagged(left, top, turn):
    building = shapely.box(left, top, left + 15, top + 15)
    seen = building.intersection(shapely.box(0, 0, SIZE, SIZE))
    corner = (594_000.0, 5_750_000.0)
    found = tile_polygons(*there_and_back([on_the_map(building, corner, 0.5)], corner, turn, 0.5), **SETTINGS)
    assume(min(np.ptp(np.reshape(seen.bounds, (2, 2)), axis=0)) >= 5)  # of a sliver little or nothing is left
    assert len(found.geometry) == 1
    west, north, east, south = found.geometry[0].bounds
    assert bool(found.at_tile_edge[0]) == (west == 0 or north == 0 or east == SIZE or south == SIZE)
    if not building.within(shapely.box(-0.5, -0.5, SIZE + 0.5, SIZE + 0.5)):
        assert found.at_tile_edge[0]
