"""Reading the images of a tile, each with one sequential read of its whole file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from rasterio.errors import RasterioError
from rasterio.io import MemoryFile

from sspipe.errors import UserError

# The file is read whole and decoded in memory: one large read is what a parallel file system is good at, and no other
# file of its folder is looked for. GDAL may then copy the pixels of an uncompressed image straight to where they go,
# without its cache of blocks; of a compressed one it takes no notice.
DECODING = {"GTIFF_VIRTUAL_MEM_IO": "YES", "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR"}


def read_image(
    path: Path, out: NDArray[Any], corner_m: tuple[float, float], pixel_m: float, dtype: str | None = None
) -> None:
    """Reads an image that must be as the catalog has it. Runs fastest within `rasterio.Env(**DECODING)`.

    Args:
        path: GeoTIFF.
        out: (B, H, W) to read into; the image must have this shape. One array for all tiles spares the system to find,
            and to clear, the memory again for each.
        corner_m: easting and northing of its upper-left corner.
        pixel_m: nominal side of a pixel; the corner may lie half of it away.
        dtype: that the image must have; `out` holds all of its values. None: that of `out`.

    Raises:
        UserError: the file is missing or damaged, or is another image than was indexed.
    """
    again = "unpack the archive and index the tiles again"
    try:
        content = path.read_bytes()
        if not content:  # which rasterio would take for a file to be written
            raise UserError(f"{path}: cannot be read (it is empty); {again}")
        with MemoryFile(content) as file, file.open(driver="GTiff") as image:
            _refuse_another(path, image, out, corner_m, pixel_m, dtype or out.dtype.name)
            image.read(out=out)
    except RasterioError as error:
        raise UserError(f"{path}: cannot be read ({error}); {again}") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); {again}") from None


def _refuse_another(
    path: Path, image: Any, out: NDArray[Any], corner_m: tuple[float, float], pixel_m: float, dtype: str
) -> None:
    found = (image.count, image.height, image.width)
    if found != out.shape or set(image.dtypes) != {dtype}:
        kinds = "/".join(sorted(set(image.dtypes)))
        raise UserError(
            f"{path}: {kinds} of shape {found}, expected {dtype} of shape {out.shape}; index the tiles again"
        )
    easting_m, northing_m = image.transform.c, image.transform.f
    if abs(easting_m - corner_m[0]) > pixel_m / 2 or abs(northing_m - corner_m[1]) > pixel_m / 2:
        raise UserError(
            f"{path}: begins at easting {easting_m:.2f}, northing {northing_m:.2f}, and the catalog has it at "
            f"{corner_m[0]:.2f}, {corner_m[1]:.2f}; index the tiles again"
        )
