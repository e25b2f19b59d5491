"""Many looks: what a place seen by many tiles gains over one tile at a time.

Both sides are scored alike: what the edge of the seen area cuts is left out, truth and proposal, because one tile cuts
far more than a mosaic. A tile's area is where it has data. So a building counts once for every tile that shows it whole
(one look), and once in the mosaic if all tiles together show it whole (all looks).

Both go by the thresholds that were chosen for single tiles (polygons.json), so they differ in nothing but the looks;
thresholds of its own might serve the mosaic better.

Both are counted by block of ground, so that their F1 and its difference can be resampled together.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely

from sspipe.errors import UserError
from sspipe.files import read_json, write_json
from sspipe.log import say
from sspipe.predict.polygons import tile_places
from sspipe.score.matching import match_polygons
from sspipe.score.uncertainty import f1_score, ground_blocks, interval, resampled_sums

SIDES = ("one_look", "all_looks")
COUNTS = ("tp", "fp", "fn")
# The mosaic is one image to the matcher.
MAP = "map"


def score_looks(
    *,
    probabilities: Path,
    catalog: Path,
    footprints: Path,
    polygons: Path,
    map_polygons: Path,
    looks: Path,
    iou_threshold: float,
    min_area_px: float,
    block_m: float,
    bootstrap_samples: int,
    out: Path,
) -> None:
    """Stage: scores the footprints of single tiles and those of the mosaic, both against the buildings they show whole.

    looks.json:
        split, variant, seed; tiles; looks_per_place: how many tiles have data at a place, on average.
        one_look: footprints of each test tile alone, against the buildings whole in that tile; summed over tiles.
        all_looks: footprints of the mosaic, against the distinct buildings whole in the test area.
        Both: buildings, tp, fp, fn, precision, recall, f1, and f1_low and f1_high, its 95 % interval.
        difference: f1 of all looks less that of one look; f1_low, f1_high: its 95 % interval, both sides on the same
            resamples.
        blocks: one entry for each block of ground with something to count: block, and tp, fp, fn of one_look and of
            all_looks there. A building or a proposal lies where its centroid lies. bootstrap_units: how many blocks.
        iou_threshold, min_area_px, block_m, bootstrap_samples: the settings.
        Bounds are null with fewer than two blocks.

    Args:
        probabilities: npy of the test tiles; the json beside it names them.
        catalog: catalog.parquet.
        footprints: footprints.parquet, the truth of all tiles on the map.
        polygons: polygons.parquet, footprints of single tiles.
        map_polygons: footprints of the mosaic.
        looks: where each tile has data, of mosaic_predictions.
        iou_threshold: a match needs a larger IoU.
        min_area_px: smaller buildings are left out, px.
        block_m: side of the blocks of ground that are resampled, m.
        bootstrap_samples: resamples of the blocks.
        out: looks.json.

    Raises:
        UserError: the files are of different tiles.
    """
    described = read_json(Path(probabilities).with_suffix(".json"))
    tile_ids = described["tile_ids"]
    pixel_m = float(tile_places(catalog, tile_ids)["pixel_m"].median())
    seen = gpd.read_parquet(looks).set_index("tile_id").geometry
    if set(seen.index) != set(tile_ids):
        raise UserError(f"{looks}: is of other tiles than {probabilities}; run mosaic_predictions again")
    truth = gpd.read_parquet(footprints, columns=["tile_id", "building_id", "geometry"])
    truth = truth[truth["tile_id"].isin(tile_ids)]
    settings = {"iou_threshold": iou_threshold, "min_area_px": min_area_px}
    how = {"pixel_m": pixel_m, "block_m": block_m, **settings}
    one = count_by_block(truth[["tile_id", "geometry"]], gpd.read_parquet(polygons), seen, **how)
    distinct = gpd.GeoDataFrame({"tile_id": MAP, "geometry": distinct_buildings(truth)}, crs=truth.crs)
    area = gpd.GeoSeries({MAP: shapely.union_all(seen.to_numpy())}, crs=truth.crs)
    everywhere = gpd.read_parquet(map_polygons).assign(tile_id=MAP)
    together = count_by_block(distinct, everywhere, area, **how)

    blocks = pd.concat({"one_look": one, "all_looks": together}, axis=1).fillna(0).astype(int).sort_index()
    bounds = look_intervals([blocks], bootstrap_samples)
    depth = float(seen.area.sum() / area.area.sum()) if area.area.sum() > 0 else 0.0
    record = {
        **{name: described[name] for name in ("split", "variant", "seed")},
        "tiles": len(tile_ids),
        "looks_per_place": depth,
        **{side: {**scores_of(blocks[side]), **bounds[side]} for side in SIDES},
        "difference": bounds["difference"],
        **settings,
        "block_m": block_m,
        "bootstrap_samples": bootstrap_samples,
        "bootstrap_units": len(blocks),
        "blocks": [{"block": name, **{side: row[side].to_dict() for side in SIDES}} for name, row in blocks.iterrows()],
    }
    write_json(out, record)
    alone, all_of_them = record["one_look"], record["all_looks"]
    say(
        f"F1 {alone['f1']:.3f} with one look, {all_of_them['f1']:.3f} with all: {depth:.1f} looks at a place on "
        f"average, {all_of_them['buildings']} distinct buildings shown {alone['buildings']} times"
    )


def look_intervals(tables: Sequence[pd.DataFrame], bootstrap_samples: int) -> dict[str, dict[str, float | None]]:
    """How sure the F1 of one look, that of all looks, and their difference are.

    Args:
        tables: of one run, or of several seeds, whose mean is meant: counts as in `blocks_of_record`. Blocks are drawn
            for both sides and for all seeds at once.
        bootstrap_samples: resamples of the blocks.

    Returns:
        one_look and all_looks: f1_low and f1_high, 95 % percentile bounds; difference: f1 (of all looks less that of
        one), f1_low and f1_high. Bounds are None with fewer than two blocks.
    """
    everywhere = sorted(set().union(*(table.index for table in tables)))
    tables = [table.reindex(everywhere, fill_value=0) for table in tables]

    def mean_f1(side: str, draw: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        return np.mean([f1_score(*draw(table[side][list(COUNTS)].to_numpy()).T) for table in tables], axis=0)

    def draw(counts: np.ndarray) -> np.ndarray:
        return resampled_sums(counts, None, samples=bootstrap_samples)

    point = {side: float(mean_f1(side, lambda counts: counts.sum(axis=0))) for side in SIDES}
    drawn = {side: mean_f1(side, draw) if len(everywhere) > 1 else np.empty(0) for side in SIDES}
    drawn["difference"] = drawn["all_looks"] - drawn["one_look"]
    found: dict[str, dict[str, float | None]] = {}
    for name, scores in drawn.items():
        low, high = interval(scores)
        found[name] = {"f1_low": low, "f1_high": high}
    found["difference"] = {"f1": point["all_looks"] - point["one_look"], **found["difference"]}
    return found


def blocks_of_record(record: dict[str, Any]) -> pd.DataFrame:
    """The counts of a looks.json: one row a block, by its name, and columns (side, tp or fp or fn)."""
    columns = pd.MultiIndex.from_product([SIDES, COUNTS])
    rows = [[block[side][name] for side, name in columns] for block in record["blocks"]]
    return pd.DataFrame(rows, index=[block["block"] for block in record["blocks"]], columns=columns, dtype=int)


def distinct_buildings(truth: gpd.GeoDataFrame) -> np.ndarray:
    """The buildings of overlapping tiles, each once.

    Args:
        truth: building_id and geometry. Rows of one positive id are one building, cut by tiles or not: their union. Ids
            below 0 are made up for each tile, so of these what overlaps is one building.

    Returns:
        (n,) object, polygons and multipolygons.
    """
    known = truth[truth["building_id"] >= 0]
    geometry = known.geometry.to_numpy()
    groups = known.groupby("building_id", sort=True).indices.values()
    united = [shapely.union_all(geometry[rows]) if len(rows) > 1 else geometry[rows[0]] for rows in groups]
    unknown = shapely.get_parts(shapely.union_all(truth.geometry[truth["building_id"] < 0].to_numpy()))
    return np.array([*united, *unknown], dtype=object)


def count_by_block(
    truth: pd.DataFrame,
    proposals: pd.DataFrame,
    seen: gpd.GeoSeries,
    *,
    pixel_m: float,
    block_m: float,
    iou_threshold: float,
    min_area_px: float,
) -> pd.DataFrame:
    """Matches image by image, and counts what lies whole in the area that the image shows.

    All truth and all proposals take part in the matching. Of the truth, whole buildings are counted, as found or
    missed; of the proposals, a whole one that finds nothing is counted as false.

    Args:
        truth: tile_id, geometry on the map.
        proposals: tile_id, confidence, geometry on the map.
        seen: area of each image on the map, by tile_id.
        pixel_m: side of a pixel: areas are compared in pixels.
        block_m: side of the blocks of ground that counts are summed over, m.
        iou_threshold: a match needs a larger IoU.
        min_area_px: smaller buildings are left out.

    Returns:
        tp, fp, fn of each block with something to count, by its name. A building or proposal lies where its centroid
        lies, so a building is in the same block whichever image shows it.
    """
    # A tile without data shows nothing whole, and has no corner to measure from.
    seen = seen[~seen.is_empty]
    truth, proposals = (table[table["tile_id"].isin(seen.index)] for table in (truth, proposals))
    # Half a pixel off the edge is at the edge: outlines of the seen area and of labels are rounded that much.
    inner = seen.buffer(-0.5 * pixel_m)
    shapely.prepare(inner.to_numpy())
    corner = seen.bounds[["minx", "maxy"]]

    def in_pixels(table: pd.DataFrame) -> pd.DataFrame:
        geometry = table["geometry"].to_numpy(dtype=object)
        points, owner = shapely.get_coordinates(geometry, return_index=True)
        offset = corner.loc[table["tile_id"]].to_numpy()
        moved = (points - offset[owner]) / (pixel_m, -pixel_m)
        placed = shapely.set_coordinates(geometry.copy(), moved) if len(geometry) else geometry
        return pd.DataFrame({"image_id": table["tile_id"].to_numpy(dtype=object), "geometry": placed})

    def whole(table: pd.DataFrame) -> np.ndarray:
        return shapely.covers(inner.loc[table["tile_id"]].to_numpy(), table["geometry"].to_numpy())

    matching = match_polygons(
        in_pixels(truth),
        in_pixels(proposals).assign(confidence=proposals["confidence"].to_numpy()),
        iou_threshold=iou_threshold,
        min_area_px=min_area_px,
    )
    there = matching.truth["counted"].to_numpy() & whole(truth)
    matched = matching.truth["matched"].to_numpy()
    unmatched = matching.proposals["counted"].to_numpy() & ~matching.proposals["matched"].to_numpy()
    chosen = {
        "tp": (truth, there & matched),
        "fp": (proposals, unmatched & whole(proposals)),
        "fn": (truth, there & ~matched),
    }
    counts = {}
    for name, (table, rows) in chosen.items():
        centroid = shapely.centroid(table["geometry"].to_numpy(dtype=object)[rows])
        blocks = ground_blocks(shapely.get_x(centroid), shapely.get_y(centroid), block_m)
        counts[name] = pd.Series(blocks, dtype=object).value_counts(sort=False)
    return pd.DataFrame(counts, columns=COUNTS).fillna(0).astype(int)


def scores_of(counts: pd.DataFrame) -> dict[str, float | int]:
    """Sums counts of blocks up: buildings, tp, fp, fn, precision, recall, f1; 0 where undefined."""
    tp, fp, fn = (int(counts[name].sum()) for name in COUNTS)
    return {
        "buildings": tp + fn,
        "tp": tp,
        "fp": fp,
        "fn": fn,
        "precision": tp / (tp + fp) if tp + fp else 0.0,
        "recall": tp / (tp + fn) if tp + fn else 0.0,
        "f1": float(f1_score(tp, fp, fn)),
    }
