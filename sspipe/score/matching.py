"""The SpaceNet metric: which proposals are buildings, tile by tile.

The rules are those of solaris 0.4.0's `Evaluator.eval_iou_spacenet_csv`, number for number:

* Truth counts if its area >= the minimum, a proposal if its area > the minimum.
* Proposals take their turn by confidence, highest first. Each looks at the truth still free in its tile and takes the
  one with the largest IoU (the first in the file if several are equally good); the two match if that IoU > threshold,
  strictly, and the truth is then taken. There is no second choice.
* Ties in confidence: solaris leaves their order to an unstable sort. Here the order of the file decides.
* An invalid proposal is mended by `buffer(0)` when its IoU is computed; an invalid truth polygon never matches.
* True positives are matched proposals, false positives other proposals, false negatives truth that is left.

Only the turns of proposals that compete, or that have a choice, are a loop.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd

from sspipe.score.overlaps import Overlaps, find_overlaps


@dataclass(frozen=True)
class Matching:
    """The outcome of `match_polygons`.

    Attributes:
        images: image_id, tp, fp, fn int64; every image of either table, in order of first appearance, truth first.
        truth: one row per truth row: area_px float64, counted bool (it is a true positive or a false negative),
            iou float64 (the largest IoU with a proposal whose best free building it was; 0 if none), matched bool,
            partner int64 (row of the proposal that it is matched with; -1 if none).
        proposals: one row per proposal row: area_px, counted (it is a true or false positive), iou (with its best free
            building at its turn; 0 if none), matched, partner (row of its building).
        truth_image: (truth rows,) int64, the row of `images` that each belongs to.
    """

    images: pd.DataFrame
    truth: pd.DataFrame
    proposals: pd.DataFrame
    truth_image: np.ndarray


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
    return match_overlaps(find_overlaps(truth, proposals, min_area_px=min_area_px), iou_threshold)


def match_overlaps(overlaps: Overlaps, iou_threshold: float) -> Matching:
    """Matches proposals to truth whose overlaps are known already; see `match_polygons`."""
    turns = _take_turns(overlaps, iou_threshold)
    truth_matched, proposal_matched = turns.truth_partner >= 0, turns.proposal_partner >= 0

    def per_image(codes: np.ndarray, chosen: np.ndarray) -> np.ndarray:
        return np.bincount(codes[chosen], minlength=len(overlaps.image_id)).astype(np.int64)

    images = pd.DataFrame(
        {
            "image_id": overlaps.image_id,
            "tp": per_image(overlaps.proposal_code, proposal_matched),
            "fp": per_image(overlaps.proposal_code, overlaps.proposal_counts & ~proposal_matched),
            "fn": per_image(overlaps.truth_code, overlaps.truth_counts & ~truth_matched),
        }
    )
    return Matching(
        images,
        pd.DataFrame(
            {
                "area_px": overlaps.truth_area_px,
                "counted": overlaps.truth_counts,
                "iou": turns.truth_iou,
                "matched": truth_matched,
                "partner": turns.truth_partner,
            }
        ),
        pd.DataFrame(
            {
                "area_px": overlaps.proposal_area_px,
                "counted": overlaps.proposal_counts,
                "iou": turns.proposal_iou,
                "matched": proposal_matched,
                "partner": turns.proposal_partner,
            }
        ),
        overlaps.truth_code,
    )


def true_positives_at(overlaps: Overlaps, iou_thresholds: Sequence[float]) -> np.ndarray:
    """Counts matches at several thresholds; each is a matching of its own, as solaris would have it.

    Returns:
        (I, T) int64, true positives of each image at each threshold.
    """
    counts = np.zeros((len(overlaps.image_id), len(iou_thresholds)), np.int64)
    for column, threshold in enumerate(iou_thresholds):
        matched = _take_turns(overlaps, threshold).truth_partner >= 0
        counts[:, column] = np.bincount(overlaps.truth_code[matched], minlength=len(overlaps.image_id))
    return counts


@dataclass(frozen=True)
class _Turns:
    """What came of all turns: IoU of each row (as in `Matching`), and its partner's row or -1."""

    truth_iou: np.ndarray
    proposal_iou: np.ndarray
    truth_partner: np.ndarray
    proposal_partner: np.ndarray


def _take_turns(overlaps: Overlaps, iou_threshold: float) -> _Turns:
    """Lets proposals choose in turn."""
    truths, proposals = len(overlaps.truth_code), len(overlaps.proposal_code)
    turns = _Turns(
        np.zeros(truths), np.zeros(proposals), np.full(truths, -1, np.int64), np.full(proposals, -1, np.int64)
    )
    truth, proposal, iou = overlaps.pair_truth, overlaps.pair_proposal, overlaps.pair_iou
    alone = (np.bincount(truth, minlength=truths)[truth] == 1) & (
        np.bincount(proposal, minlength=proposals)[proposal] == 1
    )
    # Of two that have nobody but each other no turn can change anything.
    turns.truth_iou[truth[alone]] = turns.proposal_iou[proposal[alone]] = iou[alone]
    match = alone & (iou > iou_threshold)
    turns.truth_partner[truth[match]] = proposal[match]
    turns.proposal_partner[proposal[match]] = truth[match]
    _choose(truth[~alone], proposal[~alone], iou[~alone], overlaps.truth_copy, iou_threshold, turns)
    return turns


def _choose(
    truth: np.ndarray,
    proposal: np.ndarray,
    iou: np.ndarray,
    truth_copy: np.ndarray,
    iou_threshold: float,
    turns: _Turns,
) -> None:
    """Goes through pairs, which are in the order of turns, and writes what is chosen into `turns`."""
    changes = np.flatnonzero(proposal[1:] != proposal[:-1]) + 1
    edges = np.unique(np.concatenate([[0], changes, [len(proposal)]])).tolist()
    truth_of, iou_of = truth.tolist(), iou.tolist()
    # Of buildings that were taken the first copy that is free; -1 after the last.
    free_copy: dict[int, int] = {}
    for start, stop in pairwise(edges):
        best, best_free, best_iou = -1, -1, 0.0
        for position in range(start, stop):
            if iou_of[position] < best_iou:
                continue
            free = free_copy.get(truth_of[position], truth_of[position])
            # Of equally good buildings the first in the file is taken.
            if free >= 0 and (iou_of[position] > best_iou or free < best_free):
                best, best_free, best_iou = truth_of[position], free, iou_of[position]
        if best < 0:
            continue
        chooser = proposal[start]
        turns.proposal_iou[chooser] = best_iou
        turns.truth_iou[best_free] = max(turns.truth_iou[best_free], best_iou)
        if best_iou > iou_threshold:
            free_copy[best] = int(truth_copy[best_free])
            turns.truth_partner[best_free], turns.proposal_partner[chooser] = chooser, best_free
