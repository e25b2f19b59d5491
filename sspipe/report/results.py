"""Everything the report is made from, read once into a few tables."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from sspipe.config import Config, load_config
from sspipe.errors import UserError
from sspipe.files import read_json, read_table
from sspipe.report.records import read_csv, read_record
from sspipe.validation import validated
from sspipe.variants import Variant

RUN = ["split", "variant", "seed"]
SCORE_COLUMNS = [
    *RUN,
    "parameters_unique",
    "parameters_paper_style",
    "pixel_iou",
    "pixel_iou_pooled",
    "f1",
    "precision",
    "recall",
    "tp",
    "fp",
    "fn",
    "f1_low",
    "f1_high",
]
EPOCH_COLUMNS = ["stage", "stages", "views", "epoch", "train_loss", "validation_loss", "validation_iou"]
TRAIN_KEYS = [*RUN, "settings", "seconds", "tiles", "best", "versions", "commit", "device", "started", "finished"]
CATALOG_KEYS = ("tiles", "strips", "orientation", "no_data_fraction", "buildings", "footprints")
COMPARISONS = ("test_against_train", "validation_against_train", "test_against_train_and_validation")


@dataclass(frozen=True)
class Results:
    """What one experiment has produced.

    Splits that share no ground between training and test come before random ones, as theirs is the honest answer;
    apart from that, splits, variants and seeds are in the order of the configuration.

    Attributes:
        config: the resolved configuration.
        settings: the same as plain JSON content, to be printed.
        variants: settings of each variant that was trained, as its training recorded them.
        runs: one row per split, variant and seed: the columns of scores.csv, then train_seconds, gpu_hours (NaN without
            a GPU), title, role, paper_row.
        epochs: one row per epoch of each run: the columns of metrics.jsonl, then split, variant, seed, and `step`, the
            epoch counted over all stages from 1.
        tile_scores: one row per run and test tile: the columns of the score stage's tiles.parquet, then split, variant,
            seed.
        tiles: one row per split and tile: the catalog's columns, then split and subset.
        leakage: one row per split and comparison: split, kind, comparison, over_0, over_50, over_90, inside_union.
        data: the content of catalog.json.
        trains: the content of each train.json.
    """

    config: Config
    settings: dict[str, Any]
    variants: dict[str, Variant]
    runs: pd.DataFrame
    epochs: pd.DataFrame
    tile_scores: pd.DataFrame
    tiles: pd.DataFrame
    leakage: pd.DataFrame
    data: dict[str, Any]
    trains: list[dict[str, Any]]

    @property
    def splits(self) -> list[str]:
        """Splits that have scores."""
        return list(self.runs["split"].unique())

    def kind(self, split: str) -> str:
        """`random`, `spatial` or `baseline_x`."""
        kinds = self.leakage.loc[self.leakage["split"] == split, "kind"]
        if kinds.empty:
            raise UserError(f"split `{split}` has scores but no leakage audit; run assign_splits for it")
        return str(kinds.iloc[0])


def read_results(
    *,
    scores_csv: Path,
    trains: Sequence[Path],
    scores: Sequence[Path],
    leakages: Sequence[Path],
    splits: Sequence[Path],
    catalog: Path,
    catalog_report: Path,
    settings: Path,
) -> Results:
    """Reads the tables of a finished experiment.

    Raises:
        UserError: a file is missing or lacks a column, or a score has no training record.
    """
    content = read_json(settings)
    config = load_config(content)
    records = [read_record(path, TRAIN_KEYS) for path in trains]
    variants = {record["variant"]: _as_named_now(record, config) for record in records}
    order = sorter(ordered_splits(config), [*config.variants, *sorted(variants)])
    runs = order(_with_training(_read_scores(scores_csv), records, variants))
    return Results(
        config=config,
        settings=content,
        variants=variants,
        runs=runs,
        epochs=order(_read_epochs(trains, records)),
        tile_scores=order(_read_tile_scores(scores)),
        tiles=_read_tiles(_in_order(splits, ".parquet", config), catalog),
        leakage=_read_leakage(_in_order(leakages, ".leakage.json", config)),
        data=read_record(catalog_report, CATALOG_KEYS),
        trains=records,
    )


def ordered_splits(config: Config) -> list[str]:
    """The configuration's splits, those at random last."""
    return sorted(config.splits, key=lambda name: config.splits[name].kind == "random")


def _in_order(paths: Iterable[Path], ending: str, config: Config) -> list[Path]:
    """Files of splits in the order of `ordered_splits`; those of splits that are no longer in it come last."""
    place = {name: number for number, name in enumerate(ordered_splits(config))}
    return sorted(paths, key=lambda path: place.get(path.name.removesuffix(ending), len(place)))


def sorter(splits: Sequence[str], variants: Sequence[str]) -> Callable[[pd.DataFrame], pd.DataFrame]:
    """A function that sorts a table by split, variant and seed (if it has one), the first two as they are listed.

    What is not listed comes last.
    """

    def places(names: Sequence[str], column: pd.Series) -> pd.Series:
        place = {name: number for number, name in reversed(list(enumerate(names)))}
        return column.map(lambda name: place.get(name, len(names)))

    def ordered(table: pd.DataFrame) -> pd.DataFrame:
        keys = pd.DataFrame({"split": places(splits, table["split"]), "variant": places(variants, table["variant"])})
        keys["seed"] = table.get("seed", 0)
        return table.loc[keys.sort_values(RUN, kind="stable").index].reset_index(drop=True)

    return ordered


def _as_named_now(record: dict[str, Any], config: Config) -> Variant:
    """What a variant was trained with, under the title and the row of Table 1 that the configuration gives it now."""
    trained = validated(Variant, record["settings"], "train.json")
    if record["variant"] not in config.variants:
        return trained
    now = config.variants[record["variant"]]
    return trained.model_copy(update={"title": now.title, "paper_row": now.paper_row})


def role_of(variant: Variant) -> str:
    """Tells what a variant is for: `ceiling` sees EO at test, `floor` never sees it, any other is a `candidate`."""
    if variant.test_view == "eo":
        return "ceiling"
    if all("eo" not in stage.views for stage in variant.stages):
        return "floor"
    return "candidate"


def _read_scores(path: Path) -> pd.DataFrame:
    table = read_csv(path, SCORE_COLUMNS, "collect_scores")
    if table.empty:
        raise UserError(f"{path}: holds no scores, so there is nothing to compare; run score_all")
    # Whatever else it holds comes from train.json as well, which is read anyway.
    return table[SCORE_COLUMNS]


def _with_training(runs: pd.DataFrame, records: list[dict[str, Any]], variants: dict[str, Variant]) -> pd.DataFrame:
    """Adds what only the training knows."""
    training = pd.DataFrame(
        [
            {
                **{key: record[key] for key in RUN},
                "train_seconds": record["seconds"],
                # Seconds times GPUs; 0 on a CPU, and then there is nothing to count.
                "gpu_hours": (record.get("gpu_seconds") or float("nan")) / 3600,
            }
            for record in records
        ],
        columns=[*RUN, "train_seconds", "gpu_hours"],
    )
    joined = runs.merge(training, on=RUN, how="left", validate="one_to_one")
    lost = joined[~joined["variant"].isin(variants) | joined["train_seconds"].isna()]
    if not lost.empty:
        first = lost.iloc[0]
        raise UserError(
            f"{first['split']}/{first['variant']}/seed{first['seed']} has scores but no train.json among the inputs; "
            "scores.csv and the trainings must come from the same experiment: run collect_scores again"
        )
    joined["title"] = [variants[name].title or name for name in joined["variant"]]
    joined["role"] = [role_of(variants[name]) for name in joined["variant"]]
    joined["paper_row"] = [variants[name].paper_row for name in joined["variant"]]
    return joined


def _read_epochs(trains: Sequence[Path], records: list[dict[str, Any]]) -> pd.DataFrame:
    tables = []
    for path, record in zip(trains, records, strict=True):
        metrics = Path(path).with_name("metrics.jsonl")
        try:
            lines = [json.loads(line) for line in metrics.read_text().splitlines() if line.strip()]
        except FileNotFoundError:
            raise UserError(f"{metrics}: no such file; it is written by the training beside train.json") from None
        except ValueError as error:  # also of bytes that are no text
            raise UserError(f"{metrics}: not valid JSON lines ({error}); train this variant again") from None
        if not lines or any(key not in line for line in lines for key in EPOCH_COLUMNS):
            raise UserError(f"{metrics}: no epoch, or one without {', '.join(EPOCH_COLUMNS)}; train this variant again")
        table = pd.DataFrame(lines).assign(**{key: record[key] for key in RUN})
        table["step"] = range(1, len(table) + 1)
        tables.append(table)
    return pd.concat(tables, ignore_index=True)


def _read_tile_scores(scores: Iterable[Path]) -> pd.DataFrame:
    tables = []
    for path in scores:
        record = read_record(path, RUN)
        table = read_table(Path(path).with_name("tiles.parquet"))
        tables.append(table.assign(**{key: record[key] for key in RUN}))
    return pd.concat(tables, ignore_index=True)


def _read_tiles(splits: Iterable[Path], catalog: Path) -> pd.DataFrame:
    tiles = read_table(catalog)
    tables = []
    for path in splits:
        subsets = read_table(path, ["tile_id", "subset"])
        tables.append(tiles.merge(subsets, on="tile_id", validate="one_to_one").assign(split=Path(path).stem))
    return pd.concat(tables, ignore_index=True)


def _read_leakage(leakages: Iterable[Path]) -> pd.DataFrame:
    rows = []
    for path in leakages:
        record = read_record(path, ("split", "kind", *COMPARISONS))
        for comparison in COMPARISONS:
            rows.append(
                {"split": record["split"], "kind": record["kind"], "comparison": comparison, **record[comparison]}
            )
    return pd.DataFrame(rows)
