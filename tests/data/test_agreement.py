"""The challenge's CSV against the label files."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from shapely.affinity import translate

from sspipe.data import spacenet6
from sspipe.data.agreement import compare, in_pixels, matching
from sspipe.data.archive import unpack_archive
from sspipe.data.spacenet_csv import read_spacenet_csv
from sspipe.data.synthetic import synthesize_archive
from tests.data import small_scene
from tests.data.small_scene import BUILDING_PX, TILE_IDS, origin_of, write_labels, write_scene, write_truth
from tests.data.test_catalog import FIRST, index, refusal

ORIGIN = (592000.25, 5749000.75)


@pytest.fixture
def raw(tmp_path):
    return write_scene(tmp_path / "raw")


def truth(first):
    """The right table of small_scene, with the rows of the first tile changed."""
    return {**{tile_id: [BUILDING_PX] for tile_id in TILE_IDS}, FIRST: first}


def labels_of(raw):
    return index(raw)[2]["labels"]


def test_generated_truth_in_the_csv_and_in_the_label_files_is_the_same_to_a_hundredth_of_a_pixel(tmp_path):
    archive, raw = tmp_path / "a.tar.gz", tmp_path / "raw"
    synthesize_archive(out=archive, tile_size_px=256, pixel_m=0.5, strips=4, tiles_per_strip=4, seed=3)
    unpack_archive(archive=archive, out=raw, manifest=tmp_path / "raw.json")
    catalog, footprints, report = index(raw, size_px=256)
    found = report["labels"]
    assert found["csv_polygons"] == found["matched"] == len(footprints) > 50
    assert found["csv_alone"] == found["geojson_alone"] == found["moved"] == 0
    assert found["worst_distance_px"] < 0.01 and found["tiles_that_differ"] == []

    # And corner by corner, from the files alone: the rows of a tile stand in the order of its features.
    table = read_spacenet_csv(raw / spacenet6.TRUTH_FILE)
    for tile in catalog.itertuples():
        features = json.loads((raw / tile.label_path).read_text())["features"]
        rows = table[(table["image_id"] == tile.tile_id) & ~shapely.is_empty(table["geometry"].to_numpy())]
        for feature, polygon in zip(features, rows["geometry"], strict=True):
            for ring, other in zip(
                feature["geometry"]["coordinates"], [polygon.exterior, *polygon.interiors], strict=True
            ):
                pixels = [[(x - tile.easting_m) / 0.5, (tile.northing_m - y) / 0.5] for x, y, _ in ring]
                np.testing.assert_allclose(pixels, other.coords, atol=0.01)


def test_a_csv_that_agrees_has_nothing_to_report(raw, capsys):
    found = labels_of(raw)
    assert (found["matched"], found["csv_alone"], found["geojson_alone"], found["moved"]) == (6, 0, 0, 0)
    assert found["tiles_of_other_count"] == found["tiles_that_differ"] == found["tiles_not_in_csv"] == []
    assert "differ" not in capsys.readouterr().err


def test_a_building_that_is_moved_is_told_with_its_distance_in_pixels(raw, capsys):
    write_truth(raw, truth(first=["POLYGON ((12 24, 36 24, 36 40, 12 40, 12 24))"]))  # by 2 of its 24 px
    found = labels_of(raw)
    (tile,) = found["tiles_that_differ"]
    assert tile == {
        "tile_id": FIRST,
        "csv_alone": 0,
        "geojson_alone": 0,
        "moved": 1,
        "worst_iou": pytest.approx(22 / 26),
        "worst_distance_px": pytest.approx(2),
    }
    assert found["worst_distance_px"] == pytest.approx(2) and found["moved"] == 1
    assert "moved by up to 2.00 px) in tiles: 1, such as" in capsys.readouterr().err


def test_a_building_in_one_of_them_alone_is_told_on_its_side(raw):
    west, north = origin_of(0)
    write_labels(
        raw,
        FIRST,
        [small_scene.feature(1, west + 5, north - 20, 12, 8), small_scene.feature(2, west, north - 30, 4, 4)],
    )
    write_truth(raw, truth(first=[BUILDING_PX, "POLYGON ((50 0, 60 0, 60 9, 50 0))", BUILDING_PX]))
    _, footprints, report = index(raw)
    (tile,) = report["labels"]["tiles_that_differ"]
    assert (tile["csv_alone"], tile["geojson_alone"], tile["moved"], tile["worst_iou"]) == (2, 1, 0, None)
    assert report["labels"]["tiles_of_other_count"] == [{"tile_id": FIRST, "csv_count": 3, "building_count": 2}]
    alone = footprints[footprints["csv_iou"].isna()]
    assert alone["building_id"].tolist() == [2] and alone["csv_distance_px"].isna().all()


def test_a_tile_that_the_csv_does_not_name_is_told_and_an_empty_one_is_not(raw):
    outlines = truth(first=[])
    del outlines[TILE_IDS[1]]
    write_truth(raw, outlines)
    for tile_id in TILE_IDS[:2]:
        write_labels(raw, tile_id, [])
    found = labels_of(raw)
    assert found["tiles_not_in_csv"] == [TILE_IDS[1]]
    assert found["tiles_that_differ"] == found["tiles_of_other_count"] == []


def test_an_empty_label_file_beside_a_csv_with_buildings_is_told(raw):
    (raw / spacenet6.file_path(spacenet6.LABELS, FIRST)).write_bytes(b"")
    (tile,) = labels_of(raw)["tiles_that_differ"]
    assert (tile["tile_id"], tile["csv_alone"], tile["worst_iou"]) == (FIRST, 1, None)


@pytest.mark.parametrize(("newline", "mark"), [("\r\n", ""), ("\n", "\ufeff"), ("\r\n", "\ufeff")])
def test_dos_lines_and_a_byte_order_mark_change_nothing(raw, newline, mark):
    write_truth(raw, truth(first=[BUILDING_PX]), newline, mark)
    assert labels_of(raw)["matched"] == 6


@pytest.mark.parametrize(
    ("names", "told"),
    [(["another_tile_1"], "its rows are of others, such as `another_tile_1`"), ([], "it has no rows")],
)
def test_a_csv_that_names_none_of_the_tiles_is_refused_before_days_of_training(raw, names, told):
    write_truth(raw, {name: [small_scene.BUILDING_PX] for name in names})
    message = refusal(raw)
    assert f"{spacenet6.TRUTH_FILE}: names none of the 6 tiles, such as " in message and told in message


def test_an_invalid_polygon_of_the_csv_is_told_because_the_metric_never_matches_it(raw, capsys):
    write_truth(raw, truth(first=["POLYGON ((10 24, 34 24, 34 40, 10 40, 34 24, 10 24))"]))
    assert labels_of(raw)["csv_invalid"] == 1
    assert "invalid polygons in the truth's CSV" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "told"),
    [(b"", "the file is empty"), (b"ImageId,PolygonWKT_Pix\nx,POLYGON ((1 2\n", "line 2, column PolygonWKT_Pix")],
)
def test_a_csv_that_scoring_could_not_read_is_refused_now(raw, content, told):
    (raw / spacenet6.TRUTH_FILE).write_bytes(content)
    assert told in refusal(raw)


def test_a_missing_csv_is_told(raw):
    (raw / spacenet6.TRUTH_FILE).unlink()
    assert "Buildings.csv: is missing" in refusal(raw)


boxes = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40), st.integers(1, 9), st.integers(1, 9)), max_size=12)


def outlines_of(corners):
    """Rectangles that share no ground, as buildings do."""
    found = []
    for x, y, width, height in corners:
        box = shapely.box(x, y, x + width, y + height)
        if not any(box.intersection(other).area for other in found):
            found.append(box)
    return found


@given(boxes, st.randoms(use_true_random=False), st.floats(0, 0.1), st.floats(0, 0.1))
def test_each_outline_finds_its_own_whatever_the_order_and_a_small_shift(corners, random, right, down):
    pixels = outlines_of(corners)
    footprints = [translate(shapely.transform(box, lambda p: p * (0.5, -0.5)), *ORIGIN) for box in pixels]
    moved = [translate(box, right, down) for box in pixels]
    random.shuffle(moved)
    found = compare([shapely.to_wkb(box) for box in footprints], [shapely.to_wkb(box) for box in moved], ORIGIN, 0.5)
    assert found.csv_alone == 0 and not np.isnan(found.iou).any()
    np.testing.assert_allclose(found.distance_px, math.hypot(right, down), atol=1e-6)


@given(boxes, boxes)
def test_nothing_is_paired_twice_or_with_what_it_does_not_overlap_by_half(ours, theirs):
    ours, theirs = (
        np.array([shapely.box(x, y, x + w, y + h) for x, y, w, h in corners], dtype=object)
        for corners in (ours, theirs)
    )
    pairs = matching(ours, theirs)
    for column in range(2):
        assert len({pair[column] for pair in pairs}) == len(pairs)
    for left, right, iou in pairs:
        common = ours[left].intersection(theirs[right]).area
        assert iou == pytest.approx(common / ours[left].union(theirs[right]).area) and iou > 0.5


def test_pixels_run_right_and_down_from_the_tiles_upper_left_corner():
    (point,) = in_pixels(np.array([shapely.Point(ORIGIN[0] + 3, ORIGIN[1] - 5)]), ORIGIN, 0.5)
    assert (point.x, point.y) == (6, 10)


def test_a_courtyard_that_one_of_them_lacks_is_a_difference():
    yard = shapely.box(0, 0, 20, 20) - shapely.box(5, 5, 15, 15)
    footprint = shapely.transform(yard, lambda p: p * (0.5, -0.5) + ORIGIN)
    same, filled = (
        compare([shapely.to_wkb(footprint)], [shapely.to_wkb(other)], ORIGIN, 0.5)
        for other in (yard, shapely.box(0, 0, 20, 20))
    )
    assert same.iou[0] == pytest.approx(1) and same.distance_px[0] < 1e-6
    assert filled.iou[0] == pytest.approx(0.75) and filled.distance_px[0] > 4
