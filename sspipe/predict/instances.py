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
from skimage.segmentation import watershed

from sspipe.predict.runs import Runs, components_of, outlines_of, pixels_of, ranges, runs_of, runs_of_labels, sums_over

# Rows and columns of a patch whose pixels are all told apart; of a longer one some equals remain.
LONGEST_PATCH_PX = 4096


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
    parted, instance = _flood(
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


def _flood(
    runs: Runs,
    patch: np.ndarray,
    seed_runs: Runs,
    seed: np.ndarray,
    patch_of_seed_run: np.ndarray,
    border: np.ndarray,
    min_area_px: float,
) -> tuple[Runs, np.ndarray]:
    """Parts patches by a watershed from their seeds.

    The patches are laid below each other on one narrow sheet, a free row between them: one call floods them all.

    Args:
        runs: of the patches.
        patch: (n,) patch of each run.
        seed_runs: of the seeds in them.
        seed: (m,) seed of each.
        patch_of_seed_run: (m,).
        border: (H, W) probabilities.
        min_area_px: seeds that grow to less are taken back.

    Returns:
        The runs of the instances, and the instance of each.
    """
    numbers, patch = _renumbered(patch)
    count = len(numbers)
    top, left = (np.full(count, np.iinfo(np.int64).max) for _ in range(2))
    bottom, right = (np.zeros(count, np.int64) for _ in range(2))
    np.minimum.at(top, patch, runs.row)
    np.maximum.at(bottom, patch, runs.row + 1)
    np.minimum.at(left, patch, runs.start)
    np.maximum.at(right, patch, runs.stop)
    ends = np.cumsum(bottom - top + 1)
    down = ends - (bottom - top + 1) - top  # from a tile's row to the sheet's
    height, width = int(ends[-1]), int((right - left).max())

    def on_sheet(tile: Runs, of: np.ndarray) -> Runs:
        return Runs(tile.row + down[of], tile.start - left[of], tile.stop - left[of])

    sheet = np.zeros(height * width, np.float64)
    here = pixels_of(on_sheet(runs, patch), width)
    sheet[here] = border.ravel()[pixels_of(runs, border.shape[1])]
    # The watershed takes level ground in the order in which it is reached, but leaves open which of two equally high
    # pixels of markers comes first. Some 1e-9 decides, by their place in the patch: so what becomes of a patch depends
    # on nothing beyond it, such as the block of a map that it is in.
    in_patch = ranges((runs.row - top[patch]) * LONGEST_PATCH_PX + runs.start - left[patch], runs.length)
    of_markers = sheet.copy()
    of_markers[here] += in_patch * 2.0**-52 - 2.0**-27
    mask = np.zeros(height * width, bool)
    mask[here] = True
    seed_patch = np.searchsorted(numbers, patch_of_seed_run)
    seed_on_sheet = on_sheet(seed_runs, seed_patch)
    _, seed = _renumbered(seed)
    markers = np.zeros(height * width, np.int32)
    markers[pixels_of(seed_on_sheet, width)] = np.repeat(seed + 1, seed_runs.length)

    shape = (height, width)
    mask, markers = mask.reshape(shape), markers.reshape(shape)
    relief = (sheet.reshape(shape), of_markers.reshape(shape))
    patch_of_row = np.repeat(np.arange(count), bottom - top + 1)
    patch_of_seed = np.zeros(int(seed.max()) + 2, np.int64)
    patch_of_seed[seed + 1] = seed_patch
    grown = _without_crumbs(_grown(relief, markers, mask), relief, markers, patch_of_seed, patch_of_row, min_area_px)
    found, instance = runs_of_labels(grown)
    of = patch_of_row[found.row]
    return Runs(found.row - down[of], found.start + left[of], found.stop + left[of]), instance.astype(np.int64)


def _without_crumbs(
    grown: np.ndarray,
    relief: tuple[np.ndarray, np.ndarray],
    markers: np.ndarray,
    patch_of_seed: np.ndarray,
    patch_of_row: np.ndarray,
    min_area_px: float,
) -> np.ndarray:
    """Takes back the seeds that have grown to less than a building.

    Where one seed of a patch is left, the patch is its; where none is, the patch is one instance after all. Only where
    several are left must the ground of the crumbs be flooded anew.

    Args:
        grown: (H, W) what the seeds, numbered from 1, have grown to; 0 is no building.
        relief: (H, W) of the ground, and of markers.
        markers: (H, W) the seeds.
        patch_of_seed: (seeds + 1,); what it has for 0 does not matter.
        patch_of_row: (H,).
        min_area_px: less is a crumb.

    Returns:
        (H, W), like `grown`.
    """
    seeds = np.arange(len(patch_of_seed))
    crumb = np.bincount(grown.ravel(), minlength=len(seeds)) < min_area_px
    crumb[0] = False
    if not crumb.any():
        return grown
    left = ~crumb
    left[0] = False
    patches = int(patch_of_row[-1]) + 1
    number = np.bincount(patch_of_seed[left], minlength=patches)
    heir = len(seeds) + np.arange(patches)
    heir[patch_of_seed[left]] = seeds[left]
    anew = np.zeros(patches, bool)
    anew[patch_of_seed[crumb]] = True
    anew &= number > 1
    settled = crumb & ~anew[patch_of_seed]
    becomes = np.where(settled, heir[patch_of_seed], seeds)
    grown = becomes[grown]
    if anew.any():
        part = (grown > 0) & anew[patch_of_row][:, None]
        grown = np.where(part, _grown(relief, np.where(part & ~crumb[markers], markers, 0), part), grown)
    return grown


def _grown(relief: tuple[np.ndarray, np.ndarray], markers: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Grows markers over the pixels of a mask: (H, W) int32.

    Inside a marker nothing can happen, so the watershed, which takes every pixel in its turn, is given their rims
    alone: the same result in a fraction of the time.
    """
    if not markers.any():
        return markers  # the watershed would make markers of its own
    free = mask & (markers == 0)
    beside = np.zeros_like(free)
    beside[1:] |= free[:-1]
    beside[:-1] |= free[1:]
    beside[:, 1:] |= free[:, :-1]
    beside[:, :-1] |= free[:, 1:]
    rims = np.where(beside, markers, 0)
    if not rims.any():
        return markers
    ground = np.where(rims > 0, relief[1], relief[0])
    grown = watershed(ground, markers=rims, mask=free | (rims > 0), connectivity=1)
    return np.where(markers > 0, markers, grown)


def _renumbered(label: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The labels that occur, and each one's position among them: `np.unique` without sorting."""
    occurs = np.zeros(int(label.max()) + 1, bool)
    occurs[label] = True
    return np.flatnonzero(occurs), (np.cumsum(occurs) - 1)[label]


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
