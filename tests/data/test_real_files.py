"""The real files of SpaceNet 6 that are at hand, through the same readers as all others (see SPACENET.md)."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import rasterio
import shapely
from shapely.affinity import affine_transform

from sspipe.data import spacenet6
from sspipe.data.footprints import read_footprints
from sspipe.data.inspection import inspect_image
from sspipe.data.layout import spacenet6_form
from sspipe.pack.masks import tile_masks
from tests.data.small_scene import write_image, write_orientations, write_truth
from tests.data.test_catalog import index

HERE = Path(__file__).parent
EO_TILE = "20190822070610_20190822070846_tile_3721"
LABEL_TILE = "20190804111224_20190804111453_tile_8679"
SIZE_PX, PIXEL_M = 900, 0.5
ORIGIN_M = (592318.62, 5749872.405)  # of LABEL_TILE
TOLERANCE = 0.005  # of a building's area


def real_file(product, tile_id):
    return HERE / "spacenet6" / spacenet6.file_name(product, tile_id)


def put(raw, product, tile_id):
    """Copies a real file to where the unpacked archive would have it."""
    target = raw / spacenet6.file_path(product, tile_id)
    target.parent.mkdir(parents=True)
    shutil.copy(real_file(product, tile_id), target)


def inspected(raw, product):
    """What inspecting the real EO tile's image gives."""
    return inspect_image(raw, str(spacenet6.file_path(product, EO_TILE)), spacenet6_form(product, SIZE_PX, PIXEL_M))


@pytest.fixture(scope="module")
def footprints():
    found, problems = read_footprints(real_file(spacenet6.LABELS, LABEL_TILE), LABEL_TILE, (*ORIGIN_M, 450.0))
    assert len(found) == 5 and problems == []
    return found


def test_the_real_eo_picture_is_what_its_product_must_be(tmp_path):
    put(tmp_path, spacenet6.PS_RGB, EO_TILE)
    report, problems = inspected(tmp_path, spacenet6.PS_RGB)
    assert problems == []
    assert report.no_data_fraction == pytest.approx(0.372, abs=0.001)
    assert len(report.bands) == 3 and report.out_of_range == 0
    assert {band.pixels for band in report.bands} == {round(810_000 * (1 - report.no_data_fraction))}
    geometry = pd.read_csv(HERE / "tile_geometry.csv.gz").set_index("image_id").loc[EO_TILE]
    assert np.hypot(report.origin_m[0] - geometry["easting_m"], report.origin_m[1] - geometry["northing_m"]) < 0.01


def test_the_real_eo_picture_has_the_pixel_size_that_the_products_table_says():
    with rasterio.open(real_file(spacenet6.PS_RGB, EO_TILE)) as image:
        assert (image.count, image.height, image.width, image.dtypes[0]) == (3, SIZE_PX, SIZE_PX, "uint8")
        assert image.crs.to_epsg() == 32631 and image.nodata == 0
        expected = spacenet6.pixel_size_m(spacenet6.PS_RGB, PIXEL_M)
        assert image.transform.a == pytest.approx(expected, rel=1e-7) != PIXEL_M
        assert image.transform.a == -image.transform.e


def test_the_real_eo_picture_of_another_product_is_refused(tmp_path):
    target = tmp_path / spacenet6.file_path(spacenet6.EO, EO_TILE)
    target.parent.mkdir(parents=True)
    shutil.copy(real_file(spacenet6.PS_RGB, EO_TILE), target)
    report, problems = inspected(tmp_path, spacenet6.EO)
    assert report is None
    assert [problem.found for problem in problems] == ["3 bands", "dtype uint8"]


def test_the_real_footprints_have_the_area_that_spacenet_gives(footprints):
    for footprint in footprints:
        shape = shapely.from_wkb(footprint.wkb)
        assert not footprint.truncated and not shape.has_z and shape.is_valid
        assert shape.area == pytest.approx(footprint.origarea_m2, rel=TOLERANCE)
    assert sorted(footprint.building_id for footprint in footprints) == [25641, 25788, 26135, 26709, 30723]
    assert {round(footprint.height_m, 2) for footprint in footprints} == {9.58, 8.91, 9.42, 8.92, 5.99}


def test_the_masks_of_the_real_footprints_have_that_area_too(footprints):
    """All together in the tile's own pixels; one by one in finer ones, because a shed has few of the tile's own."""
    shapes = [shapely.from_wkb(footprint.wkb) for footprint in footprints]
    areas = [footprint.origarea_m2 for footprint in footprints]
    interior, _ = tile_masks(shapes, *ORIGIN_M, PIXEL_M, SIZE_PX, 3)
    assert interior.sum() * PIXEL_M**2 == pytest.approx(sum(areas), rel=TOLERANCE)
    for shape, area in zip(shapes, areas, strict=True):
        own, _ = tile_masks([shape], *ORIGIN_M, PIXEL_M, SIZE_PX, 3)
        # Pixels are taken or left whole: no more of them can be wrong than the outline crosses.
        assert abs(own.sum() * PIXEL_M**2 - area) < 0.1 * PIXEL_M * shape.length
        fine, _ = tile_masks([shape], *ORIGIN_M, PIXEL_M / 4, SIZE_PX * 4, 3)
        assert fine.sum() * (PIXEL_M / 4) ** 2 == pytest.approx(area, rel=TOLERANCE)


def test_a_real_footprint_that_the_tiles_edge_cuts_has_the_area_that_is_left(footprints):
    shape = shapely.from_wkb(footprints[2].wkb)  # the largest
    west, _, east, _ = shape.bounds
    cut_m = (west + east) / 2
    left = shape.intersection(shapely.box(cut_m, 0, 1e6, 1e7)).area
    interior, _ = tile_masks([shape], cut_m, ORIGIN_M[1], PIXEL_M, SIZE_PX, 3)
    assert interior.sum() * PIXEL_M**2 == pytest.approx(left, rel=2 * TOLERANCE) and left < 0.6 * shape.area


def test_a_tile_with_the_real_labels_is_indexed_without_a_complaint(tmp_path, footprints):
    raw = tmp_path / "raw"
    put(raw, spacenet6.LABELS, LABEL_TILE)
    for product, value in ((spacenet6.SAR, 30.0), (spacenet6.EO, 300)):
        write_image(raw, product, LABEL_TILE, np.full((4, SIZE_PX, SIZE_PX), value, product.dtype), ORIGIN_M)
    write_orientations(raw, "20190804111224_20190804111453 1\n")
    to_pixels = [2, 0, 0, -2, -2 * ORIGIN_M[0], 2 * ORIGIN_M[1]]
    outlines = [affine_transform(shapely.from_wkb(footprint.wkb), to_pixels).wkt for footprint in footprints]
    write_truth(raw, {LABEL_TILE: outlines})
    _, table, report = index(raw, size_px=SIZE_PX)
    assert len(table) == report["areas"]["compared"] == report["labels"]["matched"] == 5
    assert report["areas"]["disagreeing"] == 0 and report["areas"]["worst"] < TOLERANCE
    assert report["labels"]["worst_distance_px"] < 0.01
    assert report["footprints"] == {"kept": 5, "repaired": 0, "skipped": 0, "problems": []}


def test_the_real_label_file_says_its_crs_and_has_heights_of_zero():
    content = json.loads(real_file(spacenet6.LABELS, LABEL_TILE).read_text())
    assert content["crs"]["properties"]["name"] == "urn:ogc:def:crs:EPSG::32631"
    corners = [corner for feature in content["features"] for corner in feature["geometry"]["coordinates"][0]]
    assert all(len(corner) == 3 and corner[2] == 0 for corner in corners)
