from __future__ import annotations

import numpy as np
import pytest
import rasterio
from rasterio.transform import Affine

from sspipe.errors import UserError
from sspipe.pack.images import DECODING, read_image

CORNER_M = (592318.62, 5749872.405)
SHAPE = (4, 90, 90)


def pixels(dtype="uint16"):
    return np.random.default_rng(0).integers(0, 2048, SHAPE).astype(dtype)


def write(path, **options):
    grid = Affine(0.5, 0, CORNER_M[0], 0, -0.5, CORNER_M[1])
    settings = {"count": 4, "height": 90, "width": 90, "dtype": "uint16", "crs": "EPSG:32631", **options}
    with rasterio.open(path, "w", driver="GTiff", transform=grid, **settings) as image:
        image.write(pixels(settings["dtype"])[: settings["count"]])
    return path


def read(path, shape=SHAPE, dtype=np.uint16, corner_m=CORNER_M):
    out = np.full(shape, 7, dtype)
    with rasterio.Env(**DECODING):
        read_image(path, out, corner_m, 0.5)
    return out


@pytest.mark.parametrize(
    "options",
    [
        {"interleave": "band"},  # as SpaceNet 6 is: neither compressed nor tiled
        {"interleave": "pixel"},
        {"compress": "deflate", "predictor": 2},
        {"compress": "lzw", "tiled": True, "blockxsize": 32, "blockysize": 32},
        {"BIGTIFF": "YES", "ENDIANNESS": "BIG"},
        {"dtype": "float32", "compress": "deflate"},
    ],
    ids=str,
)
def test_every_form_of_geotiff_gives_the_same_pixels(tmp_path, options):
    dtype = options.get("dtype", "uint16")
    assert (read(write(tmp_path / "a.tif", **options), dtype=dtype) == pixels(dtype)).all()


@pytest.mark.parametrize("options", [{"interleave": "band"}, {"compress": "deflate"}], ids=str)
@pytest.mark.parametrize("share", [0, 0.001, 0.3, 0.99])
def test_a_truncated_file_is_told(tmp_path, options, share):
    path = write(tmp_path / "a.tif", **options)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(UserError, match=rf"{path}: cannot be read"):
        read(path)


def test_a_file_that_is_no_image_or_not_there_is_told(tmp_path):
    (tmp_path / "a.tif").write_text("<html>Access denied</html>")
    with pytest.raises(UserError, match=r"a\.tif: cannot be read"):
        read(tmp_path / "a.tif")
    with pytest.raises(UserError, match=r"b\.tif: cannot be read \(No such file or directory\)"):
        read(tmp_path / "b.tif")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"shape": (4, 90, 91)}, r"uint16 of shape \(4, 90, 90\), expected uint16 of shape \(4, 90, 91\)"),
        ({"shape": (3, 90, 90)}, r"expected uint16 of shape \(3, 90, 90\)"),
        ({"dtype": np.float32}, r"uint16 of shape .* expected float32"),
        ({"corner_m": (CORNER_M[0] + 450, CORNER_M[1])}, r"begins at easting 592318\.62.* has it at 592768\.62"),
    ],
)
def test_another_image_than_was_indexed_is_told(tmp_path, changes, told):
    with pytest.raises(UserError, match=told):
        read(write(tmp_path / "a.tif"), **changes)
