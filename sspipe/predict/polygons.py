"""The footprint stage: probabilities of all test tiles -> polygons in tile pixels and on the map."""

from __future__ import annotations

from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from affine import Affine

from sspipe.errors import UserError
from sspipe.files import read_json, read_table, whole_file
from sspipe.log import progress, say
from sspipe.predict.instances import TilePolygons, tile_polygons
from sspipe.predict.settings import read_settings

LAYER = "polygons"


def extract_polygons(
    *,
    probabilities: Path,
    catalog: Path,
    settings: Path,
    out_parquet: Path,
    out_gpkg: Path,
    out_submission: Path,
) -> None:
    """Stage: writes the footprints of all test tiles as GeoParquet, GPKG and in the challenge's CSV form.

    One tile is in memory at a time (the array is memory-mapped), and the polygons found so far.

    Args:
        probabilities: (N, 2, S, S) npy, interior and border; a json of the same name says which tiles.
        catalog: catalog.parquet, for the tiles' place on the map.
        settings: polygons.json of tune_polygons: how footprints are made.
        out_parquet: polygons.parquet.
        out_gpkg: polygons.gpkg, the same table.
        out_submission: submission.csv; a tile without footprints has one row `POLYGON EMPTY`.

    Raises:
        UserError: the probabilities do not fit their json or the catalog, or the settings are none.
    """
    how = read_settings(settings).as_dict()
    _, tile_ids = open_probabilities(probabilities)
    places = tile_places(catalog, tile_ids)
    tiles = progress((read_tile(probabilities, row) for row in range(len(tile_ids))), "polygons", len(tile_ids))
    table = polygon_table(tile_ids, [tile_polygons(interior, border, **how) for interior, border in tiles])
    footprints = _on_the_map(table, places, tile_crs(catalog))
    with whole_file(out_submission) as partial:
        submission_table(table, tile_ids).to_csv(partial, index=False)
    with whole_file(out_parquet) as partial:
        write_geoparquet(footprints, partial)
    with whole_file(out_gpkg) as partial:
        write_gpkg(footprints, partial)
    with_some = table["tile_id"].nunique()
    say(f"{len(table)} footprints on {with_some} of {len(tile_ids)} tiles -> {out_parquet}")


def write_geoparquet(table: gpd.GeoDataFrame, path: Path) -> None:
    """Writes GeoParquet 1.1 with the box of each row, by which readers skip what lies elsewhere."""
    table.to_parquet(path, index=False, schema_version="1.1.0", write_covering_bbox=True)


def write_gpkg(table: gpd.GeoDataFrame, path: Path) -> None:
    """Writes a GeoPackage with one layer of polygons."""
    # The geometry type is named because a layer without any polygon would have none. The version is the one that every
    # GDAL since 2.2 reads: of newer ones an older GDAL, and QGIS with it, warns.
    form = {"driver": "GPKG", "dataset_options": {"VERSION": "1.2"}}
    table.to_file(path, layer=LAYER, engine="pyogrio", geometry_type="Polygon", **form)


def submission_table(polygons: pd.DataFrame, tile_ids: list[str]) -> pd.DataFrame:
    """Lays polygons out in the challenge's form.

    Args:
        polygons: tile_id, building_id, confidence, geometry (tile pixels).
        tile_ids: all tiles, in the order of the file.

    Returns:
        ImageId, BuildingId, PolygonWKT_Pix, Confidence; one row `POLYGON EMPTY` for a tile without polygons.
    """
    rows = pd.DataFrame(
        {
            "ImageId": polygons["tile_id"].to_numpy(),
            "BuildingId": polygons["building_id"].to_numpy(),
            "PolygonWKT_Pix": shapely.to_wkt(polygons["geometry"].to_numpy(), rounding_precision=3),
            "Confidence": polygons["confidence"].to_numpy(),
        }
    )
    bare = sorted(set(tile_ids) - set(rows["ImageId"]))
    empty = pd.DataFrame({"ImageId": bare, "BuildingId": 0, "PolygonWKT_Pix": "POLYGON EMPTY", "Confidence": 0.0})
    both = empty if rows.empty else rows if empty.empty else pd.concat([rows, empty], ignore_index=True)
    order = {tile_id: position for position, tile_id in enumerate(tile_ids)}
    return both.sort_values("ImageId", key=lambda column: column.map(order), kind="stable", ignore_index=True)


def tile_transform(easting_m: float, northing_m: float, pixel_m: float) -> Affine:
    """The map transform of a tile's SAR grid.

    Args:
        easting_m: of the upper left corner.
        northing_m: of the upper left corner.
        pixel_m: side of a pixel.

    Returns:
        (x, y) in pixels, y down -> (easting, northing) in m.
    """
    return Affine(pixel_m, 0.0, easting_m, 0.0, -pixel_m, northing_m)


def open_probabilities(probabilities: Path) -> tuple[np.ndarray, list[str]]:
    """Opens predicted probabilities without reading them.

    Args:
        probabilities: the npy; the json beside it names the tiles.

    Returns:
        (N, 2, S, S) float16, memory-mapped, and the N tile ids.

    Raises:
        UserError: a file is missing, the two do not fit each other, or there is no tile.
    """
    description = Path(probabilities).with_suffix(".json")
    tile_ids = read_json(description).get("tile_ids")
    try:
        predicted = np.load(probabilities, mmap_mode="r")
    except FileNotFoundError:
        raise UserError(f"{probabilities}: no such file; run the rule predict_tiles") from None
    except ValueError as error:
        raise UserError(f"{probabilities}: not a whole npy file ({error}); delete it and run again") from None
    if not isinstance(tile_ids, list) or predicted.ndim != 4 or predicted.shape[:2] != (len(tile_ids), 2):
        named = len(tile_ids) if isinstance(tile_ids, list) else "no"
        raise UserError(
            f"{probabilities}: shape {predicted.shape}, but {description.name} names {named} tiles, so "
            f"(tiles, 2, rows, columns) was expected; delete both and run predict_tiles again"
        )
    if not tile_ids:
        raise UserError(f"{probabilities}: no test tiles, so there is nothing to predict or score; check the split")
    return predicted, tile_ids


def read_tile(probabilities: Path, row: int) -> np.ndarray:
    """Reads one tile of an npy of probabilities: (2, S, S) float16.

    The file is mapped for this tile alone: pages of a map that stays open count as the process's memory.
    """
    return np.array(np.load(probabilities, mmap_mode="r")[row])


def tile_places(catalog: Path, tile_ids: list[str]) -> pd.DataFrame:
    """Reads where tiles lie.

    Returns:
        easting_m, northing_m, pixel_m, size_px indexed by tile_id, in the order of `tile_ids`.

    Raises:
        UserError: a tile is not in the catalog.
    """
    table = read_table(catalog, columns=["tile_id", "easting_m", "northing_m", "pixel_m", "size_px"])
    table = table.set_index("tile_id")
    unknown = [tile_id for tile_id in tile_ids if tile_id not in table.index]
    if unknown:
        raise UserError(
            f"{catalog}: {len(unknown)} predicted tiles are not in it, the first is {unknown[0]}; "
            f"the predictions belong to other data: run predict_tiles again"
        )
    return table.loc[tile_ids]


def tile_crs(catalog: Path) -> str:
    """The CRS of the tiles, such as `EPSG:32631`.

    Raises:
        UserError: the catalog does not say, or names several.
    """
    codes = sorted(set(read_table(catalog, columns=["epsg"])["epsg"]))
    if len(codes) != 1:
        raise UserError(f"{catalog}: names {len(codes)} CRSs, expected one; index the tiles again (rule index_tiles)")
    return f"EPSG:{codes[0]}"


def polygon_table(tile_ids: list[str], found: list[TilePolygons]) -> pd.DataFrame:
    """Puts the footprints of all tiles in one table.

    Args:
        tile_ids: of the tiles.
        found: of each.

    Returns:
        tile_id, building_id (in its tile, from 1), confidence, at_tile_edge, geometry (tile pixels).
    """
    counts = [len(each.geometry) for each in found]
    first = np.cumsum(counts) - counts
    return pd.DataFrame(
        {
            "tile_id": pd.Series(np.repeat(np.array(tile_ids, dtype=object), counts), dtype="str"),
            "building_id": np.arange(1, sum(counts) + 1) - np.repeat(first, counts),
            # Six digits, here and not only in the CSV, so that every file orders the footprints alike.
            "confidence": np.round(np.concatenate([each.confidence for each in found]), 6),
            "at_tile_edge": np.concatenate([each.at_tile_edge for each in found]),
            "geometry": pd.Series(np.concatenate([each.geometry for each in found]), dtype=object),
        }
    )


def _on_the_map(polygons: pd.DataFrame, places: pd.DataFrame, crs: str) -> gpd.GeoDataFrame:
    """Moves polygons from tile pixels to the tiles' CRS and adds their area."""
    geometry = polygons["geometry"].to_numpy()
    place = places.loc[polygons["tile_id"]]
    corner = place[["easting_m", "northing_m"]].to_numpy(np.float64)
    pixel_m = place["pixel_m"].to_numpy(np.float64)
    points, owner = shapely.get_coordinates(geometry, return_index=True)
    # The transform of tile_transform for all polygons at once; y runs down in a tile and up on the map.
    placed = corner[owner] + points * pixel_m[owner, None] * (1.0, -1.0)
    moved = shapely.set_coordinates(geometry.copy(), placed) if len(geometry) else geometry
    table = polygons.drop(columns="geometry")
    table.insert(3, "area_m2", shapely.area(geometry) * pixel_m**2)
    return gpd.GeoDataFrame(table, geometry=gpd.GeoSeries(moved, crs=crs), crs=crs)
