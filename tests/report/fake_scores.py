"""The parts of an invented scores.json, in the form that the score stage writes."""

from __future__ import annotations

from typing import Any

import pandas as pd

from sspipe.score.stage import breakdowns

AREA_EDGES_M2 = (4, 8, 16)
HEIGHT_EDGES_M = (6, 10, 20)


def with_places(tiles: pd.DataFrame) -> pd.DataFrame:
    """Adds strip and orientation to a table of test tiles, as `fake_results` lays them; each tile is a block."""
    strips = tiles["tile_id"].str.rsplit("_tile_", n=1).str[0]
    return tiles.assign(strip=strips, orientation=strips.str[12:14].astype(int) % 2, block=tiles["tile_id"])


def score_parts(tiles: pd.DataFrame, buildings: pd.DataFrame, f1: float) -> dict[str, Any]:
    """What scores.json has besides the scores of all tiles: computed from the tables, but F1 at other IoU is invented.

    Args:
        tiles: `with_places`.
        buildings: tile_id, building_id, kind, matched, area_m2.
        f1: of all tiles.
    """
    heights = 3 + (7 * buildings["building_id"] % 25).astype(float)
    curve = {f"{0.5 + 0.05 * step:.2f}": f1 * (1 - step / 9) for step in range(10)}
    return {
        **breakdowns(tiles, buildings.assign(height_m=heights), AREA_EDGES_M2, HEIGHT_EDGES_M, 40),
        "f1_at_iou": curve,
        "intervals": {f"f1_at_{iou}": [0.9 * value, 1.1 * value] for iou, value in curve.items()},
    }
