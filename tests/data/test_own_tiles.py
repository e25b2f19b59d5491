"""Gathering one's own tiles: where files may lie, and footprints of any kind, cut to the tiles."""

import re

import numpy as np
import pandas as pd
import pytest
import shapely

from tests.data.small_own_tiles import FIRST, gather, houses, in_first, index, own, refused, set_cell, set_houses
from tests.own_tiles import NORTH, WEST

__all__ = ["own"]  # a fixture


def test_paths_are_relative_to_the_table_and_images_stay_where_they_are(own):
    raw = gather(own)
    assert sorted(path.name for path in raw.iterdir()) == ["labels", "tiles.csv", "truth.csv"]
    catalog, footprints, _ = index(own)
    assert [path.endswith("s1 0.tiff") for path in catalog["sar_path"]] == [True, False, False, False]
    assert (
        footprints["tile_id"].value_counts().to_dict()
        == catalog.set_index("tile_id")["building_count"][lambda counts: counts > 0].to_dict()
    )


def test_a_building_across_an_edge_is_in_both_tiles_as_far_as_it_reaches(own):
    across = in_first(60, 10)  # of its 10 m, 4 are in the first tile, and 6 in the third, east of it
    set_houses(own, FIRST, "one.gpkg", houses(across))
    set_cell(own, "plot-002", "footprint_path", "../houses/one.gpkg")
    gather(own)
    _, footprints, _ = index(own)
    found = footprints[footprints["tile_id"].isin([FIRST, "plot-002"])]
    assert found["area_m2"].tolist() == [pytest.approx(32), pytest.approx(48)] and found["truncated"].all()
    assert found["building_id"].nunique() == 1
    truth = pd.read_csv(own.folder / "raw" / "truth.csv").set_index("ImageId")
    assert shapely.from_wkt(truth.loc[FIRST, "PolygonWKT_Pix"]).equals(shapely.box(60, 10, 64, 18))
    assert shapely.from_wkt(truth.loc["plot-002", "PolygonWKT_Pix"]).equals(shapely.box(0, 10, 6, 18))


def test_ids_and_heights_are_taken_where_a_file_has_them(own):
    set_houses(
        own, FIRST, "a.gpkg", houses(in_first(5, 5), in_first(30, 30), Building_ID=[70, 80], height_m=[4.5, np.nan])
    )
    gather(own)
    _, footprints, _ = index(own)
    found = footprints[footprints["tile_id"] == FIRST]
    assert found["building_id"].tolist() == [70, 80]
    assert found["height_m"].tolist() == [4.5, pytest.approx(np.nan, nan_ok=True)]


def test_an_invalid_footprint_is_mended_and_listed_and_scored_as_mended(own):
    bow = shapely.Polygon([(WEST + x, NORTH - y) for x, y in ((5, 5), (25, 25), (25, 5), (5, 25))])
    set_houses(own, FIRST, "bow.gpkg", houses(bow))
    gather(own)
    _, _, report = index(own)
    assert report["footprints"]["repaired"] == 1 and report["labels"]["csv_invalid"] == 0
    assert report["labels"]["csv_alone"] == report["labels"]["geojson_alone"] == 0


@pytest.mark.parametrize("name", ["f.geojson", "f.gpkg", "f.fgb", "f.shp"])
def test_any_vector_format_will_do(own, name):
    set_houses(own, FIRST, name, houses(in_first(5, 5)))
    gather(own)
    assert index(own)[0]["building_count"].iloc[0] == 1


def test_geoparquet_will_do(own):
    houses(in_first(5, 5)).to_parquet(own.folder / "houses" / "f.parquet")
    set_cell(own, FIRST, "footprint_path", "../houses/f.parquet")
    gather(own)
    assert index(own)[0]["building_count"].iloc[0] == 1


def test_footprints_without_a_crs_are_told(own):
    set_houses(own, FIRST, "bare.gpkg", houses(in_first(5, 5), crs=None))
    assert re.search(r"bare\.gpkg \(line 2\): has no CRS, expected EPSG:32633", refused(own))


def test_footprints_in_degrees_are_told_with_the_command_that_helps(own):
    set_houses(own, FIRST, "degrees.geojson", houses(in_first(5, 5)).to_crs(4326))
    message = refused(own)
    assert "CRS EPSG:4326, expected EPSG:32633" in message
    assert "ogr2ogr -t_srs EPSG:32633" in message and "longitude and latitude, by its standard" in message


def test_footprints_that_all_lie_elsewhere_are_told_with_both_places(own):
    set_houses(own, FIRST, "far.gpkg", houses(in_first(5000, 5)))
    message = refused(own)
    assert re.search(r"far\.gpkg \(line 2\): 1 footprint, all outside the tile: ", message)
    assert "393000 to 393010" in message and "388000 to 388064" in message


def test_a_shared_file_needs_buildings_in_one_tile_only(own):
    set_houses(own, FIRST, "shared.gpkg", houses(in_first(5, 5)))
    set_cell(own, "plot-002", "footprint_path", "../houses/shared.gpkg")
    gather(own)
    assert index(own)[0].set_index("tile_id")["building_count"][[FIRST, "plot-002"]].tolist() == [1, 0]


def test_a_file_of_several_layers_is_told_with_their_names(own):
    for layer in ("old", "new"):
        set_houses(own, FIRST, "two.gpkg", houses(in_first(5, 5)), layer=layer)
    assert re.search(r"two\.gpkg \(line 2\): has the layers old, new, expected one", refused(own))


def test_a_file_that_is_no_vector_file_is_told(own):
    (own.folder / "houses" / "text.gpkg").write_text("buildings")
    set_cell(own, FIRST, "footprint_path", "../houses/text.gpkg")
    assert re.search(r"text\.gpkg \(line 2\): cannot be read as footprints", refused(own))


def test_a_file_of_points_is_told(own):
    set_houses(own, FIRST, "points.gpkg", houses(shapely.Point(WEST + 5, NORTH - 5)))
    assert re.search(r"points\.gpkg \(line 2\): has Point for geometry, expected .* polygons", refused(own))


def test_tiles_without_any_building_are_told_before_they_are_trained_on(own):
    houses(in_first(5, 5)).iloc[:0].to_file(own.folder / "houses" / "none.gpkg", engine="pyogrio")
    for number in range(4):
        set_cell(own, f"plot-00{number}", "footprint_path", "../houses/none.gpkg")
    assert re.search(r"\.csv: none of its 4 tiles has a building in its footprint_path", refused(own))


def test_a_height_that_is_no_number_is_told(own):
    set_houses(own, FIRST, "h.gpkg", houses(in_first(5, 5), height_m=["high"]))
    assert "attribute height_m is `high`, expected a number of metres" in refused(own)
