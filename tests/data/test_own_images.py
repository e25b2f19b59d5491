"""Images of one's own tiles that do not fit the configuration."""

import re
import warnings

import numpy as np
import pytest
import rasterio
import rasterio.shutil

from sspipe.errors import UserError
from tests.data.small_own_tiles import FIRST, gather, index, own, refused, set_cell
from tests.own_tiles import NORTH, SAR_BANDS, SIZE_PX, WEST, write_image

__all__ = ["own"]  # a fixture


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
