"""Which proposals and buildings share area, in all tiles at once: what matching goes by at any threshold.

Pairs are found with one spatial index over all tiles and measured in vectorised calls.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import shapely

# Pairs measured in one call: bounds the memory of intersections and unions, which are geometries themselves.
PAIRS_AT_ONCE = 200_000


@dataclass(frozen=True)
class Overlaps:
    """The outcome of `find_overlaps`. N truth rows, M proposal rows, I images, P pairs.

    Attributes:
        image_id: (I,) object, every image of either table, in order of first appearance, truth first.
        truth_code: (N,) position of each row's image in `image_id`.
        proposal_code: (M,) the same for proposals.
        truth_area_px: (N,) float64.
        proposal_area_px: (M,) float64, as written: of an invalid proposal before it is mended.
        truth_counts: (N,) bool, large enough to be a true positive or a false negative.
        proposal_counts: (M,) bool, large enough to be a true or a false positive.
        proposal_shape: (M,) object, proposals with the invalid ones mended.
        truth_copy: (N,) the next row of the same image with the very same polygon; -1 if there is none.
        pair_truth: (P,) truth row of each pair, in the order in which proposals choose, then of truth rows. Of copies
            the first alone has pairs, so thousands of them do not make millions of pairs.
        pair_proposal: (P,) proposal row of each pair.
        pair_iou: (P,) float64 > 0.
    """

    image_id: np.ndarray
    truth_code: np.ndarray
    proposal_code: np.ndarray
    truth_area_px: np.ndarray
    proposal_area_px: np.ndarray
    truth_counts: np.ndarray
    proposal_counts: np.ndarray
    proposal_shape: np.ndarray
    truth_copy: np.ndarray
    pair_truth: np.ndarray
    pair_proposal: np.ndarray
    pair_iou: np.ndarray


def find_overlaps(truth: pd.DataFrame, proposals: pd.DataFrame, *, min_area_px: float = 0.0) -> Overlaps:
    """Measures every pair of a proposal and a building that share area.

    Args:
        truth: image_id str, geometry object (shapely polygons, tile pixels; empty and invalid ones allowed).
        proposals: the same, and confidence float64.
        min_area_px: truth of this area counts, a proposal of exactly this area does not.
    """
    truth_shape = truth["geometry"].to_numpy(dtype=object)
    proposal_shape = proposals["geometry"].to_numpy(dtype=object)
    truth_area = shapely.area(truth_shape)
    proposal_area = shapely.area(proposal_shape)
    # A building without area is no false negative, whatever the minimum (solaris counts what is left with area > 0).
    truth_counts = (truth_area >= min_area_px) & (truth_area > 0)
    proposal_counts = proposal_area > min_area_px

    names = pd.concat([truth["image_id"], proposals["image_id"]], ignore_index=True)
    code, image_id = pd.factorize(names)
    truth_code, proposal_code = code[: len(truth)], code[len(truth) :]

    usable = np.flatnonzero(truth_counts & shapely.is_valid(truth_shape))
    truth_copy = _next_copies(truth_shape, truth_code, usable)
    mended = proposal_shape.copy()
    broken = proposal_counts & ~shapely.is_valid(mended)
    mended[broken] = shapely.buffer(mended[broken], 0.0)
    pair_truth, pair_proposal, pair_iou = _overlapping_pairs(
        truth_shape,
        truth_code,
        np.setdiff1d(usable, truth_copy),
        mended,
        proposal_code,
        np.flatnonzero(proposal_counts & shapely.is_valid(mended) & ~shapely.is_empty(mended)),
    )
    # Descending, stable: -inf (no confidence) comes last, equals keep the order of the file.
    turn_of = np.empty(len(proposals), np.int64)
    turn_of[np.argsort(-proposals["confidence"].to_numpy(np.float64), kind="stable")] = np.arange(len(proposals))
    order = np.lexsort((pair_truth, turn_of[pair_proposal]))
    return Overlaps(
        np.asarray(image_id, dtype=object),
        truth_code,
        proposal_code,
        truth_area,
        proposal_area,
        truth_counts,
        proposal_counts,
        mended,
        truth_copy,
        pair_truth[order],
        pair_proposal[order],
        pair_iou[order],
    )


def _next_copies(shape: np.ndarray, code: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """For each of the given rows the next of them with the same image and polygon, -1 for all else: (N,) int64."""
    following = np.full(len(shape), -1, np.int64)
    boxes = pd.DataFrame(shapely.bounds(shape[rows])).assign(code=code[rows])
    # What stands out by its box has no copy, and that is nearly everything.
    alike = rows[boxes.duplicated(keep=False).to_numpy()]
    if len(alike):
        group = (
            pd.DataFrame({"code": code[alike], "shape": shapely.to_wkb(shape[alike])})
            .groupby(["code", "shape"])
            .ngroup()
        )
        order = np.argsort(group.to_numpy(), kind="stable")
        same = np.diff(group.to_numpy()[order]) == 0
        following[alike[order[:-1][same]]] = alike[order[1:][same]]
    return following


def _overlapping_pairs(
    truth_shape: np.ndarray,
    truth_code: np.ndarray,
    truth_rows: np.ndarray,
    proposal_shape: np.ndarray,
    proposal_code: np.ndarray,
    proposal_rows: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """All pairs of one image that share area, among the given rows of each table: truth row, proposal row, IoU.

    The shapes are valid polygons with area. Intersection and union are the calls that solaris makes, in its order of
    arguments, so that every IoU is the same float64 and thresholds and ties fall the same way.
    """
    near_proposal, near_truth = _near_pairs(
        shapely.bounds(proposal_shape[proposal_rows]),
        proposal_code[proposal_rows],
        shapely.bounds(truth_shape[truth_rows]),
        truth_code[truth_rows],
    )
    proposal, truth = proposal_rows[near_proposal], truth_rows[near_truth]
    iou = np.zeros(len(truth))
    for begin in range(0, len(truth), PAIRS_AT_ONCE):
        part = slice(begin, begin + PAIRS_AT_ONCE)
        a, b = proposal_shape[proposal[part]], truth_shape[truth[part]]
        shared = shapely.area(shapely.intersection(a, b))
        some = shared > 0
        shared[some] /= shapely.area(shapely.union(a[some], b[some]))
        iou[part] = shared
    some = iou > 0
    return truth[some], proposal[some], iou[some]


def _near_pairs(
    left: np.ndarray, left_code: np.ndarray, right: np.ndarray, right_code: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of boxes of one image that overlap with more than an edge.

    One index serves all images: each image's boxes are moved to a cell of their own. The move rounds, so moved boxes
    are widened a little, and what the index finds is checked against the unmoved boxes.

    Args:
        left: (n, 4) float64 boxes: x low, y low, x high, y high.
        left_code: (n,) image of each.
        right: (m, 4) boxes.
        right_code: (m,) image of each.

    Returns:
        (k,) positions in `left` and (k,) positions in `right`.
    """
    if len(left) == 0 or len(right) == 0:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    everything = np.concatenate([left, right])
    low = everything[:, :2].min(axis=0)
    span = everything[:, 2:].max(axis=0) - low
    columns = int(np.ceil(np.sqrt(max(left_code.max(), right_code.max()) + 1)))
    cell = 1.01 * span
    slack = 8 * np.finfo(np.float64).eps * (np.abs(low) + cell * (columns + 1))

    def moved(boxes: np.ndarray, code: np.ndarray) -> np.ndarray:
        shift = np.stack([code % columns, code // columns], axis=1) * cell - low
        lows, highs = boxes[:, :2] + shift - slack, boxes[:, 2:] + shift + slack
        return shapely.box(lows[:, 0], lows[:, 1], highs[:, 0], highs[:, 1])

    tree = shapely.STRtree(moved(right, right_code))
    a, b = tree.query(moved(left, left_code))
    real = (
        (left_code[a] == right_code[b])
        & (left[a, :2] < right[b, 2:]).all(axis=1)
        & (right[b, :2] < left[a, 2:]).all(axis=1)
    )
    return a[real], b[real]
