"""What a matching says of images and of buildings: the tables that every score is made of."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from sspipe.score.boundaries import boundary_iou
from sspipe.score.matching import Matching, match_overlaps, true_positives_at
from sspipe.score.measures import IOU_THRESHOLDS, at_column
from sspipe.score.overlaps import find_overlaps
from sspipe.score.uncertainty import f1_score


@dataclass(frozen=True)
class Outcome:
    """A matching and what was measured beside it.

    Attributes:
        matching: at the threshold of the metric.
        hits_at: (I, T) int64, true positives of each image at each of `IOU_THRESHOLDS`.
        truth_boundary_iou: (N,) float64 of each truth row, NaN if it has no partner; None: not measured.
    """

    matching: Matching
    hits_at: np.ndarray
    truth_boundary_iou: np.ndarray | None


def match_and_measure(
    truth: pd.DataFrame,
    proposals: pd.DataFrame,
    *,
    iou_threshold: float,
    min_area_px: float,
    boundary_px: float | None = None,
) -> Outcome:
    """Matches at the metric's threshold and at others, and measures the outlines of matched pairs.

    Args:
        truth: as for `sspipe.score.matching.match_polygons`.
        proposals: the same.
        iou_threshold: a match needs a larger IoU.
        min_area_px: smaller buildings are left out, px.
        boundary_px: width of the band of Boundary IoU, px; None leaves it out.
    """
    overlaps = find_overlaps(truth, proposals, min_area_px=min_area_px)
    matching = match_overlaps(overlaps, iou_threshold)
    fit = None
    if boundary_px is not None:
        fit = np.full(len(truth), np.nan)
        found = np.flatnonzero(matching.truth["matched"])
        partner = matching.truth["partner"].to_numpy()[found]
        fit[found] = boundary_iou(
            truth["geometry"].to_numpy(dtype=object)[found], overlaps.proposal_shape[partner], boundary_px
        )
    return Outcome(matching, true_positives_at(overlaps, IOU_THRESHOLDS), fit)


def image_table(outcome: Outcome) -> pd.DataFrame:
    """One row per image.

    Returns:
        image_id, tp, fp, fn, f1 (NaN of an image with neither buildings nor proposals), matched_iou_sum and, if it was
        measured, boundary_iou_sum over its matched pairs, and tp_50 to tp_95, true positives at other thresholds.
    """
    matching = outcome.matching
    images = matching.images.copy()
    counts = images[["tp", "fp", "fn"]]
    images["f1"] = np.where(counts.sum(axis=1) > 0, f1_score(*counts.to_numpy().T), np.nan)
    # A building that is matched has the IoU of its match: others that chose it overlapped less.
    sums = {"matched_iou": matching.truth["iou"].to_numpy()}
    if outcome.truth_boundary_iou is not None:
        sums["boundary_iou"] = outcome.truth_boundary_iou
    some = matching.truth["matched"].to_numpy()
    for name, values in sums.items():
        images[f"{name}_sum"] = np.bincount(matching.truth_image[some], values[some], minlength=len(images))
    for column, threshold in enumerate(IOU_THRESHOLDS):
        images[at_column(threshold)] = outcome.hits_at[:, column]
    return images


def building_table(outcome: Outcome, truth: pd.DataFrame, proposals: pd.DataFrame) -> pd.DataFrame:
    """Lists every building and every proposal that counts.

    Args:
        outcome: of the two tables.
        truth: as `sspipe.data.spacenet_csv.read_spacenet_csv` gives it.
        proposals: the same.

    Returns:
        image_id, building_id (as in the tables), kind "truth" or "proposal", area_px, confidence (NaN for truth and
        where there is none), iou, matched, partner_id (building_id of whom it is matched with, missing if none),
        boundary_iou (NaN if unmatched; only if it was measured), height_m.
    """
    of_truth, of_proposals = outcome.matching.truth, outcome.matching.proposals
    fits: dict[str, np.ndarray] = {}
    if outcome.truth_boundary_iou is not None:
        partner = of_proposals["partner"].to_numpy()
        fits["truth"] = outcome.truth_boundary_iou
        fits["proposal"] = np.where(partner >= 0, _taken(outcome.truth_boundary_iou, partner), np.nan)
    parts = []
    for kind, rows, other, found in (
        ("truth", truth, proposals, of_truth),
        ("proposal", proposals, truth, of_proposals),
    ):
        chosen = found["counted"].to_numpy()
        partner = found["partner"].to_numpy()[chosen]
        ids = other["building_id"]
        partner_id = pd.array(_taken(ids.to_numpy(), partner), dtype="Int64" if ids.dtype.kind == "i" else "str")
        partner_id[partner < 0] = pd.NA
        columns = {
            "image_id": rows["image_id"][chosen].to_numpy(),
            "building_id": rows["building_id"][chosen].to_numpy(),
            "kind": kind,
            "area_px": found["area_px"][chosen].to_numpy(),
            "confidence": rows["confidence"][chosen].replace(-np.inf, np.nan).to_numpy(),
            "iou": found["iou"][chosen].to_numpy(),
            "matched": found["matched"][chosen].to_numpy(),
            "partner_id": partner_id,
        }
        if fits:
            columns["boundary_iou"] = fits[kind][chosen]
        columns["height_m"] = rows["height_m"][chosen].to_numpy()
        parts.append(pd.DataFrame(columns))
    return pd.concat(parts, ignore_index=True)


def _taken(values: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """`values` at `rows`, and anything where a row is -1; `values` may be empty if all are."""
    return values[np.maximum(rows, 0)] if len(values) else np.zeros(len(rows), values.dtype)
