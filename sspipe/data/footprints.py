"""Building footprints of one tile: read from its GeoJSON, mended where they are invalid, never fatal one by one."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import shapely
from shapely.geometry import shape

from sspipe.data.spacenet6 import EPSG

_CRS = re.compile(r"^(urn:ogc:def:crs:)?EPSG:(?:[\d.]*:)?(?P<epsg>\d+)$", re.IGNORECASE)

LARGEST_ID = 2.0**63  # ids are written as int64


class Footprint(NamedTuple):
    """One building in one tile, in map coordinates (x east, y north, m)."""

    building_id: int  # SpaceNet's; -1, -2, ... for features without a usable one
    height_m: float  # mean height of its roof; NaN where unknown
    origarea_m2: float  # area of the whole building as SpaceNet gives it; NaN where unknown
    truncated: bool  # SpaceNet says that the tile's edge cuts it
    wkb: bytes  # Polygon or MultiPolygon, 2-D, valid, with an area


class FootprintProblem(NamedTuple):
    """One footprint that was not as it should be, and what was done."""

    tile_id: str
    building_id: int
    problem: str
    action: str  # `repaired` or `skipped`


class LabelError(Exception):
    """A label file that cannot be read at all."""


def read_footprints(
    path: Path, tile_id: str, extent_m: tuple[float, float, float] | None, epsg: int = EPSG
) -> tuple[list[Footprint], list[FootprintProblem]]:
    """Reads a tile's footprints; a file of no bytes and one of no features both mean that there is no building.

    Args:
        path: GeoJSON; coordinates may have a z, which is dropped.
        tile_id: for the problems.
        extent_m: easting and northing of the tile's upper-left corner and its side; footprints wholly outside are
            skipped. None keeps them.
        epsg: that the coordinates must be in, where the file names a CRS.

    Returns:
        the usable footprints, and what was repaired or skipped.

    Raises:
        LabelError: the file is not GeoJSON, is in another CRS, or is of another place.
    """
    tile = None
    if extent_m is not None:
        easting, northing, side = extent_m
        tile = shapely.box(easting, northing - side, easting + side, northing)
    footprints, problems = [], []
    for position, feature in enumerate(_features(path, epsg)):
        properties = _mapping(feature.get("properties"))
        building_id = _integer(properties.get("Building_ID"), otherwise=-1 - position)
        polygon, problem = mended(feature.get("geometry"))
        if polygon is not None and tile is not None:
            _refuse_another_place(polygon, tile)
        if polygon is not None and tile is not None and not polygon.intersects(tile):
            polygon, problem = None, "lies outside the tile"
        if problem is not None:
            problems.append(FootprintProblem(tile_id, building_id, problem, "repaired" if polygon else "skipped"))
        if polygon is not None:
            footprints.append(
                Footprint(
                    building_id,
                    _number(properties.get("roof_075mean")),
                    _number(properties.get("origarea")),
                    _number(properties.get("truncated")) == 1,
                    shapely.to_wkb(polygon),
                )
            )
    return footprints, problems


def mended(geometry: Any) -> tuple[shapely.Geometry | None, str | None]:
    """Makes a footprint out of a GeoJSON geometry.

    Returns:
        a valid 2-D Polygon or MultiPolygon with an area, or None if none can be had; and what was wrong, or None.
    """
    if not geometry:
        return None, "has no geometry"
    if not isinstance(geometry, dict) or geometry.get("type") not in ("Polygon", "MultiPolygon"):
        kind = geometry.get("type") if isinstance(geometry, dict) else geometry
        return None, f"is a {kind}, not a polygon"
    try:
        with np.errstate(invalid="ignore"):  # coordinates that are not finite are told below
            polygon = shapely.force_2d(shape(geometry))
    except (
        ValueError,
        TypeError,
        KeyError,
        IndexError,
        OverflowError,
        RecursionError,
        shapely.errors.ShapelyError,
    ) as error:
        return None, f"is malformed ({error})"
    if polygon.is_empty:
        return None, "is empty"
    if not np.isfinite(shapely.get_coordinates(polygon)).all():
        return None, "has coordinates that are not finite"
    if polygon.is_valid and polygon.area > 0:
        return polygon, None
    reason = f"is invalid ({shapely.is_valid_reason(polygon).split('[')[0].strip()})"
    # A mended polygon may come with stray lines and points: parts of parts, because collections hold multi-polygons.
    parts = shapely.get_parts(shapely.get_parts(shapely.make_valid(polygon)))
    repaired = shapely.union_all([part for part in parts if part.geom_type == "Polygon"])
    if repaired.is_empty or not repaired.area > 0:
        return None, f"{reason} and has no area"
    return repaired, reason


def _features(path: Path, epsg: int) -> list[dict[str, Any]]:
    text = path.read_text(encoding="utf-8-sig", errors="replace")  # some writers begin with a byte order mark
    if not text.strip():
        return []
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:  # ValueError: also a whole number of too many digits
        raise LabelError(f"is not JSON ({error})") from None
    if not isinstance(content, dict):
        raise LabelError("is not a collection of features")
    # A collection without features may leave them out altogether; a feature or a geometry alone is no collection.
    features = content.get("features")
    if features is None and content.get("type", "FeatureCollection") == "FeatureCollection":
        features = []
    if not isinstance(features, list):
        raise LabelError("has no list of features")
    crs = content.get("crs")
    if crs is not None:
        name = _mapping(crs.get("properties")).get("name", "") if isinstance(crs, dict) else crs
        named = _CRS.match(str(name))
        if not named or int(named["epsg"]) != epsg:
            raise LabelError(f"CRS is {name or crs}")
    return [_mapping(feature) for feature in features]  # what is no feature has no geometry, and is listed as such


def _refuse_another_place(polygon: shapely.Geometry, tile: shapely.Geometry) -> None:
    """Tells coordinates in degrees, or of another place, which would otherwise make a tile without buildings.

    A footprint that is just outside its tile is no such mistake, so one tile's width away is near enough.
    """
    side = tile.bounds[2] - tile.bounds[0]
    apart = shapely.distance(polygon, tile)
    if apart <= side:
        return
    west, south, east, north = polygon.bounds
    if max(abs(west), abs(east)) <= 180 and max(abs(south), abs(north)) <= 90:
        raise LabelError(
            f"coordinates are degrees, such as {west:.4f}, {south:.4f}: longitude and latitude, whatever its CRS says"
        )
    raise LabelError(f"has a footprint at {west:.0f}, {south:.0f}, {apart / 1000:.1f} km away from its tile")


def _mapping(value: Any) -> dict[str, Any]:
    """The value if it is a JSON object; an empty one for whatever else stands in its place."""
    return value if isinstance(value, dict) else {}


def _integer(value: Any, otherwise: int) -> int:
    number = _number(value)  # NaN fails the comparison
    return int(number) if -LARGEST_ID < number < LARGEST_ID else otherwise


def _number(value: Any) -> float:
    """The value as a float; NaN for null, text and whatever else is no number."""
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return math.nan
