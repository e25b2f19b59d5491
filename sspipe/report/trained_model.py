"""All that is known of one trained model, gathered from its training, its scores and its split."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from sspipe.config import Config
from sspipe.errors import UserError
from sspipe.files import read_json, read_table
from sspipe.report.credit import Credit, credit
from sspipe.validation import validated
from sspipe.variants import Variant

TILE_COLUMNS = ("tile_id", "strip", "easting_m", "northing_m", "size_px", "pixel_m")
# As scores.json calls them, and people.
MEASURES = {
    "f1": "SpaceNet F1",
    "precision": "SpaceNet precision",
    "recall": "SpaceNet recall",
    "pixel_iou": "Pixel IoU, mean over tiles",
    "pixel_iou_pooled": "Pixel IoU, all pixels together",
    "boundary_iou": "Boundary IoU",
}


@dataclass(frozen=True)
class TrainedModel:
    """A model and what belongs to it.

    Attributes:
        split: it was trained on.
        variant: its name in the configuration.
        seed: of its training.
        settings: it was trained with, under the title that the configuration gives the variant now.
        record: content of train.json.
        scores: content of scores.json.
        tuning: content of polygons.json: how footprints are made of its probabilities.
        leakage: audit of the split.
        statistics: mean and standard deviation of each band, by which inputs are standardised.
        tiles: the training tiles: `TILE_COLUMNS`.
        config: of the experiment.
        folder: of train.json and the weights.
        data: whose the data are.
    """

    split: str
    variant: str
    seed: int
    settings: Variant
    record: Mapping[str, Any]
    scores: Mapping[str, Any]
    tuning: Mapping[str, Any]
    leakage: Mapping[str, Any]
    statistics: Mapping[str, Any]
    tiles: pd.DataFrame
    config: Config
    folder: Path
    data: Credit

    @property
    def name(self) -> str:
        """Once in an experiment, and fit for catalogues: letters, digits, `_`, `.` and `-`."""
        return f"sspipe-{self.config.experiment}-{self.split}-{self.variant}-seed{self.seed}"

    @property
    def title(self) -> str:
        """As the report calls the variant."""
        return self.settings.title or self.variant

    @property
    def view(self) -> str:
        """The view that it sees at test."""
        return self.settings.test_view

    @property
    def bands(self) -> tuple[str, ...]:
        """Of that view, in the order of the network's input."""
        return self.config.tiles.sar_bands if self.view == "sar" else self.config.tiles.eo_bands

    @property
    def weights(self) -> Path:
        """The file of weights."""
        return self.folder / "model.safetensors"

    @property
    def settings_digest(self) -> str:
        """SHA-256 of what the training recorded as its settings, keys sorted: equal for equal settings."""
        text = json.dumps(self.record["settings"], sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    def measures(self) -> list[tuple[str, str, float, tuple[float, float] | None]]:
        """Key, words, value and 95 % interval of each measure that the scores have."""
        intervals = self.scores.get("intervals", {})
        found = []
        for key, words in MEASURES.items():
            value = self.scores.get(key)
            if value is not None:
                ends = intervals.get(key)
                found.append((key, words, float(value), None if ends is None else (float(ends[0]), float(ends[1]))))
        return found


def read_trained_model(
    *,
    train: Path,
    scores: Path,
    tuning: Path,
    leakage: Path,
    split_table: Path,
    statistics: Path,
    catalog: pd.DataFrame,
    config: Config,
) -> TrainedModel:
    """Gathers one model.

    Args:
        train: train.json; the weights lie beside it.
        scores: scores.json of the same run.
        tuning: polygons.json of the same run.
        leakage: audit of its split.
        split_table: subset of each tile in its split.
        statistics: of its split's training tiles.
        catalog: `TILE_COLUMNS` of every tile.
        config: of the experiment.

    Raises:
        UserError: a file is missing, or is of another run.
    """
    record = read_json(train)
    run = {key: record[key] for key in ("split", "variant", "seed")}
    scored = read_json(scores)
    if any(scored.get(key) != value for key, value in run.items()):
        raise UserError(f"{scores}: is not of the run that {train} records; name both in the same order")
    subsets = read_table(split_table, ["tile_id", "subset"])
    trained_on = set(subsets.loc[subsets["subset"] == "train", "tile_id"])
    settings = validated(Variant, record["settings"], str(train))
    now = config.variants.get(record["variant"])
    return TrainedModel(
        **run,
        settings=settings.model_copy(update={"title": now.title}) if now else settings,
        record=record,
        scores=scored,
        tuning=read_json(tuning),
        leakage=read_json(leakage),
        statistics=read_json(statistics),
        tiles=catalog[catalog["tile_id"].isin(trained_on)].reset_index(drop=True),
        config=config,
        folder=Path(train).parent,
        data=credit(config.archive.source),
    )
