"""The scoring stage: reads predictions and truth of the test tiles, writes scores and what they are made of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd

from sspipe.data.spacenet_csv import read_spacenet_csv
from sspipe.errors import UserError
from sspipe.files import read_json, whole_file, write_json
from sspipe.log import progress, say
from sspipe.predict.polygons import open_probabilities, tile_places, tile_transform
from sspipe.score.matching import Matching, match_polygons
from sspipe.score.pixels import building_mask, mean_iou, pixel_overlap, pooled_iou, tile_iou
from sspipe.score.uncertainty import bootstrap_f1, f1_score

TILES_NAMED = 5


def score_polygons(
    *,
    submission: Path,
    truth: Path,
    catalog: Path,
    footprints: Path,
    probabilities: Path,
    interior_threshold: float,
    iou_threshold: float,
    min_area_px: float,
    bootstrap_samples: int,
    out_scores: Path,
    out_tiles: Path,
    out_buildings: Path,
) -> None:
    """Stage: scores one variant's predictions on its test tiles.

    scores.json:
        split, variant, seed: whose predictions these are; tiles: number of test tiles.
        tp, fp, fn: matched proposals, other proposals, missed buildings, summed over tiles (SpaceNet metric).
        precision, recall, f1: of those sums (micro); 0 where undefined, as solaris has it.
        f1_low, f1_high: 95 % bootstrap interval of f1 over tiles.
        f1_macro: mean of the tiles' F1. Tiles with neither buildings nor proposals are left out; null if all are.
        pixel_iou: mean of the tiles' pixel IoU (the paper's "average pixel-wise IoU"). Tiles with neither building
            nor predicted building pixels are left out; null if all are.
        pixel_iou_pooled: pixel IoU of all tiles' pixels taken together; null if there is no building pixel.
        iou_threshold, min_area_px, bootstrap_samples: the settings.
    tiles.parquet: one row per test tile; f1 and pixel_iou are NaN where undefined.
    buildings.parquet: one row per building and proposal that counts (large enough); `iou` of a proposal is with the
        best building free at its turn, of a building the largest with a proposal that chose it.

    Args:
        submission: submission.csv of extract_polygons.
        truth: the challenge's CSV; it may have more tiles.
        catalog: catalog.parquet.
        footprints: footprints.parquet, in map coordinates, for pixel IoU.
        probabilities: the npy; the json beside it names the test tiles.
        interior_threshold: a pixel at or above it is predicted building.
        iou_threshold: a match needs a larger IoU.
        min_area_px: smaller buildings are left out, px.
        bootstrap_samples: resamples of the tiles.
        out_scores: scores.json.
        out_tiles: tiles.parquet.
        out_buildings: buildings.parquet.

    Raises:
        UserError: there is no test tile, or a tile is missing from the truth, the submission or the catalog.
    """
    described = read_json(Path(probabilities).with_suffix(".json"))
    predicted, tile_ids = open_probabilities(probabilities)
    buildings = read_spacenet_csv(truth, images=tile_ids)
    proposals = read_spacenet_csv(submission)
    _same_tiles(truth, buildings, tile_ids)
    _same_tiles(submission, proposals, tile_ids)
    strange = sorted(set(proposals["image_id"]) - set(tile_ids))
    if strange:
        raise UserError(f"{submission}: {len(strange)} tiles are not in the test set, the first is {strange[0]}")

    matching = match_polygons(buildings, proposals, iou_threshold=iou_threshold, min_area_px=min_area_px)
    overlap = _pixel_overlaps(predicted, tile_ids, catalog, footprints, interior_threshold)
    tiles = tile_table(matching, tile_ids, overlap)
    identity = {name: described[name] for name in ("split", "variant", "seed")}
    settings = {"iou_threshold": iou_threshold, "min_area_px": min_area_px, "bootstrap_samples": bootstrap_samples}
    scores = {**identity, **summarize(tiles, bootstrap_samples), **settings}
    with whole_file(out_tiles) as partial:
        tiles.to_parquet(partial, index=False)
    with whole_file(out_buildings) as partial:
        building_table(matching, buildings, proposals, truth, submission).to_parquet(partial, index=False)
    write_json(out_scores, scores)
    say(
        f"F1 {scores['f1']:.3f} ({scores['f1_low']:.3f} to {scores['f1_high']:.3f}), "
        f"tp/fp/fn {scores['tp']}/{scores['fp']}/{scores['fn']}, pixel IoU {_three_digits(scores['pixel_iou'])} "
        f"(pooled {_three_digits(scores['pixel_iou_pooled'])}) on {len(tiles)} tiles"
    )


def tile_table(matching: Matching, tile_ids: list[str], overlap: np.ndarray) -> pd.DataFrame:
    """Puts the counts of every tile in one table.

    Args:
        matching: of all tiles.
        tile_ids: the N tiles, in order.
        overlap: (N, 2) int64, pixels in the intersection and in the union.

    Returns:
        tile_id, tp, fp, fn, f1, pixel_intersection, pixel_union, pixel_iou; NaN where a score is undefined.
    """
    counts = matching.images.set_index("image_id").loc[tile_ids]
    defined = counts.sum(axis=1).to_numpy() > 0
    return pd.DataFrame(
        {
            "tile_id": tile_ids,
            **{name: counts[name].to_numpy() for name in ("tp", "fp", "fn")},
            "f1": np.where(defined, f1_score(counts["tp"], counts["fp"], counts["fn"]), np.nan),
            "pixel_intersection": overlap[:, 0],
            "pixel_union": overlap[:, 1],
            "pixel_iou": tile_iou(overlap[:, 0], overlap[:, 1]),
        }
    )


def summarize(tiles: pd.DataFrame, bootstrap_samples: int) -> dict[str, Any]:
    """Sums a table of tiles up.

    Args:
        tiles: as `tile_table` makes it.
        bootstrap_samples: resamples of the tiles.

    Returns:
        The keys of scores.json (see `score_polygons`) from `tiles` to `pixel_iou_pooled`.
    """
    tp, fp, fn = (int(tiles[name].sum()) for name in ("tp", "fp", "fn"))
    low, high = bootstrap_f1(tiles["tp"], tiles["fp"], tiles["fn"], samples=bootstrap_samples)
    per_tile = tiles["f1"].dropna()
    pixels = (tiles["pixel_intersection"].to_numpy(), tiles["pixel_union"].to_numpy())
    return {
        "tiles": len(tiles),
        "tp": tp,
        "fp": fp,
        "fn": fn,
        "precision": tp / (tp + fp) if tp + fp else 0.0,
        "recall": tp / (tp + fn) if tp + fn else 0.0,
        "f1": float(f1_score(tp, fp, fn)),
        "f1_low": low,
        "f1_high": high,
        "f1_macro": float(per_tile.mean()) if len(per_tile) else None,
        "pixel_iou": mean_iou(*pixels),
        "pixel_iou_pooled": pooled_iou(*pixels),
    }


def building_table(
    matching: Matching, buildings: pd.DataFrame, proposals: pd.DataFrame, truth: Path, submission: Path
) -> pd.DataFrame:
    """Lists every building and every proposal that counts.

    Args:
        matching: of the two tables.
        buildings: truth, as read_spacenet_csv gives it.
        proposals: proposals, as read_spacenet_csv gives it.
        truth: the truth's file, for messages.
        submission: the proposals' file, for messages.

    Returns:
        tile_id, building_id int64, kind "truth" or "proposal", area_px, confidence (NaN for truth), iou, matched,
        height_m (NaN for proposals).
    """
    parts = []
    for kind, path, rows, outcome in (
        ("truth", truth, buildings, matching.truth),
        ("proposal", submission, proposals, matching.proposals),
    ):
        chosen = outcome["counted"].to_numpy()
        parts.append(
            pd.DataFrame(
                {
                    "tile_id": rows["image_id"][chosen].to_numpy(),
                    "building_id": _whole_numbers(rows["building_id"][chosen], path),
                    "kind": kind,
                    "area_px": outcome["area_px"][chosen].to_numpy(),
                    "confidence": rows["confidence"][chosen].replace(-np.inf, np.nan).to_numpy(),
                    "iou": outcome["iou"][chosen].to_numpy(),
                    "matched": outcome["matched"][chosen].to_numpy(),
                    "height_m": rows["height_m"][chosen].to_numpy(),
                }
            )
        )
    return pd.concat(parts, ignore_index=True)


def _pixel_overlaps(
    predicted: np.ndarray, tile_ids: list[str], catalog: Path, footprints: Path, interior_threshold: float
) -> np.ndarray:
    """Intersection and union of building pixels, tile by tile: (N, 2) int64."""
    places = tile_places(catalog, tile_ids)
    table = gpd.read_parquet(footprints, columns=["tile_id", "geometry"])
    table = table[table["tile_id"].isin(tile_ids)]
    of_tile = {tile_id: group.geometry for tile_id, group in table.groupby("tile_id")}
    overlap = np.zeros((len(tile_ids), 2), np.int64)
    for row, place in enumerate(progress(places.itertuples(), "pixel IoU", len(places))):
        transform = tile_transform(place.easting_m, place.northing_m, place.pixel_m)
        interior = np.asarray(predicted[row, 0], np.float32)
        true = building_mask(of_tile.get(place.Index, ()), transform, interior.shape[0])
        overlap[row] = pixel_overlap(interior >= interior_threshold, true)
    return overlap


def _same_tiles(path: Path, rows: pd.DataFrame, tile_ids: list[str]) -> None:
    missing = sorted(set(tile_ids) - set(rows["image_id"]))
    if missing:
        named = ", ".join(missing[:TILES_NAMED])
        raise UserError(
            f"{path}: {len(missing)} of {len(tile_ids)} test tiles have no row (a tile without buildings has one row "
            f"POLYGON EMPTY), among them {named}; is it the file of these data?"
        )


def _whole_numbers(text: pd.Series, path: Path) -> np.ndarray:
    """Building ids as int64."""
    values = pd.to_numeric(text, errors="coerce")
    wrong = ~(values % 1 == 0)
    if wrong.any():
        raise UserError(f"{path}: building id `{text[wrong].iloc[0]}` is not a whole number")
    return values.to_numpy(np.int64)


def _three_digits(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.3f}"
