"""The stage `describe-models`: a model card and a STAC item beside each model that has scores."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from sspipe.config import load_config
from sspipe.errors import UserError
from sspipe.files import read_json, read_table, whole_file, write_json
from sspipe.log import say, warn
from sspipe.report.model_card import card_text
from sspipe.report.stac_item import stac_item
from sspipe.report.trained_model import TILE_COLUMNS, read_trained_model

CARD, ITEM = "README.md", "model.stac.json"


def describe_models(
    *,
    trains: Sequence[Path],
    scores: Sequence[Path],
    tunings: Sequence[Path],
    leakages: Sequence[Path],
    splits: Sequence[Path],
    statistics: Sequence[Path],
    catalog: Path,
    settings: str,
) -> None:
    """Writes README.md and model.stac.json beside each train.json.

    A model without scores is left out with a warning: a card without them would say nothing of what it is worth.

    Args:
        trains: train.json of each run.
        scores: scores.json of each run; which run it is of stands in it.
        tunings: polygons.json of each run, as well.
        leakages: `{split}.leakage.json` of each split.
        splits: `{split}.parquet`, subset of each tile.
        statistics: `{split}.json`, mean and standard deviation of each band.
        catalog: one row per tile.
        settings: the whole resolved configuration as JSON text.

    Raises:
        UserError: an input is missing or is of another experiment.
    """
    config = load_config(json.loads(settings))
    tiles = read_table(catalog, TILE_COLUMNS)
    scores_of = {_run(path): path for path in scores}
    tuning_of = {_run(path): path for path in tunings}
    by_split = {
        "leakage": {path.name.removesuffix(".leakage.json"): path for path in leakages},
        "split_table": {path.stem: path for path in splits},
        "statistics": {path.stem: path for path in statistics},
    }
    described = 0
    for train in trains:
        run = _run(train)
        if run not in scores_of or run not in tuning_of:
            warn(f"{train}: its run has no scores yet, so it is not described; run score_all")
            continue
        model = read_trained_model(
            train=train,
            scores=scores_of[run],
            tuning=tuning_of[run],
            catalog=tiles,
            config=config,
            **{what: _of_split(paths, run[0], what) for what, paths in by_split.items()},
        )
        with whole_file(model.folder / CARD) as partial:
            partial.write_text(card_text(model))
        write_json(model.folder / ITEM, stac_item(model, scores_of[run]))
        described += 1
    say(f"model cards and STAC items of {described} models, each in its training's folder: {CARD}, {ITEM}")


def _run(path: Path) -> tuple[str, str, int]:
    record = read_json(path)
    try:
        return record["split"], record["variant"], record["seed"]
    except KeyError as error:
        # polygons.json of settings that were not tuned names no run: its folder does.
        split, variant, seed = path.parent.parts[-3:]
        if not seed.removeprefix("seed").isdigit():
            raise UserError(f"{path}: names no run (lacks {error}), and its folder is not that of one") from None
        return split, variant, int(seed.removeprefix("seed"))


def _of_split(paths: dict[str, Path], split: str, what: str) -> Path:
    try:
        return paths[split]
    except KeyError:
        raise UserError(f"split `{split}`: no file of its {what.replace('_', ' ')} was given") from None
