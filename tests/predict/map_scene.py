"""Overlapping tiles over a few buildings, with perfect predictions: what the map stages read."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely

from sspipe.files import write_json
from sspipe.pack.masks import tile_masks
from sspipe.predict.map_polygons import extract_map_polygons
from sspipe.predict.maps import mosaic_predictions
from sspipe.predict.polygons import extract_polygons
from sspipe.score.looks import score_looks
from tests.predict.packs import write_sar_pack

SIZE, PADDED, PIXEL_M = 90, 96, 0.5
SIDE_M = SIZE * PIXEL_M
WEST, NORTH = 594_000.13, 5_751_000.41  # at no whole number of pixels
SETTINGS = {"interior_threshold": 0.5, "border_threshold": 0.5, "min_area_px": 20, "simplify_px": 0}

# East and south of the first tile's corner, m. The last is alone with its place, and none lies on the grid of another.
OFFSETS_M = [(0, 0), (20.2, 0.1), (0.3, 17.9), (21.1, 18.3), (60.4, 2.2)]
# One in four tiles, one across two, two that touch, one with a courtyard, one that the outer edge cuts.
BUILDINGS = {
    11: shapely.box(24, 24, 38, 36),
    12: shapely.box(40, 10, 52, 20),
    13: shapely.box(5, 5, 12, 14),
    14: shapely.box(12, 5, 18, 14),
    15: shapely.box(78, 8, 100, 30).difference(shapely.box(84, 14, 94, 24)),
    16: shapely.box(30, -4, 36, 16),
}


@dataclass
class MapScene:
    """Paths of a written scene, and its stages with these paths filled in."""

    folder: Path
    tile_ids: list[str]

    def mosaic(self, **changed) -> Path:
        arguments = {
            "probabilities": self.folder / "probabilities.npy",
            "catalog": self.folder / "catalog.parquet",
            "packs": [self.folder / "pack" / "manifest.json"],
            "edge_m": 10,
            "block_px": 4096,
            "out": self.folder / "map.tif",
            "out_looks": self.folder / "looks.parquet",
        }
        mosaic_predictions(**{**arguments, **changed})
        return (arguments | changed)["out"]

    def map_polygons(self, block_px: int = 4096) -> gpd.GeoDataFrame:
        extract_map_polygons(
            mosaic=self.folder / "map.tif",
            settings=self.folder / "polygons.json",
            block_px=block_px,
            out_parquet=self.folder / "map.parquet",
            out_gpkg=self.folder / "map.gpkg",
        )
        return gpd.read_parquet(self.folder / "map.parquet")

    def score_looks(self, block_m: float = 20) -> dict:
        extract_polygons(
            probabilities=self.folder / "probabilities.npy",
            catalog=self.folder / "catalog.parquet",
            settings=self.folder / "polygons.json",
            out_parquet=self.folder / "polygons.parquet",
            out_gpkg=self.folder / "polygons.gpkg",
            out_submission=self.folder / "submission.csv",
        )
        score_looks(
            probabilities=self.folder / "probabilities.npy",
            catalog=self.folder / "catalog.parquet",
            footprints=self.folder / "footprints.parquet",
            polygons=self.folder / "polygons.parquet",
            map_polygons=self.folder / "map.parquet",
            looks=self.folder / "looks.parquet",
            iou_threshold=0.5,
            min_area_px=20,
            block_m=block_m,
            bootstrap_samples=200,
            out=self.folder / "looks.json",
        )
        return json.loads((self.folder / "looks.json").read_text())

    def probabilities(self, change) -> None:
        """Applies `change(array)` to the predictions in place."""
        path = self.folder / "probabilities.npy"
        array = np.load(path)
        change(array)
        np.save(path, array)


def on_the_map(shape: shapely.Geometry) -> shapely.Geometry:
    """From metres east and south of the first tile's corner."""
    return shapely.transform(shape, lambda points: (WEST, NORTH) + points * (1, -1))


def write_map_scene(folder: Path, no_data_px: int = 0) -> MapScene:
    """Writes a scene; the first `no_data_px` rows of every tile but the last have no data."""
    tile_ids = [f"strip_tile_{number}" for number in range(len(OFFSETS_M))]
    buildings = {number: on_the_map(shape) for number, shape in BUILDINGS.items()}
    places, truth, masks = [], [], []
    for tile_id, (east, south) in zip(tile_ids, OFFSETS_M, strict=True):
        corner = (WEST + east, NORTH - south)
        places.append((tile_id, *corner, PIXEL_M, SIZE))
        extent = shapely.box(corner[0], corner[1] - SIDE_M, corner[0] + SIDE_M, corner[1])
        cut = {number: shape.intersection(extent) for number, shape in buildings.items() if shape.intersects(extent)}
        truth += [(tile_id, number, shape) for number, shape in cut.items() if shape.area > 0]
        masks.append(tile_masks(list(cut.values()), *corner, PIXEL_M, SIZE, 1))
    catalog = pd.DataFrame(places, columns=["tile_id", "easting_m", "northing_m", "pixel_m", "size_px"])
    catalog.assign(epsg=32631).to_parquet(folder / "catalog.parquet")
    footprints = gpd.GeoDataFrame(truth, columns=["tile_id", "building_id", "geometry"], crs=32631)
    footprints.to_parquet(folder / "footprints.parquet")
    np.save(folder / "probabilities.npy", np.stack(masks).astype(np.float16))
    identity = {"split": "spatial", "variant": "perfect", "seed": 0, "subset": "test", "view": "sar"}
    write_json(folder / "probabilities.json", {**identity, "tile_ids": tile_ids})
    write_json(folder / "polygons.json", {"choice": SETTINGS})
    imaged = {tile_id: np.ones((SIZE, SIZE), bool) for tile_id in tile_ids}
    for tile_id in tile_ids[:-1]:
        imaged[tile_id][:no_data_px] = False
    write_sar_pack(folder / "pack", imaged, PADDED)
    return MapScene(folder, tile_ids)
