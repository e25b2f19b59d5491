"""From masks to instances: which building pixels are one building, and what its outline is.

The interior mask says what is building, the border mask says where one building ends. Building pixels off the border
are the seeds of instances; a watershed grows the seeds back over the whole interior, so that touching buildings come
out apart without losing the width of the border.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import shapely
from rasterio.features import shapes
from skimage.measure import label
from skimage.segmentation import watershed


@dataclass(frozen=True)
class TilePolygons:
    """The footprints of one tile.

    Attributes:
        geometry: (n,) shapely polygons in tile pixels, x right and y down from the corner of the upper left pixel.
        confidence: (n,) float64, mean interior probability over the pixels of the instance.
        at_tile_edge: (n,) bool, the instance has a pixel in the tile's outermost rows or columns, or at `edge`.
        looks: (n,) float64, mean of `looks` over the pixels of the instance; 1 where none are given.
    """

    geometry: np.ndarray
    confidence: np.ndarray
    at_tile_edge: np.ndarray
    looks: np.ndarray


def tile_polygons(
    interior: np.ndarray,
    border: np.ndarray,
    *,
    interior_threshold: float,
    border_threshold: float,
    min_area_px: float,
    simplify_px: float,
    edge: np.ndarray | None = None,
    looks: np.ndarray | None = None,
) -> TilePolygons:
    """Finds the footprints of one tile.

    Args:
        interior: (S, S) float32 probabilities, row 0 at the top.
        border: (S, S) float32 probabilities.
        interior_threshold: a pixel at or above it is building.
        border_threshold: building pixels below it are seeds.
        min_area_px: footprints smaller than this are dropped: instances before, polygons after simplification.
        simplify_px: Douglas-Peucker tolerance, px; topology is preserved. 0 keeps every corner.
        edge: (S, S) bool, more pixels that count as the tile's edge.
        looks: (S, S) number of looks at each pixel.

    Returns:
        The footprints: those grown from seeds in the order a row-by-row scan meets the seeds, then the seedless ones.
    """
    instances = label_instances(
        interior,
        border,
        interior_threshold=interior_threshold,
        border_threshold=border_threshold,
        min_area_px=min_area_px,
    )
    count = int(instances.max(initial=0))
    pixels = np.bincount(instances.ravel(), minlength=count + 1)

    def mean(values: np.ndarray) -> np.ndarray:
        return np.bincount(instances.ravel(), weights=values.ravel(), minlength=count + 1) / np.maximum(pixels, 1)

    confidence = mean(interior)
    seen = np.ones(count + 1) if looks is None else mean(looks)
    at_edge = np.zeros(count + 1, bool)
    if edge is not None:
        at_edge[instances[edge]] = True
    for line in (instances[0], instances[-1], instances[:, 0], instances[:, -1]):
        at_edge[line] = True

    large = pixels >= max(min_area_px, 1)
    large[0] = False
    outlines = _outlines(instances, large[instances])
    numbers = np.array(sorted(outlines), dtype=np.int64)
    geometry = _simplified(np.array([outlines[number] for number in numbers], dtype=object), simplify_px)
    kept = shapely.area(geometry) >= min_area_px
    numbers = numbers[kept]
    return TilePolygons(geometry[kept], confidence[numbers], at_edge[numbers], seen[numbers])


def label_instances(
    interior: np.ndarray,
    border: np.ndarray,
    *,
    interior_threshold: float,
    border_threshold: float,
    min_area_px: float = 0,
) -> np.ndarray:
    """Parts the building pixels into instances.

    Neighbours are the four that share an edge, so every instance is one polygon without self-touching parts. Seeds
    grow over the border probability as a relief: two of them meet where the border between them is surest.

    Predicted borders have gaps and speckles, which make seeds that grow to less than a building. Such a seed is taken
    back and its ground goes to the neighbours it touches, so a crumb does not cost its building a bite.

    Args:
        interior: (S, S) float32 probabilities.
        border: (S, S) float32 probabilities.
        interior_threshold: a pixel at or above it is building.
        border_threshold: building pixels below it are seeds.
        min_area_px: instances smaller than this are joined to their neighbours, if they have any.

    Returns:
        (S, S) int32, 0 where there is no building, 1..n the instances. Every building pixel belongs to one.
    """
    building = interior >= interior_threshold
    seeds = label(building & (border < border_threshold), connectivity=1).astype(np.int32)
    grown = _grown(seeds, border, building)
    crumbs = np.bincount(grown.ravel()) < min_area_px
    if crumbs[1:].any():
        grown = _grown(np.where(crumbs[seeds], 0, seeds), border, building)
    # Buildings so small or thin that they are border all over have no seed: each connected one is an instance.
    seedless = label(building & (grown == 0), connectivity=1)
    return np.where(seedless > 0, seedless + grown.max(initial=0), grown).astype(np.int32)


def _grown(seeds: np.ndarray, border: np.ndarray, building: np.ndarray) -> np.ndarray:
    """Grows seeds over the building pixels that they can reach: (S, S) int32."""
    if not seeds.any():
        return seeds  # the watershed would make seeds of its own
    return watershed(border, markers=seeds, mask=building, connectivity=1).astype(np.int32)


def _outlines(instances: np.ndarray, mask: np.ndarray) -> dict[int, shapely.Polygon]:
    """Pixel outlines of the instances under `mask`, by instance number."""
    found = shapes(instances, mask=mask, connectivity=4)
    return {int(number): shapely.geometry.shape(outline) for outline, number in found}


def _simplified(geometry: np.ndarray, simplify_px: float) -> np.ndarray:
    """Simplifies outlines; one that would not stay valid is kept as it is."""
    if simplify_px == 0 or len(geometry) == 0:
        return geometry
    simple = shapely.simplify(geometry, simplify_px, preserve_topology=True)
    return np.where(shapely.is_valid(simple), simple, geometry)
