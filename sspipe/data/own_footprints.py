"""Footprints of one's own: any vector file, for one tile or for all, cut to the tiles and written as label files."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import geopandas
import numpy as np
import pandas as pd
import pyogrio
import shapely
from shapely.geometry import mapping

from sspipe.data.footprints import mended
from sspipe.errors import UserError
from sspipe.log import counted

# What a footprint may say of itself, whatever the case of the attribute's name; SpaceNet's names first.
_ID_NAMES = ("building_id",)
_HEIGHT_NAMES = ("height_m", "roof_075mean")


class Place(NamedTuple):
    """A tile that footprints are wanted for."""

    tile_id: str
    line: int  # of the table
    box: shapely.Polygon  # its ground, map coordinates


class Cut(NamedTuple):
    """One building in one tile."""

    building_id: int
    height_m: float  # NaN where unknown
    geometry: shapely.Geometry  # not beyond the tile; as it was, valid or not, where the tile's edge does not cut it
    truncated: bool


def cut_to_tiles(path: Path, places: Sequence[Place], epsg: int, first_id: int) -> Iterator[tuple[Place, list[Cut]]]:
    """Reads a file of footprints and cuts it to the tiles that name it.

    Args:
        path: GeoPackage, GeoJSON, Shapefile, FlatGeobuf or GeoParquet, of one layer.
        places: the tiles.
        epsg: of the tiles.
        first_id: number of the first footprint, where the file has no attribute `building_id`.

    Yields:
        each tile with its buildings, in the order of the file.

    Raises:
        UserError: the file cannot be read, has no CRS or another one, an attribute that is no number, or footprints
            none of which lies in a tile.
    """
    table = read_footprint_file(path, places, epsg)
    ids, heights = _ids(path, table, first_id), _numbers(path, table, _HEIGHT_NAMES)
    geometry = shapely.force_2d(table.geometry.to_numpy())
    boxes = [place.box for place in places]
    tile_of, row_of = shapely.STRtree(geometry).query(boxes, predicate="intersects")
    if len(table) and not len(row_of):
        raise UserError(_outside(path, geometry, places))
    for number, place in enumerate(places):
        rows = np.sort(row_of[tile_of == number])
        cuts = (_cut(geometry[row], place.box, int(ids[row]), float(heights[row])) for row in rows)
        yield place, [cut for cut in cuts if cut is not None]


def read_footprint_file(path: Path, places: Sequence[Place], epsg: int) -> geopandas.GeoDataFrame:
    """Reads a file of footprints.

    Raises:
        UserError: see `cut_to_tiles`.
    """
    where = f"{path} (line {places[0].line})"
    try:
        if path.suffix == ".parquet":
            table = geopandas.read_parquet(path)
        else:
            layers = [str(name) for name, kind in pyogrio.list_layers(path) if kind is not None]
            if len(layers) != 1:
                named = f"the layers {', '.join(layers)}" if layers else "no layer of shapes"
                raise UserError(
                    f"{where}: has {named}, expected one; write one of its own (ogr2ogr new.gpkg {path.name} LAYER)"
                )
            table = geopandas.read_file(path, layer=layers[0])
    except (pyogrio.errors.DataSourceError, pyogrio.errors.DataLayerError, OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise UserError(
            f"{where}: cannot be read as footprints ({reason}); expected a GeoPackage, GeoJSON, Shapefile, FlatGeobuf "
            "or GeoParquet; a tile without buildings names a file that has none in it"
        ) from None
    if not len(table):
        return table
    kinds = set(table.geometry.geom_type.dropna())
    if not kinds & {"Polygon", "MultiPolygon", "GeometryCollection"}:
        found = " and ".join(sorted(kinds)) or "nothing"
        raise UserError(f"{where}: has {found} for geometry, expected the outlines of buildings as polygons")
    if table.crs is None:
        raise UserError(
            f"{where}: has no CRS, expected EPSG:{epsg} (tiles.epsg); write it into the file "
            f"(ogr2ogr -a_srs EPSG:THE_ONE_IT_IS_IN new.gpkg {path.name})"
        )
    if table.crs.to_epsg() != epsg:
        found = f"EPSG:{table.crs.to_epsg()}" if table.crs.to_epsg() else str(table.crs.name)
        standard = (
            "; a GeoJSON that names no CRS is in longitude and latitude, by its standard"
            if path.suffix.lower() in (".geojson", ".json") and table.crs.to_epsg() == 4326
            else ""
        )
        raise UserError(
            f"{where}: CRS {found}, expected EPSG:{epsg} as the tiles (tiles.epsg); reproject it "
            f"(ogr2ogr -t_srs EPSG:{epsg} new.gpkg {path.name}){standard}"
        )
    return table


def label_text(cuts: Sequence[Cut], epsg: int) -> str:
    """A tile's label file: GeoJSON with the attributes that SpaceNet 6's have."""
    features = [
        {
            "type": "Feature",
            "properties": {
                "Building_ID": cut.building_id,
                "roof_075mean": None if math.isnan(cut.height_m) else cut.height_m,
                "truncated": int(cut.truncated),
            },
            "geometry": mapping(cut.geometry),
        }
        for cut in cuts
    ]
    crs = {"type": "name", "properties": {"name": f"urn:ogc:def:crs:EPSG::{epsg}"}}
    return json.dumps({"type": "FeatureCollection", "crs": crs, "features": features})


def _cut(geometry: Any, box: shapely.Polygon, building_id: int, height_m: float) -> Cut | None:
    """A building as far as it lies in a tile; None if it only touches it."""
    if box.covers(geometry):
        return Cut(building_id, height_m, geometry, False)
    polygon, _ = mended(mapping(geometry))
    if polygon is None:  # a line or a point across the edge
        return None
    parts = shapely.get_parts(shapely.intersection(polygon, box))
    inside = shapely.union_all([part for part in parts if part.geom_type == "Polygon"])
    return Cut(building_id, height_m, inside, True) if inside.area > 0 else None


def _ids(path: Path, table: geopandas.GeoDataFrame, first: int) -> np.ndarray:
    """Ids of the buildings: the file's own where it has whole numbers, else numbers in its order."""
    found = _numbers(path, table, _ID_NAMES)
    running = np.arange(first, first + len(table), dtype=np.float64)
    whole = np.isfinite(found) & (found >= 0) & (found < 2**53) & (found % 1 == 0)
    return np.where(whole.all() if len(whole) else False, found, running).astype(np.int64)


def _numbers(path: Path, table: geopandas.GeoDataFrame, names: Sequence[str]) -> np.ndarray:
    """An attribute as (n,) float64, NaN where it is not given or there is none of these names."""
    columns = {str(name).lower(): name for name in table.columns}
    name = next((columns[name] for name in names if name in columns), None)
    if name is None:
        return np.full(len(table), np.nan)
    values = pd.to_numeric(table[name], errors="coerce")
    wrong = values.isna() & table[name].notna()
    if wrong.any() and names is _HEIGHT_NAMES:
        shown = table.loc[wrong, name].iloc[0]
        raise UserError(f"{path}: attribute {name} is `{shown}`, expected a number of metres; correct or remove it")
    return values.to_numpy(np.float64)


def _outside(path: Path, geometry: np.ndarray, places: Sequence[Place]) -> str:
    west, south, east, north = shapely.total_bounds(geometry)
    tiles = shapely.total_bounds([place.box for place in places])
    lines = ", ".join(str(place.line) for place in places[:5]) + (", ..." if len(places) > 5 else "")
    return (
        f"{path} (line {lines}): {counted(len(geometry), 'footprint')}, all outside the tile"
        f"{'s that name it' if len(places) > 1 else ''}: they are at {west:.0f} to {east:.0f}, {south:.0f} to "
        f"{north:.0f}, and the ground of the tile{'s' if len(places) > 1 else ''} is {tiles[0]:.0f} to {tiles[2]:.0f}, "
        f"{tiles[1]:.0f} to {tiles[3]:.0f}; name the right file, or correct the CRS that it says it is in"
    )
