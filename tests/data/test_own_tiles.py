"""Tables of one's own tiles: what is taken, and how each thing that is wrong is told."""

import json
import re
import warnings

import geopandas
import numpy as np
import pandas as pd
import pytest
import rasterio
import rasterio.shutil
import shapely

from sspipe.data import own_data
from sspipe.data.catalog import index_tiles
from sspipe.data.gather import gather_tiles
from sspipe.errors import UserError
from tests.own_tiles import EO_BANDS, EPSG, NORTH, PIXEL_M, SAR_BANDS, SIZE_PX, WEST, write_image, write_own_tiles

FORM = {
    "size_px": SIZE_PX,
    "pixel_m": PIXEL_M,
    "epsg": EPSG,
    "sar_bands": SAR_BANDS,
    "eo_bands": EO_BANDS,
    "sar_range": (-40, 20),
    "eo_range": (0, 255),
}
FIRST, SECOND = "plot-000", "plot-001"


@pytest.fixture()
def own(tmp_path):
    """Four tiles: the first two of a GeoPackage, the others of a GeoJSON each."""
    return write_own_tiles(tmp_path / "place", tiles=4)


def gather(own, **changes):
    out, manifest = own.folder / "raw", own.folder / "raw.json"
    gather_tiles(table=own.table, out=out, manifest=manifest, **{**FORM, **changes})
    return out


def index(own, **changes):
    outputs = {f"out_{name}": own.folder / name for name in ("catalog", "footprints", "report")}
    form = {**FORM, **changes}
    index_tiles(raw=own.folder / "raw", layout="table", max_left_out=0, processes=1, **form, **outputs)
    catalog = pd.read_parquet(outputs["out_catalog"])
    return catalog, geopandas.read_parquet(outputs["out_footprints"]), json.loads(outputs["out_report"].read_text())


def refused(own, **changes):
    """The message of a table that cannot be used, which leaves nothing behind."""
    with pytest.raises(UserError) as error:
        gather(own, **changes)
    assert not (own.folder / "raw").exists() and not (own.folder / "raw.json").exists()
    return str(error.value)


def set_cell(own, tile_id, column, value):
    own.row(tile_id)[column] = value
    own.write_table()


def set_houses(own, tile_id, name, table, **form):
    """Gives a tile a file of footprints of its own."""
    table.to_file(own.folder / "houses" / name, engine="pyogrio", **form)
    set_cell(own, tile_id, "footprint_path", f"../houses/{name}")


def houses(*shapes, crs=EPSG, **columns):
    return geopandas.GeoDataFrame(columns, geometry=list(shapes), crs=crs)


def in_first(x, y, width=10.0, height=8.0):
    """A rectangle in the first tile, m from its corner."""
    return shapely.box(WEST + x, NORTH - y - height, WEST + x + width, NORTH - y)


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


def test_further_columns_and_blank_lines_do_no_harm(own):
    for row in own.rows:
        row["note"] = "seen, twice"
    own.write_table((*own_data.COLUMNS, "note"))
    own.table.write_text(own.table.read_text() + "\n\n")
    gather(own)
    assert len(index(own)[0]) == 4


def test_a_column_that_is_missing_is_told_with_the_one_that_may_be_meant(own):
    own.table.write_text(own.table.read_text().replace("footprint_path", "footprints_path"))
    message = refused(own)
    assert "line 1: no column footprint_path" in message and "did you mean `footprints_path`?" in message


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("", "is empty; expected the columns tile_id,sar_path,eo_path,footprint_path,strip,orientation"),
        ("tile_id;sar_path;eo_path;footprint_path;strip;orientation\n", "line 1: cells are not separated by commas"),
        (",".join(own_data.COLUMNS) + "\n", "has no tiles; add one line for each tile"),
        (",".join(own_data.COLUMNS) + "\na,b,c,d,e,0,1\n", "line 2 has 7 cells, and the header 6"),
        (b"\xff\xfe\x00", "is no text in UTF-8"),
    ],
)
def test_what_is_no_table_is_told(own, content, told):
    own.table.write_bytes(content if isinstance(content, bytes) else content.encode())
    assert told in refused(own)


def test_a_table_that_is_not_there_is_told_with_its_key(own):
    own.table.unlink()
    assert re.search(r"my tiles\.csv: no such file; archive\.path must name", refused(own))


@pytest.mark.parametrize(
    ("column", "value", "told"),
    [
        ("tile_id", "plot-000", "line 3: tile_id plot-000 is that of line 2 too; rename one"),
        ("tile_id", "Plot-000", "line 3: tile_id Plot-000 is that of line 2 too, but for case plot-000"),
        ("tile_id", "a/b", "line 3: tile_id is `a/b`; expected letters, digits"),
        ("tile_id", "", "line 3: tile_id is empty"),
        ("sar_path", "gone.tif", "line 3: sar_path: gone.tif is no file; paths are relative to the table's folder, /"),
        ("sar_path", "", "line 3: sar_path is empty"),
        ("sar_path", "../radar/s1 0.tiff", "is that of line 2 too"),
        ("eo_path", "gone.tif", "line 3: eo_path: gone.tif is no file"),
        ("footprint_path", "gone.gpkg", "line 3: footprint_path: gone.gpkg is no file"),
        ("footprint_path", "", "line 3: footprint_path is empty; a tile without buildings names a file"),
        ("strip", "", "line 3: strip is empty"),
        ("strip", "pass 0", "line 3: strip pass 0 has orientation 1, and 0 in line 2"),
        ("orientation", "2", "line 3: orientation is `2`; expected 0"),
        ("orientation", "", "line 3: orientation is ``; expected 0"),
        ("orientation", "north", "line 3: orientation is `north`; expected 0"),
    ],
)
def test_a_wrong_cell_is_told_with_its_line_and_what_to_do(own, column, value, told):
    set_cell(own, SECOND, column, value)
    message = refused(own)
    assert told in message and str(own.table) in message


def test_many_problems_come_in_one_message_with_their_number(own):
    for row in own.rows:
        row["orientation"], row["eo_path"], row["sar_path"] = "x", "gone", "gone"
    own.write_table()
    message = refused(own)
    assert "12 problems" in message and "... and 2 more" in message


def test_some_tile_must_have_an_eo_image(own):
    for row in own.rows:
        row["eo_path"] = ""
    own.write_table()
    assert "eo_path is empty in every line" in refused(own)


def rewrite(own, column, bands, corner=(WEST, NORTH), size=SIZE_PX, dtype=None, **form):
    """Writes the first tile's image anew."""
    dtype = dtype or ("float32" if column == "sar_path" else "uint8")
    write_image(own.path(FIRST, column), np.ones((bands, size, size), dtype), corner, **form)


@pytest.mark.parametrize(
    ("column", "form", "told"),
    [
        ("sar_path", {"bands": 4}, "4 bands, expected 2 (`tiles.sar_bands` in the config)"),
        ("eo_path", {"bands": 4}, "4 bands, expected 3 (`tiles.eo_bands` in the config)"),
        ("sar_path", {"bands": 2, "size": 60}, "60 x 60 px, expected 64 x 64 px (`tiles.size_px` in the config)"),
        ("sar_path", {"bands": 2, "dtype": "float64"}, "dtype float64, expected float32 or"),
        ("eo_path", {"bands": 3, "dtype": "float32"}, "dtype float32, expected uint8 or uint16"),
        ("sar_path", {"bands": 2, "nodata": -9999}, "its no-data value is -9999, expected 0 or none"),
        ("eo_path", {"bands": 3, "size": 60}, "lies on another grid than the SAR image: 60 x 60 px"),
        ("eo_path", {"bands": 3, "corner": (WEST + 0.5, NORTH)}, "from 388000.5, 5820000, expected 64 x 64 px"),
        (
            "sar_path",
            {"bands": 2, "crs": "EPSG:32632"},
            "its images are in several CRSs: EPSG:32632 (line 2), EPSG:32633",
        ),
        ("eo_path", {"bands": 3, "crs": "EPSG:32632"}, "its images are in several CRSs"),
    ],
)
def test_an_image_of_another_form_is_told_with_its_line_and_key(own, column, form, told):
    rewrite(own, column, **form)
    message = refused(own)
    assert told in message and "line 2" in message


def test_pixels_of_another_size_are_told(own):
    message = refused(own, pixel_m=0.5)
    assert "pixels of 1 x 1 m, expected 0.5 m within 0.1 % (`tiles.pixel_m` in the config)" in message
    assert "set tiles.pixel_m to what the data has" in message


def test_a_crs_other_than_the_configs_is_told(own):
    message = refused(own, epsg=32634)
    assert "CRS EPSG:32633, expected EPSG:32634" in message and "set tiles.epsg" in message


@pytest.mark.parametrize(
    ("epsg", "told"), [(4326, "whose unit is not the metre"), (2263, "not the metre"), (1, "no CRS")]
)
def test_a_crs_that_is_not_in_metres_is_refused(own, epsg, told):
    assert told in refused(own, epsg=epsg)


def test_an_image_that_is_none_is_told(own):
    own.path(FIRST, "sar_path").write_bytes(b"II*\0 and no more")
    assert re.search(r"line 2: s1 0\.tiff: cannot be read", refused(own))


def test_an_image_in_another_format_is_told(own):
    path = own.path(FIRST, "sar_path").with_suffix(".img")
    with rasterio.open(own.path(FIRST, "sar_path")) as image:
        rasterio.shutil.copy(image, path, driver="HFA")
    set_cell(own, FIRST, "sar_path", f"../radar/{path.name}")
    assert "line 2: s1 0.img: is HFA, expected a GeoTIFF; convert it (gdal_translate)" in refused(own)


def test_a_place_that_stands_in_a_world_file_alone_is_told(own):
    path = own.path(FIRST, "sar_path")
    with rasterio.open(path) as image:
        pixels, crs = image.read(), image.crs
    path.unlink()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it has no place
        with rasterio.open(path, "w", driver="GTiff", count=2, height=64, width=64, dtype="float32", crs=crs) as image:
            image.write(pixels)
    path.with_suffix(".tfw").write_text(f"1\n0\n0\n-1\n{WEST + 0.5}\n{NORTH - 0.5}\n")
    assert "line 2: s1 0.tiff: pixels of 1 x -1 m, expected 1 m" in refused(own)


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


def test_a_height_that_is_no_number_is_told(own):
    set_houses(own, FIRST, "h.gpkg", houses(in_first(5, 5), height_m=["high"]))
    assert "attribute height_m is `high`, expected a number of metres" in refused(own)


def test_values_that_cannot_be_packed_are_told_when_tiles_are_indexed(own):
    gather(own)
    pixels = np.ones((2, SIZE_PX, SIZE_PX), np.float32)
    pixels[0, 0, 0] = np.nan
    write_image(own.path(FIRST, "sar_path"), pixels, (WEST, NORTH))
    with pytest.raises(UserError, match=r"s1 0\.tiff: values that are not finite, or beyond 65504: 1, expected finite"):
        index(own)


def test_values_outside_the_configs_range_are_listed_and_used(own):
    gather(own)
    catalog, _, report = index(own, sar_range=(-12, 20))
    assert (catalog["sar_out_of_range"] > 0).all()
    assert report["values"]["sar"]["expected"] == [-12, 20]
    band = report["values"]["sar"]["bands"][0]
    assert sum(band["histogram"]) == band["count"] and band["min"] < -12
    assert report["values"]["sar"]["band_names"] == SAR_BANDS


def test_files_that_a_table_names_are_known_to_the_workflow(own):
    names = own_data.named_files(own.table)
    assert len(names) == 4 + 3 + 3 and own_data.count_tiles(own.table) == 4
    own.table.write_bytes(b"\xff\xfe\x00")
    assert own_data.named_files(own.table) == [] and own_data.count_tiles(own.table) == 0
