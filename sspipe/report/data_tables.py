"""Tables behind the data report's figures: tables in, tables out."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import pandas as pd
import shapely

# Of SpaceNet 6 itself: its 3401 tiles' valid SAR pixels.
REAL_SAR_MEAN = (28.63, 36.10, 33.84, 26.21)
REAL_SAR_STD = (8.41, 8.27, 8.32, 8.64)
VIEWS = ("sar", "eo")
_FLOWN = re.compile(r"(\d{4})(\d\d)(\d\d)\d{6}_\d{14}")  # SpaceNet 6 names a strip by its beginning and end


def strip_table(catalog: pd.DataFrame) -> pd.DataFrame:
    """One row a strip: strip, orientation, date, tiles, outline (the union of its tiles, map coordinates).

    The date is ISO, and empty for a strip whose name says none.
    """
    side = catalog["size_px"] * catalog["pixel_m"]
    boxes = shapely.box(
        catalog["easting_m"], catalog["northing_m"] - side, catalog["easting_m"] + side, catalog["northing_m"]
    )
    rows = []
    for strip, places in catalog.reset_index(drop=True).groupby("strip").indices.items():
        name = str(strip)
        rows.append(
            {
                "strip": name,
                "orientation": int(catalog["orientation"].iloc[places[0]]),
                "date": "-".join(flown.groups()) if (flown := _FLOWN.fullmatch(name)) else "",
                "tiles": len(places),
                "outline": shapely.union_all(boxes[places]),
            }
        )
    return pd.DataFrame(rows)


def band_table(name: str, values: Mapping[str, Any], spacenet6: bool = True) -> pd.DataFrame:
    """One row a band of `sar` or `eo`: band, count, min, max, mean, std, real_mean, real_std (NaN but for SAR).

    Args:
        name: of the image.
        values: `values[name]` of catalog.json.
        spacenet6: whether there are values of SpaceNet 6 to hold them against.
    """
    table = pd.DataFrame(values["bands"], columns=["count", "min", "max", "mean", "std"]).astype(float)
    table.insert(0, "band", values["band_names"][: len(table)])
    real = name == "sar" and spacenet6
    table["real_mean"] = pd.Series(REAL_SAR_MEAN if real else [], dtype=float)
    table["real_std"] = pd.Series(REAL_SAR_STD if real else [], dtype=float)
    return table


def histogram_table(values: Mapping[str, Any]) -> pd.DataFrame:
    """One row a band and bin: band, left (edge), width, share of the band's valid pixels.

    Args:
        values: those of one image in catalog.json.
    """
    first, width = values["expected"][0], values["bin_width"]
    rows = [
        {"band": band, "left": first + place * width, "width": width, "share": pixels / max(1, found["count"])}
        for band, found in zip(values["band_names"], values["bands"], strict=True)
        for place, pixels in enumerate(found["histogram"])
    ]
    return pd.DataFrame(rows)


def product_table(manifest: Mapping[str, Any]) -> pd.DataFrame:
    """One row a product of the archive: product, files, gigabytes, used.

    Args:
        manifest: raw.json.
    """
    rows = [
        {"product": product, "files": entry["members"], "gigabytes": entry["bytes"] / 1e9, "used": used}
        for part, used in (("products", True), ("skipped", False))
        for product, entry in manifest[part].items()
    ]
    return pd.DataFrame(rows, columns=["product", "files", "gigabytes", "used"])


def left_out_table(left_out: Mapping[str, Any]) -> pd.DataFrame:
    """One row a tile that was left out: tile_id, reasons as text.

    Args:
        left_out: `left_out` of catalog.json.
    """
    rows = [{"tile_id": tile["tile_id"], "reasons": "; ".join(tile["reasons"])} for tile in left_out["tiles"]]
    return pd.DataFrame(rows, columns=["tile_id", "reasons"])
