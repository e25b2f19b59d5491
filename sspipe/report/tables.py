"""Tables of the report: one row per split, variant and seed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from sspipe.errors import UserError
from sspipe.files import read_json, whole_file
from sspipe.log import say

IDENTITY = ["split", "variant", "seed"]
OF_TRAIN = ["parameters_unique", "parameters_paper_style"]
OF_SCORES = [
    *["pixel_iou", "pixel_iou_pooled", "f1", "precision", "recall", "tp", "fp", "fn", "f1_low", "f1_high"],
    *["f1_macro", "tiles", "iou_threshold", "min_area_px", "bootstrap_samples"],
]


def collect_scores(*, scores: list[Path], trains: list[Path], out: Path) -> None:
    """Stage: gathers every run's scores.json and train.json in scores.csv, in the order of `scores`.

    Args:
        scores: scores.json of every run.
        trains: train.json of every run, in any order.
        out: scores.csv; after the columns that the report needs come training tiles, the kept epoch and its
            validation IoU, seconds, device and commit. A score that is undefined is left blank.

    Raises:
        UserError: a file lacks a key, a run occurs twice, or has only one of the two files.
    """
    scored, trained = _by_run(scores), _by_run(trains)
    for have, lack, what in ((scored, trained, "train.json"), (trained, scored, "scores.json")):
        alone = [run for run in have if run not in lack]
        if alone:
            raise UserError(f"{have[alone[0]][0]}: no {what} of {_named(alone[0])} was given; pass both files of a run")
    rows = [_row(*scored[run], *trained[run]) for run in scored]
    table = pd.DataFrame(rows, columns=list(rows[0]) if rows else [*IDENTITY, *OF_TRAIN, *OF_SCORES])
    with whole_file(out) as partial:
        table.to_csv(partial, index=False)
    say(f"scores of {len(table)} runs -> {out}")


def _row(score_path: Path, score: dict[str, Any], train_path: Path, train: dict[str, Any]) -> dict[str, Any]:
    best, tiles = _get(train_path, train, "best"), _get(train_path, train, "tiles")
    return {
        **{key: score[key] for key in IDENTITY},
        **{key: _get(train_path, train, key) for key in OF_TRAIN},
        **{key: _get(score_path, score, key) for key in OF_SCORES},
        "train_tiles": _get(train_path, tiles, "train"),
        "validation_tiles": _get(train_path, tiles, "validation"),
        "best_stage": _get(train_path, best, "stage"),
        "best_epoch": _get(train_path, best, "epoch"),
        "best_validation_iou": _get(train_path, best, "validation_iou"),
        "train_seconds": _get(train_path, train, "seconds"),
        "device": _get(train_path, train, "device"),
        "commit": _get(train_path, train, "commit"),
    }


def _by_run(paths: list[Path]) -> dict[tuple[Any, ...], tuple[Path, dict[str, Any]]]:
    found: dict[tuple[Any, ...], tuple[Path, dict[str, Any]]] = {}
    for path in paths:
        content = read_json(path)
        run = tuple(_get(path, content, key) for key in IDENTITY)
        if run in found:
            raise UserError(f"{path}: {_named(run)} was already given by {found[run][0]}; give each run once")
        found[run] = (path, content)
    return found


def _get(path: Path, content: Any, key: str) -> Any:
    if not isinstance(content, dict) or key not in content:
        raise UserError(f"{path}: no key `{key}`; it was written by another version: delete it and run again")
    return content[key]


def _named(run: tuple[Any, ...]) -> str:
    return f"{run[0]}/{run[1]}/seed{run[2]}"
