"""How well outlines of matched pairs fit: Boundary IoU (Cheng et al., CVPR 2021, arXiv 2103.16562).

Of each polygon only the band along its outline is kept, of a given width, inside the polygon; the score is the IoU of
the two bands. Unlike the IoU of whole polygons it does not grow kinder with the size of the building: a large hall with
a ragged outline has a high IoU and a low Boundary IoU. A building narrower than twice the width is all band.
"""

from __future__ import annotations

import numpy as np
import shapely

PAIRS_AT_ONCE = 50_000


def boundary_iou(first: np.ndarray, second: np.ndarray, width_px: float) -> np.ndarray:
    """Boundary IoU of pairs of polygons.

    Args:
        first: (P,) object, valid polygons with area, tile pixels.
        second: (P,) object, the same.
        width_px: width of the band, px.

    Returns:
        (P,) float64, 0 to 1.
    """
    scores = np.zeros(len(first))
    for begin in range(0, len(first), PAIRS_AT_ONCE):
        part = slice(begin, begin + PAIRS_AT_ONCE)
        a, b = _band(first[part], width_px), _band(second[part], width_px)
        shared = shapely.area(shapely.intersection(a, b))
        scores[part] = shared / (shapely.area(a) + shapely.area(b) - shared)
    return scores


def _band(shapes: np.ndarray, width_px: float) -> np.ndarray:
    """What of each polygon lies within `width_px` of its outline; a buffer inwards is what lies farther in."""
    return shapely.difference(shapes, shapely.buffer(shapes, -width_px))
