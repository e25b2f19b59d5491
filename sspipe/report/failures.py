"""Where predictions fail: the parts of every run's scores as tidy tables, averaged over seeds.

As in Table 1, a variant's score is the mean of its seeds, and its 95 % bounds are the means of theirs.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sspipe.errors import UserError
from sspipe.files import read_json
from sspipe.report.records import read_csv
from sspipe.report.results import RUN
from sspipe.score.reliability import expected_calibration_error

# Below these a share says little: it is drawn hollow, and no sentence rests on it.
FEW_BUILDINGS = 10
FEW_TILES = 5
FEW_PIXELS = 1000
PARTS = ("f1_at_iou", "intervals", "recall_by_area_m2", "recall_by_height_m", "by_orientation", "by_strip")
RELIABILITY = "reliability.csv"
RELIABILITY_COLUMNS = ("low", "high", "pixels", "mean_probability", "building_share")


def read_scores(scores: Sequence[Path], runs: pd.DataFrame) -> list[dict[str, Any]]:
    """Reads scores.json of every run.

    Args:
        scores: the files.
        runs: split, variant, seed: the order in which the records are given; others are left out.

    Returns:
        the content of each, and `folder`, where it lies.

    Raises:
        UserError: a file lacks one of the parts.
    """
    found = {}
    for path in scores:
        record = read_json(path)
        missing = [name for name in (*RUN, *PARTS) if name not in record]
        if missing:
            raise UserError(f"{path}: lacks {', '.join(missing)}; run the rule score_polygons again")
        found[tuple(record[name] for name in RUN)] = {**record, "folder": Path(path).parent}
    keys = [tuple(key) for key in runs[RUN].itertuples(index=False)]
    return [found[key] for key in keys if key in found]


def recall_table(records: Iterable[dict[str, Any]], value: str) -> pd.DataFrame:
    """Recall of the buildings in each bin of a value.

    Args:
        records: of `read_scores`.
        value: `area_m2` or `height_m`.

    Returns:
        One row per split, variant and bin: place (0 is the lowest bin), low and high (its edges; NaN: without bound,
        both NaN: buildings whose value is unknown), buildings, recall, recall_low, recall_high (NaN without buildings).
    """
    rows = [
        {**_run(record), "place": place, "low": part["from"], "high": part["to"], **part}
        for record in records
        for place, part in enumerate(record[f"recall_by_{value}"])
    ]
    columns = ["low", "high", "buildings", "recall", "recall_low", "recall_high"]
    return _over_seeds(rows, ["place"], columns)


def group_table(records: Iterable[dict[str, Any]], name: str) -> pd.DataFrame:
    """F1 of the tiles that share a property.

    Args:
        records: of `read_scores`.
        name: `orientation` or `strip`.

    Returns:
        One row per split, variant and value of the property: tiles, f1, f1_low, f1_high; F1 is NaN where the tiles have
        neither building nor proposal.
    """
    rows = []
    for record in records:
        for part in record[f"by_{name}"]:
            # The score stage calls F1 of nothing 0, as solaris does; a place without buildings is no failure.
            empty = part["tp"] + part["fp"] + part["fn"] == 0
            rows.append({**_run(record), **part, **(dict.fromkeys(("f1", "f1_low", "f1_high")) if empty else {})})
    return _over_seeds(rows, [name], ["tiles", "f1", "f1_low", "f1_high"])


def threshold_table(records: Iterable[dict[str, Any]]) -> pd.DataFrame:
    """F1 by the IoU that a match needs.

    Returns:
        One row per split, variant and threshold: iou (0.5 to 0.95), f1, f1_low, f1_high.
    """
    rows = []
    for record in records:
        for iou, f1 in record["f1_at_iou"].items():
            low, high = record["intervals"].get(f"f1_at_{iou}", (None, None))
            rows.append({**_run(record), "iou": float(iou), "f1": f1, "f1_low": low, "f1_high": high})
    return _over_seeds(rows, ["iou"], ["f1", "f1_low", "f1_high"])


def reliability_table(records: Iterable[dict[str, Any]]) -> tuple[pd.DataFrame, list[str]]:
    """How often a pixel is building, by its probability.

    Args:
        records: of `read_scores`; reliability.csv lies beside each run's scores.json.

    Returns:
        One row per split, variant and bin, the pixels of all seeds together: low, high, pixels, mean_probability,
        building_share (NaN without pixels), calibration_error (of the variant: mean over seeds); and the runs without
        such a table, as `split/variant/seed0`.
    """
    tables, missing = [], []
    for record in records:
        run = _run(record)
        path = record["folder"] / RELIABILITY
        if not path.is_file():
            missing.append(f"{run['split']}/{run['variant']}/seed{run['seed']}")
            continue
        table = read_csv(path, RELIABILITY_COLUMNS, "score_polygons")
        error = expected_calibration_error(table)
        tables.append(table.assign(**run, calibration_error=np.nan if error is None else error))
    names = ["split", "variant", "low", "high", "pixels", "mean_probability", "building_share", "calibration_error"]
    if not tables:
        return pd.DataFrame(columns=names), missing
    every = pd.concat(tables, ignore_index=True)
    sums = every.assign(
        probability=every["mean_probability"].fillna(0) * every["pixels"],
        building=every["building_share"].fillna(0) * every["pixels"],
    )
    pooled = sums.groupby(["split", "variant", "low", "high"], sort=False).agg(
        pixels=("pixels", "sum"),
        probability=("probability", "sum"),
        building=("building", "sum"),
        calibration_error=("calibration_error", "mean"),
    )
    some = pooled["pixels"].where(pooled["pixels"] > 0)
    pooled["mean_probability"] = pooled["probability"] / some
    pooled["building_share"] = pooled["building"] / some
    return pooled.reset_index()[names], missing


def tile_table(tile_scores: pd.DataFrame, tiles: pd.DataFrame, baseline: str) -> pd.DataFrame:
    """F1 of each test tile and where it lies.

    Args:
        tile_scores: `Results.tile_scores`.
        tiles: `Results.tiles`.
        baseline: variant that the others are held against.

    Returns:
        One row per split, variant and test tile: f1 (mean over seeds; NaN where a tile has neither building nor
        proposal), difference (from the baseline's; NaN where either has none), easting_m and northing_m (upper-left
        corner), size_px, pixel_m, strip, orientation.
    """
    keys = ["split", "variant", "tile_id"]
    means = tile_scores.groupby(keys, sort=False)["f1"].mean().reset_index()
    of_baseline = means.loc[means["variant"] == baseline, ["split", "tile_id", "f1"]]
    means = means.merge(of_baseline.rename(columns={"f1": "of_baseline"}), on=["split", "tile_id"], how="left")
    means["difference"] = means["f1"] - means.pop("of_baseline")
    places = ["split", "tile_id", "strip", "orientation", "easting_m", "northing_m", "size_px", "pixel_m"]
    return means.merge(tiles[places], on=["split", "tile_id"], how="left", validate="many_to_one")


def _run(record: dict[str, Any]) -> dict[str, Any]:
    return {name: record[name] for name in RUN}


def _over_seeds(rows: list[dict[str, Any]], by: list[str], columns: list[str]) -> pd.DataFrame:
    """Means over seeds, rows in the order given."""
    table = pd.DataFrame(rows, columns=[*RUN, *by, *columns])
    table[columns] = table[columns].astype(float)
    return table.groupby(["split", "variant", *by], sort=False)[columns].mean().reset_index()
