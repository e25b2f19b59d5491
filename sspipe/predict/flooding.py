"""The watershed that parts patches of building: seeds grow until they meet, and those that come to nothing go."""

from __future__ import annotations

import numpy as np
from skimage.segmentation import watershed

from sspipe.predict.runs import Runs, pixels_of, ranges, runs_of_labels

# Rows and columns of a patch whose pixels are all told apart; of a longer one some equals remain.
LONGEST_PATCH_PX = 4096


def flood_patches(
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
