"""The catalog: one row for each tile, after each tile was read to its end, and the footprints of all tiles."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sspipe.data import spacenet6
from sspipe.data.inspection import FETCH_AGAIN, Problem, TileReport, TileRequest, inspect_tile
from sspipe.data.inventory import Inventory, reasons_of
from sspipe.data.layout import LAYOUTS, Layout, Settings
from sspipe.data.spacenet_csv import read_spacenet_csv
from sspipe.data.summary import summarize
from sspipe.errors import UserError
from sspipe.files import whole_file, write_json
from sspipe.log import counted, progress, say, warn
from sspipe.workers import in_parallel

LISTED_PROBLEMS = 10


def index_tiles(
    *,
    raw: Path,
    size_px: int,
    pixel_m: float,
    max_left_out: float,
    layout: str = "spacenet6",
    epsg: int = spacenet6.EPSG,
    sar_bands: Sequence[str] = spacenet6.SAR_BANDS,
    eo_bands: Sequence[str] = spacenet6.EO_BANDS,
    sar_range: tuple[float, float] = (0, 100),
    eo_range: tuple[float, float] = (0, 2250),
    out_catalog: Path,
    out_footprints: Path,
    out_report: Path,
    processes: int,
) -> None:
    """Reads every tile completely and writes the catalog, the footprints and a report of both.

    A damaged file is an error. A tile that lacks something is left out, warned of and listed in the report.

    Args:
        raw: the unpacked archive, or what gather_tiles wrote.
        size_px: rows and columns that every SAR and EO image must have.
        pixel_m: nominal SAR pixel size, m.
        max_left_out: share of the tiles that may be left out.
        layout: `spacenet6`, or `table` for tiles of one's own; what follows is fixed in SpaceNet 6.
        epsg: code of the CRS that images and footprints must have.
        sar_bands: names of the bands that SAR images must have.
        eo_bands: names of the bands that EO images must have.
        sar_range: lowest and highest SAR value that is not odd.
        eo_range: the same of EO.
        out_catalog: Parquet, one row per tile.
        out_footprints: GeoParquet, one row per footprint per tile.
        out_report: JSON of counts and values, of what was left out, repaired or skipped, and of disagreements.
        processes: tiles read at the same time.

    Raises:
        UserError: files are damaged (one message with the first problems and how many there are), the truth's CSV
            cannot be read, too many tiles are left out, or a process was killed.
    """
    settings = Settings(size_px, pixel_m, max_left_out, epsg, sar_bands, eo_bands, sar_range, eo_range)
    found = LAYOUTS[layout](raw, settings)
    inventory = found.inventory
    truth, only_in_csv = _truth(raw / found.truth, inventory)
    _warn_of_names(inventory, only_in_csv)
    requests = [
        TileRequest(raw, tile.tile_id, tile.files, found.forms, truth.get(tile.tile_id)) for tile in found.tiles
    ]
    read = in_parallel(inspect_tile, requests, processes, "tiles")
    reports = list(progress(read, "index_tiles", total=len(requests)))
    problems = [problem for report in reports for problem in report.problems]
    if problems:
        raise UserError(_in_one_message(raw, problems, len(requests)))

    # All are built before the first is written, and the tables written before one is named: a failure leaves none.
    catalog = catalog_table(reports, found)
    footprints = footprint_table(reports, found.forms.sar.epsg)
    summary = summarize(catalog, footprints, reports, found)
    summary["labels"]["tiles_only_in_csv"] = only_in_csv
    with whole_file(out_catalog) as catalog_path, whole_file(out_footprints) as footprints_path:
        catalog.to_parquet(catalog_path, index=False)
        footprints.to_parquet(footprints_path, index=False)
        write_json(out_report, summary)
    _warn_of_content(summary)
    found_in_all = ", ".join(
        [
            f"{counted(summary['tiles'], 'tile')} of {counted(summary['strips'], 'strip')}",
            f"{counted(summary['buildings'], 'footprint')} ({summary['footprints']['repaired']} repaired, "
            f"{summary['footprints']['skipped']} skipped)",
            f"{summary['no_data_fraction']:.1%} no-data",
        ]
    )
    say(f"index_tiles: {found_in_all}")


def catalog_table(reports: list[TileReport], layout: Layout) -> pd.DataFrame:
    """One row for each tile, in the order of the reports; paths are relative to raw/, or absolute.

    A tile without an EO image has an empty `eo_path`, and no-data for all of it.
    """
    forms, tiles = layout.forms, {tile.tile_id: tile for tile in layout.tiles}
    rows = []
    for report in reports:
        sar, agreement, tile = report.sar, report.agreement, tiles[report.tile_id]
        assert sar and agreement  # tiles with problems come to no table
        assert report.eo or tile.files.eo is None
        row: dict[str, Any] = {
            "tile_id": report.tile_id,
            "strip": tile.strip,
            "tile_number": tile.number,
            "orientation": tile.orientation,
            "easting_m": sar.origin_m[0],
            "northing_m": sar.origin_m[1],
            "size_px": forms.sar.side_px,
            "pixel_m": forms.sar.pixel_m,
            "epsg": forms.sar.epsg,
            "sar_bands": forms.sar.bands,
            "eo_bands": forms.eo.bands,
            "sar_path": tile.files.sar,
            "eo_path": tile.files.eo or "",
            "label_path": tile.files.labels,
            "sar_no_data_fraction": sar.no_data_fraction,
            "eo_no_data_fraction": report.eo.no_data_fraction if report.eo else 1.0,
            "building_count": len(report.footprints),
            "in_csv": agreement.in_csv,
            "csv_count": agreement.csv_count,
            "csv_alone": agreement.csv_alone,
        }
        for name, image in (("sar", sar), ("eo", report.eo)):
            found = [band for band in image.bands if band.pixels] if image else []
            row[f"{name}_dtype"] = image.dtype if image else ""
            row[f"{name}_min"] = min((band.lowest for band in found), default=np.nan)
            row[f"{name}_max"] = max((band.highest for band in found), default=np.nan)
            row[f"{name}_out_of_range"] = image.out_of_range if image else 0
        rows.append(row)
    return pd.DataFrame(rows)


def footprint_table(reports: list[TileReport], epsg: int) -> Any:
    """A GeoDataFrame with one row for each footprint in each tile, in the order of the reports and their files.

    `csv_iou` and `csv_distance_px` hold each footprint against its polygon in the CSV, NaN where it has none there.
    """
    import geopandas  # heavy, and not needed by the processes that read tiles
    import shapely

    found = [(report.tile_id, footprint) for report in reports for footprint in report.footprints]
    agreements = [report.agreement for report in reports if report.agreement]
    geometry = shapely.from_wkb([footprint.wkb for _, footprint in found]) if found else []
    columns = {
        "tile_id": pd.Series([tile_id for tile_id, _ in found], dtype="str"),
        "building_id": pd.Series([footprint.building_id for _, footprint in found], dtype="int64"),
        "height_m": pd.Series([footprint.height_m for _, footprint in found], dtype="float64"),
        "area_m2": pd.Series(shapely.area(geometry), dtype="float64"),
        "origarea_m2": pd.Series([footprint.origarea_m2 for _, footprint in found], dtype="float64"),
        "truncated": pd.Series([footprint.truncated for _, footprint in found], dtype="bool"),
        "csv_iou": np.concatenate([agreement.iou for agreement in agreements]),
        "csv_distance_px": np.concatenate([agreement.distance_px for agreement in agreements]),
    }
    return geopandas.GeoDataFrame(columns, geometry=geometry, crs=f"EPSG:{epsg}")


def _truth(path: Path, inventory: Inventory) -> tuple[dict[str, list[bytes]], list[str]]:
    """Reads the CSV that is scored against, now and not after days of training.

    Returns:
        WKB of the polygons of each tile that it names (none for `POLYGON EMPTY`), and the tiles that only it has.
    """
    import shapely

    if not path.is_file():
        raise UserError(f"{path}: is missing, expected the table of buildings that is scored against; {FETCH_AGAIN}")
    table = read_spacenet_csv(path)
    there = ~shapely.is_empty(table["geometry"].to_numpy())
    polygons: dict[str, list[bytes]] = {str(image): [] for image in table["image_id"].unique()}
    outlines = shapely.to_wkb(table["geometry"].to_numpy()[there])
    for image, outline in zip(table["image_id"].to_numpy()[there], outlines, strict=True):
        polygons[str(image)].append(outline)
    if polygons.keys().isdisjoint(inventory.tiles):
        named = f"its rows are of others, such as `{next(iter(polygons))}`" if polygons else "it has no rows"
        raise UserError(
            f"{path}: names none of the {counted(len(inventory.tiles), 'tile')}, such as {inventory.tiles[0]}, so that "
            f"nothing could be scored: {named}; {FETCH_AGAIN}"
        )
    known = {*inventory.tiles, *(each.tile_id for each in inventory.left_out)}
    return polygons, sorted(polygons.keys() - known)


def _in_one_message(raw: Path, problems: list[Problem], tiles: int) -> str:
    lines = [f"  {problem}" for problem in problems[:LISTED_PROBLEMS]]
    if len(problems) > LISTED_PROBLEMS:
        lines.append(f"  ... and {len(problems) - LISTED_PROBLEMS} more")
    return f"{raw}: {counted(len(problems), 'problem')} in {counted(tiles, 'tile')}:\n" + "\n".join(lines)


def _warn_of_names(inventory: Inventory, only_in_csv: list[str]) -> None:
    """Tells what the names alone say."""
    if inventory.other_files:
        warn(f"index_tiles: files left out because of their names: {_some(inventory.other_files)}")
    for reason in reasons_of(inventory.left_out):
        tiles = [each.tile_id for each in inventory.left_out if reason in each.reasons]
        warn(f"index_tiles: tiles left out ({reason}): {_some(tiles)}")
    if only_in_csv:
        warn(f"index_tiles: tiles of the truth's CSV that have no files: {_some(only_in_csv)}")


def _warn_of_content(summary: dict[str, Any]) -> None:
    """Tells what is odd in the tiles' content, and does no harm; catalog.json lists it in full."""
    for name, values in summary["values"].items():
        if values["empty_tiles"]:
            warn(f"index_tiles: tiles whose {name.upper()} image is no-data alone: {_some(values['empty_tiles'])}")
        odd = [row["tile_id"] for row in values["out_of_range"]]
        if odd:
            low, high = values["expected"]
            warn(f"index_tiles: tiles with {name.upper()} values outside {low:g} to {high:g}: {_some(odd)}")
    areas, labels = summary["areas"], summary["labels"]
    if areas["disagreeing"]:
        worst = areas["worst_first"][0]
        warn(
            f"index_tiles: footprints whose area is not SpaceNet's (origarea): {areas['disagreeing']}, the worst "
            f"{worst['tile_id']} building {worst['building_id']}, by {areas['worst']:.1%}"
        )
    if labels["tiles_not_in_csv"]:
        warn(f"index_tiles: tiles that the truth's CSV does not name: {_some(labels['tiles_not_in_csv'])}")
    if labels["csv_invalid"]:
        warn(
            f"index_tiles: invalid polygons in the truth's CSV, which the metric never matches: {labels['csv_invalid']}"
        )
    if labels["tiles_that_differ"]:
        tiles = [row["tile_id"] for row in labels["tiles_that_differ"]]
        warn(
            f"index_tiles: label files and the truth's CSV differ ({counted(labels['geojson_alone'], 'footprint')} and "
            f"{counted(labels['csv_alone'], 'polygon')} alone, "
            + (
                f"{labels['moved']} moved by up to {labels['worst_distance_px']:.2f} px"
                if labels["moved"]
                else "none moved"
            )
            + f") in tiles: {_some(tiles)}"
        )


def _some(names: list[str]) -> str:
    return f"{len(names)}, such as {names[0]}"
