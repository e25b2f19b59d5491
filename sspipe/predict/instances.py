"""From masks to instances: which building pixels are one building, and what its outline is.

The interior mask says what is building, the border mask says where one building ends. Building pixels off the border
are the seeds of instances; a watershed grows the seeds back over the whole interior, so that touching buildings come
out apart without losing the width of the border.

Most patches of building have one seed or none, and are one instance as they are: only the others are flooded.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import shapely

from sspipe.predict.flooding import flood_patches
from sspipe.predict.runs import Runs, components_of, outlines_of, runs_of, sums_over


@dataclass(frozen=True)
class TilePolygons:
    """The footprints of one tile, in the order in which a row-by-row scan meets them.

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
        interior: (H, W) float16 or float32 probabilities, row 0 at the top.
        border: (H, W) probabilities.
        interior_threshold: a pixel at or above it is building.
        border_threshold: building pixels below it are seeds.
        min_area_px: footprints smaller than this are dropped: instances before, polygons after simplification.
        simplify_px: Douglas-Peucker tolerance, px; topology is preserved. 0 keeps every corner.
        edge: (H, W) bool, more pixels that count as the tile's edge.
        looks: (H, W) number of looks at each pixel.

    Returns:
        The footprints.
    """
    height, width = interior.shape
    runs, owner = find_instances(
        interior,
        border,
        interior_threshold=interior_threshold,
        border_threshold=border_threshold,
        min_area_px=min_area_px,
    )
    large = (np.bincount(owner, weights=runs.length) >= max(min_area_px, 1))[owner]
    runs, owner = runs[large], _by_first_run(owner[large])
    # Each instance's runs together: what is drawn and summed next then comes nearly sorted.
    together = np.argsort(owner, kind="stable")
    runs, owner = runs[together], owner[together]
    pixels = np.bincount(owner, weights=runs.length)

    def mean(values: np.ndarray) -> np.ndarray:
        return np.bincount(owner, weights=sums_over(runs, values)) / pixels

    at_edge = (runs.row == 0) | (runs.row == height - 1) | (runs.start == 0) | (runs.stop == width)
    if edge is not None:
        at_edge |= sums_over(runs, edge) > 0
    geometry = _simplified(outlines_of(runs, owner, len(pixels)), simplify_px)
    kept = shapely.area(geometry) >= min_area_px
    return TilePolygons(
        geometry[kept],
        mean(interior)[kept],
        (np.bincount(owner, weights=at_edge) > 0)[kept],
        np.ones(int(kept.sum())) if looks is None else mean(looks)[kept],
    )


def find_instances(
    interior: np.ndarray,
    border: np.ndarray,
    *,
    interior_threshold: float,
    border_threshold: float,
    min_area_px: float = 0,
) -> tuple[Runs, np.ndarray]:
    """Parts the building pixels into instances.

    Neighbours are the four that share an edge, so every instance is one polygon. Seeds grow over the border probability
    as a relief: two of them meet where the border between them is surest.

    Predicted borders have gaps and speckles, which make seeds that grow to less than a building. Such a seed is taken
    back and its ground goes to the neighbours it touches, so a crumb does not cost its building a bite.

    Args:
        interior: (H, W) float16 or float32 probabilities.
        border: (H, W) probabilities.
        interior_threshold: a pixel at or above it is building.
        border_threshold: building pixels below it are seeds.
        min_area_px: instances smaller than this are joined to their neighbours, if they have any.

    Returns:
        The runs of all building pixels, and the instance of each, (n,) int64 from 0.
    """
    width = interior.shape[1]
    building = at_least(interior, interior_threshold)
    runs = runs_of(building)
    seed_runs = runs_of(building > at_least(border, border_threshold))  # building and not border
    patch, seed = components_of(width, runs, seed_runs)
    patch_of_seed_run = patch[_run_holding(runs, seed_runs, width)]
    # Patches with several seeds must be parted; any other is one instance.
    patches = int(patch.max(initial=-1)) + 1
    of_seed = np.zeros(int(seed.max(initial=-1)) + 1, np.int64)
    of_seed[seed] = patch_of_seed_run
    several = np.bincount(of_seed, minlength=patches) > 1
    if not several.any():
        return runs, patch
    parted, instance = flood_patches(
        runs[several[patch]],
        patch[several[patch]],
        seed_runs[several[patch_of_seed_run]],
        seed[several[patch_of_seed_run]],
        patch_of_seed_run[several[patch_of_seed_run]],
        border,
        min_area_px,
    )
    whole = ~several[patch]
    together = Runs(*(np.concatenate([a, b]) for a, b in zip(_columns(runs[whole]), _columns(parted), strict=True)))
    owner = np.concatenate([patch[whole], instance + patches])
    order = np.argsort(together.row * (width + 1) + together.start, kind="stable")
    return together[order], owner[order]


def at_least(probability: np.ndarray, threshold: float) -> np.ndarray:
    """`probability >= threshold`, (H, W) bool, for probabilities in [0, 1].

    Of positive float16 the order is that of their bits, and comparing integers is fifty times as quick.
    """
    if probability.dtype != np.float16:
        return probability >= threshold
    smallest = np.float16(threshold)
    if float(smallest) < threshold:  # as a float16 the threshold would be rounded itself
        smallest = np.nextafter(smallest, np.float16(np.inf))
    least = smallest.view(np.uint16)
    # What is less wraps around to large numbers, and NaN is larger than 1: neither is building.
    return (probability.view(np.uint16) - least) <= np.float16(1).view(np.uint16) - least


def _by_first_run(owner: np.ndarray) -> np.ndarray:
    """Numbers instances anew, from 0, in the order of their first runs."""
    if len(owner) == 0:
        return owner
    first = np.full(int(owner.max()) + 1, -1)
    first[owner[::-1]] = np.arange(len(owner))[::-1]  # of several the last one stays, which is the first run
    number = np.zeros(len(first), np.int64)
    number[owner[np.sort(first[first >= 0])]] = np.arange(int((first >= 0).sum()))
    return number[owner]


def _run_holding(runs: Runs, parts: Runs, width: int) -> np.ndarray:
    """(m,) for each part the position of the run that it lies in."""
    stride = width + 1
    return np.searchsorted(runs.row * stride + runs.start, parts.row * stride + parts.start, side="right") - 1


def _columns(runs: Runs) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return runs.row, runs.start, runs.stop


def _simplified(geometry: np.ndarray, simplify_px: float) -> np.ndarray:
    """Simplifies outlines; one that would not stay valid is kept as it is."""
    if simplify_px == 0 or len(geometry) == 0:
        return geometry
    # The plain way is three times as quick as the careful one, and nearly always good enough.
    simple = shapely.simplify(geometry, simplify_px, preserve_topology=False)
    lost = ~_as_whole(simple, geometry)
    if lost.any():
        careful = shapely.simplify(geometry[lost], simplify_px, preserve_topology=True)
        simple[lost] = np.where(_as_whole(careful, geometry[lost]), careful, geometry[lost])
    return simple


def _as_whole(simple: np.ndarray, geometry: np.ndarray) -> np.ndarray:
    """Whether simplified polygons are valid polygons with as many holes."""
    same = (shapely.get_type_id(simple) == 3) & ~shapely.is_empty(simple) & shapely.is_valid(simple)
    return same & (shapely.get_num_interior_rings(simple) == shapely.get_num_interior_rings(geometry))
