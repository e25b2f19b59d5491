"""Choosing how footprints are made, on validation tiles: every combination of a grid is scored, and the best wins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from sspipe.data.spacenet_csv import read_spacenet_csv
from sspipe.errors import UserError
from sspipe.files import read_json, write_json
from sspipe.log import progress, say, warn
from sspipe.predict.instances import tile_polygons
from sspipe.predict.polygons import open_probabilities, read_tile
from sspipe.predict.settings import NAMES, PolygonSettings, all_combinations
from sspipe.score.matching import match_polygons
from sspipe.score.uncertainty import f1_score
from sspipe.workers import in_parallel

TILES_AT_ONCE = 8


def tune_polygons(
    *,
    probabilities: Path | None,
    truth: Path,
    interior_threshold: float,
    border_threshold: float,
    min_area_px: float,
    simplify_px: float,
    interior_thresholds: Sequence[float],
    border_thresholds: Sequence[float],
    min_areas_px: Sequence[float],
    simplifications_px: Sequence[float],
    iou_threshold: float,
    score_min_area_px: float,
    processes: int,
    out: Path,
) -> None:
    """Stage: chooses one run's settings of footprints.

    polygons.json:
        choice: the four settings (`sspipe.predict.settings`) that extract_polygons goes by.
        tuned: whether they were chosen here; false: they are what the configuration names.
        objective: in words; grid: the values tried; scores: one entry per combination, its settings, tp, fp, fn and f1.
        subset, tiles, split, variant, seed: what they were chosen on.

    The highest F1 wins. Of equals the first: the configuration's own settings, then in the order of the grid.

    Args:
        probabilities: npy of the validation tiles; None pins the configuration's settings.
        truth: the challenge's CSV; it may have more tiles.
        interior_threshold: the configuration's own.
        border_threshold: the configuration's own.
        min_area_px: the configuration's own.
        simplify_px: the configuration's own.
        interior_thresholds: values to try.
        border_thresholds: values to try.
        min_areas_px: values to try.
        simplifications_px: values to try.
        iou_threshold: of the F1: a match needs a larger IoU.
        score_min_area_px: of the F1: smaller buildings are left out, px.
        processes: tiles worked on at once.
        out: polygons.json.

    Raises:
        UserError: the predictions are of test tiles, or the truth lacks a tile.
    """
    own = PolygonSettings(interior_threshold, border_threshold, min_area_px, simplify_px)
    if probabilities is None:
        write_json(out, {"tuned": False, "choice": own.as_dict()})
        say(f"{_worded(own)}, as the configuration has it (polygons.tune is false)")
        return
    described = read_json(Path(probabilities).with_suffix(".json"))
    if described.get("subset") != "validation":
        raise UserError(
            f"{probabilities}: holds {described.get('subset', 'unnamed')} tiles, and settings are chosen on validation "
            "tiles alone; predict them with `predict-tiles --subset validation`"
        )
    values = dict(zip(NAMES, (interior_thresholds, border_thresholds, min_areas_px, simplifications_px), strict=True))
    candidates = list(dict.fromkeys([own, *all_combinations(values)]))
    counts = count_matches(probabilities, truth, candidates, iou_threshold, score_min_area_px, processes)
    f1 = f1_score(*counts.T)
    best = int(np.argmax(f1))  # the first of equals
    if f1[best] == 0:
        warn("no combination finds a single building of the validation tiles, so nothing can be chosen")
    rows = [
        {**settings.as_dict(), "tp": int(tp), "fp": int(fp), "fn": int(fn), "f1": float(score)}
        for settings, (tp, fp, fn), score in zip(candidates, counts, f1, strict=True)
    ]
    tiles = len(described["tile_ids"])
    write_json(
        out,
        {
            "tuned": True,
            "choice": candidates[best].as_dict(),
            "f1": float(f1[best]),
            "f1_as_configured": float(f1[0]),
            "objective": f"SpaceNet F1 at IoU > {iou_threshold:g}, buildings of {score_min_area_px:g} px and more",
            **{key: described[key] for key in ("split", "variant", "seed", "subset")},
            "tiles": tiles,
            "grid": {name: list(tried) for name, tried in values.items()},
            "scores": rows,
        },
    )
    say(
        f"{_worded(candidates[best])}: F1 {f1[best]:.3f} on {tiles} validation tiles, the best of {len(candidates)} "
        f"combinations ({f1[0]:.3f} with the configuration's own)"
    )


def count_matches(
    probabilities: Path,
    truth: Path,
    candidates: Sequence[PolygonSettings],
    iou_threshold: float,
    min_area_px: float,
    processes: int,
) -> np.ndarray:
    """Scores candidates on the same tiles.

    Args:
        probabilities: npy; the json beside it names the tiles.
        truth: the challenge's CSV.
        candidates: C settings.
        iou_threshold: a match needs a larger IoU.
        min_area_px: smaller buildings are left out, px.
        processes: at work at the same time.

    Returns:
        (C, 3) int64, tp, fp and fn summed over tiles.

    Raises:
        UserError: the truth lacks a tile.
    """
    _, tile_ids = open_probabilities(probabilities)
    buildings = read_spacenet_csv(truth, tile_ids, measures=[])[["image_id", "geometry"]]
    missing = sorted(set(tile_ids) - set(buildings["image_id"]))
    if missing:
        raise UserError(
            f"{truth}: {len(missing)} of {len(tile_ids)} validation tiles have no row, such as {missing[0]}"
        )
    tasks = []
    for first in range(0, len(tile_ids), TILES_AT_ONCE):
        part = tile_ids[first : first + TILES_AT_ONCE]
        here = buildings[buildings["image_id"].isin(part)]
        tasks.append(_Task(probabilities, first, part, here, tuple(candidates), iou_threshold, min_area_px))
    done = in_parallel(_count, tasks, processes, "parts of the validation tiles")
    return np.sum(list(progress(done, "tuning: parts", len(tasks))), axis=0)


@dataclass(frozen=True)
class _Task:
    """Some tiles that follow each other, for one process."""

    probabilities: Path
    first: int
    tile_ids: list[str]
    buildings: pd.DataFrame
    candidates: tuple[PolygonSettings, ...]
    iou_threshold: float
    min_area_px: float


def _count(task: _Task) -> np.ndarray:
    """(C, 3) int64: tp, fp, fn of the task's tiles for each candidate.

    Every pair of candidate and tile is an image of its own to the matcher, so that it is called once.
    """
    image, shapes, confidence = [], [], []
    for position, tile_id in enumerate(task.tile_ids):
        interior, border = read_tile(task.probabilities, task.first + position)
        for number, settings in enumerate(task.candidates):
            found = tile_polygons(interior, border, **settings.as_dict())
            image += [f"{number}/{tile_id}"] * len(found.geometry)
            shapes.append(found.geometry)
            confidence.append(np.round(found.confidence, 6))  # as the submission has it
    proposals = pd.DataFrame(
        {
            "image_id": pd.Series(image, dtype="str"),
            "geometry": pd.Series(list(np.concatenate(shapes)), dtype=object),
            "confidence": np.concatenate(confidence),
        }
    )
    # The truth once for every candidate: tiles without a building stand in it as empty polygons, so none is lost.
    truth = pd.concat(
        [
            task.buildings.assign(image_id=f"{number}/" + task.buildings["image_id"])
            for number in range(len(task.candidates))
        ],
        ignore_index=True,
    )
    matching = match_polygons(truth, proposals, iou_threshold=task.iou_threshold, min_area_px=task.min_area_px)
    candidate = matching.images["image_id"].str.split("/").str[0].astype(int).to_numpy()
    return np.stack(
        [
            np.bincount(candidate, weights=matching.images[name], minlength=len(task.candidates)).astype(np.int64)
            for name in ("tp", "fp", "fn")
        ],
        axis=1,
    )


def _worded(settings: PolygonSettings) -> str:
    return (
        f"interior >= {settings.interior_threshold:g}, seeds where border < {settings.border_threshold:g}, "
        f"at least {settings.min_area_px:g} px, simplified by {settings.simplify_px:g} px"
    )
