"""Tables behind the data report's figures: tables in, tables out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
import shapely

# Of SpaceNet 6 itself: its 3401 tiles' valid SAR pixels.
REAL_SAR_MEAN = (28.63, 36.10, 33.84, 26.21)
REAL_SAR_STD = (8.41, 8.27, 8.32, 8.64)
BANDS = {"sar": ("HH", "HV", "VH", "VV"), "eo": ("red", "green", "blue", "near infrared")}


def strip_table(catalog: pd.DataFrame) -> pd.DataFrame:
    """One row a strip: strip, orientation, date (ISO), tiles, outline (the union of its tiles, EPSG:32631)."""
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
                "date": f"{name[:4]}-{name[4:6]}-{name[6:8]}",
                "tiles": len(places),
                "outline": shapely.union_all(boxes[places]),
            }
        )
    return pd.DataFrame(rows)


def band_table(name: str, values: Mapping[str, Any]) -> pd.DataFrame:
    """One row a band of `sar` or `eo`: band, count, min, max, mean, std, real_mean, real_std (NaN for EO).

    Args:
        name: of the image.
        values: `values[name]` of catalog.json.
    """
    table = pd.DataFrame(values["bands"], columns=["count", "min", "max", "mean", "std"]).astype(float)
    table.insert(0, "band", BANDS[name][: len(table)])
    table["real_mean"] = pd.Series(REAL_SAR_MEAN if name == "sar" else [], dtype=float)
    table["real_std"] = pd.Series(REAL_SAR_STD if name == "sar" else [], dtype=float)
    return table


def histogram_table(name: str, values: Mapping[str, Any]) -> pd.DataFrame:
    """One row a band and bin: band, left (edge), width, share of the band's valid pixels.

    Args:
        name: of the image.
        values: `values[name]` of catalog.json.
    """
    width = values["bin_width"]
    rows = [
        {"band": band, "left": place * width, "width": width, "share": pixels / max(1, found["count"])}
        for band, found in zip(BANDS[name], values["bands"], strict=True)
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
