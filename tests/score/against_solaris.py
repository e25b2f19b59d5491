"""Runs solaris's own evaluator for the tests, on tables of polygons."""

from __future__ import annotations

import contextlib
import io
import tempfile
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import shapely

from sspipe.data.spacenet_csv import read_spacenet_csv
from sspipe.score.matching import match_polygons
from sspipe.score.solaris import load_evaluator


def solaris_result(
    truth_csv: Path, proposals_csv: Path, *, iou_threshold: float, min_area_px: float
) -> tuple[list, np.ndarray]:
    """Counts per image, sorted by image, and the IoU of every truth row, both as solaris has them."""
    evaluator = load_evaluator()
    with (
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        session = evaluator(str(truth_csv))
        session.load_proposal(str(proposals_csv), conf_field_list=["Confidence"], proposalCSV=True)
        results = session.eval_iou_spacenet_csv(miniou=iou_threshold, min_area=min_area_px)
        iou = session.get_iou_by_building()["iou_score"].to_numpy()
    counts = sorted((each["imageID"], each["TruePos"], each["FalsePos"], each["FalseNeg"]) for each in results)
    return counts, iou


def our_result(
    truth_csv: Path, proposals_csv: Path, *, iou_threshold: float, min_area_px: float
) -> tuple[list, np.ndarray]:
    """The same from our matcher."""
    truth, proposals = read_spacenet_csv(truth_csv), read_spacenet_csv(proposals_csv)
    matching = match_polygons(truth, proposals, iou_threshold=iou_threshold, min_area_px=min_area_px)
    counts = sorted(matching.images[["image_id", "tp", "fp", "fn"]].itertuples(index=False, name=None))
    return counts, matching.truth["iou"].to_numpy()


def assert_same_as_solaris(truth, proposals, *, iou_threshold: float = 0.5, min_area_px: float = 0.0) -> None:
    """Compares both evaluators on lists of (image id, polygon) and (image id, polygon, confidence).

    solaris sorts unstably, so it is given ranks: the order that we promise for ties, without ties.
    """
    turns = np.argsort([-confidence for _, _, confidence in proposals], kind="stable")
    ranks = np.empty(len(proposals), int)
    ranks[turns] = np.arange(len(proposals), 0, -1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _write(folder / "truth.csv", [row[0] for row in truth], [row[1] for row in truth])
        shapes = [row[1] for row in proposals]
        _write(folder / "ours.csv", [row[0] for row in proposals], shapes, [row[2] for row in proposals])
        _write(folder / "theirs.csv", [row[0] for row in proposals], shapes, ranks)
        settings = {"iou_threshold": iou_threshold, "min_area_px": min_area_px}
        counts, iou = our_result(folder / "truth.csv", folder / "ours.csv", **settings)
        their_counts, their_iou = solaris_result(folder / "truth.csv", folder / "theirs.csv", **settings)
    assert counts == their_counts
    np.testing.assert_array_equal(iou, their_iou)


def _write(path: Path, images, shapes, confidence=None) -> None:
    table = pd.DataFrame(
        {"ImageId": images, "PolygonWKT_Pix": [shapely.to_wkt(s, rounding_precision=-1) for s in shapes]}
    )
    if confidence is not None:
        table["Confidence"] = confidence
    table.to_csv(path, index=False)
