"""The plain way from masks to instances, whole image by whole image: what the quick way must agree with."""

from __future__ import annotations

import numpy as np
import shapely
from rasterio.features import shapes
from skimage.measure import label
from skimage.segmentation import watershed


def plain_polygons(interior, border, *, interior_threshold, border_threshold, min_area_px):
    """Unsimplified outlines of the instances, with the mean interior probability of each."""
    thresholds = {"interior_threshold": interior_threshold, "border_threshold": border_threshold}
    instances = label_instances(interior, border, **thresholds, min_area_px=min_area_px)
    found = shapes(instances, mask=instances > 0, connectivity=4)
    outlines = [(shapely.geometry.shape(outline), interior[instances == number].mean()) for outline, number in found]
    return [(outline, mean) for outline, mean in outlines if outline.area >= min_area_px]


def label_instances(interior, border, *, interior_threshold, border_threshold, min_area_px=0):
    """(S, S) int32, 0 where there is no building."""
    building = interior >= interior_threshold
    seeds = label(building & (border < border_threshold), connectivity=1).astype(np.int32)
    grown = _grown(seeds, border, building)
    crumbs = np.bincount(grown.ravel()) < min_area_px
    if crumbs[1:].any():
        grown = _grown(np.where(crumbs[seeds], 0, seeds), border, building)
    seedless = label(building & (grown == 0), connectivity=1)
    return np.where(seedless > 0, seedless + grown.max(initial=0), grown).astype(np.int32)


def _grown(seeds, border, building):
    if not seeds.any():
        return seeds  # the watershed would make seeds of its own
    return watershed(border, markers=seeds, mask=building, connectivity=1).astype(np.int32)
