from __future__ import annotations

import json
from pathlib import Path

import geopandas
import numpy as np
import pandas as pd
import pytest

from sspipe.data import spacenet6
from sspipe.data.catalog import index_tiles
from sspipe.errors import UserError
from tests.data import small_scene
from tests.data.small_scene import PIXEL_M, SIZE_PX, TILE_IDS, origin_of, write_image, write_labels, write_scene

FIRST = TILE_IDS[0]
STRIP = spacenet6.strip_of(FIRST)


def index(raw, processes=1, **changes):
    """Indexes raw/ into an `out` folder beside it."""
    out = raw.parent / "out"
    settings = {"size_px": SIZE_PX, "pixel_m": PIXEL_M, "processes": processes, **changes}
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

    assert report == {
        "tiles": 6,
        "strips": 2,
        "orientation": {"0": 3, "1": 3},
        "no_data_fraction": 8 / SIZE_PX,
        "buildings": 6,
        "footprints": {"kept": 6, "repaired": 0, "skipped": 0, "problems": []},
    }


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
    assert footprints.columns.tolist() == ["tile_id", "building_id", "height_m", "geometry"]


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


def test_values_that_are_not_numbers_are_refused(raw):
    pixels = np.ones((4, SIZE_PX, SIZE_PX), np.float32)
    pixels[1, 2, 3] = np.nan
    write_image(raw, spacenet6.SAR, FIRST, pixels, origin_of(0))
    assert f"{image(spacenet6.SAR)}: values that are not finite: 1" in refusal(raw)


@pytest.mark.parametrize("product", [spacenet6.EO, spacenet6.LABELS], ids=lambda product: product.folder)
def test_a_missing_product_is_told_with_the_file_that_was_expected(raw, product):
    (raw / image(product)).unlink()
    assert f"{image(product)}: is missing" in refusal(raw)


def test_labels_that_cannot_be_read_are_told(raw):
    (raw / image(spacenet6.LABELS)).write_text('{"type": "Feat')
    assert f"{image(spacenet6.LABELS)}: is not JSON" in refusal(raw)


def test_a_strip_missing_from_the_orientation_file_is_told_once_with_its_tiles(raw):
    small_scene.write_orientations(raw, f"{STRIP} 1\n")
    message = refusal(raw)
    assert f"SAR_orientations.txt: no line for strip {spacenet6.strip_of(TILE_IDS[-1])} (3 tiles)" in message
    assert "expected `20190804111851_20190804112030 0` or `20190804111851_20190804112030 1`; add the line" in message


def test_an_orientation_that_is_neither_0_nor_1_is_told_with_its_line(raw):
    small_scene.write_orientations(raw, f"{STRIP} north\n20190804111851_20190804112030 0\n")
    assert f"SAR_orientations.txt: line 1 reads `{STRIP} north`" in refusal(raw)


def test_a_missing_orientation_file_is_told(raw):
    (raw / spacenet6.ORIENTATION_FILE).unlink()
    assert "SAR_orientations.txt: is missing" in refusal(raw)


def test_a_tile_that_is_there_twice_is_told(tmp_path):
    raw = write_scene(tmp_path / "raw", [f"{STRIP}_tile_7", f"{STRIP}_tile_07"])
    assert f"is the same tile as {STRIP}_tile_07" in refusal(raw)


def test_all_problems_are_told_in_one_message(raw):
    rewrite(raw, spacenet6.SAR, bands=2)
    (raw / image(spacenet6.EO, TILE_IDS[1])).unlink()
    small_scene.write_orientations(raw, f"{STRIP} 1\n")
    message = refusal(raw)
    assert "3 problems in 6 tiles" in message
    assert all(word in message for word in ("2 bands", "is missing", "no line for strip"))


def test_a_folder_without_tiles_is_told(tmp_path):
    assert "there are no SAR tiles" in refusal(tmp_path / "raw")


def test_files_left_out_are_told_but_do_no_harm(raw, capsys):
    (raw / image(spacenet6.SAR)).with_suffix(".tif.aux.xml").write_text("<PAMDataset/>")
    rewrite(raw, spacenet6.EO, FIRST).rename(raw / image(spacenet6.EO, f"{STRIP}_tile_999"))
    rewrite(raw, spacenet6.EO, FIRST)
    catalog, _, _ = index(raw)
    assert len(catalog) == 6
    told = capsys.readouterr().err
    assert "left out because of their names: 1" in told and "PS-RGBNIR files left out, having no SAR image: 1" in told


@pytest.mark.parametrize("table", ["catalog_table", "footprint_table", "summarize"])
def test_a_table_that_cannot_be_built_leaves_no_output_behind(raw, monkeypatch, table):
    def fail(*_):
        raise OverflowError(table)

    monkeypatch.setattr(f"sspipe.data.catalog.{table}", fail)
    with pytest.raises(OverflowError, match=table):
        index(raw)
    assert not list((raw.parent / "out").glob("*"))
