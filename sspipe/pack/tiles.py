"""Packing tiles into shards: a few large arrays that training reads without any raster library."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pandas as pd
import rasterio
from numpy.typing import DTypeLike, NDArray
from rasterio.errors import RasterioError

from sspipe.errors import UserError
from sspipe.files import read_table, whole_folder, write_json
from sspipe.log import progress, say
from sspipe.pack.arrays import ArrayWriter, file_entry
from sspipe.pack.masks import tile_masks
from sspipe.pack.orientation import prepare

BANDS = 4
MASKS = 2
SMALLEST_FLOAT16 = np.finfo(np.float16).smallest_subnormal


def pack_tiles(
    *,
    catalog: Path,
    footprints: Path,
    raw: Path,
    shard: int,
    shards: int,
    size_px: int,
    padded_px: int,
    orientation: str,
    border_px: int,
    out: Path,
) -> None:
    """Writes one shard: SAR, EO and masks of its tiles, oriented and padded, with a table of rows and a manifest.

    Args:
        catalog: of all tiles.
        footprints: of all tiles.
        raw: the unpacked archive.
        shard: which one to write, from 0.
        shards: how many there are.
        size_px: S, sides of a tile.
        padded_px: P, sides after padding.
        orientation: turn of the tiles of orientation 1, see `sspipe.pack.orientation`.
        border_px: half width of the border band, px.
        out: folder of the shard.

    Raises:
        UserError: a tile cannot be read, or is not as the catalog says; P is less than S.
    """
    if padded_px < size_px:
        raise UserError(
            f"tiles.padded_px is {padded_px}, expected at least tiles.size_px ({size_px}); "
            "padding only adds pixels: raise tiles.padded_px"
        )
    tiles = read_table(catalog)
    _refuse_other_size(catalog, tiles, size_px)
    mine = tiles.iloc[list(rows_of_shard(len(tiles), shard, shards))]
    outlines = _footprints_by_tile(footprints, mine["tile_id"].tolist())
    with whole_folder(out) as folder:
        with (
            ArrayWriter(folder / "sar.npy", (len(mine), BANDS, padded_px, padded_px), np.float16) as sar,
            ArrayWriter(folder / "eo.npy", (len(mine), BANDS, padded_px, padded_px), np.uint16) as eo,
            ArrayWriter(folder / "masks.npy", (len(mine), MASKS, padded_px, padded_px), np.uint8) as masks,
        ):
            for tile in progress(mine.itertuples(index=False), f"pack_tiles {shard}", total=len(mine)):
                images = (
                    (sar, _read_sar(raw / tile.sar_path, size_px)),
                    (eo, _read(raw / tile.eo_path, size_px, np.uint16)),
                    (masks, _masks_of(tile, outlines.get(tile.tile_id, []), border_px)),
                )
                for array, image in images:
                    array.append(prepare(image, tile.orientation, orientation, padded_px))
        rows = mine[["tile_id", "orientation"]].assign(row=range(len(mine)))[["tile_id", "row", "orientation"]]
        rows.to_parquet(folder / "tiles.parquet", index=False)
        manifest = {
            "shard": shard,
            "shards": shards,
            "tiles": len(mine),
            "files": {
                "sar.npy": sar.entry(),
                "eo.npy": eo.entry(),
                "masks.npy": masks.entry(),
                "tiles.parquet": file_entry(folder / "tiles.parquet"),
            },
            "size_px": size_px,
            "padded_px": padded_px,
            "orientation": orientation,
            "border_px": border_px,
        }
        write_json(folder / "manifest.json", manifest)
    say(f"pack_tiles: shard {shard} of {shards}, {len(mine)} tiles")


def rows_of_shard(tiles: int, shard: int, shards: int) -> range:
    """Rows of the sorted catalog that go into a shard: row k goes to shard `k * shards // tiles`."""
    return range(-(-shard * tiles // shards), -(-(shard + 1) * tiles // shards))


def sar_to_float16(image: NDArray[np.float32]) -> NDArray[np.float16]:
    """Halves the bytes of a SAR image; no-data (0) stays 0, and nothing else becomes 0.

    Rounding moves a value by at most 2**-11 of itself: by 0.008 to 0.016 around the bands' means (26 to 36, on their
    logarithmic scale), by 0.03 at the largest values (64 to 93). Bands spread by about 8.4 (standard deviation), most
    of it speckle; the rounding's root mean square, 0.005 to 0.009, lies about a thousand times below that. Values too
    small for float16 (below 3e-8) take its smallest, 6e-8, because 0 would make them no-data.

    Args:
        image: (..., H, W) float32.

    Raises:
        ValueError: a value is not finite, or is beyond float16 (65504).
    """
    with np.errstate(over="ignore"):
        halved = image.astype(np.float16)
    if not np.isfinite(halved).all():
        raise ValueError("values beyond 65504, or not finite")
    lost = (halved == 0) & (image != 0)
    halved[lost] = np.copysign(SMALLEST_FLOAT16, image[lost])
    return halved


def _read_sar(path: Path, size_px: int) -> NDArray[np.float16]:
    try:
        return sar_to_float16(_read(path, size_px, np.float32))
    except ValueError as error:
        raise UserError(f"{path}: {error}; expected SpaceNet 6's log-scaled amplitudes, 0 to about 93") from None


def _read(path: Path, size_px: int, dtype: DTypeLike) -> NDArray[Any]:
    """(4, S, S) pixels of an image."""
    try:
        with rasterio.open(path) as image:
            pixels = image.read()
    except RasterioError as error:
        raise UserError(f"{path}: cannot be read ({error}); unpack the archive and index the tiles again") from None
    expected = (BANDS, size_px, size_px)
    if pixels.shape != expected or pixels.dtype != dtype:
        found = f"{pixels.dtype} of shape {pixels.shape}"
        raise UserError(f"{path}: {found}, expected {np.dtype(dtype)} of shape {expected}; index the tiles again")
    return pixels


def _masks_of(tile: Any, outlines: list[Any], border_px: int) -> NDArray[np.uint8]:
    """(2, S, S) masks of a row of the catalog, in the tile's own grid."""
    return tile_masks(outlines, tile.easting_m, tile.northing_m, tile.pixel_m, tile.size_px, border_px)


def _footprints_by_tile(footprints: Path, tile_ids: list[str]) -> dict[str, list[Any]]:
    """Geometries of each tile; a tile without buildings has no entry."""
    if not tile_ids:
        return {}
    table = geopandas.read_parquet(footprints, columns=["tile_id", "geometry"], filters=[("tile_id", "in", tile_ids)])
    return {str(tile_id): list(group) for tile_id, group in table.groupby("tile_id")["geometry"]}


def _refuse_other_size(catalog: Path, tiles: pd.DataFrame, size_px: int) -> None:
    found = sorted({int(size) for size in tiles["size_px"]})
    if found != [size_px]:
        raise UserError(
            f"{catalog}: its tiles measure {', '.join(map(str, found))} px, and tiles.size_px is {size_px}: "
            "set tiles.size_px to what the data has, and index the tiles again"
        )
