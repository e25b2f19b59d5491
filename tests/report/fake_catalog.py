"""A catalog of the size of SpaceNet 6: the real tiles' places, with invented values, for the data report."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pandas as pd
import shapely

from sspipe.data.spacenet6 import EO_BANDS, SAR_BANDS

GEOMETRY = Path(__file__).parents[1] / "data" / "tile_geometry.csv.gz"
SIDE_M = 450.0
SAR_MEAN, SAR_STD = (28.6, 36.1, 33.8, 26.2), (8.4, 8.3, 8.3, 8.6)


def make_fake_catalog(root: Path, tiles: int | None = None, clean: bool = False) -> dict[str, Any]:
    """Writes what `describe_tiles` reads.

    Args:
        root: folder to write into.
        tiles: the first so many of the 3401; None for all.
        clean: without anything odd in the data.

    Returns:
        the arguments of `describe_tiles`.
    """
    rng = np.random.default_rng(0)
    catalog = pd.read_csv(GEOMETRY).rename(columns={"image_id": "tile_id"}).head(tiles)
    catalog["strip"] = catalog["tile_id"].str.split("_tile_").str[0]
    catalog["size_px"], catalog["pixel_m"], catalog["epsg"] = 900, 0.5, 32631
    catalog["sar_no_data_fraction"] = rng.beta(0.3, 2, len(catalog))
    catalog["eo_no_data_fraction"] = catalog["sar_no_data_fraction"]
    catalog["building_count"] = rng.poisson(20, len(catalog)) if not clean else 1
    footprints = _footprints(catalog, rng, clean)
    root.mkdir(parents=True, exist_ok=True)
    catalog.to_parquet(root / "catalog.parquet")
    footprints.to_parquet(root / "footprints.parquet")
    (root / "catalog.json").write_text(json.dumps(_report(catalog, footprints, clean)))
    products = {name: {"members": len(catalog), "bytes": 10**9} for name in ("SAR-Intensity", "PS-RGBNIR")}
    skipped = {"PAN": {"members": len(catalog), "bytes": 3 * 10**9}}
    (root / "raw.json").write_text(
        json.dumps(
            {"products": products, "skipped": skipped, "unknown": {"members": 3, "names": ["./train/README.txt"]}}
        )
    )
    return {
        "catalog": root / "catalog.parquet",
        "catalog_report": root / "catalog.json",
        "footprints": root / "footprints.parquet",
        "manifest": root / "raw.json",
        "title": "Buildings from radar",
        "min_area_px": 80,
        "source": "s3",
        "out": root / "catalog.html",
    }


def _footprints(catalog: pd.DataFrame, rng: np.random.Generator, clean: bool) -> geopandas.GeoDataFrame:
    where = np.repeat(np.arange(len(catalog)), catalog["building_count"])
    area = rng.lognormal(4.5, 1.1, len(where))
    distance = rng.lognormal(-14, 1, len(where))
    if not clean:
        distance[::50] = rng.lognormal(0, 1, len(distance[::50]))
        distance[7] = np.nan
    places = shapely.points(catalog["easting_m"].to_numpy()[where] + 5, catalog["northing_m"].to_numpy()[where] - 5)
    return geopandas.GeoDataFrame(
        {
            "tile_id": catalog["tile_id"].to_numpy()[where],
            "building_id": rng.integers(25000, 73000, len(where)),
            "height_m": rng.gamma(4, 2, len(where)),
            "area_m2": area,
            "csv_distance_px": distance,
        },
        geometry=shapely.buffer(places, np.sqrt(area / np.pi)),
        crs=32631,
    )


def _report(catalog: pd.DataFrame, footprints: pd.DataFrame, clean: bool) -> dict[str, Any]:
    names = catalog["tile_id"].tolist()
    odd = [] if clean else names
    problems = [{"tile_id": n, "building_id": 3, "problem": "is invalid (Ring)", "action": "repaired"} for n in odd[:3]]
    differing = [
        {"tile_id": n, "csv_alone": 1, "geojson_alone": 0, "moved": 2, "worst_iou": 0.7, "worst_distance_px": 3.25}
        for n in odd[:60]
    ]
    gone = [{"tile_id": f"{n}9", "reasons": ["no EO image"]} for n in odd[:55]]
    return {
        "tiles": len(catalog),
        "strips": int(catalog["strip"].nunique()),
        "orientation": _turned(catalog),
        "strip_orientation": _turned(catalog.drop_duplicates("strip")),
        "no_data_fraction": float(catalog["sar_no_data_fraction"].mean()),
        "buildings": len(footprints),
        "distinct_buildings": int(footprints["building_id"].nunique()),
        "footprints": {
            "kept": len(footprints) - len(problems),
            "repaired": len(problems),
            "skipped": 0,
            "problems": problems,
        },
        "left_out": {"count": len(gone), "share": 0.016, "reasons": {"no EO image": len(gone)}, "tiles": gone},
        "other_files": [f"train/AOI_11_Rotterdam/SAR-Intensity/{n}.tif.aux.xml" for n in odd[:2]],
        "values": {
            "sar": _values(SAR_MEAN, SAR_STD, 1e-5, 1, 100, odd[:2], [0, 100], SAR_BANDS),
            "eo": _values((320, 340, 310, 580), (140, 120, 130, 330), 3, 16, 141, [], [0, 2250], EO_BANDS),
        },
        "areas": {
            "truncated": 12,
            "compared": len(footprints) - 12,
            "tolerance": 0.005,
            "worst": 0.31,
            "disagreeing": 1 if odd else 0,
            "worst_first": [
                {"tile_id": n, "building_id": 25001, "area_m2": 131.0, "origarea_m2": 100.0} for n in odd[:1]
            ],
        },
        "labels": {
            "csv_polygons": len(footprints),
            "csv_invalid": 0,
            "matched": len(footprints),
            "csv_alone": len(differing),
            "geojson_alone": 0,
            "moved": 2 * len(differing),
            "tolerance_px": 0.01,
            "worst_distance_px": float(footprints["csv_distance_px"].max()),
            "worst_iou": 0.7,
            "tiles_not_in_csv": odd[:1],
            "tiles_only_in_csv": [],
            "tiles_of_other_count": [{"tile_id": n, "csv_count": 3, "building_count": 2} for n in odd[:60]],
            "tiles_that_differ": differing,
        },
    }


def _turned(table: pd.DataFrame) -> dict[str, int]:
    return {str(value): int((table["orientation"] == value).sum()) for value in (0, 1)}


def _values(
    means: tuple[float, ...],
    deviations: tuple[float, ...],
    least: float,
    step: int,
    bins: int,
    odd: list[str],
    expected: list[int],
    names: tuple[str, ...],
) -> dict[str, Any]:
    middles = (np.arange(bins) + 0.5) * step
    bands = []
    for mean, deviation in zip(means, deviations, strict=True):
        counts = np.round(1e6 * np.exp(-(((middles - mean) / deviation) ** 2) / 2)).astype(int)
        bands.append(
            {
                "count": int(counts.sum()),
                "min": least,
                "max": float(middles[-1]),
                "mean": mean,
                "std": deviation,
                "histogram": counts.tolist(),
            }
        )
    return {
        "bands": bands,
        "bin_width": step,
        "expected": expected,
        "out_of_range": [{"tile_id": name, "count": 4, "min": -1.0, "max": 101.0} for name in odd],
        "empty_tiles": odd[:1],
        "missing_tiles": [],
        "band_names": names,
    }
