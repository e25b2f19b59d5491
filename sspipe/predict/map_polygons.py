"""Footprints of a mosaic: each building once, however many tiles have seen it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import rasterio
import shapely
from rasterio.windows import Window
from scipy.ndimage import binary_dilation
from skimage.measure import label

from sspipe.errors import UserError
from sspipe.files import whole_file
from sspipe.log import progress, say
from sspipe.predict.instances import tile_polygons
from sspipe.predict.maps import BANDS
from sspipe.predict.mosaic import Block, Grid, blocks_of
from sspipe.predict.polygons import write_geoparquet, write_gpkg
from sspipe.predict.settings import PolygonSettings, read_settings

# What is read around a block at first; it doubles until no patch of building of the block is cut.
MARGIN_PX = 256


def extract_map_polygons(*, mosaic: Path, settings: Path, block_px: int, out_parquet: Path, out_gpkg: Path) -> None:
    """Stage: writes the footprints of a mosaic as one layer.

    Columns: building_id (1 to n), confidence (mean probability of interior), looks (mean number of looks at its
    pixels), area_m2, at_map_edge (it lies at the edge of what any tile has seen, so it may be cut), geometry.

    Args:
        mosaic: GeoTIFF of mosaic_predictions.
        settings: polygons.json of tune_polygons: how footprints are made.
        block_px: side of a block. Memory holds a block and whatever patch of building is joined to one of it.
        out_parquet: GeoParquet.
        out_gpkg: GeoPackage, the same table.

    Raises:
        UserError: the mosaic cannot be read or has other bands.
    """
    how = read_settings(settings)
    try:
        with rasterio.open(mosaic) as raster:
            if tuple(raster.descriptions) != BANDS:
                raise UserError(f"{mosaic}: has the bands {raster.descriptions}, expected {BANDS}; make it again")
            pixel_m, (west_m, north_m) = raster.transform.a, raster.transform @ (0, 0)
            grid = Grid(west_m, north_m, pixel_m, raster.height, raster.width)
            found, crs = list(map_polygons(raster, grid, how, block_px)), raster.crs
    except rasterio.errors.RasterioIOError as error:
        raise UserError(f"{mosaic}: cannot be read ({error}); run mosaic_predictions again") from None
    table = _table(found, grid, crs)
    with whole_file(out_parquet) as partial:
        write_geoparquet(table, partial)
    with whole_file(out_gpkg) as partial:
        write_gpkg(table, partial)
    say(f"{len(table)} footprints of the map, {table['at_map_edge'].sum()} at its edge -> {out_parquet}")


@dataclass(frozen=True)
class MapPolygons:
    """Footprints of one block.

    Attributes:
        geometry: (n,) polygons, pixels of the mosaic, x right and y down.
        confidence: (n,) float64.
        looks: (n,) float64.
        at_edge: (n,) bool.
    """

    geometry: np.ndarray
    confidence: np.ndarray
    looks: np.ndarray
    at_edge: np.ndarray


def map_polygons(
    raster: rasterio.DatasetReader, grid: Grid, settings: PolygonSettings, block_px: int
) -> Iterator[MapPolygons]:
    """Finds footprints block by block, the same ones whatever the size of the blocks.

    A connected patch of building pixels belongs to the block that has its first pixel, and is parted into instances
    there as a whole: nothing is cut between blocks, and nothing is found twice.
    """
    blocks = list(blocks_of(grid, block_px))
    for block in progress(blocks, "map footprints: blocks", len(blocks)):
        window, (interior, border, looks), patches = _whole_patches(raster, grid, block, settings.interior_threshold)
        mine = _begun_in(block, window, patches)
        if not mine.any():
            continue
        found = tile_polygons(
            np.where(mine[patches], interior, 0),
            border,
            **settings.as_dict(),
            edge=binary_dilation(looks <= 0, np.ones((3, 3), bool)),
            looks=looks,
        )
        corner = (window.left, window.top)
        geometry = shapely.transform(found.geometry, lambda points, corner=corner: points + corner)
        # No patch of this block reaches the window's edge, unless that is the edge of the mosaic.
        yield MapPolygons(geometry, found.confidence, found.looks, found.at_tile_edge)


def _whole_patches(
    raster: rasterio.DatasetReader, grid: Grid, block: Block, threshold: float
) -> tuple[Block, np.ndarray, np.ndarray]:
    """Reads a block and as much around it as the patches of building in it need.

    Returns:
        what was read; its bands (3, r, c) float32; and the patches (r, c), 0 where there is no building.
    """
    margin = MARGIN_PX
    while True:
        window = Block(
            max(block.top - margin, 0),
            min(block.bottom + margin, grid.rows),
            max(block.left - margin, 0),
            min(block.right + margin, grid.columns),
        )
        height, width = window.bottom - window.top, window.right - window.left
        bands = raster.read(window=Window(window.left, window.top, width, height))
        patches = label(bands[0] >= threshold, connectivity=1)
        touched = np.zeros(patches.max() + 1, bool)
        touched[_part(patches, block, window)] = True
        cut = np.zeros_like(touched)
        for line, inside in (
            (patches[0], window.top > 0),
            (patches[-1], window.bottom < grid.rows),
            (patches[:, 0], window.left > 0),
            (patches[:, -1], window.right < grid.columns),
        ):
            if inside:
                cut[line] = True
        if not (touched & cut)[1:].any():
            return window, bands, patches
        margin *= 2


def _part(values: np.ndarray, block: Block, window: Block) -> np.ndarray:
    return values[
        block.top - window.top : block.bottom - window.top, block.left - window.left : block.right - window.left
    ]


def _begun_in(block: Block, window: Block, patches: np.ndarray) -> np.ndarray:
    """(n + 1,) bool: whether the first pixel of each patch, row by row, lies in the block; never for 0, no building."""
    pixels = np.flatnonzero(patches)
    first = np.zeros(patches.max() + 1, np.int64)
    first[patches.ravel()[pixels[::-1]]] = pixels[::-1]  # of several the last one stays, which is the first pixel
    rows, columns = np.divmod(first, patches.shape[1])
    rows, columns = rows + window.top, columns + window.left
    mine = (rows >= block.top) & (rows < block.bottom) & (columns >= block.left) & (columns < block.right)
    mine[0] = False
    return mine


def _table(found: list[MapPolygons], grid: Grid, crs: Any) -> gpd.GeoDataFrame:
    """Puts the blocks' footprints in one table, on the map."""
    geometry = np.concatenate([np.empty(0, object), *(part.geometry for part in found)])

    def joined(name: str, kind: type) -> np.ndarray:
        return np.concatenate([np.empty(0, kind), *(getattr(part, name) for part in found)]).astype(kind)

    def on_the_map(points: np.ndarray) -> np.ndarray:
        return np.array([grid.west_m, grid.north_m]) + points * (grid.pixel_m, -grid.pixel_m)

    table = pd.DataFrame(
        {
            "building_id": np.arange(1, len(geometry) + 1, dtype=np.int64),
            "confidence": np.round(joined("confidence", float), 6),
            "looks": np.round(joined("looks", float), 2),
            "area_m2": shapely.area(geometry) * grid.pixel_m**2,
            "at_map_edge": joined("at_edge", bool),
        }
    )
    placed = shapely.transform(geometry, on_the_map)
    return gpd.GeoDataFrame(table, geometry=gpd.GeoSeries(placed, crs=crs), crs=crs)
