"""Footprints come back from masks where and as they were."""

from __future__ import annotations

import json
import sqlite3

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.features import rasterize

from sspipe.errors import UserError
from sspipe.predict.instances import at_least, find_instances, tile_polygons
from sspipe.predict.polygons import extract_polygons, tile_transform
from tests.predict.plain_instances import plain_polygons

SETTINGS = {"interior_threshold": 0.5, "border_threshold": 0.5, "min_area_px": 10, "simplify_px": 1.0}
SIZE = 64
CORNERS = {"a_tile_1": (594000.0, 5750000.0), "a_tile_2": (594100.5, 5750200.5), "b_tile_1": (595000.0, 5751000.0)}


def settings_file(folder):
    """SETTINGS as tune_polygons hands them on."""
    (folder / "polygons.json").write_text(json.dumps({"choice": SETTINGS}))
    return folder / "polygons.json"


def masks(*buildings, border_px: float = 2, size: int = SIZE) -> np.ndarray:
    """(2, size, size) float16: a perfect prediction of pixel polygons, interior and border."""

    def burnt(shapes) -> np.ndarray:
        shapes = [shape for shape in shapes if not shape.is_empty]
        return rasterize(shapes, (size, size), dtype=np.uint8) if shapes else np.zeros((size, size), np.uint8)

    return np.stack([burnt(buildings), burnt([b.boundary.buffer(border_px) for b in buildings])]).astype(np.float16)


def extract(*buildings, **changed):
    interior, border = masks(*buildings).astype(np.float32)
    return tile_polygons(interior, border, **{**SETTINGS, **changed})


def test_rectangle_comes_back_within_half_a_pixel():
    building = shapely.box(10.3, 20.2, 30.7, 41.6)
    found = extract(building)
    assert len(found.geometry) == 1
    np.testing.assert_allclose(found.geometry[0].bounds, building.bounds, atol=0.5)
    assert shapely.hausdorff_distance(found.geometry[0], building) <= np.hypot(0.5, 0.5)


def test_tilted_building_keeps_its_shape_and_loses_its_stairs():
    building = shapely.affinity.rotate(shapely.box(15, 20, 45, 40), 25)
    found = extract(building).geometry[0]
    assert found.intersection(building).area / found.union(building).area > 0.93
    assert len(found.exterior.coords) < len(extract(building, simplify_px=0).geometry[0].exterior.coords) / 3


def test_touching_buildings_come_out_apart_without_a_gap():
    left, right = shapely.box(10, 10, 30, 40), shapely.box(30, 10, 50, 40)
    found = extract(left, right)
    assert [shape.bounds for shape in sorted(found.geometry, key=lambda shape: shape.bounds)] == [
        pytest.approx(left.bounds, abs=1),
        pytest.approx(right.bounds, abs=1),
    ]
    assert shapely.union_all(found.geometry).area == pytest.approx(40 * 30, rel=0.02)


def test_one_blob_of_interior_without_border_is_one_building():
    interior, _ = masks(shapely.box(10, 10, 30, 40), shapely.box(30, 10, 50, 40)).astype(np.float32)
    found = tile_polygons(interior, np.zeros_like(interior), **SETTINGS)
    assert len(found.geometry) == 1


def test_building_that_is_border_all_over_is_still_found():
    found = extract(shapely.box(10, 10, 13, 18), shapely.box(30, 30, 33, 38))
    assert [shape.area for shape in found.geometry] == [24, 24]


def test_courtyard_survives():
    building = shapely.box(8, 8, 50, 50).difference(shapely.box(20, 20, 36, 38))
    found = extract(building).geometry[0]
    assert len(found.interiors) == 1
    assert shapely.Polygon(found.interiors[0]).area == pytest.approx(16 * 18, rel=0.05)


def test_small_buildings_are_dropped():
    small, large = shapely.box(5, 5, 8, 8), shapely.box(20, 20, 30, 30)
    assert [shape.area for shape in extract(small, large, min_area_px=10).geometry] == [100]
    assert len(extract(small, large, min_area_px=9).geometry) == 2


def test_confidence_is_the_mean_interior_probability():
    interior = np.zeros((SIZE, SIZE), np.float32)
    interior[10:20, 10:20] = 0.75
    interior[10:15, 10:20] = 1.0
    found = tile_polygons(interior, np.zeros_like(interior), **SETTINGS)
    assert found.confidence.tolist() == [0.875]


def test_buildings_at_the_tile_edge_are_kept_and_flagged():
    found = extract(shapely.box(0, 20, 10, 30), shapely.box(20, 54, 30, 64), shapely.box(30, 20, 40, 30))
    by_place = dict(zip((shape.bounds[:2] for shape in found.geometry), found.at_tile_edge, strict=True))
    assert by_place == {(0, 20): True, (20, 54): True, (30, 20): False}


def test_threshold_itself_is_building_and_not_seed():
    interior = np.full((8, 8), 0.5, np.float32)
    border = np.zeros((8, 8), np.float32)
    border[:, 4] = 0.5
    _, instance = find_instances(interior, border, interior_threshold=0.5, border_threshold=0.5)
    assert len(set(instance)) == 2
    runs, _ = find_instances(interior, border, interior_threshold=0.51, border_threshold=0.5)
    assert len(runs) == 0


def test_crumb_between_speckles_of_border_does_not_bite_into_its_building():
    interior, border = masks(shapely.box(10, 10, 40, 40)).astype(np.float32)
    border[24:27, 24:27] = 1
    border[25, 25] = 0
    found = tile_polygons(interior, border, **SETTINGS)
    assert [shape.area for shape in found.geometry] == [900]
    assert len(found.geometry[0].interiors) == 0


@st.composite
def masks_with_speckles(draw):
    """Interior and border of blocks and noise, float16 or float32, with several buildings in a patch and crumbs."""
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    blocks, side = draw(st.integers(3, 14)), draw(st.integers(1, 4))
    noise = draw(st.sampled_from([0.0, 0.3, 1.0]))
    shape = (2, blocks * side, blocks * side)
    coarse = np.kron(random.random((2, blocks, blocks)), np.ones((side, side)))
    mixed = (1 - noise) * coarse + noise * random.random(shape)
    return mixed.astype(draw(st.sampled_from([np.float16, np.float32])))


def all_different(values):
    """The same order without equals: which of two equally high pixels is flooded first, scikit-image leaves open."""
    rank = np.argsort(np.argsort(values.ravel(), kind="stable"))
    bits = (0x1C00 + rank * 0x2000 // values.size).astype(np.uint16)  # of float16 from 0.004 to 1
    return bits.view(np.float16).reshape(values.shape).astype(values.dtype)


@settings(max_examples=150, deadline=None)
@given(
    masks_with_speckles(),
    st.sampled_from([0.3, 0.5, 0.6]),
    st.sampled_from([0.3, 0.5, 0.85]),
    st.sampled_from([0, 5, 12]),
)
def test_the_quick_way_finds_what_labelling_flooding_and_tracing_the_whole_image_finds(tile, interior, border, area):
    thresholds = {"interior_threshold": interior, "border_threshold": border, "min_area_px": area}
    tile = np.stack([tile[0], all_different(tile[1])])
    found = tile_polygons(*tile, **thresholds, simplify_px=0)
    plain = plain_polygons(*tile.astype(np.float32), **thresholds)
    assert len(found.geometry) == len(plain)

    def in_order(shapes):
        return sorted(shapes, key=lambda shape: shapely.normalize(shape[0]).wkt)

    quick = in_order(zip(found.geometry, found.confidence, strict=True))
    for (ours, our_mean), (theirs, their_mean) in zip(quick, in_order(plain), strict=True):
        assert ours.equals(theirs)
        assert our_mean == pytest.approx(their_mean, abs=1e-3 if tile.dtype == np.float16 else 1e-5)


@settings(max_examples=60, deadline=None)
@given(masks_with_speckles(), masks_with_speckles())
def test_what_is_found_does_not_depend_on_what_lies_elsewhere(tile, other):
    """Not even where many pixels are equally high, so that the order of flooding is open."""
    tile, other = (np.round(each.astype(np.float32) * 8) / 8 for each in (tile, other))
    side = tile.shape[1]
    both = np.zeros((2, side + 1 + other.shape[1], max(side, other.shape[1])), np.float32)
    both[:, :side, :side], both[:, side + 1 :, : other.shape[1]] = tile, other
    alone = tile_polygons(*tile, **SETTINGS).geometry
    together = tile_polygons(*both, **SETTINGS).geometry
    assert [shape.wkt for shape in together[: len(alone)]] == [shape.wkt for shape in alone]


@settings(max_examples=60, deadline=None)
@given(masks_with_speckles(), st.sampled_from([0.0, 1.0, 2.5]))
def test_any_masks_give_valid_polygons_and_no_building_pixel_is_lost(tile, simplify_px):
    found = tile_polygons(*tile, **{**SETTINGS, "min_area_px": 0, "simplify_px": simplify_px})
    assert shapely.is_valid(found.geometry).all()
    assert set(shapely.get_type_id(found.geometry)) <= {3}
    if simplify_px == 0:
        assert shapely.area(found.geometry).sum() == (tile[0] >= 0.5).sum()


@settings(max_examples=60, deadline=None)
@given(masks_with_speckles(), st.sampled_from([0.5, 1.0, 2.5]))
def test_simplifying_loses_no_hole(tile, simplify_px):
    exact, simple = (
        tile_polygons(*tile, **{**SETTINGS, "min_area_px": 0, "simplify_px": tolerance})
        for tolerance in (0, simplify_px)
    )
    holes = [shapely.get_num_interior_rings(found.geometry).tolist() for found in (exact, simple)]
    assert holes[0] == holes[1]


@given(st.floats(0, 1), st.integers(0, 2**16 - 1))
def test_comparing_bits_is_comparing_numbers(threshold, bits):
    probability = np.array([[bits]], np.uint16).view(np.float16)
    number = float(probability[0, 0])
    if 0 <= number <= 1 and not np.signbit(number):
        assert at_least(probability, threshold)[0, 0] == (number >= threshold)
    elif np.isnan(number):
        assert not at_least(probability, threshold)[0, 0]


@pytest.fixture
def experiment(tmp_path):
    """Writes a catalog and predictions; returns a function that runs the stage and reads what it wrote."""

    def run(predicted: dict[str, np.ndarray], pixel_m: float = 0.5):
        tile_ids = list(predicted)
        places = [CORNERS[tile_id] for tile_id in tile_ids]
        catalog = pd.DataFrame(
            {
                "tile_id": tile_ids,
                "easting_m": [easting for easting, _ in places],
                "northing_m": [northing for _, northing in places],
                "pixel_m": pixel_m,
                "size_px": SIZE,
                "epsg": 32631,
            }
        )
        catalog.sample(frac=1, random_state=0).to_parquet(tmp_path / "catalog.parquet")
        np.save(tmp_path / "probabilities.npy", np.stack(list(predicted.values())))
        (tmp_path / "probabilities.json").write_text(json.dumps({"tile_ids": tile_ids}))
        extract_polygons(
            probabilities=tmp_path / "probabilities.npy",
            catalog=tmp_path / "catalog.parquet",
            settings=settings_file(tmp_path),
            out_parquet=tmp_path / "polygons.parquet",
            out_gpkg=tmp_path / "polygons.gpkg",
            out_submission=tmp_path / "submission.csv",
        )
        return tmp_path

    return run


def test_footprints_lie_where_they_belong_on_the_map(experiment):
    building = shapely.box(10, 20, 30, 44)
    folder = experiment({tile_id: masks(building) for tile_id in CORNERS})
    found = gpd.read_parquet(folder / "polygons.parquet").set_index("tile_id")
    for tile_id, (easting_m, northing_m) in CORNERS.items():
        true = shapely.box(easting_m + 5, northing_m - 22, easting_m + 15, northing_m - 10)
        assert shapely.equals(found.loc[tile_id, "geometry"], true)
        assert found.loc[tile_id, "area_m2"] == true.area
    assert found.crs.to_epsg() == 32631
    assert found.columns.tolist() == ["building_id", "confidence", "area_m2", "at_tile_edge", "geometry"]


def test_map_coordinates_follow_the_tile_transform(experiment):
    folder = experiment({"a_tile_2": masks(shapely.box(10, 20, 30, 44))}, pixel_m=0.25)
    found = gpd.read_parquet(folder / "polygons.parquet").geometry.iloc[0]
    transform = tile_transform(*CORNERS["a_tile_2"], 0.25)
    assert isinstance(transform, Affine)
    assert {transform @ corner for corner in [(10, 20), (30, 44), (10, 44), (30, 20)]} == set(found.exterior.coords)


def test_gpkg_and_parquet_hold_the_same_table(experiment):
    folder = experiment({"a_tile_1": masks(shapely.box(10, 20, 30, 44)), "b_tile_1": masks(shapely.box(0, 2, 9, 14))})
    parquet, gpkg = gpd.read_parquet(folder / "polygons.parquet"), gpd.read_file(folder / "polygons.gpkg")
    assert gpkg.crs == parquet.crs
    pd.testing.assert_frame_equal(
        pd.DataFrame(gpkg.drop(columns="geometry")), pd.DataFrame(parquet.drop(columns="geometry")), check_dtype=False
    )
    assert shapely.equals(gpkg.geometry.to_numpy(), parquet.geometry.to_numpy()).all()


def test_submission_has_every_tile_in_order_and_empty_ones_say_so(experiment):
    two = masks(shapely.box(10, 20, 30, 44), shapely.box(40, 2, 50, 14))
    folder = experiment({"b_tile_1": two, "a_tile_2": masks(), "a_tile_1": two})
    table = pd.read_csv(folder / "submission.csv")
    assert table.columns.tolist() == ["ImageId", "BuildingId", "PolygonWKT_Pix", "Confidence"]
    assert table["ImageId"].tolist() == ["b_tile_1"] * 2 + ["a_tile_2"] + ["a_tile_1"] * 2
    assert table["PolygonWKT_Pix"].iloc[2] == "POLYGON EMPTY"
    assert shapely.from_wkt(table["PolygonWKT_Pix"].iloc[1]).bounds == (10, 20, 30, 44)
    assert table["Confidence"].iloc[0] == 1


def test_no_building_anywhere_gives_empty_but_valid_layers(experiment):
    folder = experiment({"a_tile_1": masks(), "b_tile_1": masks()})
    for layer in (gpd.read_parquet(folder / "polygons.parquet"), gpd.read_file(folder / "polygons.gpkg")):
        assert len(layer) == 0
        assert layer.crs.to_epsg() == 32631
        assert {"tile_id", "building_id", "confidence", "area_m2", "at_tile_edge"} <= set(layer.columns)
    with sqlite3.connect(folder / "polygons.gpkg") as gpkg:
        assert gpkg.execute("select geometry_type_name from gpkg_geometry_columns").fetchall() == [("POLYGON",)]
    assert pd.read_csv(folder / "submission.csv")["PolygonWKT_Pix"].tolist() == ["POLYGON EMPTY"] * 2


def test_predictions_of_unknown_tiles_are_refused_and_nothing_is_written(tmp_path, experiment):
    folder = experiment({"a_tile_1": masks()})
    (folder / "polygons.gpkg").unlink()
    (folder / "probabilities.json").write_text(json.dumps({"tile_ids": ["elsewhere_tile_9"]}))
    arguments = {
        "probabilities": folder / "probabilities.npy",
        "catalog": folder / "catalog.parquet",
        "settings": settings_file(folder),
        "out_parquet": folder / "polygons.parquet",
        "out_gpkg": folder / "polygons.gpkg",
        "out_submission": folder / "submission.csv",
    }
    with pytest.raises(UserError, match="elsewhere_tile_9"):
        extract_polygons(**arguments)
    (folder / "probabilities.json").write_text(json.dumps({"tile_ids": ["a_tile_1", "a_tile_2"]}))
    with pytest.raises(UserError, match=r"probabilities\.json names 2 tiles"):
        extract_polygons(**arguments)
    assert not (folder / "polygons.gpkg").exists()
