"""The scoring stage: reads predictions and truth of the test tiles, writes scores and what they are made of."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd

from sspipe.data.spacenet_csv import CONFIDENCE, HEIGHT, read_spacenet_csv
from sspipe.errors import UserError
from sspipe.files import read_json, read_table, whole_file, write_json
from sspipe.log import progress, say, warn
from sspipe.predict.imaged import imaged_pixels
from sspipe.predict.polygons import open_probabilities, read_tile, tile_transform
from sspipe.score.breakdowns import recall_by, scores_by
from sspipe.score.input_checks import extent_of, refuse_other_frames, repeated_ids, warn_of_repeated_ids
from sspipe.score.measures import summarize
from sspipe.score.outcome import building_table, image_table, match_and_measure
from sspipe.score.pixels import building_mask, pixel_overlap, tile_iou
from sspipe.score.reliability import Reliability, expected_calibration_error
from sspipe.score.uncertainty import ground_blocks

TILES_NAMED = 5
OF_CATALOG = ["tile_id", "strip", "orientation", "easting_m", "northing_m", "size_px", "pixel_m"]


def score_polygons(
    *,
    submission: Path,
    truth: Path,
    catalog: Path,
    footprints: Path,
    probabilities: Path,
    packs: Sequence[Path],
    interior_threshold: float,
    iou_threshold: float,
    min_area_px: float,
    boundary_px: float,
    area_edges_m2: Sequence[float],
    height_edges_m: Sequence[float],
    bootstrap_samples: int,
    block_m: float | None,
    out_scores: Path,
    out_tiles: Path,
    out_buildings: Path,
    out_reliability: Path,
) -> None:
    """Stage: scores one variant's predictions on its test tiles.

    scores.json; every number in it follows from the three tables, and null is undefined:
        split, variant, seed: whose predictions these are; tiles: number of test tiles.
        tp, fp, fn: matched proposals, other proposals, missed buildings, summed over tiles (SpaceNet metric).
        precision, recall, f1: of those sums (micro); 0 where undefined, as solaris has it.
        precision_macro, recall_macro, f1_macro: means of the tiles' own. A tile without proposals has no precision,
            one without buildings no recall, one with neither no F1; it is left out.
        matched_iou: mean IoU of matched pairs. boundary_iou: their mean Boundary IoU (`sspipe.score.boundaries`).
        pixel_iou: mean of the tiles' pixel IoU (the paper's "average pixel-wise IoU"). Tiles with neither building
            nor predicted building pixels are left out.
        pixel_iou_pooled: pixel IoU of all tiles' pixels taken together.
        f1_at_iou: F1 with another threshold of IoU, 0.50 to 0.95; f1_at_iou_mean: their mean.
        intervals: low and high of each of these, 95 % percentile bootstrap (of f1_at_iou as f1_at_0.50 and so on);
            f1_low, f1_high: that of f1.
        bootstrap_over: `tiles`, or `blocks` of ground of block_m x block_m; bootstrap_units: how many there are.
        recall_by_area_m2, recall_by_height_m: see `sspipe.score.breakdowns.recall_by`.
        by_orientation, by_strip: see `sspipe.score.breakdowns.scores_by`.
        expected_calibration_error: how far the interior probabilities are from the share of building, in the mean
            of pixels (`sspipe.score.reliability`); imaged_pixels: how many those are.
        iou_threshold, min_area_px, boundary_px, bootstrap_samples, block_m: the settings.
    tiles.parquet: one row per test tile: tile_id, strip, orientation, block (its unit of the bootstrap), tp, fp, fn,
        f1, matched_iou_sum and boundary_iou_sum over its matched pairs, tp_50 to tp_95 at other thresholds,
        pixel_intersection, pixel_union, pixel_iou; NaN where undefined.
    buildings.parquet: one row per building and proposal that counts (large enough): tile_id, building_id, kind `truth`
        or `proposal`, area_px, area_m2, confidence (NaN for truth), iou (of a proposal with the best building free at
        its turn, of a building the largest with a proposal that chose it), matched, partner_id (whom it is matched
        with; missing if none), boundary_iou (NaN if unmatched), height_m (NaN for proposals).
    reliability.csv: one row for each twentieth of 0 to 1: low, high, pixels (imaged pixels of all test tiles, in the
        view that was predicted from, whose interior probability lies there), mean_probability, building_share; the
        last two are blank where there is no pixel.

    Args:
        submission: submission.csv of extract_polygons.
        truth: the challenge's CSV; it may have more tiles.
        catalog: catalog.parquet.
        footprints: footprints.parquet, in map coordinates, for pixel IoU.
        probabilities: the npy; the json beside it names the test tiles.
        packs: `manifest.json` of every packed shard: which pixels were imaged.
        interior_threshold: a pixel at or above it is predicted building.
        iou_threshold: a match needs a larger IoU.
        min_area_px: smaller buildings are left out, px.
        boundary_px: width of the band that Boundary IoU looks at, px.
        area_edges_m2: what parts the bins of building area, m2.
        height_edges_m: what parts the bins of building height, m.
        bootstrap_samples: resamples of the tiles or blocks.
        block_m: side of the blocks, m; None resamples tiles.
        out_scores: scores.json.
        out_tiles: tiles.parquet.
        out_buildings: buildings.parquet.
        out_reliability: reliability.csv.

    Raises:
        UserError: there is no test tile, a tile is missing from the truth, the submission, the catalog or the packs,
            or a probability is none.
    """
    described = read_json(Path(probabilities).with_suffix(".json"))
    _, tile_ids = open_probabilities(probabilities)
    places = _places(catalog, tile_ids, block_m)
    buildings = read_spacenet_csv(truth, tile_ids, [HEIGHT])
    proposals = read_spacenet_csv(submission, measures=[CONFIDENCE])
    _same_tiles(truth, buildings, tile_ids)
    _same_tiles(submission, proposals, tile_ids)
    strange = sorted(set(proposals["image_id"]) - set(tile_ids))
    if strange:
        raise UserError(f"{submission}: {len(strange)} tiles are not in the test set, the first is {strange[0]}")
    refuse_other_frames(truth, extent_of(buildings), submission, extent_of(proposals))
    repeated = repeated_ids(buildings)
    if len(repeated):
        warn_of_repeated_ids(truth, len(repeated), repeated.iloc[0])
    for path, rows in ((truth, buildings), (submission, proposals)):
        rows["building_id"] = _whole_numbers(rows["building_id"], path)

    outcome = match_and_measure(
        buildings, proposals, iou_threshold=iou_threshold, min_area_px=min_area_px, boundary_px=boundary_px
    )
    tiles = places[["strip", "orientation", "block"]].reset_index()
    tiles = tiles.merge(image_table(outcome).rename(columns={"image_id": "tile_id"}), on="tile_id", validate="1:1")
    imaged = imaged_pixels(packs, tile_ids, described["view"])
    overlap, reliability = _score_pixels(probabilities, imaged, places, footprints, interior_threshold)
    tiles["pixel_intersection"], tiles["pixel_union"] = overlap.T
    tiles["pixel_iou"] = tile_iou(*overlap.T)
    listed = building_table(outcome, buildings, proposals).rename(columns={"image_id": "tile_id"})
    pixel_m2 = listed["tile_id"].map(places["pixel_m"]) ** 2
    listed.insert(listed.columns.get_loc("area_px") + 1, "area_m2", listed["area_px"] * pixel_m2)

    units = tiles["block"].to_numpy()
    scores = {
        **{name: described[name] for name in ("split", "variant", "seed")},
        **summarize(tiles, bootstrap_samples, units),
        "bootstrap_over": "tiles" if block_m is None else "blocks",
        **breakdowns(tiles, listed, area_edges_m2, height_edges_m, bootstrap_samples),
        "expected_calibration_error": expected_calibration_error(reliability),
        "imaged_pixels": int(reliability["pixels"].sum()),
        "iou_threshold": iou_threshold,
        "min_area_px": min_area_px,
        "boundary_px": boundary_px,
        "bootstrap_samples": bootstrap_samples,
        "block_m": block_m,
    }
    with whole_file(out_tiles) as partial:
        tiles.to_parquet(partial, index=False)
    with whole_file(out_buildings) as partial:
        listed.to_parquet(partial, index=False)
    with whole_file(out_reliability) as partial:
        reliability.to_csv(partial, index=False)
    write_json(out_scores, scores)
    over = f"{scores['bootstrap_units']} {scores['bootstrap_over']}"
    if scores["bootstrap_units"] < 2:
        warn(
            f"all test tiles are one of the {scores['bootstrap_over']} that are resampled, so no score has an interval"
        )
    say(
        f"F1 {scores['f1']:.3f} ({_three_digits(scores['f1_low'])} to {_three_digits(scores['f1_high'])} over {over}), "
        f"tp/fp/fn {scores['tp']}/{scores['fp']}/{scores['fn']}, pixel IoU {_three_digits(scores['pixel_iou'])} "
        f"(pooled {_three_digits(scores['pixel_iou_pooled'])}) on {len(tiles)} tiles"
    )


def breakdowns(
    tiles: pd.DataFrame,
    buildings: pd.DataFrame,
    area_edges_m2: Sequence[float],
    height_edges_m: Sequence[float],
    bootstrap_samples: int,
) -> dict[str, list]:
    """The parts of scores.json that split it up.

    Args:
        tiles: tiles.parquet.
        buildings: buildings.parquet.
        area_edges_m2: what parts the bins of building area, m2.
        height_edges_m: what parts the bins of building height, m.
        bootstrap_samples: resamples of the blocks.

    Returns:
        recall_by_area_m2, recall_by_height_m, by_orientation, by_strip.
    """
    truth = buildings[buildings["kind"] == "truth"]
    matched = truth["matched"].to_numpy()
    units = truth["tile_id"].map(tiles.set_index("tile_id")["block"]).to_numpy(dtype=object)
    everywhere = tiles["block"].to_numpy(dtype=object)
    bins = {"area_m2": area_edges_m2, "height_m": height_edges_m}
    return {
        **{
            f"recall_by_{name}": recall_by(
                truth[name].to_numpy(np.float64), matched, units, everywhere, edges, bootstrap_samples
            )
            for name, edges in bins.items()
        },
        **{f"by_{name}": scores_by(tiles, name, bootstrap_samples) for name in ("orientation", "strip")},
    }


def _places(catalog: Path, tile_ids: list[str], block_m: float | None) -> pd.DataFrame:
    """Where the test tiles lie and what they are: the catalog's columns and `block`, indexed by tile_id."""
    table = read_table(catalog, columns=OF_CATALOG).set_index("tile_id")
    unknown = [tile_id for tile_id in tile_ids if tile_id not in table.index]
    if unknown:
        raise UserError(
            f"{catalog}: {len(unknown)} predicted tiles are not in it, the first is {unknown[0]}; "
            f"the predictions belong to other data: run predict_tiles again"
        )
    places = table.loc[tile_ids]
    if block_m is None:
        return places.assign(block=tile_ids)
    half = places["size_px"] * places["pixel_m"] / 2
    centre = places["easting_m"] + half, places["northing_m"] - half
    return places.assign(block=ground_blocks(*centre, block_m))


def _score_pixels(
    probabilities: Path,
    imaged: Iterable[np.ndarray],
    places: pd.DataFrame,
    footprints: Path,
    interior_threshold: float,
) -> tuple[np.ndarray, pd.DataFrame]:
    """Intersection and union of building pixels, tile by tile, (N, 2) int64; and the table of reliability."""
    table = gpd.read_parquet(footprints, columns=["tile_id", "geometry"])
    table = table[table["tile_id"].isin(places.index)]
    of_tile = {tile_id: group.geometry for tile_id, group in table.groupby("tile_id")}
    overlap, reliability = np.zeros((len(places), 2), np.int64), Reliability()
    tiles = progress(zip(places.itertuples(), imaged, strict=True), "pixel IoU", len(places))
    for row, (place, with_data) in enumerate(tiles):
        transform = tile_transform(place.easting_m, place.northing_m, place.pixel_m)
        interior = read_tile(probabilities, row)[0].astype(np.float32)
        true = building_mask(of_tile.get(place.Index, ()), transform, interior.shape[0])
        overlap[row] = pixel_overlap(interior >= interior_threshold, true)
        try:
            reliability.add(interior, true, with_data)
        except ValueError as error:
            raise UserError(f"{probabilities}: tile {place.Index}: {error}; train and predict this run again") from None
    return overlap, reliability.table()


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
