"""The map stage: probabilities of all test tiles of a run -> one mosaic, a cloud-optimised GeoTIFF."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import rasterio
import shapely
from affine import Affine
from rasterio.features import shapes

from sspipe.files import read_json, scratch_folder, whole_file
from sspipe.log import progress, say
from sspipe.predict.gdal_tools import build_cog
from sspipe.predict.imaged import imaged_pixels
from sspipe.predict.mosaic import Block, Grid, Sums, blocks_of, grid_over, look_at, tiles_on
from sspipe.predict.polygons import (
    open_probabilities,
    read_tile,
    tile_crs,
    tile_places,
    tile_transform,
    write_geoparquet,
)

BANDS = ("interior", "border", "looks")
NO_DATA = -1.0


def mosaic_predictions(
    *,
    probabilities: Path,
    catalog: Path,
    packs: Sequence[Path],
    edge_m: float,
    block_px: int,
    out: Path,
    out_looks: Path,
) -> None:
    """Stage: averages all looks at the test area.

    The mosaic has the bands interior and border (means of the probabilities, weighted by how far inside its tile a look
    is) and looks (how many tiles have data there); -1 where none has. Memory holds one block, one tile, and one bit for
    each pixel of each tile.

    Args:
        probabilities: npy of the test tiles; the json beside it names them and the view.
        catalog: catalog.parquet, for the tiles' place on the map.
        packs: `manifest.json` of every packed shard: which pixels have data.
        edge_m: a look's weight rises over this distance from its tile's edge.
        block_px: side of a block.
        out: cloud-optimised GeoTIFF.
        out_looks: GeoParquet, one row per tile: tile_id and where on the map it has data.

    Raises:
        UserError: an input is unusable, or GDAL's tools are not installed.
    """
    _, tile_ids = open_probabilities(probabilities)
    view = read_json(Path(probabilities).with_suffix(".json"))["view"]
    places, crs = tile_places(catalog, tile_ids), tile_crs(catalog)
    grid = grid_over(places)
    seen = progress(imaged_pixels(packs, tile_ids, view), "pixels with data: tiles", len(tile_ids))
    valid = [np.packbits(each, axis=1) for each in seen]
    say(f"mosaic of {len(tile_ids)} tiles: {grid.rows} x {grid.columns} px of {grid.pixel_m:g} m")
    with scratch_folder(Path(out)) as scratch, whole_file(Path(out)) as partial:
        parts = []
        blocks = list(blocks_of(grid, block_px))
        for block in progress(blocks, "mosaic: blocks", len(blocks)):
            positions = tiles_on(grid, block, places)
            if len(positions) == 0:
                continue
            sums = Sums(block, channels=2)
            for position in positions:
                place = places.iloc[position]
                data = np.unpackbits(valid[position], axis=1, count=int(place.size_px)).astype(bool)
                sums.add(look_at(grid, block, place, read_tile(probabilities, position), data, edge_m))
            parts.append(scratch / f"{block.top}_{block.left}.tif")
            _write_part(parts[-1], grid, block, sums, crs)
        build_cog(parts, grid.bounds_m, grid.pixel_m, BANDS, NO_DATA, scratch, partial)
    with whole_file(Path(out_looks)) as partial:
        write_geoparquet(_looks_table(valid, places, crs), partial)
    say(f"mosaic -> {out}")


def _write_part(path: Path, grid: Grid, block: Block, sums: Sums, crs: str) -> None:
    """Writes one block as a plain GeoTIFF."""
    # Probabilities come as float16; their mean keeps no more digits, and so compresses as well.
    mean = sums.mean(NO_DATA).astype(np.float16).astype(np.float32)
    looks = np.where(sums.looks > 0, sums.looks, np.float32(NO_DATA)).astype(np.float32)
    transform = Affine(
        *(grid.pixel_m, 0.0, grid.west_m + block.left * grid.pixel_m),
        *(0.0, -grid.pixel_m, grid.north_m - block.top * grid.pixel_m),
    )
    form = {"driver": "GTiff", "dtype": "float32", "count": len(BANDS), "crs": crs, "nodata": NO_DATA, "tiled": True}
    height, width = looks.shape
    with rasterio.open(path, "w", height=height, width=width, transform=transform, compress="lzw", **form) as handle:
        handle.write(np.concatenate([mean, looks[None]]))


def _looks_table(valid: list[np.ndarray], places: pd.DataFrame, crs: str) -> gpd.GeoDataFrame:
    """Where each tile has data, on the map, to within a pixel."""
    outlines = []
    for bits, place in zip(valid, places.itertuples(), strict=True):
        data = np.unpackbits(bits, axis=1, count=place.size_px)
        transform = tile_transform(place.easting_m, place.northing_m, place.pixel_m)
        found = [shapely.geometry.shape(outline) for outline, _ in shapes(data, mask=data > 0, transform=transform)]
        whole = shapely.MultiPolygon([part for part in found if not part.is_empty])  # none: the tile has no data
        simple = shapely.simplify(whole, place.pixel_m, preserve_topology=True)
        outlines.append(simple if simple.is_valid else whole)
    return gpd.GeoDataFrame({"tile_id": list(places.index)}, geometry=gpd.GeoSeries(outlines, crs=crs), crs=crs)
