"""Footprints cut to tiles, as the challenge's GeoJSON and CSV write them."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from shapely.affinity import affine_transform
from shapely.geometry import Polygon, box

from sspipe.data.spacenet6 import EPSG
from sspipe.data.synthetic.scene import Scene

FIRST_BUILDING_ID = 25001
SMALLEST_PIECE_M2 = 0.25  # smaller slivers at a tile's edge are no labels
CSV_COLUMNS = (
    "ImageId",
    "TileBuildingId",
    "PolygonWKT_Pix",
    "Mean_Building_Height",
    "Median_Building_Height",
    "StdDev_Building_Height",
)


@dataclass(frozen=True)
class Label:
    """One footprint, or the piece of one, in one tile (EPSG:32631)."""

    building: int
    polygon: Polygon
    whole_area_m2: float
    height_m: float
    height_spread_m: float


class LabelCutter:
    """Cuts the scene's footprints to tiles."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._tree = shapely.STRtree(scene.footprints)
        self._areas = shapely.area(scene.footprints)

    def cut(self, easting_m: float, northing_m: float, tile_m: float, swath: Polygon) -> list[Label]:
        """The labels of a tile: what lies both in it and in its strip's swath.

        A footprint that falls apart gives one label a piece, all with the building's number.
        """
        valid = box(easting_m, northing_m - tile_m, easting_m + tile_m, northing_m).intersection(swath)
        labels = []
        for building in np.sort(self._tree.query(valid)):
            footprint = self._scene.footprints[building]
            piece = footprint if valid.contains(footprint) else footprint.intersection(valid)
            for polygon in shapely.get_parts(piece):
                if isinstance(polygon, Polygon) and polygon.area >= SMALLEST_PIECE_M2:
                    height, spread = self._scene.height_m[building], self._scene.height_spread_m[building]
                    labels.append(
                        Label(int(building), polygon, float(self._areas[building]), float(height), float(spread))
                    )
        return labels


def geojson_text(name: str, labels: list[Label]) -> str:
    """The label file of a tile: EPSG:32631 although it is GeoJSON, and z = 0 on every corner, as in SpaceNet 6."""
    features = [
        {
            "type": "Feature",
            "properties": {
                "roof_075mean": label.height_m,
                "roof_075median": label.height_m,
                "roof_075stdev": label.height_spread_m,
                "Building_ID": FIRST_BUILDING_ID + label.building,
                "origarea": label.whole_area_m2,
                "origlen": 0,
                "partialDec": min(1.0, label.polygon.area / label.whole_area_m2),
                "truncated": int(label.polygon.area < label.whole_area_m2 * (1 - 1e-9)),
            },
            "geometry": {"type": "Polygon", "coordinates": [_ring(ring) for ring in _rings(label.polygon)]},
        }
        for label in labels
    ]
    crs = {"type": "name", "properties": {"name": f"urn:ogc:def:crs:EPSG::{EPSG}"}}
    return json.dumps({"type": "FeatureCollection", "name": name, "crs": crs, "features": features})


def csv_rows(tile_id: str, labels: list[Label], easting_m: float, northing_m: float, pixel_m: float) -> list[list[Any]]:
    """The tile's rows of the challenge's table: outlines in tile pixels, x right and y down."""
    if not labels:
        return [[tile_id, -1, "POLYGON EMPTY", "", "", ""]]
    to_pixels = [1 / pixel_m, 0, 0, -1 / pixel_m, -easting_m / pixel_m, northing_m / pixel_m]
    rows = []
    for number, label in enumerate(labels):
        outline = shapely.to_wkt(affine_transform(label.polygon, to_pixels), rounding_precision=6)
        rows.append([tile_id, number, outline, label.height_m, label.height_m, label.height_spread_m])
    return rows


def csv_text(rows: list[list[Any]]) -> str:
    """The challenge's table."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    writer.writerows(rows)
    return text.getvalue()


def _rings(polygon: Polygon) -> list[Any]:
    return [polygon.exterior, *polygon.interiors]


def _ring(ring: Any) -> list[list[float]]:
    return [[x, y, 0.0] for x, y in ring.coords]
