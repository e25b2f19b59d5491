from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import geopandas
import numpy as np
import pandas as pd
import pytest
import rasterio

from sspipe.data import spacenet6
from sspipe.data.catalog import index_tiles
from sspipe.data.inspection import inspect_image
from sspipe.data.layout import spacenet6_form
from sspipe.errors import UserError
from tests.data import small_scene
from tests.data.small_scene import PIXEL_M, SIZE_PX, TILE_IDS, origin_of, write_image, write_labels, write_scene

FIRST = TILE_IDS[0]
STRIP = spacenet6.strip_of(FIRST)


def index(raw, processes=1, **changes):
    """Indexes raw/ into an `out` folder beside it."""
    out = raw.parent / "out"
    settings = {"size_px": SIZE_PX, "pixel_m": PIXEL_M, "max_left_out": 0.0, "processes": processes, **changes}
    outputs = {
        "out_catalog": out / "catalog.parquet",
        "out_footprints": out / "footprints.parquet",
        "out_report": out / "catalog.json",
    }
    index_tiles(raw=raw, **settings, **outputs)
    report = json.loads(outputs["out_report"].read_text())
    return pd.read_parquet(outputs["out_catalog"]), geopandas.read_parquet(outputs["out_footprints"]), report


def refusal(raw, **changes):
    """The message for data that cannot be used, after which no output may exist."""
    with pytest.raises(UserError) as error:
        index(raw, **changes)
    assert not (raw.parent / "out").exists() or not list((raw.parent / "out").iterdir())
    return str(error.value)


@pytest.fixture
def raw(tmp_path):
    return write_scene(tmp_path / "raw")


@pytest.mark.parametrize("table", [pd.DataFrame, geopandas.GeoDataFrame])
def test_a_disk_that_fills_up_while_the_tables_are_written_leaves_none_of_them(raw, monkeypatch, table):
    def fill(self, path, **settings):
        path.write_bytes(b"half of it")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(table, "to_parquet", fill)
    assert ".parquet: cannot be written, as the disk is full" in refusal(raw)


def image(product, tile_id=FIRST):
    return spacenet6.file_path(product, tile_id)


def rewrite(raw, product, tile_id=FIRST, bands=4, size_px=SIZE_PX, dtype=None, **changes):
    """Replaces one image of the scene by one that is wrong in some way."""
    pixels = np.ones((bands, size_px, size_px), dtype or product.dtype)
    origin_m = changes.pop("origin_m", origin_of(TILE_IDS.index(tile_id)))
    return write_image(raw, product, tile_id, pixels, origin_m, **changes)


def test_the_catalog_has_one_row_a_tile_with_what_its_files_say(raw):
    catalog, footprints, report = index(raw)
    assert catalog["tile_id"].tolist() == sorted(TILE_IDS)
    tile = catalog.set_index("tile_id").loc[FIRST]
    assert (tile["strip"], tile["tile_number"], tile["orientation"]) == (STRIP, 1, 1)
    assert (tile["easting_m"], tile["northing_m"]) == origin_of(0)
    assert (tile["size_px"], tile["pixel_m"]) == (SIZE_PX, PIXEL_M)
    assert tile["sar_no_data_fraction"] == 8 / SIZE_PX and tile["eo_no_data_fraction"] == 4 / SIZE_PX
    assert all((raw / tile[column]).is_file() for column in ("sar_path", "eo_path", "label_path"))
    assert tile["building_count"] == 1
    assert not Path(tile["sar_path"]).is_absolute()

    assert footprints.crs.to_epsg() == 32631 and not footprints.geometry.has_z.any()
    first = footprints.set_index("tile_id").loc[FIRST]
    assert (first["building_id"], first["height_m"], first.geometry.area) == (100, 9.5, 96)

    counts = {
        "tiles": 6,
        "strips": 2,
        "orientation": {"0": 3, "1": 3},
        "strip_orientation": {"0": 1, "1": 1},
        "no_data_fraction": 8 / SIZE_PX,
        "buildings": 6,
        "distinct_buildings": 6,
        "footprints": {"kept": 6, "repaired": 0, "skipped": 0, "problems": []},
        "left_out": {"count": 0, "share": 0.0, "reasons": {}, "tiles": []},
        "other_files": [],
    }
    assert {key: report[key] for key in counts} == counts


def test_values_are_those_of_all_valid_pixels_of_all_tiles(raw):
    _, _, report = index(raw)
    for name, product, step in (("sar", spacenet6.SAR, 1), ("eo", spacenet6.EO, 16)):
        images = []
        for tile_id in TILE_IDS:
            with rasterio.open(raw / image(product, tile_id)) as file:
                images.append(file.read().reshape(4, -1).astype(np.float64))
        pixels = np.concatenate(images, axis=1)
        pixels = pixels[:, pixels.any(axis=0)]
        for band, found in zip(pixels, report["values"][name]["bands"], strict=True):
            assert (found["count"], found["min"], found["max"]) == (band.size, band.min(), band.max())
            assert found["mean"] == pytest.approx(band.mean(), rel=1e-12)
            assert found["std"] == pytest.approx(band.std(), rel=1e-12)
            edges = np.arange(len(found["histogram"]) + 1) * step
            assert found["histogram"] == np.histogram(band, edges)[0].tolist()


def test_values_out_of_range_are_told_by_tile_and_do_no_harm(raw, capsys):
    sar = np.full((4, SIZE_PX, SIZE_PX), 30, np.float32)
    sar[0, 0, :3], sar[1, 0, 0] = 101, -1
    write_image(raw, spacenet6.SAR, FIRST, sar, origin_of(0))
    eo = np.full((4, SIZE_PX, SIZE_PX), 2200, np.uint16)  # beyond 11 bit by less than sharpening overshoots
    eo[3, 1, 1] = 4095
    write_image(raw, spacenet6.EO, FIRST, eo, origin_of(0))
    catalog, _, report = index(raw)
    assert report["values"]["sar"]["out_of_range"] == [{"tile_id": FIRST, "count": 4, "min": -1, "max": 101}]
    assert report["values"]["eo"]["out_of_range"] == [{"tile_id": FIRST, "count": 1, "min": 2200, "max": 4095}]
    assert catalog.set_index("tile_id").loc[FIRST, ["sar_out_of_range", "eo_out_of_range"]].tolist() == [4, 1]
    told = capsys.readouterr().err
    assert f"SAR values outside 0 to 100: 1, such as {FIRST}" in told
    assert f"EO values outside 0 to 2250: 1, such as {FIRST}" in told


def test_a_tile_of_no_data_alone_is_told_and_stays(raw, capsys):
    write_image(raw, spacenet6.SAR, FIRST, np.zeros((4, SIZE_PX, SIZE_PX), np.float32), origin_of(0))
    catalog, _, report = index(raw)
    assert report["values"]["sar"]["empty_tiles"] == [FIRST] and report["values"]["eo"]["empty_tiles"] == []
    assert catalog.set_index("tile_id").loc[FIRST, "sar_no_data_fraction"] == 1
    assert f"tiles whose SAR image is no-data alone: 1, such as {FIRST}" in capsys.readouterr().err


def test_areas_that_are_not_spacenets_are_told_where_no_edge_cuts_the_building(raw, capsys):
    west, north = origin_of(0)
    features = [small_scene.feature(number, west + 1, north - 9 * number, 10, 5) for number in (1, 2, 3)]
    for each, origarea, truncated in zip(features, (50.2, 50.3, 400.0), (0, 0, 1), strict=True):
        each["properties"] |= {"origarea": origarea, "truncated": truncated}
    write_labels(raw, FIRST, features)
    _, footprints, report = index(raw)
    odd = {"tile_id": FIRST, "building_id": 2, "area_m2": pytest.approx(50), "origarea_m2": 50.3}
    assert report["areas"]["disagreeing"] == 1 and report["areas"]["worst_first"] == [
        odd
    ]  # 0.4 % is within SpaceNet's own rounding, 0.6 % is not
    assert (report["areas"]["truncated"], report["areas"]["compared"]) == (1, 7)
    assert report["areas"]["worst"] == pytest.approx(1 - 50 / 50.3)
    assert footprints["truncated"].sum() == 1
    assert f"origarea): 1, the worst {FIRST} building 2, by 0.6%" in capsys.readouterr().err


def test_products_whose_pixels_differ_as_spacenets_do_are_one_tile(raw):
    with rasterio.open(raw / image(spacenet6.SAR)) as sar, rasterio.open(raw / image(spacenet6.EO)) as eo:
        assert sar.transform != eo.transform and (sar.transform.c, sar.transform.f) == (eo.transform.c, eo.transform.f)
    index(raw)


@pytest.mark.parametrize(
    ("product", "pixel_m", "side_px"),
    [("PS-RGB", 0.49999648, 900), ("PAN", 0.49999346, 900), ("RGBNIR", 1.0000483, 450), ("PS-RGBNIR", 0.4999981, 900)],
)
def test_every_product_is_read_with_its_own_pixel_size_and_shape(tmp_path, product, pixel_m, side_px):
    product = spacenet6.PRODUCTS[product]
    pixels = np.ones((product.bands, side_px, side_px), product.dtype)
    path = write_image(tmp_path, product, FIRST, pixels, origin_of(0))
    with rasterio.open(path) as file:
        assert file.transform.a == pytest.approx(pixel_m, rel=1e-9)
    found, problems = inspect_image(
        tmp_path, str(spacenet6.file_path(product, FIRST)), spacenet6_form(product, 900, PIXEL_M)
    )
    assert problems == [] and found.origin_m == origin_of(0) and found.no_data_fraction == 0


def test_several_processes_find_what_one_finds(raw):
    one, two = index(raw), index(raw, processes=2)
    assert one[0].equals(two[0]) and one[1].equals(two[1]) and one[2] == two[2]


def test_bad_footprints_are_repaired_or_skipped_counted_and_listed_but_never_fatal(raw):
    west, north = origin_of(0)
    bow_tie = [[west + x, north - y, 0.0] for x, y in [(5, 5), (15, 15), (15, 5), (5, 15), (5, 5)]]
    features = [
        small_scene.footprint(1, {"type": "Polygon", "coordinates": [bow_tie]}),
        small_scene.footprint(2, {"type": "Polygon", "coordinates": []}),
        small_scene.footprint(3, None),
        small_scene.feature(4, west + 1, north - 9, 3, 3),
    ]
    write_labels(raw, FIRST, features)
    catalog, footprints, report = index(raw)
    assert report["footprints"] == {
        "kept": 6,
        "repaired": 1,
        "skipped": 2,
        "problems": [
            {"tile_id": FIRST, "building_id": 1, "problem": "is invalid (Self-intersection)", "action": "repaired"},
            {"tile_id": FIRST, "building_id": 2, "problem": "is empty", "action": "skipped"},
            {"tile_id": FIRST, "building_id": 3, "problem": "has no geometry", "action": "skipped"},
        ],
    }
    assert report["buildings"] == len(footprints) == 7
    assert footprints.geometry.is_valid.all()
    assert catalog.set_index("tile_id").loc[FIRST, "building_count"] == 2


def test_tiles_without_any_building_are_tiles_like_others(raw):
    for position, tile_id in enumerate(TILE_IDS):
        if position % 2:
            write_labels(raw, tile_id, [])
        else:
            (raw / image(spacenet6.LABELS, tile_id)).write_text("")
    catalog, footprints, report = index(raw)
    assert catalog["building_count"].sum() == report["buildings"] == len(footprints) == 0
    assert footprints.crs.to_epsg() == 32631
    assert {"tile_id", "building_id", "height_m", "geometry"} <= set(footprints.columns)


def test_a_truncated_tile_is_noticed_though_its_header_is_whole(raw):
    path = raw / image(spacenet6.SAR)
    path.write_bytes(path.read_bytes()[:-2000])
    message = refusal(raw)
    assert f"{image(spacenet6.SAR)}: cannot be read to its end" in message and "expected a whole GeoTIFF" in message


def test_an_empty_image_is_noticed(raw):
    (raw / image(spacenet6.EO)).write_bytes(b"")
    assert f"{image(spacenet6.EO)}: cannot be read to its end" in refusal(raw)


@pytest.mark.parametrize("product", [spacenet6.SAR, spacenet6.EO], ids=lambda product: product.folder)
@pytest.mark.parametrize(
    ("wrong", "found", "expected"),
    [
        ({"bands": 3}, "3 bands", "expected 4"),
        ({"epsg": 32632}, "CRS EPSG:32632", "expected EPSG:32631"),
        ({"dtype": "float64"}, "dtype float64", "expected {product.dtype}"),
        ({"pixel_m": 0.6}, "pixels of 0.", "expected 0.5 m within 0.1 % (`tiles.pixel_m` in the config)"),
    ],
    ids=["bands", "crs", "dtype", "pixel size"],
)
def test_an_image_that_is_not_as_its_product_must_be_is_refused(raw, product, wrong, found, expected):
    rewrite(raw, product, **wrong)
    message = refusal(raw)
    assert "1 problem in 6 tiles" in message
    assert f"{image(product)}: {found}" in message
    expected = expected.format(product=product)
    assert expected in message or (product is spacenet6.EO and "expected 0.499998 m within 0.1 %" in message)


def test_a_tile_size_that_is_not_the_datas_names_the_key_to_change(raw):
    message = refusal(raw, size_px=900)
    assert "64 x 64 px, expected 900 x 900 px (`tiles.size_px` in the config)" in message
    assert "12 problems in 6 tiles" in message and "... and 2 more" in message
    assert message.count("\n") == 11


def test_one_tile_of_another_size_is_found_among_the_others(raw):
    rewrite(raw, spacenet6.SAR, TILE_IDS[3], size_px=32)
    assert f"{image(spacenet6.SAR, TILE_IDS[3])}: 32 x 32 px, expected 64 x 64 px" in refusal(raw)


def test_an_eo_image_of_another_place_is_refused(raw):
    rewrite(raw, spacenet6.EO, origin_m=(origin_of(0)[0] + 2, origin_of(0)[1]))
    assert f"{image(spacenet6.EO)}: its corner is at" in refusal(raw)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 7e4, -7e4])
def test_values_that_cannot_be_packed_are_refused(raw, value):
    pixels = np.ones((4, SIZE_PX, SIZE_PX), np.float32)
    pixels[1, 2, 3] = value
    write_image(raw, spacenet6.SAR, FIRST, pixels, origin_of(0))
    assert f"{image(spacenet6.SAR)}: values that are not finite, or beyond 65504: 1" in refusal(raw)


def test_labels_that_cannot_be_read_are_told(raw):
    (raw / image(spacenet6.LABELS)).write_text('{"type": "Feat')
    assert f"{image(spacenet6.LABELS)}: is not JSON" in refusal(raw)


def test_labels_in_degrees_are_told_though_they_say_they_are_in_metres(raw):
    write_labels(raw, FIRST, [small_scene.feature(1, 4.3353, 51.8885, 0.0002, 0.0001)])
    message = refusal(raw)
    assert f"{image(spacenet6.LABELS)}: coordinates are degrees, such as 4.3353, 51.8885" in message
    assert "expected GeoJSON in EPSG:32631 (m)" in message and "reproject them to EPSG:32631" in message


def test_labels_of_another_place_are_told_and_do_not_become_a_tile_without_buildings(raw):
    west, north = origin_of(0)
    write_labels(raw, FIRST, [small_scene.feature(1, north, west, 10, 10)])  # axes swapped
    assert "km away from its tile" in refusal(raw)


def test_an_orientation_that_is_neither_0_nor_1_is_told_with_its_line(raw):
    small_scene.write_orientations(raw, f"{STRIP} north\n20190804111851_20190804112030 0\n")
    assert f"SAR_orientations.txt: line 1 reads `{STRIP} north`" in refusal(raw)


def test_a_missing_orientation_file_is_told(raw):
    (raw / spacenet6.ORIENTATION_FILE).unlink()
    assert "SAR_orientations.txt: cannot be read (No such file or directory)" in refusal(raw)


def test_all_problems_are_told_in_one_message(raw):
    rewrite(raw, spacenet6.SAR, bands=2)
    (raw / image(spacenet6.EO, TILE_IDS[1])).write_bytes(b"")
    (raw / image(spacenet6.LABELS, TILE_IDS[2])).write_text("{")
    message = refusal(raw)
    assert "3 problems in 6 tiles" in message
    assert all(word in message for word in ("2 bands", "cannot be read to its end", "is not JSON"))


@pytest.mark.parametrize("table", ["catalog_table", "footprint_table", "summarize"])
def test_a_table_that_cannot_be_built_leaves_no_output_behind(raw, monkeypatch, table):
    def fail(*_):
        raise OverflowError(table)

    monkeypatch.setattr(f"sspipe.data.catalog.{table}", fail)
    with pytest.raises(OverflowError, match=table):
        index(raw)
    assert not list((raw.parent / "out").glob("*"))
