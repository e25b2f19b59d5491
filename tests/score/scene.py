"""A few test tiles with truth and predictions, written as the earlier stages write them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from rasterio.features import rasterize

from sspipe.score.stage import score_polygons
from tests.predict.packs import write_sar_pack

SIZE, PADDED = 48, 64
PIXEL_M = 0.5
SETTINGS = {"iou_threshold": 0.5, "min_area_px": 20}


@dataclass
class Scene:
    """Paths of a written scene, and its stage with these paths filled in."""

    folder: Path

    def score(self, **changed) -> dict:
        arguments = {
            "submission": self.folder / "submission.csv",
            "truth": self.folder / "truth.csv",
            "catalog": self.folder / "catalog.parquet",
            "footprints": self.folder / "footprints.parquet",
            "probabilities": self.folder / "probabilities.npy",
            "packs": [self.folder / "pack" / "manifest.json"],
            "interior_threshold": 0.5,
            **SETTINGS,
            "boundary_px": 1,
            "area_edges_m2": (10, 40),
            "height_edges_m": (4,),
            "bootstrap_samples": 200,
            "block_m": None,
            "out_scores": self.folder / "scores.json",
            "out_tiles": self.folder / "tiles.parquet",
            "out_buildings": self.folder / "buildings.parquet",
            "out_reliability": self.folder / "reliability.csv",
        }
        score_polygons(**{**arguments, **changed})
        return json.loads((self.folder / "scores.json").read_text())


def write_scene(
    folder: Path,
    truth: dict[str, list],
    predicted: dict[str, list],
    others: tuple[str, ...] = (),
    imaged: dict[str, np.ndarray] | None = None,
) -> Scene:
    """Writes a scene.

    Args:
        folder: where to.
        truth: buildings of each test tile, pixel polygons.
        predicted: what is predicted, perfectly sharp, of each test tile.
        others: tiles of the truth's file that are not test tiles.
        imaged: (SIZE, SIZE) bool of tiles that do not have data everywhere.
    """
    tile_ids = list(truth)
    eastings = {tile_id: 594000.0 + 100 * number for number, tile_id in enumerate([*tile_ids, *others])}
    northing = 5750000.0
    pd.DataFrame(
        {
            "tile_id": list(eastings),
            "strip": [f"strip_{number % 2}" for number in range(len(eastings))],
            "orientation": [number // 2 % 2 for number in range(len(eastings))],
            "easting_m": list(eastings.values()),
            "northing_m": northing,
            "pixel_m": PIXEL_M,
            "size_px": SIZE,
        }
    ).to_parquet(folder / "catalog.parquet")
    rows, on_map = [], []
    for tile_id in eastings:
        shapes = truth.get(tile_id, [shapely.box(1, 1, 20, 20)])
        for number, shape in enumerate(shapes, start=1):
            rows.append((tile_id, number, f"{shape.wkt}", 3.0 * number, 3.0 * number, 0.1))
            metres = shapely.affinity.affine_transform(shape, [PIXEL_M, 0, 0, -PIXEL_M, eastings[tile_id], northing])
            on_map.append((tile_id, number, 3.0 * number, metres))
        if not shapes:
            rows.append((tile_id, 0, "POLYGON EMPTY", None, None, None))
    heights = [f"{kind}_Building_Height" for kind in ("Mean", "Median", "StdDev")]
    columns = ["ImageId", "TileBuildingId", "PolygonWKT_Pix", *heights]
    pd.DataFrame(rows, columns=columns).to_csv(folder / "truth.csv", index=False)
    table = pd.DataFrame(on_map, columns=["tile_id", "building_id", "height_m", "geometry"])
    gpd.GeoDataFrame(table, geometry="geometry", crs="EPSG:32631").to_parquet(folder / "footprints.parquet")

    masks = np.zeros((len(tile_ids), 2, SIZE, SIZE), np.float16)
    for row, tile_id in enumerate(tile_ids):
        if predicted[tile_id]:
            masks[row, 0] = rasterize(predicted[tile_id], (SIZE, SIZE), dtype=np.uint8)
    np.save(folder / "probabilities.npy", masks)
    described = {"split": "spatial", "variant": "ss_rsc", "seed": 1, "view": "sar"}
    described |= {"tile_ids": tile_ids, "size_px": SIZE}
    (folder / "probabilities.json").write_text(json.dumps(described))
    everywhere = {tile_id: np.ones((SIZE, SIZE), bool) for tile_id in tile_ids}
    write_sar_pack(folder / "pack", everywhere | (imaged or {}), PADDED)
    claims = [
        (tile_id, number, shape.wkt, 1.0)
        for tile_id in tile_ids
        for number, shape in enumerate(predicted[tile_id] or [shapely.Polygon()], start=1)
    ]
    table = pd.DataFrame(claims, columns=["ImageId", "BuildingId", "PolygonWKT_Pix", "Confidence"])
    table.to_csv(folder / "submission.csv", index=False)
    return Scene(folder)
