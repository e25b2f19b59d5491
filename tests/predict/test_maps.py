"""Mosaics: the right values at the right place, in files that other programs read."""

from __future__ import annotations

import json
import shutil
import subprocess

import geopandas as gpd
import numpy as np
import pandas as pd
import pyarrow.parquet
import pytest
import rasterio
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from sspipe.errors import UserError
from sspipe.files import read_json, write_json
from sspipe.predict.mosaic import Block, Sums, blocks_of, grid_over, look_at, tiles_on
from tests.predict.map_scene import BUILDINGS, OFFSETS_M, PADDED, PIXEL_M, SIZE, on_the_map, write_map_scene
from tests.predict.packs import write_sar_pack

TOOLS = ("gdalbuildvrt", "gdal_translate", "gdalinfo", "ogrinfo")
with_gdal = pytest.mark.skipif(not all(map(shutil.which, TOOLS)), reason="gdal-bin is not installed")


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    """A scene with its mosaic and the footprints of it; tests leave it as it is."""
    if not all(map(shutil.which, TOOLS)):
        pytest.skip("gdal-bin is not installed")
    scene = write_map_scene(tmp_path_factory.mktemp("map"), no_data_px=6)
    scene.mosaic()
    scene.map_polygons()
    return scene


def told(*command) -> str:
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    assert done.returncode == 0 and not done.stderr, done.stdout + done.stderr
    return done.stdout


def place(easting_m, northing_m, size_px=40, pixel_m=0.5):
    return pd.Series({"easting_m": easting_m, "northing_m": northing_m, "pixel_m": pixel_m, "size_px": size_px})


def averaged(places, values, valid=None, edge_m=5.0, block=None):
    """The whole mosaic of some tiles, (1, rows, columns), and the looks."""
    table = pd.DataFrame(places)
    grid = grid_over(table)
    block = block or Block(0, grid.rows, 0, grid.columns)
    sums = Sums(block, channels=1)
    for position in tiles_on(grid, block, table):
        data = np.ones(values[position].shape[1:], bool) if valid is None else valid[position]
        sums.add(look_at(grid, block, table.iloc[position], values[position], data, edge_m))
    return grid, sums.mean(-1), sums.looks


offsets = st.tuples(st.floats(-15, 15), st.floats(-15, 15))


@settings(max_examples=40, deadline=None)
@given(st.lists(offsets, min_size=1, max_size=5), st.floats(0.5, 30), st.sampled_from([0.5, 0.4999981, 0.49999346]))
def test_a_slope_on_the_ground_comes_back_whatever_tiles_see_it(corners, edge_m, pixel_m):
    """Linear interpolation and weighted means are exact for a plane, so any shift by a part of a pixel would show."""

    def plane(x, y):
        return 0.01 * (x - 594_000) + 0.02 * (y - 5_750_000)

    places = [place(594_000 + east, 5_750_000 + north, pixel_m=pixel_m) for east, north in corners]
    values = []
    for tile in places:
        x = tile.easting_m + (np.arange(40) + 0.5) * pixel_m
        y = tile.northing_m - (np.arange(40) + 0.5) * pixel_m
        values.append(plane(x[None, :], y[:, None])[None])
    grid, mean, looks = averaged(places, values, edge_m=edge_m)
    rows, columns = np.nonzero(looks)
    expected = plane(grid.west_m + (columns + 0.5) * grid.pixel_m, grid.north_m - (rows + 0.5) * grid.pixel_m)
    # At a tile's edge, up to half a pixel beyond its outermost centres, their value holds.
    np.testing.assert_allclose(mean[0][looks > 0], expected, atol=0.02 * pixel_m)
    inner = looks == looks.max()
    assert inner.any()


def test_looks_are_averaged_by_how_far_inside_their_tile_they_are():
    places = [place(0, 100), place(10, 100)]  # overlapping by half of 20 m
    values = [np.full((1, 40, 40), level) for level in (0.0, 1.0)]
    _, mean, looks = averaged(places, values, edge_m=8)
    middle = mean[0, 20]
    assert (looks[20] == np.repeat([1, 2, 1], 20)).all()
    overlap = middle[20:40]
    assert (np.diff(overlap) >= 0).all()  # from the first tile's value to the second's
    assert overlap[0] < 0.05 and overlap[-1] > 0.95 and overlap[9:11].mean() == pytest.approx(0.5)
    assert (middle[:20] == 0).all() and (middle[40:] == 1).all()


def test_pixels_without_data_neither_count_nor_weigh():
    valid = [np.ones((40, 40), bool), np.ones((40, 40), bool)]
    valid[1][:, :20] = False
    values = [np.full((1, 40, 40), 0.25), np.full((1, 40, 40), 0.75)]
    values[1][:, :, :20] = 99  # whatever a network says where it sees nothing
    _, mean, looks = averaged([place(0, 100), place(0.25, 100)], values, valid)
    assert mean.max() <= 0.75
    assert (looks[:, :19] == 1).all() and (mean[0, :, :19] == 0.25).all()
    assert (looks[:, 21:39] == 2).all()


def test_blocks_cut_nothing_and_change_nothing():
    random = np.random.default_rng(0)
    places = [place(*random.uniform(0, 30, 2)) for _ in range(6)]
    values = [random.random((1, 40, 40)) for _ in places]
    grid, whole, looks = averaged(places, values)
    for block in blocks_of(grid, 17):
        _, part, counted = averaged(places, values, block=block)
        rows, columns = slice(block.top, block.bottom), slice(block.left, block.right)
        assert np.array_equal(part, whole[:, rows, columns]) and np.array_equal(counted, looks[rows, columns])


@with_gdal
def test_mosaic_is_a_valid_cog_with_overviews_no_data_names_and_crs(scene):
    about = json.loads(told("gdalinfo", "-json", "-checksum", scene.folder / "map.tif"))
    assert about["metadata"]["IMAGE_STRUCTURE"]["LAYOUT"] == "COG"
    assert [band["description"] for band in about["bands"]] == ["interior", "border", "looks"]
    for band in about["bands"]:
        assert band["noDataValue"] == -1 and band["type"] == "Float32"
        assert band["block"] == [256, 256]
    assert 'ID["EPSG",32631]' in about["coordinateSystem"]["wkt"]
    assert about["geoTransform"][1::4] == [PIXEL_M, -PIXEL_M]


@with_gdal
def test_large_mosaics_have_overviews_in_the_order_of_a_cog(tmp_path):
    scene = write_map_scene(tmp_path)
    catalog = pd.read_parquet(tmp_path / "catalog.parquet")
    catalog.loc[4, "easting_m"] += 300
    catalog.to_parquet(tmp_path / "catalog.parquet")
    scene.mosaic(block_px=256)
    with rasterio.open(tmp_path / "map.tif") as raster:
        assert raster.overviews(1) and all(raster.overviews(band) == raster.overviews(1) for band in (2, 3))
        assert max(raster.shape) > 512
        levels = [None, *range(len(raster.overviews(1)))]
        first_tile = [raster.get_tag_item("BLOCK_OFFSET_0_0", "TIFF", bidx=1, ovr=level) for level in levels]
        directory = [raster.get_tag_item("IFD_OFFSET", "TIFF", bidx=1, ovr=level) for level in levels]
    directories, tiles = [[int(offset) for offset in offsets] for offsets in (directory, first_tile)]
    # The directories from large to small, then the tiles from the smallest overview to the image itself.
    assert directories == sorted(directories) and tiles == sorted(tiles, reverse=True)
    assert max(directories) < min(tiles)


def test_bands_hold_interior_border_and_the_number_of_looks(scene):
    with rasterio.open(scene.folder / "map.tif") as raster:
        interior, border, looks = raster.read(masked=True)
        transform, shape = raster.transform, raster.shape
    x, y = np.meshgrid(np.arange(shape[1]) + 0.5, np.arange(shape[0]) + 0.5)
    east, north = transform @ (x, y)
    expected = np.zeros(shape, int)
    for number, (right, down) in enumerate(OFFSETS_M):
        corner = on_the_map(shapely.Point(right, down))
        dark = 6 * PIXEL_M if number < len(OFFSETS_M) - 1 else 0
        side = SIZE * PIXEL_M
        seen = (east > corner.x) & (east < corner.x + side)
        expected += seen & (north < corner.y - dark) & (north > corner.y - side)
    # Within a pixel of a tile's edge it may be one more or one less.
    near = np.zeros(shape, bool)
    near[1:] |= np.diff(expected, axis=0) != 0
    near[:-1] |= np.diff(expected, axis=0) != 0
    near[:, 1:] |= np.diff(expected, axis=1) != 0
    near[:, :-1] |= np.diff(expected, axis=1) != 0
    assert (looks.filled(0) == expected)[~near].all()
    assert looks.max() == 4
    assert (interior.mask == looks.mask).all() and (border.mask == looks.mask).all()
    assert interior.min() >= 0 and interior.max() == 1


def test_coordinates_lie_over_the_right_place(scene):
    middle = on_the_map(shapely.Point(31, 30))  # in building 11, which four tiles see
    outside = on_the_map(shapely.Point(42, 30))
    with rasterio.open(scene.folder / "map.tif") as raster:
        there, elsewhere = raster.sample([(middle.x, middle.y), (outside.x, outside.y)])
    assert there[0] > 0.99 and there[2] == 4
    assert elsewhere[0] < 0.01


def test_each_building_of_overlapping_tiles_is_one_footprint_at_its_place(scene):
    found = gpd.read_parquet(scene.folder / "map.parquet")
    assert found["building_id"].tolist() == list(range(1, len(BUILDINGS) + 1))
    for number, shape in BUILDINGS.items():
        true = on_the_map(shape)
        near = found[found.intersection(true).area > 0.5 * true.area]
        assert len(near) == 1, number
        if number != 16:  # which the edge cuts
            # Rounded to pixels twice, half a pixel each: in the tile, and in the mosaic.
            np.testing.assert_allclose(near.total_bounds, true.bounds, atol=PIXEL_M)
        assert bool(near["at_map_edge"].iloc[0]) == (number == 16)
    by_place = {
        number: found[found.contains(on_the_map(shape).representative_point())] for number, shape in BUILDINGS.items()
    }
    assert by_place[11]["looks"].iloc[0] == 4 and by_place[15]["looks"].iloc[0] == 1
    assert len(by_place[15].geometry.iloc[0].interiors) == 1
    assert found["confidence"].between(0.9, 1).all()


@pytest.mark.parametrize("block_px", [16, 50, 100])
def test_footprints_of_the_map_do_not_depend_on_its_blocks(scene, block_px):
    whole = gpd.read_parquet(scene.folder / "map.parquet")
    parts = scene.map_polygons(block_px)
    assert sorted(parts.geometry.to_wkt()) == sorted(whole.geometry.to_wkt())
    assert sorted(parts["confidence"]) == sorted(whole["confidence"])


@with_gdal
def test_other_programs_read_the_footprint_layers(scene):
    about = told("ogrinfo", "-so", "-al", scene.folder / "map.gpkg")
    assert f"Feature Count: {len(BUILDINGS)}" in about and "Geometry: Polygon" in about
    assert 'ID["EPSG",32631]' in about and "Extent: (594005." in about
    for column in ("confidence", "looks", "area_m2", "at_map_edge"):
        assert f"{column}: " in about
    # As an integer in the file's head: 1.2, which older programs read without a warning.
    assert int.from_bytes((scene.folder / "map.gpkg").read_bytes()[60:64]) == 10200


def test_geoparquet_says_what_it_is(scene):
    for name in ("map.parquet", "looks.parquet"):
        about = json.loads(pyarrow.parquet.read_schema(scene.folder / name).metadata[b"geo"])
        assert about["version"] == "1.1.0"
        column = about["columns"][about["primary_column"]]
        assert column["encoding"] == "WKB" and column["crs"]["id"] == {"authority": "EPSG", "code": 32631}
        assert column["covering"]["bbox"]["xmin"] == ["bbox", "xmin"]
    box = on_the_map(shapely.box(23, 23, 39, 37)).bounds
    assert len(gpd.read_parquet(scene.folder / "map.parquet", bbox=box)) == 1


@with_gdal
def test_map_without_any_building_has_empty_but_valid_layers(tmp_path):
    scene = write_map_scene(tmp_path)
    scene.probabilities(lambda array: array.fill(0))
    scene.mosaic()
    assert len(scene.map_polygons()) == 0
    about = told("ogrinfo", "-so", "-al", tmp_path / "map.gpkg")
    assert "Feature Count: 0" in about and "Geometry: Polygon" in about
    score = scene.score_looks()
    assert score["all_looks"]["fn"] == score["all_looks"]["buildings"] > 0
    assert score["all_looks"]["f1"] == score["one_look"]["f1"] == 0


@with_gdal
@pytest.mark.parametrize("dark_tiles", [1, len(OFFSETS_M)])
def test_tiles_without_any_data_are_no_looks(tmp_path, dark_tiles):
    scene = write_map_scene(tmp_path)
    imaged = {tile_id: np.full((SIZE, SIZE), n >= dark_tiles) for n, tile_id in enumerate(scene.tile_ids)}
    shutil.rmtree(tmp_path / "pack")
    write_sar_pack(tmp_path / "pack", imaged, PADDED)
    scene.mosaic()
    found = scene.map_polygons()
    looks = gpd.read_parquet(tmp_path / "looks.parquet")
    assert looks.is_empty.tolist() == [n < dark_tiles for n in range(len(imaged))]
    score = scene.score_looks()
    with rasterio.open(tmp_path / "map.tif") as raster:
        seen = raster.read(3, masked=True)
    if dark_tiles == 1:
        assert seen.max() == 3 and score["one_look"]["f1"] == score["all_looks"]["f1"] == 1
    else:
        assert seen.count() == 0 and len(found) == 0
        assert score["all_looks"]["buildings"] == score["one_look"]["buildings"] == score["looks_per_place"] == 0
        assert score["difference"]["f1_low"] is None


def test_missing_tools_are_told_with_what_to_install(tmp_path, monkeypatch):
    scene = write_map_scene(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match="apt-get install gdal-bin"):
        scene.mosaic()
    assert not (tmp_path / "map.tif").exists()
    assert not [path for path in tmp_path.iterdir() if "scratch" in path.name]


def test_raster_of_other_bands_is_refused(scene, tmp_path):
    with rasterio.open(tmp_path / "map.tif", "w", driver="GTiff", width=4, height=4, count=1, dtype="uint8", crs=32631):
        pass
    other = type(scene)(tmp_path, scene.tile_ids)
    write_json(tmp_path / "polygons.json", read_json(scene.folder / "polygons.json"))
    with pytest.raises(UserError, match=r"map\.tif: has the bands"):
        other.map_polygons()
