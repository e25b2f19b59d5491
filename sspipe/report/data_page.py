"""The data report: one HTML page that says what the tiles are, and what was left out of them and why."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import shapely

from sspipe.errors import UserError
from sspipe.files import read_json, read_table
from sspipe.log import counted, say
from sspipe.report import data_figures, data_tables, wording
from sspipe.report.credit import credit
from sspipe.report.drawing import Drawing, drawing
from sspipe.report.html import write_page

LISTED = 20  # rows of a table that a reader may still look through; catalog.json has all
SECTIONS = (
    ("tiles", "Tiles"),
    ("place", "Strips on a map"),
    ("left-out", "Left out"),
    ("no-data", "No-data"),
    ("values", "Values"),
    ("buildings", "Buildings"),
    ("labels", "CSV and label files"),
)
CATALOG_COLUMNS = (
    "tile_id", "strip", "orientation", "easting_m", "northing_m", "size_px", "pixel_m", "epsg",
    "sar_no_data_fraction", "eo_no_data_fraction", "building_count",
)  # fmt: skip
FOOTPRINT_COLUMNS = ("area_m2", "height_m", "csv_distance_px")
VALUE_KEYS = ("band_names", "missing_tiles")
KEYS = ("values", "areas", "labels", "left_out", "footprints", "other_files")


def describe_tiles(
    *,
    catalog: Path,
    catalog_report: Path,
    footprints: Path,
    manifest: Path,
    title: str,
    min_area_px: float,
    source: str,
    out: Path,
) -> None:
    """Writes the data report.

    Args:
        catalog: one row per tile.
        catalog_report: catalog.json.
        footprints: footprints.parquet.
        manifest: raw.json, what the archive held.
        title: heading of the comparison report.
        min_area_px: smaller buildings are not scored, px.
        source: archive.source: the page says whose the data are, and when they are generated.
        out: the page.

    Raises:
        UserError: an input is missing, or is of an older run.
    """
    tiles = read_table(catalog, CATALOG_COLUMNS)
    buildings = read_table(footprints, FOOTPRINT_COLUMNS)
    data = read_json(catalog_report)
    missing = [key for key in KEYS if key not in data]
    missing += [key for key in VALUE_KEYS if any(key not in values for values in data.get("values", {}).values())]
    if missing:
        raise UserError(f"{catalog_report}: has no {', '.join(missing)}; index the tiles again (rule index_tiles)")
    spacenet6 = source != "table"
    strips = data_tables.strip_table(tiles)
    min_area_m2 = min_area_px * float(tiles["pixel_m"].iloc[0]) ** 2
    archive = read_json(manifest)
    context = {
        "title": title,
        "synthetic": source == "synthetic",
        "spacenet6": spacenet6,
        "credit": credit(source).sentence,
        # The truth of own tiles is made of their footprints: there are no two to compare.
        "sections": [section for section in SECTIONS if spacenet6 or section[0] != "labels"],
        "data": data,
        "facts": _facts(tiles, strips, data),
        "products": data_tables.product_table(archive).to_dict("records"),
        "left_out": _capped(data_tables.left_out_table(data["left_out"]).to_dict("records")),
        "unknown": archive["unknown"],
        "other_files": _capped(data["other_files"]),
        "problems": _capped(data["footprints"]["problems"]),
        "odd_areas": _capped(data["areas"]["worst_first"], data["areas"]["disagreeing"]),
        "differing": _capped(_worst_first(data["labels"]["tiles_that_differ"])),
        "out_of_range": {name: _capped(data["values"][name]["out_of_range"]) for name in data_tables.VIEWS},
        "bands": {
            name: data_tables.band_table(name, data["values"][name], spacenet6).to_dict("records")
            for name in data_tables.VIEWS
        },
        "min_area_m2": min_area_m2,
        "building_facts": _building_facts(buildings, data, min_area_m2, spacenet6),
        "label_facts": _label_facts(data["labels"]),
        "drawings": _drawings(tiles, strips, buildings, data, min_area_m2, spacenet6),
    }
    filters = {
        "percent": wording.percent,
        "number": wording.number,
        "brief": _brief,
        "counted": counted,
        "listed": wording.listed,
    }
    size = write_page("catalog.html.jinja", context, filters, out)
    say(f"data report of {counted(len(tiles), 'tile')}: {out} ({size / 1e6:.1f} MB)")


def _drawings(
    tiles: pd.DataFrame,
    strips: pd.DataFrame,
    buildings: pd.DataFrame,
    data: Mapping[str, Any],
    min_area_m2: float,
    spacenet6: bool,
) -> dict[str, Drawing | None]:
    """All figures; None for those with nothing in them."""
    shares = {name: wording.percent(tiles[f"{name}_no_data_fraction"].mean()) for name in ("sar", "eo")}
    drawings: dict[str, Drawing | None] = {
        "strips": drawing(
            "strips",
            functools.partial(data_figures.strip_map_figure, strips),
            f"Map of the outlines of {counted(len(strips), 'strip')}, one panel for each orientation"
            + (", coloured by the day of flight." if strips["date"].any() else "."),
            "Outlines of the strips: the union of each strip's tiles. Kilometres from the south-western corner, "
            f"EPSG:{tiles['epsg'].iloc[0]}.",
            "catalog.parquet",
        ),
        "no_data": drawing(
            "no-data",
            functools.partial(data_figures.no_data_figure, tiles),
            f"Histograms of the share of no-data in a tile: SAR {shares['sar']} and EO {shares['eo']} on average.",
            "How many tiles have which share of no-data (0 in every band). Dashed: the mean.",
            "catalog.parquet",
        ),
        "buildings": None,
        "agreement": None,
    }
    units = {"sar": "SAR value (log-scaled amplitude)", "eo": "EO value (11 bit)"}
    for name in data_tables.VIEWS:
        unit = units[name] if spacenet6 else f"{name.upper()} value"
        bands = data_tables.band_table(name, data["values"][name], spacenet6)
        reference = " Open diamonds: SpaceNet 6 itself, all its tiles." if bands["real_mean"].notna().any() else ""
        drawings[name] = drawing(
            f"values-{name}",
            functools.partial(
                data_figures.values_figure, data_tables.histogram_table(data["values"][name]), bands, unit
            ),
            f"Histogram of the valid {name.upper()} pixels of each band, and their means: "
            + ", ".join(f"{band['band']} {wording.number(band['mean'], 1)}" for _, band in bands.iterrows())
            + ".",
            f"Values of the valid pixels, band by band.{reference}",
            "catalog.json",
        )
    measured = buildings[buildings["area_m2"] > 0]
    height = wording.number(measured["height_m"].median(), 1)
    if len(measured):
        drawings["buildings"] = drawing(
            "buildings",
            functools.partial(data_figures.building_figure, measured, min_area_m2),
            f"Histogram of the footprints' area (median {measured['area_m2'].median():.0f} m²)"
            + (
                f", and of the height of their roofs (median {height} m)."
                if measured["height_m"].notna().any()
                else "."
            ),
            f"Each footprint in each tile. Orange: {min_area_m2:g} m², below which buildings are not scored.",
            "footprints.parquet",
        )
    if spacenet6 and buildings["csv_distance_px"].notna().any():
        worst = buildings["csv_distance_px"].max()
        drawings["agreement"] = drawing(
            "agreement",
            functools.partial(data_figures.agreement_figure, buildings),
            f"Histogram of the distance between the two outlines of each building; the largest is {worst:.3g} px.",
            "How far the outlines in the CSV lie from those in the label files, at the farthest point. Left of the "
            "orange line they are the same outline, rounded.",
            "footprints.parquet",
        )
    return drawings


def _facts(tiles: pd.DataFrame, strips: pd.DataFrame, data: Mapping[str, Any]) -> list[tuple[str, str]]:
    days = sorted(set(strips["date"]) - {""})
    north, south = (data["orientation"][key] for key in ("0", "1"))
    strips_north, strips_south = (data["strip_orientation"][key] for key in ("0", "1"))
    ground = shapely.area(shapely.union_all(strips["outline"].to_numpy())) / 1e6
    crs = f"EPSG:{tiles['epsg'].iloc[0]}"
    empty = counted(int((tiles["building_count"] == 0).sum()), "tile has none", "tiles have none")
    size, pixel = int(tiles["size_px"].iloc[0]), float(tiles["pixel_m"].iloc[0])
    return [
        ("Tiles in use", f"{len(tiles):,}, each {size} × {size} px of {pixel:g} m ({size * pixel:g} m to a side)"),
        ("Left out", f"{data['left_out']['count']:,} ({wording.percent(data['left_out']['share'])} of all tiles)"),
        ("Strips", f"{len(strips):,}" + (f", flown on {wording.listed(days, most=6)}" if days else "")),
        ("From the north", f"{counted(north, 'tile')} of {counted(strips_north, 'strip')} (orientation 0)"),
        ("From the south", f"{counted(south, 'tile')} of {counted(strips_south, 'strip')} (orientation 1)"),
        ("Ground", f"{ground:.3g} km² under {len(tiles) * (size * pixel) ** 2 / 1e6:.3g} km² of tiles, {crs}"),
        ("No-data", f"{wording.percent(data['no_data_fraction'])} of the SAR pixels on average"),
        (
            "Buildings",
            f"{counted(data['buildings'], 'footprint')} in tiles, of {counted(data['distinct_buildings'], 'building')} "
            f"(by Building_ID); {empty}",
        ),
    ]


def _building_facts(
    buildings: pd.DataFrame, data: Mapping[str, Any], min_area_m2: float, spacenet6: bool
) -> list[tuple[str, str]]:
    footprints, areas = data["footprints"], data["areas"]
    small = (buildings["area_m2"] < min_area_m2).mean() if len(buildings) else None
    facts = [
        (
            "Footprints",
            f"{footprints['kept']:,} as they were, {footprints['repaired']:,} repaired, "
            f"{footprints['skipped']:,} skipped",
        ),
        ("Small", f"{wording.percent(small)} are below {min_area_m2:g} m² in their tile, and are not scored"),
        ("Cut", counted(areas["truncated"], "is cut by its tile's edge", "are cut by their tiles' edges")),
        ("Height", f"unknown for {counted(int(buildings['height_m'].isna().sum()), 'footprint')}"),
    ]
    if spacenet6:
        whole, verb = (
            counted(areas["compared"], "whole footprint"),
            "differs" if areas["disagreeing"] == 1 else "differ",
        )
        differing = (
            f"{areas['disagreeing']:,} of {whole} {verb} from SpaceNet's own area (origarea) by more than "
            f"{wording.percent(areas['tolerance'])}"
            + (f"; the worst by {wording.percent(areas['worst'])}" if areas["worst"] is not None else "")
        )
        facts.insert(-1, ("Area", differing))
    return facts


def _label_facts(labels: Mapping[str, Any]) -> list[tuple[str, str]]:
    def tiles(names: Sequence[str]) -> str:
        return f"{len(names):,}" + (f": {wording.listed(names)}" if names else "")

    return [
        ("Polygons in the CSV", f"{labels['csv_polygons']:,}, {labels['csv_invalid']:,} of them invalid"),
        (
            "Same building",
            f"{counted(labels['matched'], 'is', 'are')} in both (IoU above 0.5), {labels['moved']:,} of them farther "
            f"apart than {labels['tolerance_px']:g} px somewhere",
        ),
        ("Alone", f"{labels['csv_alone']:,} in the CSV alone, {labels['geojson_alone']:,} in the label files alone"),
        (
            "Worst pair",
            f"outlines {wording.number(labels['worst_distance_px'])} px apart; smallest IoU "
            f"{wording.number(labels['worst_iou'])}",
        ),
        ("Tiles of unequal count", tiles([row["tile_id"] for row in labels["tiles_of_other_count"]])),
        ("Tiles not in the CSV", tiles(labels["tiles_not_in_csv"])),
        ("Tiles in the CSV alone", tiles(labels["tiles_only_in_csv"])),
    ]


def _worst_first(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Tiles with most buildings on one side alone first, then those with the largest distance."""
    return sorted(
        rows, key=lambda row: (row["csv_alone"] + row["geojson_alone"], row["worst_distance_px"] or 0), reverse=True
    )


def _brief(value: float) -> str:
    """A value that may be tiny or in the thousands, in few digits; a dash where there is none."""
    return wording.NONE if pd.isna(value) else f"{value:.4g}"


def _capped(rows: list[Any], count: int | None = None) -> dict[str, Any]:
    """The first rows of a listing, and how many there are besides; `count` if the list itself is cut."""
    count = len(rows) if count is None else count
    return {"rows": rows[:LISTED], "more": count - len(rows[:LISTED]), "all": count}
