"""The SpaceNet metric: which proposals are buildings, tile by tile.

The rules are those of solaris 0.4.0's `Evaluator.eval_iou_spacenet_csv`, number for number:

* Truth counts if its area >= the minimum, a proposal if its area > the minimum.
* Proposals take their turn by confidence, highest first. Each looks at the truth still free in its tile and takes the
  one with the largest IoU (the first in the file if several are equally good); the two match if that IoU > threshold,
  strictly, and the truth is then taken. There is no second choice.
* Ties in confidence: solaris leaves their order to an unstable sort. Here the order of the file decides.
* An invalid proposal is mended by `buffer(0)` when its IoU is computed; an invalid truth polygon never matches.
* True positives are matched proposals, false positives other proposals, false negatives truth that is left.

All pairs of all tiles are found with one spatial index and measured in vectorised calls; only the turns are a loop.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd
import shapely

# Pairs measured in one call: bounds the memory of intersections and unions, which are geometries themselves.
PAIRS_AT_ONCE = 200_000


@dataclass(frozen=True)
class Matching:
    """The outcome of `match_polygons`.

    Attributes:
        images: image_id, tp, fp, fn int64; every image of either table, in order of first appearance, truth first.
        truth: one row per truth row: area_px float64, counted bool (it is a true positive or a false negative),
            iou float64 (the largest IoU with a proposal whose best free building it was; 0 if none), matched bool.
        proposals: one row per proposal row: area_px, counted (it is a true or false positive), iou (with its best free
            building at its turn; 0 if none), matched.
    """

    images: pd.DataFrame
    truth: pd.DataFrame
    proposals: pd.DataFrame


def match_polygons(
    truth: pd.DataFrame, proposals: pd.DataFrame, *, iou_threshold: float = 0.5, min_area_px: float = 0.0
) -> Matching:
    """Matches proposals to truth by solaris's rules (module docstring).

    Args:
        truth: image_id str, geometry object (shapely polygons, tile pixels; empty and invalid ones allowed).
        proposals: the same, and confidence float64.
        iou_threshold: a match needs a larger IoU.
        min_area_px: truth of this area counts, a proposal of exactly this area does not.

    Returns:
        Counts per image, and for every row of both tables what became of it.
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

    usable = truth_counts & shapely.is_valid(truth_shape)
    mended = proposal_shape.copy()
    broken = proposal_counts & ~shapely.is_valid(mended)
    mended[broken] = shapely.buffer(mended[broken], 0.0)
    pairs = _overlapping_pairs(
        truth_shape,
        truth_code,
        np.flatnonzero(usable),
        mended,
        proposal_code,
        np.flatnonzero(proposal_counts & shapely.is_valid(mended) & ~shapely.is_empty(mended)),
    )
    # Descending, stable: -inf (no confidence) comes last, equals keep the order of the file.
    turn_of = np.empty(len(proposals), np.int64)
    turn_of[np.argsort(-proposals["confidence"].to_numpy(np.float64), kind="stable")] = np.arange(len(proposals))
    truth_iou, proposal_iou, truth_matched, proposal_matched = _take_turns(
        pairs, turn_of, len(truth), len(proposals), iou_threshold
    )

    def per_image(codes: np.ndarray, chosen: np.ndarray) -> np.ndarray:
        return np.bincount(codes[chosen], minlength=len(image_id)).astype(np.int64)

    images = pd.DataFrame(
        {
            "image_id": np.asarray(image_id, dtype=object),
            "tp": per_image(proposal_code, proposal_matched),
            "fp": per_image(proposal_code, proposal_counts & ~proposal_matched),
            "fn": per_image(truth_code, truth_counts & ~truth_matched),
        }
    )
    return Matching(
        images,
        pd.DataFrame({"area_px": truth_area, "counted": truth_counts, "iou": truth_iou, "matched": truth_matched}),
        pd.DataFrame(
            {"area_px": proposal_area, "counted": proposal_counts, "iou": proposal_iou, "matched": proposal_matched}
        ),
    )


@dataclass(frozen=True)
class _Pairs:
    """Truth and proposals that share area: row in each table and IoU, (m,) each."""

    truth: np.ndarray
    proposal: np.ndarray
    iou: np.ndarray


def _overlapping_pairs(
    truth_shape: np.ndarray,
    truth_code: np.ndarray,
    truth_rows: np.ndarray,
    proposal_shape: np.ndarray,
    proposal_code: np.ndarray,
    proposal_rows: np.ndarray,
) -> _Pairs:
    """All pairs of one image that share area, among the given rows of each table.

    Raises nothing: the shapes are valid polygons with area. Intersection and union are the calls that solaris makes,
    in its order of arguments, so that every IoU is the same float64 and thresholds and ties fall the same way.
    """
    truth_bounds = shapely.bounds(truth_shape[truth_rows])
    proposal_bounds = shapely.bounds(proposal_shape[proposal_rows])
    near_proposal, near_truth = _near_pairs(
        proposal_bounds, proposal_code[proposal_rows], truth_bounds, truth_code[truth_rows]
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
    return _Pairs(truth[some], proposal[some], iou[some])


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


def _take_turns(
    pairs: _Pairs, turn_of: np.ndarray, truths: int, proposals: int, iou_threshold: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Lets proposals choose in turn.

    Args:
        pairs: who overlaps whom; proposals without a pair have no choice to make.
        turn_of: (proposals,) int64, position of each proposal in the order of choosing.
        truths: number of truth rows.
        proposals: number of proposal rows.
        iou_threshold: a match needs a larger IoU.

    Returns:
        iou of each truth, iou of each proposal, matched of each truth, matched of each proposal.
    """
    order = np.lexsort((pairs.truth, turn_of[pairs.proposal]))
    ordered_proposal = pairs.proposal[order]
    changes = np.flatnonzero(ordered_proposal[1:] != ordered_proposal[:-1]) + 1
    edges = np.unique(np.concatenate([[0], changes, [len(order)]])).tolist()
    truth_of = pairs.truth[order].tolist()
    iou_of = pairs.iou[order].tolist()
    truth_iou, proposal_iou = np.zeros(truths), np.zeros(proposals)
    truth_matched, proposal_matched = np.zeros(truths, bool), np.zeros(proposals, bool)
    taken: set[int] = set()
    for start, stop in pairwise(edges):
        best, best_iou = -1, 0.0
        for position in range(start, stop):
            # Strictly larger: of equally good buildings the first in the file is taken.
            if iou_of[position] > best_iou and truth_of[position] not in taken:
                best, best_iou = truth_of[position], iou_of[position]
        if best < 0:
            continue
        proposal = ordered_proposal[start]
        proposal_iou[proposal] = best_iou
        truth_iou[best] = max(truth_iou[best], best_iou)
        if best_iou > iou_threshold:
            taken.add(best)
            truth_matched[best] = proposal_matched[proposal] = True
    return truth_iou, proposal_iou, truth_matched, proposal_matched
