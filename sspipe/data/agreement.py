"""Whether the challenge's CSV (the truth that is scored) and the label files (the truth of the masks) agree.

Both are compared in tile pixels. Disagreement is reported and never fatal: each is used for what it is for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import shapely
from numpy.typing import NDArray

SAME_BUILDING_IOU = 0.5  # outlines that overlap by less are two buildings, as the metric has it


class Agreement(NamedTuple):
    """How the outlines of one tile agree."""

    csv_count: int  # polygons of the CSV; 0 also for a tile that it does not name
    in_csv: bool  # whether the CSV names the tile; `POLYGON EMPTY` does
    csv_alone: int  # polygons of the CSV that no label file has
    csv_invalid: int  # polygons that the metric will never match, because they are invalid
    iou: NDArray[np.float64]  # of each footprint of the label file with its polygon in the CSV; NaN where it has none
    distance_px: NDArray[np.float64]  # largest distance between the two outlines (Hausdorff); NaN where there is none


def compare(
    footprints: Sequence[bytes], truth: Sequence[bytes] | None, origin_m: tuple[float, float], pixel_m: float
) -> Agreement:
    """Compares the two sets of outlines of a tile.

    Args:
        footprints: WKB of the label file's footprints, map coordinates, valid.
        truth: WKB of the CSV's polygons, tile pixels (x right, y down), none empty; None if it does not name the tile.
        origin_m: easting and northing of the tile's upper-left corner.
        pixel_m: ground size of a pixel.
    """
    ours = in_pixels(shapely.from_wkb(np.array(footprints, dtype=object)), origin_m, pixel_m)
    theirs = shapely.from_wkb(np.array(truth or [], dtype=object))
    valid = shapely.is_valid(theirs)
    theirs = np.where(valid, theirs, shapely.make_valid(theirs))
    iou, distance_px = (np.full(len(ours), np.nan) for _ in range(2))
    pairs = matching(ours, theirs)
    if pairs:
        mine, other, overlap = (np.array(column) for column in zip(*pairs, strict=True))
        iou[mine] = overlap
        distance_px[mine] = shapely.hausdorff_distance(ours[mine], theirs[other])
    return Agreement(len(theirs), truth is not None, len(theirs) - len(pairs), int((~valid).sum()), iou, distance_px)


def in_pixels(geometry: NDArray[Any], origin_m: tuple[float, float], pixel_m: float) -> NDArray[Any]:
    """Turns map coordinates (x east, y north, m) into tile pixels (x right, y down)."""
    easting, northing = origin_m
    moved = shapely.transform(geometry, lambda points: (points - (easting, northing)) / (pixel_m, -pixel_m))
    return np.asarray(moved, dtype=object)


def matching(ours: NDArray[Any], theirs: NDArray[Any]) -> list[tuple[int, int, float]]:
    """Pairs outlines one to one, those that overlap most first.

    Returns:
        position in `ours`, position in `theirs` and IoU of each pair; the IoU is more than `SAME_BUILDING_IOU`.
    """
    if not len(ours) or not len(theirs):
        return []
    mine, other = shapely.STRtree(theirs).query(ours, predicate="intersects")
    common = shapely.area(shapely.intersection(ours[mine], theirs[other]))
    union = shapely.area(ours)[mine] + shapely.area(theirs)[other] - common
    iou = np.divide(common, union, out=np.zeros_like(common), where=union > 0)
    pairs, taken_mine, taken_other = [], set(), set()
    for place in np.argsort(-iou, kind="stable"):
        left, right = int(mine[place]), int(other[place])
        if iou[place] <= SAME_BUILDING_IOU:
            break
        if left not in taken_mine and right not in taken_other:
            taken_mine.add(left)
            taken_other.add(right)
            pairs.append((left, right, float(iou[place])))
    return pairs
