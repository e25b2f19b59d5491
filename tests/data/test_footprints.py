from __future__ import annotations

import json

import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from shapely.geometry import mapping

from sspipe.data.footprints import LabelError, mended, read_footprints
from tests.data.small_scene import TILE_IDS, feature, footprint, write_labels

SQUARE = [[0, 0, 0.0], [10, 0, 0.0], [10, 10, 0.0], [0, 10, 0.0], [0, 0, 0.0]]
BOW_TIE = [[0, 0], [10, 10], [10, 0], [0, 10], [0, 0]]
coordinates = st.tuples(st.integers(0, 8), st.integers(0, 8))


def polygon(*rings):
    return {"type": "Polygon", "coordinates": list(rings)}


def test_z_is_dropped_and_a_sound_polygon_stays_as_it_is():
    geometry, problem = mended(polygon(SQUARE, [[2, 2, 0], [4, 2, 0], [4, 4, 0], [2, 4, 0], [2, 2, 0]]))
    assert problem is None and not geometry.has_z
    assert geometry.area == 96 and len(geometry.interiors) == 1


def test_a_polygon_that_crosses_itself_is_repaired():
    geometry, problem = mended(polygon(BOW_TIE))
    assert geometry.is_valid and geometry.area == 50
    assert "Self-intersection" in problem


def test_only_the_polygons_of_a_repaired_footprint_are_kept():
    # A square with a spike: mending it gives a polygon and a line.
    geometry, problem = mended(polygon([[0, 0], [10, 0], [10, 10], [10, 20], [10, 10], [0, 10], [0, 0]]))
    assert geometry.geom_type == "Polygon" and geometry.area == 100 and problem


@pytest.mark.parametrize(
    ("geometry", "problem"),
    [
        (None, "no geometry"),
        ({"type": "Polygon", "coordinates": []}, "empty"),
        ({"type": "Polygon", "coordinates": [[[0, 0], [1, 1]]]}, "malformed"),
        ({"type": "Polygon", "coordinates": "all"}, "malformed"),
        ({"type": "Polygon"}, "malformed"),
        (polygon([[0, 0], [5, 5], [9, 9], [0, 0]]), "no area"),
        (polygon([[0, 0], [float("nan"), 5], [9, 0], [0, 0]]), "not finite"),
        ({"type": "Point", "coordinates": [0, 0]}, "is a Point, not a polygon"),
        ("somewhere", "not a polygon"),
    ],
)
def test_what_cannot_be_a_footprint_is_skipped_with_a_reason(geometry, problem):
    result, reason = mended(geometry)
    assert result is None and problem in reason


@pytest.mark.parametrize("thing", [None, 3, "a feature", []])
def test_what_is_no_feature_is_listed_with_its_place_in_the_file(tmp_path, thing):
    path = write_labels(tmp_path, TILE_IDS[0], [feature(7, 10, 10, 5, 5), thing])
    footprints, problems = read_footprints(path, "tile", None)
    assert [found.building_id for found in footprints] == [7]
    assert [tuple(problem) for problem in problems] == [("tile", -2, "has no geometry", "skipped")]


@given(st.lists(st.lists(coordinates, min_size=3, max_size=9), min_size=1, max_size=3))
def test_whatever_is_kept_is_a_valid_flat_polygon_with_an_area(rings):
    geometry, problem = mended(polygon(*[[*ring, ring[0]] for ring in rings]))
    if geometry is None:
        assert problem
        return
    assert geometry.geom_type in ("Polygon", "MultiPolygon")
    assert geometry.is_valid and geometry.area > 0 and not geometry.has_z


def test_footprints_keep_their_number_and_height_and_unknown_ones_are_told_apart(tmp_path):
    features = [feature(7, 10, 10, 5, 5), footprint(None, polygon(SQUARE)), footprint(8, polygon(BOW_TIE))]
    features[0]["properties"]["roof_075mean"] = None
    features[1]["properties"] = None
    path = write_labels(tmp_path, TILE_IDS[0], [*features, footprint(9, None)])
    footprints, problems = read_footprints(path, TILE_IDS[0], None)
    assert [(each.building_id, str(each.height_m)) for each in footprints] == [(7, "nan"), (-2, "nan"), (8, "9.5")]
    assert [(each.building_id, each.action) for each in problems] == [(8, "repaired"), (9, "skipped")]
    assert shapely.from_wkb(footprints[0].wkb).equals(shapely.box(10, 10, 15, 15))


def test_a_footprint_wholly_outside_its_tile_is_skipped_and_one_across_its_edge_is_whole(tmp_path):
    path = write_labels(tmp_path, TILE_IDS[0], [feature(1, 110, 80, 5, 5), feature(2, 95, 80, 10, 5)])
    footprints, problems = read_footprints(path, TILE_IDS[0], (0.0, 100.0, 100.0))
    assert [each.building_id for each in footprints] == [2]
    assert shapely.from_wkb(footprints[0].wkb).area == 50
    assert (problems[0].building_id, problems[0].problem) == (1, "lies outside the tile")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n",
        "\ufeff",
        '{"type": "FeatureCollection", "features": []}',
        '{"type": "FeatureCollection", "features": null}',
        '{"type": "FeatureCollection"}',
        "{}",
    ],
)
def test_a_file_of_nothing_means_no_buildings(tmp_path, text):
    path = tmp_path / "labels.geojson"
    path.write_text(text)
    assert read_footprints(path, "tile", None) == ([], [])


@pytest.mark.parametrize("crs", ["urn:ogc:def:crs:EPSG::32631", "EPSG:32631", "urn:ogc:def:crs:EPSG:9.9:32631"])
def test_the_crs_may_be_written_in_every_usual_way(tmp_path, crs):
    assert (
        len(read_footprints(write_labels(tmp_path, TILE_IDS[0], [feature(1, 0, 0, 5, 5)], crs), "tile", None)[0]) == 1
    )


def test_a_label_file_in_another_crs_is_refused(tmp_path):
    path = write_labels(tmp_path, TILE_IDS[0], [], "urn:ogc:def:crs:OGC:1.3:CRS84")
    with pytest.raises(LabelError, match="CRS84"):
        read_footprints(path, "tile", None)


@pytest.mark.parametrize(
    "content",
    ['{"type": "Feature', "[]", '{"type": "Feature", "geometry": null}', '{"features": 3}', "[" * 200_000, "9" * 5000],
)
def test_a_label_file_that_is_no_geojson_is_refused(tmp_path, content):
    path = tmp_path / "labels.geojson"
    path.write_text(content)
    with pytest.raises(LabelError):
        read_footprints(path, "tile", None)


def test_the_geometry_written_is_the_geometry_read(tmp_path):
    shape = shapely.from_wkt(
        "MULTIPOLYGON (((0 0, 4 0, 4 4, 0 4, 0 0), (1 1, 1 2, 2 2, 2 1, 1 1)), ((9 9, 10 9, 10 10, 9 9)))"
    )
    path = write_labels(tmp_path, TILE_IDS[0], [footprint(1, json.loads(json.dumps(mapping(shape))))])
    footprints, problems = read_footprints(path, "tile", None)
    assert problems == [] and shapely.from_wkb(footprints[0].wkb).equals(shape)


def test_a_footprint_whose_properties_are_a_list_is_kept_like_one_without_any(tmp_path):
    features = [feature(7, 10, 10, 5, 5)]
    features[0]["properties"] = ["Building_ID", 7]
    footprints, problems = read_footprints(write_labels(tmp_path, TILE_IDS[0], features), "tile", None)
    assert [(each.building_id, str(each.height_m)) for each in footprints] == [(-1, "nan")] and problems == []


@pytest.mark.parametrize("building_id", [1e30, -1e30, 2**63, 10**400, float("inf"), "seven", [7]])
def test_a_building_id_that_is_no_int64_counts_as_missing(tmp_path, building_id):
    path = write_labels(tmp_path, TILE_IDS[0], [feature(building_id, 10, 10, 5, 5)])
    assert [each.building_id for each in read_footprints(path, "tile", None)[0]] == [-1]


@pytest.mark.parametrize("crs", [{"properties": ["x"]}, {"properties": "x"}, {}, [], 3])
def test_a_crs_of_another_form_is_refused(tmp_path, crs):
    path = tmp_path / "labels.geojson"
    path.write_text(json.dumps({"crs": crs, "features": []}))
    with pytest.raises(LabelError, match="CRS is"):
        read_footprints(path, "tile", None)


def test_a_byte_order_mark_hides_no_building(tmp_path):
    path = write_labels(tmp_path, TILE_IDS[0], [feature(1, 10, 10, 5, 5)])
    path.write_text("\ufeff" + path.read_text(), encoding="utf-8")
    assert len(read_footprints(path, "tile", None)[0]) == 1


@pytest.mark.parametrize(("corner", "told"), [((4.33, 51.88), "coordinates are degrees"), ((900, 80), "0.9 km away")])
def test_footprints_far_from_their_tile_are_a_mistake_and_not_a_tile_without_buildings(tmp_path, corner, told):
    path = write_labels(tmp_path, TILE_IDS[0], [feature(1, 10, 600, 5, 5), feature(2, *corner, 0.001, 0.001)])
    with pytest.raises(LabelError, match=told):
        read_footprints(path, "tile", (0.0, 650.0, 100.0))


def test_the_area_that_spacenet_gives_and_whether_an_edge_cuts_the_building_are_kept(tmp_path):
    features = [feature(1, 10, 10, 5, 5), feature(2, 10, 10, 5, 5), feature(3, 10, 10, 5, 5)]
    features[0]["properties"] |= {"origarea": 25.01, "truncated": 0}
    features[1]["properties"] |= {"origarea": "400", "truncated": 1}
    features[2]["properties"] = {}
    footprints, _ = read_footprints(write_labels(tmp_path, TILE_IDS[0], features), "tile", None)
    assert [(str(each.origarea_m2), each.truncated) for each in footprints] == [
        ("25.01", False),
        ("400.0", True),
        ("nan", False),
    ]


def test_a_courtyard_stays_a_hole(tmp_path):
    hole = [[2, 2, 0], [4, 2, 0], [4, 4, 0], [2, 4, 0], [2, 2, 0]]
    path = write_labels(tmp_path, TILE_IDS[0], [footprint(1, polygon(SQUARE, hole))])
    (found,), _ = read_footprints(path, "tile", None)
    assert shapely.from_wkb(found.wkb).area == 96 and not shapely.from_wkb(found.wkb).has_z
