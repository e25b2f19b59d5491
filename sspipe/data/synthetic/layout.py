"""Where the strips fly and which tiles they are cut into."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import shapely
from shapely.geometry import Polygon

from sspipe.data.spacenet6 import tile_id_of

WEST_M, NORTH_M = 592318.620, 5749872.405  # upper-left corner of the flown area: in Rotterdam, as the real tiles are
PAIR_STEP_TILES = 0.45  # from one pair of strips to the next, so that a place is seen about three times
NO_DATA_SHARE = 0.14  # mean over the strips, as in SpaceNet 6
FLIGHT_DAYS = ("20190804111224", "20190822063412", "20190823071907")
GOLDEN = (math.sqrt(5) - 1) / 2  # multiples of it, modulo 1, spread evenly whatever their number


@dataclass(frozen=True)
class TilePlan:
    """One tile: its id, its place in the strip's grid and its upper-left corner (EPSG:32631)."""

    tile_id: str
    row: int
    column: int
    easting_m: float
    northing_m: float


@dataclass(frozen=True)
class StripPlan:
    """One pass of the radar. `swath` (EPSG:32631) is where it has data; `orientation` 0 is imaged from the north."""

    name: str
    orientation: int
    easting_m: float
    northing_m: float
    rows: int
    columns: int
    tiles: tuple[TilePlan, ...]
    swath: Polygon


def plan_strips(*, tile_m: float, strips: int, tiles_per_strip: int, seed: int) -> list[StripPlan]:
    """Plans strips that run east-west and overlap.

    Strips fly in pairs, one from the north and one from the south over nearly the same ground, and pairs follow one
    another southwards by less than half a tile. Every fourth pair has a second, shorter row of tiles. No shift is a
    multiple of the tile, so no two strips share a tile grid.

    Args:
        tile_m: side of a tile, m.
        strips: passes; half of them from each side.
        tiles_per_strip: tiles of each strip, both rows together.
        seed: of the shifts, the no-data and the times.

    Returns:
        the strips, in the order of their times.
    """
    rng = np.random.default_rng([seed, 1])
    no_data = rng.permutation(np.linspace(0.2, 1.8, strips)) * NO_DATA_SHARE
    names = _strip_names(strips, rng)
    plans: list[StripPlan] = []
    number = int(rng.integers(1, 60))
    for index, name in enumerate(names):
        pair = index // 2
        # A second row only where later pairs see the same ground.
        lower = tiles_per_strip // 3 if pair % 4 == 1 and pair + 2 < (strips + 1) // 2 else 0
        columns = tiles_per_strip - lower
        # A strip with two rows is shorter, so it lies at the west or the east end of the city, and its second row too.
        at_east = lower > 0 and index % 2 == 1
        shift = 0.7 * ((index * GOLDEN) % 1) + rng.uniform(-0.03, 0.03) + (tiles_per_strip - columns) * at_east
        drop = pair * PAIR_STEP_TILES + rng.uniform(-0.12, 0.12)
        easting, northing = WEST_M + round(shift * tile_m, 3), NORTH_M - round(drop * tile_m, 3)
        first_low = columns - lower if at_east else 0
        cells = [(0, column) for column in range(columns)] + [(1, first_low + column) for column in range(lower)]
        tiles = tuple(
            TilePlan(
                tile_id_of(name, number + 2 * column + row),
                row,
                column,
                round(easting + column * tile_m, 6),
                round(northing - row * tile_m, 6),
            )
            for row, column in sorted(cells, key=lambda cell: (cell[1], cell[0]))
        )
        number += 2 * columns + int(rng.integers(1, 30))
        rows = 2 if lower else 1
        width, height = columns * tile_m, rows * tile_m
        swath = _swath(easting, northing, width, height, no_data[index] * tile_m * rows, rng)
        plans.append(StripPlan(name, index % 2, easting, northing, rows, columns, tiles, swath))
    return plans


def bounds_of(plans: list[StripPlan], tile_m: float) -> tuple[float, float, float, float]:
    """The rectangle (west, south, east, north; m) that holds every tile."""
    corners = np.array([(tile.easting_m, tile.northing_m) for plan in plans for tile in plan.tiles])
    (west, low), (east, north) = corners.min(axis=0), corners.max(axis=0)
    return float(west), float(low - tile_m), float(east + tile_m), float(north)


def _swath(west: float, north: float, width: float, height: float, cut: float, rng: np.random.Generator) -> Polygon:
    """The strip's rectangle less `cut` metres (on average) of its north or south side, along a slightly tilted line."""
    slope = rng.uniform(0.004, 0.012) * rng.choice([-1, 1])
    share_north = rng.choice([1.0, 0.0, 0.5], p=[0.4, 0.4, 0.2])
    half_rise = slope * width / 2
    far = height  # an edge without no-data lies well outside the tiles
    top = [north - cut * share_north - rise if share_north else north + far for rise in (-half_rise, half_rise)]
    base = north - height
    low = [base + cut * (1 - share_north) - rise if share_north < 1 else base - far for rise in (-half_rise, half_rise)]
    east = west + width
    swath = Polygon([(west, top[0]), (east, top[1]), (east, low[1]), (west, low[0])])
    return shapely.normalize(swath)


def _strip_names(strips: int, rng: np.random.Generator) -> list[str]:
    """Start and end times, spread over the three days of the real flights."""
    names = []
    per_day = -(-strips // len(FLIGHT_DAYS))
    for index in range(strips):
        if index % per_day == 0:
            start = datetime.strptime(FLIGHT_DAYS[index // per_day], "%Y%m%d%H%M%S")
        end = start + timedelta(seconds=int(rng.integers(80, 170)))
        names.append(f"{start:%Y%m%d%H%M%S}_{end:%Y%m%d%H%M%S}")
        start = end + timedelta(seconds=int(rng.integers(150, 240)))
    return names
