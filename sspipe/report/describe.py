"""The stage `describe-models`: a model card and a STAC item beside each model that has scores."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sspipe.config import load_config
from sspipe.errors import UserError
from sspipe.files import read_json, read_table, whole_file, write_json
from sspipe.log import say, warn
from sspipe.report.model_card import card_text
from sspipe.report.run_files import RunFiles
from sspipe.report.stac_item import stac_item
from sspipe.report.trained_model import TILE_COLUMNS, read_trained_model

CARD, ITEM = "README.md", "model.stac.json"


def describe_models(
    *,
    root: Path,
    runs: Sequence[str],
    leakages: Sequence[Path],
    splits: Sequence[Path],
    statistics: Sequence[Path],
    catalog: Path,
    settings: Path,
) -> None:
    """Writes README.md and model.stac.json beside each train.json.

    A model without scores is left out with a warning: a card without them would say nothing of what it is worth.

    Args:
        root: `results/{experiment}`; `sspipe.report.run_files` says which files of each run are read.
        runs: `{split}/{variant}/seed{seed}` of each run.
        leakages: `{split}.leakage.json` of each split.
        splits: `{split}.parquet`, subset of each tile.
        statistics: `{split}.json`, mean and standard deviation of each band.
        catalog: one row per tile.
        settings: experiment.json, the whole resolved configuration.

    Raises:
        UserError: an input is missing or is of another experiment.
    """
    config = load_config(read_json(settings))
    tiles = read_table(catalog, TILE_COLUMNS)
    by_split = {
        "leakage": {path.name.removesuffix(".leakage.json"): path for path in leakages},
        "split_table": {path.stem: path for path in splits},
        "statistics": {path.stem: path for path in statistics},
    }
    of_runs = RunFiles(root, runs)
    described = 0
    for run, train, scores, tuning in zip(runs, of_runs.trains, of_runs.scores, of_runs.tunings, strict=True):
        if not scores.exists():
            warn(f"{train}: its run has no scores yet, so it is not described; run score_all")
            continue
        model = read_trained_model(
            train=train,
            scores=scores,
            tuning=tuning,
            catalog=tiles,
            config=config,
            **{what: _of_split(paths, run.split("/")[0], what) for what, paths in by_split.items()},
        )
        with whole_file(model.folder / CARD) as partial:
            partial.write_text(card_text(model))
        write_json(model.folder / ITEM, stac_item(model, scores))
        described += 1
    say(f"model cards and STAC items of {described} models, each in its training's folder: {CARD}, {ITEM}")


def _of_split(paths: dict[str, Path], split: str, what: str) -> Path:
    try:
        return paths[split]
    except KeyError:
        raise UserError(f"split `{split}`: no file of its {what.replace('_', ' ')} was given") from None
