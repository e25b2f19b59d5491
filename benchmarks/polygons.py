"""Tiles per second of masks becoming footprints, against solaris's mask_to_poly_geojson on the same masks.

solaris thresholds the interior and outlines each connected patch of it, simplified, in a GeoDataFrame. Ours does that
and more: it finds seeds by the border, parts touching buildings by a watershed, joins crumbs, and gives each footprint
its confidence and whether the tile's edge cuts it. Both run on one core, both end in a GeoDataFrame,
and both are timed by the CPU time that they take.

That both find the same is asserted where they do the same: without borders and before outlines are simplified, the
footprints must be the same polygons.

    python -m benchmarks.polygons [--tiles 16] [--rounds 5]
"""

from __future__ import annotations

import argparse
import importlib
import os
import statistics
import sys
import time
import warnings
from importlib import metadata
from types import ModuleType
from typing import Any
from unittest.mock import MagicMock

import geopandas as gpd
import numpy as np
import shapely
from rasterio.features import rasterize
from rasterio.transform import from_origin
from scipy.ndimage import gaussian_filter

from benchmarks.side_by_side import in_turns, ratio, result, table
from sspipe.data.synthetic.scene import draw_scene
from sspipe.predict.instances import TilePolygons, tile_polygons
from sspipe.predict.polygons import polygon_table

SIZE_PX, PIXEL_M = 900, 0.5
THRESHOLD, MIN_AREA_PX, SIMPLIFY_PX = 0.5, 80.0, 1.0
# solaris wants more than the threshold, we want at least.
JUST_BELOW = float(np.nextafter(np.float16(THRESHOLD), np.float16(0)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tiles", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    solaris = load_solaris_masks()
    tiles = predictions(options.tiles)
    buildings = same_polygons(solaris, tiles)

    # solaris cannot take float16, so it is given what it can, and converting is not counted.
    interiors = [tile[0].astype(np.float32) for tile in tiles]
    borderless = [np.stack([tile[0], np.zeros_like(tile[0])]) for tile in tiles]
    seconds = in_turns(
        {
            "solaris": lambda: [solaris_polygons(solaris, interior) for interior in interiors],
            "sspipe": lambda: our_table(tiles),
            "sspipe without borders": lambda: our_table(borderless),
        },
        rounds=options.rounds,
        clock=time.process_time,
    )
    rate = {name: len(tiles) / statistics.median(taken) for name, taken in seconds.items()}
    parted = sum(len(our_polygons(*tile).geometry) for tile in tiles)
    found = {"solaris": buildings, "sspipe": parted, "sspipe without borders": buildings}
    print(f"{len(tiles)} tiles of {SIZE_PX} x {SIZE_PX} px, CPU time of one core")
    table(
        [(name, f"{rate[name]:.1f}", f"{1000 / rate[name]:.1f}", found[name]) for name in rate],
        ("side", "tiles/s", "ms/tile", "footprints"),
    )
    result(
        "polygons",
        ratio=ratio(seconds["solaris"], seconds["sspipe"]),
        target=5,
        against=f"solaris {metadata.version('solaris')} mask_to_poly_geojson",
        tiles_per_second={name: round(value, 2) for name, value in rate.items()},
        ratio_without_borders=round(ratio(seconds["solaris"], seconds["sspipe without borders"]), 3),
        footprints=found,
        tiles=len(tiles),
    )


def predictions(count: int) -> list[np.ndarray]:
    """(2, S, S) float16 each: interior and border as a network would give them, of tiles of the embedded city."""
    side_m = SIZE_PX * PIXEL_M
    columns = -(-count // 4)
    scene = draw_scene(bounds=(0, 0, columns * side_m, 4 * side_m), tile_m=side_m, seed=0)
    index = shapely.STRtree(scene.footprints)
    random = np.random.default_rng(0)
    tiles = []
    for number in range(count):
        west, south = (number // 4) * side_m, (number % 4) * side_m
        here = scene.footprints[index.query(shapely.box(west, south, west + side_m, south + side_m))]
        transform = from_origin(west, south + side_m, PIXEL_M, PIXEL_M)
        outlines = [footprint.boundary.buffer(3 * PIXEL_M) for footprint in here]
        tile = [_blurred(burnt, random) for burnt in (_burnt(here, transform), _burnt(outlines, transform))]
        tiles.append(np.stack(tile).astype(np.float16))
    return tiles


def _burnt(shapes: Any, transform: Any) -> np.ndarray:
    if len(shapes) == 0:
        return np.zeros((SIZE_PX, SIZE_PX), np.float32)
    return rasterize(shapes, (SIZE_PX, SIZE_PX), transform=transform, dtype=np.uint8).astype(np.float32)


def _blurred(mask: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Soft edges, ragged by smooth noise, with some specks where nothing is."""
    noise = gaussian_filter(random.normal(size=mask.shape), 3)
    logit = 9 * (gaussian_filter(mask, 1.5) - 0.5) + 1.4 * noise / noise.std()
    return 1 / (1 + np.exp(-logit))


def our_polygons(interior: np.ndarray, border: np.ndarray, simplify_px: float = SIMPLIFY_PX) -> TilePolygons:
    return tile_polygons(
        interior,
        border,
        interior_threshold=THRESHOLD,
        border_threshold=THRESHOLD,
        min_area_px=MIN_AREA_PX,
        simplify_px=simplify_px,
    )


def our_table(tiles: list[np.ndarray]) -> gpd.GeoDataFrame:
    """All footprints, as the stage extract-polygons puts them together."""
    found = [our_polygons(*tile) for tile in tiles]
    return gpd.GeoDataFrame(polygon_table([str(number) for number in range(len(tiles))], found))


def solaris_polygons(solaris: Any, interior: np.ndarray, simplify: bool = True) -> gpd.GeoDataFrame:
    return solaris.mask_to_poly_geojson(
        interior, bg_threshold=JUST_BELOW, min_area=MIN_AREA_PX, simplify=simplify, tolerance=SIMPLIFY_PX
    )


def same_polygons(solaris: Any, tiles: list[np.ndarray]) -> int:
    """Asserts that both give the same polygons where they do the same; how many these are."""
    total = 0
    for interior, _ in tiles:
        theirs = solaris_polygons(solaris, interior.astype(np.float32), simplify=False).geometry.to_numpy()
        ours = our_polygons(interior, np.zeros_like(interior), simplify_px=0).geometry
        assert len(ours) == len(theirs), (len(ours), len(theirs))
        left, right = (sorted(shapely.normalize(shapes), key=lambda s: s.wkt) for shapes in (ours, theirs))
        assert shapely.equals(left, right).all(), "the same masks gave other polygons"
        total += len(ours)
    return total


def load_solaris_masks() -> Any:
    """`solaris.vector.mask` as it is installed, without the rest of solaris.

    `import solaris` wants tensorflow 1.13 and GDAL's bindings. The module runs unchanged in a parent package of our
    own; what it imports and mask_to_poly_geojson does not use is replaced by nothing.
    """
    name = "_solaris_masks"
    folder = metadata.distribution("solaris").locate_file("solaris")
    for package in ("", ".utils", ".vector"):
        parent = ModuleType(name + package)
        parent.__path__ = [str(folder.joinpath(*package.split(".")[1:]))]
        sys.modules[name + package] = parent
    for unused in (".utils.geo", ".utils.tile", ".vector.polygon"):
        sys.modules[name + unused] = MagicMock()
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    return importlib.import_module(f"{name}.vector.mask")


if __name__ == "__main__":
    main()
