"""Tiles of one's own in the form that indexing reads: checked against the config, with label files and the truth."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import rasterio
import shapely
from rasterio.errors import CRSError, RasterioError
from shapely.geometry import mapping

from sspipe.data import own_data
from sspipe.data.agreement import in_pixels
from sspipe.data.footprints import mended
from sspipe.data.forms import Form, Forms
from sspipe.data.inspection import content_problems, crs_name, grid_problems
from sspipe.data.layout import Settings, own_forms
from sspipe.data.own_data import OwnTile
from sspipe.data.own_footprints import Cut, Place, cut_to_tiles, label_text
from sspipe.data.own_table import read_own_table, refuse
from sspipe.data.spacenet_csv import HEIGHT, IMAGE, NUMBERS, WKT
from sspipe.errors import UserError
from sspipe.files import whole_folder, write_json
from sspipe.log import counted, progress, say

Corner = tuple[float, float]


def gather_tiles(
    *,
    table: Path,
    size_px: int,
    pixel_m: float,
    epsg: int,
    sar_bands: Sequence[str],
    eo_bands: Sequence[str],
    sar_range: tuple[float, float],
    eo_range: tuple[float, float],
    out: Path,
    manifest: Path,
) -> None:
    """Checks a table of tiles and writes what stands for an unpacked archive: the stage `gather-tiles`.

    Images stay where they are, and only their headers are read here; `index_tiles` reads them to their ends. In `out`
    are a table of absolute paths (tiles.csv), a label file for each tile (labels/), and the truth that is scored
    against, in tile pixels and the challenge's form (truth.csv).

    Args:
        table: CSV, see `sspipe.data.own_table`.
        size_px: rows and columns that every image must have.
        pixel_m: pixel size that every image must have, m.
        epsg: code of the CRS that images and footprints must have.
        sar_bands: names of the bands that SAR images must have.
        eo_bands: names of the bands that EO images must have.
        sar_range: see `index_tiles`.
        eo_range: see `index_tiles`.
        out: folder to write.
        manifest: JSON of files and bytes, as unpack_archive writes it.

    Raises:
        UserError: says what is wrong with the table or the first files, with the lines, and what to do.
    """
    tiles = read_own_table(table)
    without = sum(tile.eo is None for tile in tiles)
    say(f"gather_tiles: {counted(len(tiles), 'tile')}, {without} of them without an EO image")
    _refuse_unit(epsg)
    forms = own_forms(Settings(size_px, pixel_m, 0, epsg, sar_bands, eo_bands, sar_range, eo_range))
    corners = _corners(table, tiles, forms)
    places = {
        tile.tile_id: Place(tile.tile_id, tile.line, _ground(corners[tile.tile_id], size_px * pixel_m))
        for tile in tiles
    }
    with whole_folder(out) as folder:
        cuts = _write_labels(folder / own_data.LABELS_FOLDER, tiles, places, epsg)
        if not any(cuts.values()):
            raise UserError(
                f"{table}: none of its {len(tiles)} tiles has a building in its footprint_path, so there is nothing to "
                "train on or to score; name the files that have them"
            )
        _truth(tiles, cuts, corners, pixel_m).to_csv(folder / own_data.TRUTH_FILE, index=False)
        _write_tiles(folder / own_data.TILES_FILE, tiles)
    write_json(manifest, _manifest(table, tiles))
    footprints = counted(sum(map(len, cuts.values())), "footprint")
    say(f"gather_tiles: {footprints} in {counted(len(tiles), 'tile')}")


def _refuse_unit(epsg: int) -> None:
    """Pixel sizes, areas and distances are in metres, so degrees would make nonsense of all of them."""
    try:
        crs = rasterio.crs.CRS.from_epsg(epsg)
    except CRSError:
        raise UserError(f"tiles.epsg is {epsg}, which is no CRS of EPSG's; give the code of the tiles' CRS") from None
    if not crs.is_projected or crs.linear_units_factor[1] != 1.0:
        raise UserError(
            f"tiles.epsg is {epsg}, whose unit is not the metre; reproject images and footprints to the UTM zone of "
            "the place (gdalwarp -t_srs, ogr2ogr -t_srs), and give its code"
        )


class _Header(NamedTuple):
    """Of one image: where it lies, and what is wrong with that."""

    transform: Any
    size_px: tuple[int, int]  # (rows, columns)
    crs: Any
    grid_problems: list[str]

    @property
    def corner_m(self) -> Corner:
        return self.transform.c, self.transform.f


def _corners(table: Path, tiles: list[OwnTile], forms: Forms) -> dict[str, Corner]:
    """Upper-left corners of the tiles (easting, northing), after the headers of all their images were compared."""
    problems, corners = [], {}
    crs_lines: dict[str, list[int]] = {}
    for tile in progress(tiles, "gather_tiles: headers", total=len(tiles)):
        found: list[str] = []
        sar = _header(tile.sar, forms.sar, found)
        eo = _header(tile.eo, forms.eo, found) if tile.eo else None
        for name in dict.fromkeys(crs_name(header.crs) for header in (sar, eo) if header):
            crs_lines.setdefault(name, []).append(tile.line)
        if sar:
            found += sar.grid_problems
            corners[tile.tile_id] = sar.corner_m
        if sar and eo and not sar.grid_problems:
            found += _other_grid(tile, eo, sar, forms)
        problems += [f"line {tile.line}: {each}" for each in found]
    if len(crs_lines) > 1:
        told = ", ".join(f"{name} (line {_some(lines)})" for name, lines in crs_lines.items())
        raise UserError(
            f"{table}: its images are in several CRSs: {told}; one experiment has one (tiles.epsg, now "
            f"{forms.sar.epsg}): reproject the others (gdalwarp -t_srs), or make an experiment of each"
        )
    refuse(table, problems)
    return corners


def _header(path: Path, form: Form, problems: list[str]) -> _Header | None:
    """Reads an image's header; None if it cannot be read. What is wrong with its bands is added to `problems`."""
    try:
        # What stands beside a file is not packed with it, so it does not count here either.
        with rasterio.Env(GDAL_GEOREF_SOURCES="INTERNAL"), rasterio.open(path) as image:
            if image.driver not in ("GTiff", "COG"):
                problems.append(f"{path.name}: is {image.driver}, expected a GeoTIFF; convert it (gdal_translate)")
                return None
            problems += [str(problem) for problem in content_problems(image, path.name, form)]
            # What counts as no-data is 0 in all bands, here and in SpaceNet 6.
            if image.nodata not in (None, 0):
                problems.append(
                    f"{path.name}: its no-data value is {image.nodata:g}, expected 0 or none; write 0 there "
                    "(gdalwarp -dstnodata 0)"
                )
            grid = [str(problem) for problem in grid_problems(image, path.name, form)]
            return _Header(image.transform, (image.height, image.width), image.crs, grid)
    except RasterioError as error:
        reason = " ".join(str(error.__cause__ or error).split())
        problems.append(f"{path.name}: cannot be read ({reason}), expected a GeoTIFF; {form.remedy}")
        return None


def _other_grid(tile: OwnTile, eo: _Header, sar: _Header, forms: Forms) -> list[str]:
    """What is wrong with the grid of an EO image beside a SAR image that is as it must be."""
    pixels = max(abs(eo.transform.a - sar.transform.a), abs(eo.transform.e - sar.transform.e)) * forms.sar.side_px
    same = eo.size_px == sar.size_px and not eo.transform.b and not eo.transform.d and pixels <= forms.corner_m
    if same and math.dist(eo.corner_m, sar.corner_m) <= forms.corner_m:
        return []
    assert tile.eo is not None
    return [
        f"{tile.eo.name}: lies on another grid than the SAR image: {_grid_words(eo)}, expected {_grid_words(sar)}; "
        "resample the EO image to the grid of the SAR image (gdalwarp -te XMIN YMIN XMAX YMAX -ts COLUMNS ROWS)"
    ]


def _grid_words(header: _Header) -> str:
    rows, columns = header.size_px
    grid = header.transform
    return f"{rows} x {columns} px of {grid.a:.6g} x {-grid.e:.6g} m from {grid.c:.10g}, {grid.f:.10g}"


def _some(lines: list[int]) -> str:
    return ", ".join(map(str, lines[:3])) + (f" and {len(lines) - 3} more" if len(lines) > 3 else "")


def _ground(corner: Corner, side_m: float) -> shapely.Polygon:
    easting, northing = corner
    return shapely.box(easting, northing - side_m, easting + side_m, northing)


def _write_labels(folder: Path, tiles: list[OwnTile], places: dict[str, Place], epsg: int) -> dict[str, list[Cut]]:
    """Writes each tile's label file; a file of footprints is read once, however many tiles name it."""
    folder.mkdir()
    users: dict[Path, list[Place]] = {}
    for tile in tiles:
        users.setdefault(tile.footprints, []).append(places[tile.tile_id])
    cuts: dict[str, list[Cut]] = {}
    first = 1
    for path, wanted in progress(users.items(), "gather_tiles: files of footprints", total=len(users)):
        for place, found in cut_to_tiles(path, wanted, epsg, first):
            cuts[place.tile_id] = found
            (folder / f"{place.tile_id}.geojson").write_text(label_text(found, epsg))
        # Buildings without ids of their own are numbered on from file to file.
        first = max([first, *(cut.building_id + 1 for place in wanted for cut in cuts[place.tile_id])])
    return cuts


def _truth(
    tiles: list[OwnTile], cuts: dict[str, list[Cut]], corners: dict[str, Corner], pixel_m: float
) -> pd.DataFrame:
    """The table that is scored against: one row a building, `POLYGON EMPTY` for a tile without any."""
    rows: list[dict[str, Any]] = []
    for tile in tiles:
        usable = [
            (cut, polygon) for cut in cuts[tile.tile_id] for polygon in [mended(mapping(cut.geometry))[0]] if polygon
        ]
        placed = in_pixels(np.array([polygon for _, polygon in usable], dtype=object), corners[tile.tile_id], pixel_m)
        for (cut, _), text in zip(usable, shapely.to_wkt(placed, rounding_precision=6), strict=True):
            rows.append({IMAGE: tile.tile_id, NUMBERS[0]: cut.building_id, WKT: text, HEIGHT: cut.height_m})
        if not usable:
            rows.append({IMAGE: tile.tile_id, NUMBERS[0]: -1, WKT: "POLYGON EMPTY", HEIGHT: math.nan})
    return pd.DataFrame(rows)


def _write_tiles(path: Path, tiles: list[OwnTile]) -> None:
    with path.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle)
        writer.writerow(own_data.COLUMNS)
        for tile in tiles:
            labels = f"{own_data.LABELS_FOLDER}/{tile.tile_id}.geojson"
            writer.writerow([tile.tile_id, tile.sar, tile.eo or "", labels, tile.strip, tile.orientation])


def _manifest(table: Path, tiles: list[OwnTile]) -> dict[str, Any]:
    """What there is, in the form of unpack_archive's: nothing was passed over, and nothing is unknown."""
    files = {
        "SAR images": {tile.sar for tile in tiles},
        "EO images": {tile.eo for tile in tiles if tile.eo},
        "footprints": {tile.footprints for tile in tiles},
    }
    products = {
        name: {"members": len(paths), "bytes": sum(path.stat().st_size for path in paths)}
        for name, paths in files.items()
    }
    return {"archive": table.name, "products": products, "skipped": {}, "unknown": {"members": 0, "names": []}}
