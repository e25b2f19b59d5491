"""The catalog: one row for each tile, after each tile was read to its end, and the footprints of all tiles."""

from __future__ import annotations

import multiprocessing
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from sspipe.data import spacenet6
from sspipe.data.inspection import FETCH_AGAIN, Problem, TileReport, TileRequest, inspect_tile
from sspipe.errors import UserError
from sspipe.files import whole_file, write_json
from sspipe.log import progress, say, warn

LISTED_PROBLEMS = 10
CRS = f"EPSG:{spacenet6.EPSG}"


def index_tiles(
    *,
    raw: Path,
    size_px: int,
    pixel_m: float,
    out_catalog: Path,
    out_footprints: Path,
    out_report: Path,
    processes: int,
) -> None:
    """Reads every tile completely and writes the catalog, the footprints and a report of both.

    Args:
        raw: the unpacked archive.
        size_px: rows and columns that every SAR and EO image must have.
        pixel_m: nominal SAR pixel size, m.
        out_catalog: Parquet, one row per tile.
        out_footprints: GeoParquet, one row per footprint per tile.
        out_report: JSON of counts, and of the footprints that were repaired or skipped.
        processes: tiles read at the same time.

    Raises:
        UserError: any tile cannot be used; one message with the first problems and how many there are.
    """
    sar_files, strange = spacenet6.tiles_in(raw, spacenet6.SAR)
    if not sar_files:
        folder = raw / spacenet6.FOLDER / spacenet6.SAR.folder
        raise UserError(
            f"{folder}: there are no SAR tiles; expected files such as {_example()}; unpack the archive again"
        )
    orientations, problems = _read_orientations(raw)
    problems += _strip_problems(sar_files, orientations) + _duplicates(sar_files)
    requests = [TileRequest(raw, tile_id, size_px, pixel_m) for tile_id in sar_files]
    reports = list(progress(_inspect_all(requests, processes), "index_tiles", total=len(requests)))
    for report in reports:
        problems += report.problems
    if problems:
        raise UserError(_in_one_message(raw, problems, len(sar_files)))
    _say_what_is_left_out(raw, sar_files, strange)

    # All tables are built before the first is written: a failure must leave nothing under a final name.
    catalog = catalog_table(reports, orientations, size_px, pixel_m)
    footprints = footprint_table(reports)
    summary = summarize(catalog, reports)
    with whole_file(out_catalog) as path:
        catalog.to_parquet(path, index=False)
    with whole_file(out_footprints) as path:
        footprints.to_parquet(path, index=False)
    write_json(out_report, summary)
    say(
        f"index_tiles: {summary['tiles']} tiles of {summary['strips']} strips, {summary['buildings']} footprints "
        f"({summary['footprints']['repaired']} repaired, {summary['footprints']['skipped']} skipped), "
        f"{summary['no_data_fraction']:.1%} no-data"
    )


def catalog_table(
    reports: list[TileReport], orientations: dict[str, int], size_px: int, pixel_m: float
) -> pd.DataFrame:
    """One row for each tile, sorted by tile id; paths are relative to raw/."""
    rows = []
    for report in sorted(reports, key=lambda report: report.tile_id):
        strip = spacenet6.strip_of(report.tile_id)
        rows.append(
            {
                "tile_id": report.tile_id,
                "strip": strip,
                "tile_number": spacenet6.number_of(report.tile_id),
                "orientation": orientations[strip],
                "easting_m": report.origin_m[0],
                "northing_m": report.origin_m[1],
                "size_px": size_px,
                "pixel_m": pixel_m,
                "sar_path": str(spacenet6.file_path(spacenet6.SAR, report.tile_id)),
                "eo_path": str(spacenet6.file_path(spacenet6.EO, report.tile_id)),
                "label_path": str(spacenet6.file_path(spacenet6.LABELS, report.tile_id)),
                "sar_no_data_fraction": report.sar_no_data_fraction,
                "eo_no_data_fraction": report.eo_no_data_fraction,
                "building_count": len(report.footprints),
            }
        )
    return pd.DataFrame(rows)


def footprint_table(reports: list[TileReport]) -> Any:
    """A GeoDataFrame with one row for each footprint in each tile, in the order of the tiles' files."""
    import geopandas  # heavy, and not needed by the processes that read tiles
    import shapely

    rows = [
        (report.tile_id, footprint.building_id, footprint.height_m, footprint.wkb)
        for report in sorted(reports, key=lambda report: report.tile_id)
        for footprint in report.footprints
    ]
    columns = {
        "tile_id": pd.Series([row[0] for row in rows], dtype="str"),
        "building_id": pd.Series([row[1] for row in rows], dtype="int64"),
        "height_m": pd.Series([row[2] for row in rows], dtype="float64"),
    }
    geometry = shapely.from_wkb([row[3] for row in rows]) if rows else []
    return geopandas.GeoDataFrame(columns, geometry=geometry, crs=CRS)


def summarize(catalog: pd.DataFrame, reports: list[TileReport]) -> dict[str, Any]:
    """What the data report says of the tiles. `kept` footprints were fine as they were."""
    listed = [problem for report in reports for problem in report.footprint_problems]
    actions = Counter(problem.action for problem in listed)
    buildings = int(catalog["building_count"].sum())
    return {
        "tiles": len(catalog),
        "strips": int(catalog["strip"].nunique()),
        "orientation": {str(value): int((catalog["orientation"] == value).sum()) for value in (0, 1)},
        "no_data_fraction": float(catalog["sar_no_data_fraction"].mean()),
        "buildings": buildings,
        "footprints": {
            "kept": buildings - actions["repaired"],
            "repaired": actions["repaired"],
            "skipped": actions["skipped"],
            "problems": [problem._asdict() for problem in listed],
        },
    }


def _inspect_all(requests: list[TileRequest], processes: int) -> Iterator[TileReport]:
    if processes <= 1:
        yield from map(inspect_tile, requests)
        return
    # Spawned, not forked: forking a process whose libraries run threads can lock it up.
    with multiprocessing.get_context("spawn").Pool(min(processes, len(requests))) as pool:
        yield from pool.imap(inspect_tile, requests, chunksize=1)


def _read_orientations(raw: Path) -> tuple[dict[str, int], list[Problem]]:
    name = str(spacenet6.ORIENTATION_FILE)
    path = raw / name
    if not path.is_file():
        return {}, [Problem(name, "is missing", "the table of strips and their orientation", FETCH_AGAIN)]
    orientations, lines = spacenet6.parse_orientations(path.read_text(encoding="utf-8", errors="replace"))
    return orientations, [Problem(name, line, "`{strip} 0` or `{strip} 1`, once", "correct the line") for line in lines]


def _strip_problems(tile_ids: Iterable[str], orientations: dict[str, int]) -> list[Problem]:
    name = str(spacenet6.ORIENTATION_FILE)
    strips = Counter(spacenet6.strip_of(tile_id) for tile_id in tile_ids)
    return [
        Problem(name, f"no line for strip {strip} ({count} tiles)", f"`{strip} 0` or `{strip} 1`", "add the line")
        for strip, count in strips.items()
        if strip not in orientations
    ]


def _duplicates(tile_ids: Iterable[str]) -> list[Problem]:
    """Tiles of one strip and number whose ids are written differently, such as tile_7 and tile_07."""
    seen: dict[tuple[str, int], str] = {}
    problems = []
    for tile_id in tile_ids:
        first = seen.setdefault((spacenet6.strip_of(tile_id), spacenet6.number_of(tile_id)), tile_id)
        if first != tile_id:
            name = str(spacenet6.file_path(spacenet6.SAR, tile_id))
            problems.append(Problem(name, f"is the same tile as {first}", "each tile once", "remove one of them"))
    return problems


def _in_one_message(raw: Path, problems: list[Problem], tiles: int) -> str:
    lines = [f"  {problem}" for problem in problems[:LISTED_PROBLEMS]]
    if len(problems) > LISTED_PROBLEMS:
        lines.append(f"  ... and {len(problems) - LISTED_PROBLEMS} more")
    many = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
    return f"{raw}: {many} in {tiles} tiles:\n" + "\n".join(lines)


def _say_what_is_left_out(raw: Path, sar_files: dict[str, Path], strange: list[Path]) -> None:
    if strange:
        warn(f"index_tiles: files left out because of their names: {len(strange)}, such as {strange[0].name}")
    for product in (spacenet6.EO, spacenet6.LABELS):
        alone = sorted(spacenet6.tiles_in(raw, product)[0].keys() - sar_files.keys())
        if alone:
            warn(f"index_tiles: {product.folder} files left out, having no SAR image: {len(alone)}, such as {alone[0]}")


def _example() -> str:
    return spacenet6.file_name(spacenet6.SAR, "20190804111224_20190804111453_tile_8679")
