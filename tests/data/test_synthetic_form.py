"""The embedded archive has SpaceNet 6's form: every fact about the real one that a reader could rely on."""

from __future__ import annotations

import csv
import io
import json
import re
import tarfile
from pathlib import Path

import numpy as np
import pytest
import rasterio
import shapely
from rasterio.io import MemoryFile
from shapely.geometry import box, shape

from sspipe.data.synthetic import synthesize_archive
from sspipe.data.synthetic.labels import CSV_COLUMNS
from sspipe.errors import UserError

SIZE_PX, PIXEL_M, STRIPS, TILES = 64, 0.5, 4, 4
FOLDER = "./train/AOI_11_Rotterdam"
RASTERS = {  # product: bands, rows and columns, dtype, pixel size
    "SAR-Intensity": (4, 64, "float32", 0.5),
    "PS-RGBNIR": (4, 64, "uint16", 0.49999810),
    "PS-RGB": (3, 64, "uint8", 0.49999648),
    "PAN": (1, 64, "uint16", 0.49999346),
    "RGBNIR": (4, 32, "uint16", 1.0000483),
}
NAME = re.compile(r"SN6_Train_AOI_11_Rotterdam_(?P<word>[A-Za-z-]+)_(?P<tile>\d{14}_\d{14}_tile_\d+)\.(tif|geojson)")


@pytest.fixture(scope="module")
def members(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    path = tmp_path_factory.mktemp("synthetic") / "city.tar.gz"
    synthesize_archive(out=path, tile_size_px=SIZE_PX, pixel_m=PIXEL_M, strips=STRIPS, tiles_per_strip=TILES, seed=0)
    return read_members(path)


def read_members(path: Path) -> dict[str, bytes]:
    with tarfile.open(path) as archive:
        return {member.name: archive.extractfile(member).read() for member in archive if member.isfile()}


def tile_ids(members: dict[str, bytes]) -> list[str]:
    return sorted(NAME.fullmatch(Path(name).name)["tile"] for name in members if "/SAR-Intensity/" in name)


def member(members: dict[str, bytes], product: str, tile: str) -> bytes:
    word, suffix = ("Buildings", "geojson") if product == "geojson_buildings" else (product, "tif")
    return members[f"{FOLDER}/{product}/SN6_Train_AOI_11_Rotterdam_{word}_{tile}.{suffix}"]


def read(content: bytes) -> tuple[np.ndarray, dict]:
    with MemoryFile(content) as memory, memory.open() as raster:
        return raster.read(), raster.profile


def labels(members: dict[str, bytes], tile: str) -> dict:
    return json.loads(member(members, "geojson_buildings", tile))


def csv_table(members: dict[str, bytes]) -> list[dict[str, str]]:
    text = members[f"{FOLDER}/SummaryData/SN6_Train_AOI_11_Rotterdam_Buildings.csv"].decode()
    return list(csv.DictReader(io.StringIO(text)))


def test_every_tile_has_every_product_under_its_real_name(members):
    ids = tile_ids(members)
    assert len(ids) == STRIPS * TILES
    expected = {f"{FOLDER}/SummaryData/SAR_orientations.txt"}
    expected.add(f"{FOLDER}/SummaryData/SN6_Train_AOI_11_Rotterdam_Buildings.csv")
    for tile in ids:
        expected |= {f"{FOLDER}/{product}/SN6_Train_AOI_11_Rotterdam_{product}_{tile}.tif" for product in RASTERS}
        expected.add(f"{FOLDER}/geojson_buildings/SN6_Train_AOI_11_Rotterdam_Buildings_{tile}.geojson")
    assert set(members) == expected


@pytest.mark.parametrize("product", RASTERS)
def test_rasters_have_the_products_shape_type_grid_and_no_data(members, product):
    bands, size, dtype, pixel = RASTERS[product]
    for tile in tile_ids(members):
        image, profile = read(member(members, product, tile))
        assert image.shape == (bands, size, size)
        assert profile["dtype"] == dtype
        assert profile["crs"].to_epsg() == 32631
        assert profile["nodata"] == 0
        assert profile["interleave"] == "band"
        assert profile["transform"].a == pytest.approx(pixel, abs=1e-12)
        assert profile["transform"].e == pytest.approx(-pixel, abs=1e-12)


def test_products_of_a_tile_share_the_origin_and_the_no_data_area(members):
    for tile in tile_ids(members):
        sar, profile = read(member(members, "SAR-Intensity", tile))
        valid = sar.any(axis=0)
        for product in RASTERS:
            image, other = read(member(members, product, tile))
            assert (other["transform"].c, other["transform"].f) == (profile["transform"].c, profile["transform"].f)
            if product != "RGBNIR":
                np.testing.assert_array_equal(image.any(axis=0), valid)
                np.testing.assert_array_equal(image.all(axis=0), valid)  # no band is 0 where the others are not


def test_values_lie_in_the_real_ranges(members):
    sar = np.concatenate([read(member(members, "SAR-Intensity", tile))[0] for tile in tile_ids(members)], axis=1)
    eo = np.concatenate([read(member(members, "PS-RGBNIR", tile))[0] for tile in tile_ids(members)], axis=1)
    valid = sar.any(axis=0)
    assert sar.min() == 0
    assert sar[:, valid].min() > 0  # however small a value, it is data
    assert sar.max() <= 93
    np.testing.assert_allclose(sar[:, valid].mean(axis=1), [28.63, 36.10, 33.84, 26.21], atol=3)
    np.testing.assert_allclose(sar[:, valid].std(axis=1), [8.41, 8.27, 8.32, 8.64], atol=1.5)
    assert eo.max() <= 2047
    assert np.percentile(eo, 99) > 255  # truly 11 bit


def test_no_data_is_a_straight_slightly_tilted_wedge(members):
    """Each column of a tile changes between data and no-data at most at its two ends, and the edge is nearly level."""
    wedges = 0
    for tile in tile_ids(members):
        valid = read(member(members, "SAR-Intensity", tile))[0].any(axis=0)
        changes = np.abs(np.diff(valid.astype(int), axis=0)).sum(axis=0)
        assert changes.max() <= 2
        counts = valid.sum(axis=0)
        assert abs(int(counts[0]) - int(counts[-1])) <= 0.05 * SIZE_PX
        wedges += counts.min() < SIZE_PX
    assert wedges >= STRIPS


def test_orientation_file_names_each_strip_once_and_halves_them(members):
    lines = members[f"{FOLDER}/SummaryData/SAR_orientations.txt"].decode().splitlines()
    orientation = dict(line.split(" ") for line in lines)
    assert len(lines) == len(orientation) == STRIPS
    assert sorted(orientation.values()) == ["0", "0", "1", "1"]
    assert {tile.split("_tile_")[0] for tile in tile_ids(members)} == set(orientation)


def test_labels_are_in_utm_with_a_height_of_zero_and_the_real_properties(members):
    properties = {"Building_ID", "origarea", "origlen", "partialDec", "truncated"}
    properties |= {"roof_075mean", "roof_075median", "roof_075stdev"}
    count = 0
    for tile in tile_ids(members):
        content = labels(members, tile)
        assert content["type"] == "FeatureCollection"
        assert content["name"] == f"SN6_Train_AOI_11_Rotterdam_Buildings_{tile}"
        assert content["crs"]["properties"]["name"] == "urn:ogc:def:crs:EPSG::32631"
        for feature in content["features"]:
            assert set(feature["properties"]) == properties
            assert feature["properties"]["roof_075mean"] > 0
            polygon = shape(feature["geometry"])
            assert polygon.geom_type == "Polygon"
            assert polygon.is_valid
            assert set(shapely.get_coordinates(polygon, include_z=True)[:, 2]) == {0.0}
            share = polygon.area / feature["properties"]["origarea"]
            assert feature["properties"]["partialDec"] == pytest.approx(share, abs=1e-6)
            assert feature["properties"]["truncated"] == int(share < 1 - 1e-6)
            count += 1
    assert count > 0


def test_labels_are_cut_to_the_tile_and_to_its_data(members):
    for tile in tile_ids(members):
        sar, profile = read(member(members, "SAR-Intensity", tile))
        west, north = profile["transform"].c, profile["transform"].f
        ground = box(west, north - SIZE_PX * PIXEL_M, west + SIZE_PX * PIXEL_M, north).buffer(1e-6)
        no_data = ~sar.any(axis=0)
        for feature in labels(members, tile)["features"]:
            polygon = shape(feature["geometry"])
            assert ground.contains(polygon)
            burned = rasterio.features.rasterize([polygon], out_shape=no_data.shape, transform=profile["transform"])
            assert not (burned.astype(bool) & no_data).any()


def test_table_has_the_challenges_columns_and_a_row_for_every_tile(members):
    text = members[f"{FOLDER}/SummaryData/SN6_Train_AOI_11_Rotterdam_Buildings.csv"].decode()
    assert tuple(text.splitlines()[0].split(",")) == CSV_COLUMNS
    assert {row["ImageId"] for row in csv_table(members)} == set(tile_ids(members))


def test_table_agrees_with_the_labels_to_a_hundredth_of_a_pixel(members):
    rows = csv_table(members)
    for tile in tile_ids(members):
        _, profile = read(member(members, "SAR-Intensity", tile))
        features = labels(members, tile)["features"]
        mine = [row for row in rows if row["ImageId"] == tile and row["PolygonWKT_Pix"] != "POLYGON EMPTY"]
        assert len(mine) == len(features)
        for row, feature in zip(mine, features, strict=True):
            polygon = shapely.force_2d(shape(feature["geometry"]))
            corner = np.array([profile["transform"].c, profile["transform"].f])
            expected = shapely.transform(polygon, lambda xy, origin=corner: (xy - origin) / [PIXEL_M, -PIXEL_M])
            assert shapely.hausdorff_distance(shapely.from_wkt(row["PolygonWKT_Pix"]), expected) < 0.01
            assert float(row["Mean_Building_Height"]) == feature["properties"]["roof_075mean"]
            assert float(row["StdDev_Building_Height"]) == feature["properties"]["roof_075stdev"]


def test_tiles_without_buildings_have_an_empty_label_file_and_one_empty_row(members):
    empty = [tile for tile in tile_ids(members) if not labels(members, tile)["features"]]
    assert empty
    for tile in empty:
        (row,) = [row for row in csv_table(members) if row["ImageId"] == tile]
        assert row["PolygonWKT_Pix"] == "POLYGON EMPTY"
        assert row["Mean_Building_Height"] == ""


def test_equal_settings_give_equal_bytes_and_another_seed_another_city(tmp_path):
    settings = {"tile_size_px": 40, "pixel_m": 0.5, "strips": 2, "tiles_per_strip": 2}
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        synthesize_archive(out=tmp_path / name, seed=seed, **settings)
    first, again, other = ((tmp_path / name).read_bytes() for name in "abc")
    assert first == again
    assert first != other


@pytest.mark.parametrize(
    ("size_px", "pixel_m", "strips", "tiles"), [(45, 0.5, 3, 2), (96, 1.0, 2, 5), (33, 0.25, 5, 3)]
)
def test_any_tile_size_pixel_size_and_count_works(tmp_path, size_px, pixel_m, strips, tiles):
    path = tmp_path / "city.tar.gz"
    synthesize_archive(out=path, tile_size_px=size_px, pixel_m=pixel_m, strips=strips, tiles_per_strip=tiles, seed=1)
    members = read_members(path)
    ids = tile_ids(members)
    assert len(ids) == strips * tiles
    image, profile = read(member(members, "PS-RGBNIR", ids[0]))
    assert image.shape == (4, size_px, size_px)
    assert profile["transform"].a == pytest.approx(0.49999810 * pixel_m / 0.5)
    coarse, profile = read(member(members, "RGBNIR", ids[0]))
    assert coarse.shape == (4, (size_px + 1) // 2, (size_px + 1) // 2)
    assert profile["transform"].a == pytest.approx(1.0000483 * pixel_m / 0.5)


@pytest.mark.parametrize(
    ("wrong", "named"),
    [({"tile_size_px": 8}, "size_px"), ({"strips": 1}, "strips"), ({"tiles_per_strip": 1}, "tiles_per_strip")],
)
def test_a_city_that_would_be_too_small_is_refused_by_name(tmp_path, wrong, named):
    settings = {"tile_size_px": 64, "pixel_m": 0.5, "strips": 2, "tiles_per_strip": 2, "seed": 0} | wrong
    with pytest.raises(UserError, match=named):
        synthesize_archive(out=tmp_path / "city.tar.gz", **settings)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("wrong", "named"),
    [({"seed": -1}, "synthetic.seed is -1"), *[({"pixel_m": x}, "pixel_m") for x in (0.0, -0.5, np.nan, np.inf)]],
)
def test_a_seed_or_pixel_size_that_no_city_can_have_is_refused_by_name(tmp_path, wrong, named):
    settings = {"tile_size_px": 64, "pixel_m": 0.5, "strips": 2, "tiles_per_strip": 2, "seed": 0} | wrong
    with pytest.raises(UserError, match=named):
        synthesize_archive(out=tmp_path / "city.tar.gz", **settings)
    assert not list(tmp_path.iterdir())
