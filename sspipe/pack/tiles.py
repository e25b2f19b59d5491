"""Packing tiles into shards: a few large arrays that training reads without any raster library."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pandas as pd
import rasterio
from numpy.typing import NDArray

from sspipe.errors import UserError
from sspipe.files import read_table, whole_folder, write_json
from sspipe.log import counted, progress, say
from sspipe.pack.arrays import ArrayWriter, file_entry
from sspipe.pack.halves import sar_to_float16
from sspipe.pack.images import DECODING, read_image
from sspipe.pack.masks import tile_masks
from sspipe.pack.orientation import orient

MASKS = 2
DTYPES = {"sar": np.float16, "eo": np.uint16, "masks": np.uint8}


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

    One process and one thread: shards are written in parallel as jobs of their own, and there are more of them than
    cores. A killed one leaves nothing under its name and is written again alone.

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
        UserError: a tile cannot be read, or is not as the catalog says; P is less than S; there is no such shard.
    """
    _refuse_impossible(shard, shards, size_px, padded_px)
    tiles = read_table(catalog)
    _refuse_other_size(catalog, tiles, size_px)
    channels = {"sar": _bands(catalog, tiles, "sar"), "eo": _bands(catalog, tiles, "eo"), "masks": MASKS}
    mine = tiles.iloc[rows_of_shard(len(tiles), shard, shards)]
    outlines = _footprints_by_tile(footprints, mine["tile_id"].tolist())
    rows = {name: np.zeros((channels[name], padded_px, padded_px), dtype) for name, dtype in DTYPES.items()}
    raw_sar = np.empty((channels["sar"], size_px, size_px), np.float32)
    raw_eo = np.empty((channels["eo"], size_px, size_px), np.uint16)
    with whole_folder(out) as folder:
        writers = {
            name: ArrayWriter(folder / f"{name}.npy", (len(mine), *row.shape), row.dtype) for name, row in rows.items()
        }
        with rasterio.Env(**DECODING), writers["sar"], writers["eo"], writers["masks"]:
            for tile in progress(mine.itertuples(index=False), f"pack_tiles {shard}", total=len(mine)):
                # The rows are used again and again: what a tile covers is written anew, the padding stays 0.
                grids = {
                    name: orient(row[:, :size_px, :size_px], tile.orientation, orientation)
                    for name, row in rows.items()
                }
                _read(raw / tile.sar_path, tile, raw_sar, tile.sar_dtype)
                _round_sar(raw / tile.sar_path, raw_sar, grids["sar"])
                if tile.eo_path:
                    _read(raw / tile.eo_path, tile, raw_eo, tile.eo_dtype)
                    grids["eo"][...] = raw_eo
                else:
                    grids["eo"][...] = 0  # no-data: training on EO leaves the tile out
                _draw(tile, outlines.get(tile.tile_id, []), border_px, grids["masks"])
                for name, row in rows.items():
                    writers[name].append(row)
        table = mine[["tile_id", "orientation"]].assign(row=range(len(mine)))[["tile_id", "row", "orientation"]]
        table.to_parquet(folder / "tiles.parquet", index=False)
        files = {f"{name}.npy": writer.entry() for name, writer in writers.items()}
        manifest = {
            "shard": shard,
            "shards": shards,
            "tiles": len(mine),
            "files": {**files, "tiles.parquet": file_entry(folder / "tiles.parquet")},
            "size_px": size_px,
            "padded_px": padded_px,
            "orientation": orientation,
            "border_px": border_px,
        }
        write_json(folder / "manifest.json", manifest)
    say(f"pack_tiles: shard {shard} of {shards}, {counted(len(mine), 'tile')}")


def rows_of_shard(tiles: int, shard: int, shards: int) -> slice:
    """Rows of the sorted catalog that go into a shard: row k goes to shard `k % shards`.

    Neighbours in the catalog are neighbours on the ground, so dealing them out in turn makes every shard a sample of
    the whole city, and of as many tiles as the others or one more. Reading a few shards at a time is then as good as
    reading anywhere.
    """
    return slice(shard, tiles, shards)


def _read(path: Path, tile: Any, out: NDArray[Any], dtype: str) -> None:
    read_image(path, out, (tile.easting_m, tile.northing_m), tile.pixel_m, dtype)


def _round_sar(path: Path, values: NDArray[np.float32], out: NDArray[np.float16]) -> None:
    try:
        sar_to_float16(values, out=out)
    except ValueError as error:
        raise UserError(f"{path}: {error}; expected log-scaled amplitudes, 0 to about 93 in SpaceNet 6") from None


def _draw(tile: Any, footprints: list[Any], border_px: int, out: NDArray[np.uint8]) -> None:
    """Draws the masks of a row of the catalog, in the tile's own grid."""
    tile_masks(footprints, tile.easting_m, tile.northing_m, tile.pixel_m, tile.size_px, border_px, out=out)


def _footprints_by_tile(footprints: Path, tile_ids: list[str]) -> dict[str, list[Any]]:
    """Geometries of each tile; a tile without buildings has no entry."""
    if not tile_ids:
        return {}
    try:
        table = geopandas.read_parquet(
            footprints, columns=["tile_id", "geometry"], filters=[("tile_id", "in", tile_ids)]
        )
    except (OSError, ValueError) as error:
        raise UserError(f"{footprints}: cannot be read ({error}); index the tiles again") from None
    return {str(tile_id): list(group) for tile_id, group in table.groupby("tile_id")["geometry"]}


def _refuse_impossible(shard: int, shards: int, size_px: int, padded_px: int) -> None:
    if padded_px < size_px:
        raise UserError(
            f"tiles.padded_px is {padded_px}, expected at least tiles.size_px ({size_px}); "
            "padding only adds pixels: raise tiles.padded_px"
        )
    if not 0 <= shard < shards:
        raise UserError(f"shard {shard} of {shards} is none: expected 0 to {shards - 1}; see pack.shards")


def _bands(catalog: Path, tiles: pd.DataFrame, view: str) -> int:
    """How many bands a view's images have; indexing has compared them all."""
    found = sorted({int(bands) for bands in tiles.get(f"{view}_bands", ())})
    if len(found) != 1:
        raise UserError(f"{catalog}: does not say how many bands {view.upper()} images have; index the tiles again")
    return found[0]


def _refuse_other_size(catalog: Path, tiles: pd.DataFrame, size_px: int) -> None:
    found = sorted({int(size) for size in tiles["size_px"]})
    if found != [size_px]:
        raise UserError(
            f"{catalog}: its tiles measure {', '.join(map(str, found))} px, and tiles.size_px is {size_px}: "
            "set tiles.size_px to what the data has, and index the tiles again"
        )
