"""Many looks: what a place seen by many tiles gains over one tile at a time.

Both sides are scored alike: what the edge of the seen area cuts is left out, truth and proposal, because one tile cuts
far more than a mosaic. A tile's area is where it has data. So a building counts once for every tile that shows it whole
(one look), and once in the mosaic if all tiles together show it whole (all looks).
"""

from __future__ import annotations

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
from sspipe.score.uncertainty import f1_score

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
    out: Path,
) -> None:
    """Stage: scores the footprints of single tiles and those of the mosaic, both against the buildings they show whole.

    looks.json:
        split, variant, seed; tiles; looks_per_place: how many tiles have data at a place, on average.
        one_look: footprints of each test tile alone, against the buildings whole in that tile; summed over tiles.
        all_looks: footprints of the mosaic, against the distinct buildings whole in the test area.
        Both: buildings, tp, fp, fn, precision, recall, f1.
        iou_threshold, min_area_px: the settings.

    Args:
        probabilities: npy of the test tiles; the json beside it names them.
        catalog: catalog.parquet.
        footprints: footprints.parquet, the truth of all tiles on the map.
        polygons: polygons.parquet, footprints of single tiles.
        map_polygons: footprints of the mosaic.
        looks: where each tile has data, of mosaic_predictions.
        iou_threshold: a match needs a larger IoU.
        min_area_px: smaller buildings are left out, px.
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

    one = count(truth[["tile_id", "geometry"]], gpd.read_parquet(polygons), seen, pixel_m=pixel_m, **settings)
    distinct = gpd.GeoDataFrame({"tile_id": MAP, "geometry": distinct_buildings(truth)}, crs=truth.crs)
    area = gpd.GeoSeries({MAP: shapely.union_all(seen.to_numpy())}, crs=truth.crs)
    everywhere = gpd.read_parquet(map_polygons).assign(tile_id=MAP)
    together = count(distinct, everywhere, area, pixel_m=pixel_m, **settings)

    depth = float(seen.area.sum() / area.area.sum()) if area.area.sum() > 0 else 0.0
    identity = {name: described[name] for name in ("split", "variant", "seed")}
    write_json(
        out,
        {
            **identity,
            "tiles": len(tile_ids),
            "looks_per_place": depth,
            "one_look": one,
            "all_looks": together,
            **settings,
        },
    )
    say(
        f"F1 {one['f1']:.3f} with one look, {together['f1']:.3f} with all: {depth:.1f} looks at a place on average, "
        f"{together['buildings']} distinct buildings shown {one['buildings']} times"
    )


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


def count(
    truth: pd.DataFrame,
    proposals: pd.DataFrame,
    seen: gpd.GeoSeries,
    *,
    pixel_m: float,
    iou_threshold: float,
    min_area_px: float,
) -> dict[str, Any]:
    """Matches image by image, and counts what lies whole in the area that the image shows.

    All truth and all proposals take part in the matching. Of the truth, whole buildings are counted, as found or
    missed; of the proposals, a whole one that finds nothing is counted as false.

    Args:
        truth: tile_id, geometry on the map.
        proposals: tile_id, confidence, geometry on the map.
        seen: area of each image on the map, by tile_id.
        pixel_m: side of a pixel: areas are compared in pixels.
        iou_threshold: a match needs a larger IoU.
        min_area_px: smaller buildings are left out.

    Returns:
        buildings, tp, fp, fn, precision, recall, f1.
    """
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
    counted = matching.truth["counted"].to_numpy() & whole(truth)
    tp = int((counted & matching.truth["matched"].to_numpy()).sum())
    fn = int(counted.sum()) - tp
    missed = matching.proposals["counted"].to_numpy() & ~matching.proposals["matched"].to_numpy()
    fp = int((missed & whole(proposals)).sum())
    return {
        "buildings": tp + fn,
        "tp": tp,
        "fp": fp,
        "fn": fn,
        "precision": tp / (tp + fp) if tp + fp else 0.0,
        "recall": tp / (tp + fn) if tp + fn else 0.0,
        "f1": float(f1_score(tp, fp, fn)),
    }
