"""What catalog.json says of the tiles: counts, values, agreement of the labels, and what was left out."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pandas as pd

from sspipe.data.bands import as_json, merged
from sspipe.data.inspection import TileReport
from sspipe.data.inventory import reasons_of
from sspipe.data.layout import Layout

AREA_TOLERANCE = 0.005  # of the building's area: SpaceNet's own figures and its outlines agree within this
LISTED_AREAS = 1000  # footprints.parquet has all
AGREED_PX = 0.01  # outlines that lie closer than this everywhere are the same outline, rounded
VIEWS = ("sar", "eo")


def summarize(
    catalog: pd.DataFrame, footprints: pd.DataFrame, reports: list[TileReport], layout: Layout
) -> dict[str, Any]:
    """Gathers what the data report says of the tiles.

    Args:
        catalog: `catalog_table`.
        footprints: `footprint_table`.
        reports: of the tiles in use, sorted by tile id.
        layout: all tiles, and what their images must be.

    Returns:
        a tree of plain values. `kept` footprints were fine as they were.
    """
    inventory = layout.inventory
    problems = [problem for report in reports for problem in report.footprint_problems]
    actions = Counter(problem.action for problem in problems)
    strips = catalog.drop_duplicates("strip")
    return {
        "tiles": len(catalog),
        "strips": len(strips),
        "orientation": _by_orientation(catalog),
        "strip_orientation": _by_orientation(strips),
        "no_data_fraction": float(catalog["sar_no_data_fraction"].mean()),
        "buildings": len(footprints),
        "distinct_buildings": int(footprints["building_id"][footprints["building_id"] >= 0].nunique()),
        "footprints": {
            "kept": len(footprints) - actions["repaired"],
            "repaired": actions["repaired"],
            "skipped": actions["skipped"],
            "problems": [problem._asdict() for problem in problems],
        },
        "left_out": {
            "count": len(inventory.left_out),
            "share": inventory.share_left_out,
            "reasons": reasons_of(inventory.left_out),
            "tiles": [{"tile_id": each.tile_id, "reasons": list(each.reasons)} for each in inventory.left_out],
        },
        "other_files": inventory.other_files,
        "values": {name: _values(catalog, reports, layout, name) for name in VIEWS},
        "areas": _areas(footprints),
        "labels": _labels(catalog, footprints, reports),
    }


def _by_orientation(table: pd.DataFrame) -> dict[str, int]:
    return {str(value): int((table["orientation"] == value).sum()) for value in (0, 1)}


def _values(catalog: pd.DataFrame, reports: list[TileReport], layout: Layout, name: str) -> dict[str, Any]:
    """Range, mean and histogram of each band, and the tiles whose values are not as they should be."""
    expected = getattr(layout.forms, name).values
    images = [image for image in (getattr(report, name) for report in reports) if image is not None]
    odd = catalog[catalog[f"{name}_out_of_range"] > 0]
    missing = catalog[f"{name}_path"] == ""
    columns = {f"{name}_out_of_range": "count", f"{name}_min": "min", f"{name}_max": "max"}
    return {
        "bands": [as_json(merged(tile)) for tile in zip(*(image.bands for image in images), strict=True)],
        "band_names": list(getattr(layout.forms, name).band_names),
        "bin_width": expected.step,
        "expected": [expected.lowest, expected.highest],
        "out_of_range": odd[["tile_id", *columns]].rename(columns=columns).to_dict("records"),
        "missing_tiles": catalog.loc[missing, "tile_id"].tolist(),
        "empty_tiles": catalog.loc[(catalog[f"{name}_no_data_fraction"] == 1) & ~missing, "tile_id"].tolist(),
    }


def _areas(footprints: pd.DataFrame) -> dict[str, Any]:
    """Compares the outlines' areas with those that SpaceNet gives, where no tile's edge cuts the building."""
    whole = footprints[~footprints["truncated"] & (footprints["origarea_m2"] > 0)]
    off = (whole["area_m2"] / whole["origarea_m2"] - 1).abs()
    odd = off[off > AREA_TOLERANCE].sort_values(ascending=False, kind="stable")
    worst = whole.loc[odd.index[:LISTED_AREAS], ["tile_id", "building_id", "area_m2", "origarea_m2"]]
    return {
        "truncated": int(footprints["truncated"].sum()),
        "compared": len(whole),
        "tolerance": AREA_TOLERANCE,
        "worst": float(off.max()) if len(off) else None,
        "disagreeing": len(odd),
        "worst_first": worst.to_dict("records"),
    }


def _labels(catalog: pd.DataFrame, footprints: pd.DataFrame, reports: list[TileReport]) -> dict[str, Any]:
    """How the CSV, which is scored, and the label files, which masks are made of, agree; outlines in tile pixels."""
    agreements = [report.agreement for report in reports if report.agreement is not None]
    differ = footprints["csv_iou"].isna() | (footprints["csv_distance_px"] > AGREED_PX)
    unequal = catalog[catalog["csv_count"] != catalog["building_count"]]
    matched = footprints["csv_iou"].notna()
    return {
        "csv_polygons": sum(each.csv_count for each in agreements),
        "csv_invalid": sum(each.csv_invalid for each in agreements),
        "matched": int(matched.sum()),
        "csv_alone": sum(each.csv_alone for each in agreements),
        "geojson_alone": int((~matched).sum()),
        "moved": int((matched & differ).sum()),
        "tolerance_px": AGREED_PX,
        "worst_distance_px": _or_none(footprints["csv_distance_px"].max()),
        "worst_iou": _or_none(footprints["csv_iou"].min()),
        "tiles_not_in_csv": catalog.loc[~catalog["in_csv"], "tile_id"].tolist(),
        "tiles_of_other_count": unequal[["tile_id", "csv_count", "building_count"]].to_dict("records"),
        "tiles_that_differ": _by_tile(catalog, footprints[differ]),
    }


def _by_tile(catalog: pd.DataFrame, differing: pd.DataFrame) -> list[dict[str, Any]]:
    """One row for each tile with a footprint or a polygon that has no equal; footprints.parquet has each footprint."""
    found = differing.groupby("tile_id").agg(
        alone=("csv_iou", lambda iou: int(iou.isna().sum())),
        moved=("csv_iou", "count"),
        worst_iou=("csv_iou", "min"),
        worst_distance_px=("csv_distance_px", "max"),
    )
    rows = catalog.set_index("tile_id")[["csv_alone"]].join(found)
    rows = rows[(rows["csv_alone"] > 0) | rows["alone"].notna()]
    return [
        {
            "tile_id": str(row.Index),
            "csv_alone": int(row.csv_alone),
            "geojson_alone": int(np.nan_to_num(row.alone)),
            "moved": int(np.nan_to_num(row.moved)),
            "worst_iou": _or_none(row.worst_iou),
            "worst_distance_px": _or_none(row.worst_distance_px),
        }
        for row in rows.itertuples()
    ]


def _or_none(value: float) -> float | None:
    return None if pd.isna(value) else float(value)
