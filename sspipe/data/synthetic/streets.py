"""The street plan: an area cut into blocks by streets and canals that meet at slightly odd angles."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from shapely.affinity import rotate
from shapely.geometry import LineString, Point, Polygon, box

BLOCK_LENGTH_M = 105.0  # a block longer than this, or larger than the area below, is cut again
BLOCK_AREA_M2 = 6500.0
CANAL_GAP_M, CANAL_WATER_M = 26.0, 13.0


@dataclass(frozen=True)
class Frame:
    """A rectangle on the map with its own coordinates: u along its length and v across (counter-clockwise), m.

    Attributes:
        corner: (x, y) of u = v = 0.
        along, across: unit vectors (x, y).
    """

    corner: np.ndarray
    along: np.ndarray
    across: np.ndarray
    length_m: float
    width_m: float

    def to_map(self, geometry: Any) -> Any:
        """Moves a geometry, or an array of them, from (u, v) to (x, y)."""
        return shapely.transform(geometry, lambda uv: self.corner + uv[:, :1] * self.along + uv[:, 1:] * self.across)

    @property
    def turn(self) -> float:
        """Direction of u, radians from east towards north."""
        return math.atan2(self.along[1], self.along[0])


def cut_blocks(area: Polygon, rng: np.random.Generator) -> tuple[list[Polygon], list[Polygon]]:
    """Cuts an area along its long side, again and again, leaving a street at each cut.

    Long pieces get wide streets, some of them with a canal, and the widest variation in direction, so that whole
    districts are turned against each other while the streets inside one are nearly parallel.

    Args:
        area: the city's ground, m.
        rng: source of the choices.

    Returns:
        the blocks (convex, without the streets around them), and the water of the canals.
    """
    blocks, canals, todo = [], [], [area]
    while todo:
        piece = todo.pop()
        frame = frame_of(piece)
        along, across, length, width = frame.along, frame.across, frame.length_m, frame.width_m
        if length <= BLOCK_LENGTH_M and piece.area <= BLOCK_AREA_M2:
            if width >= 18 and piece.area > 500:
                blocks.append(piece)
            continue
        large = length > 250
        turn = math.radians(rng.normal(0, 11 if large else 2))
        gap = 12.0 if length > 500 else 8.5 if large else float(rng.choice([5.5, 6.5]))
        has_canal = large and rng.random() < 0.12
        if has_canal:
            gap = CANAL_GAP_M
        # Cut between 40 and 60 % of the length, through the middle of the width.
        middle = frame.corner + along * length * rng.uniform(0.4, 0.6) + across * width / 2
        direction = across * math.cos(turn) + along * math.sin(turn)
        normal = np.array([direction[1], -direction[0]])
        reach = length + width
        if has_canal:
            water = LineString([middle - direction * reach, middle + direction * reach]).buffer(CANAL_WATER_M / 2)
            canals.append(water.intersection(piece))
        for side in (-1, 1):
            near = middle + normal * side * gap / 2
            far = near + normal * side * reach
            half = Polygon(
                [near - direction * reach, near + direction * reach, far + direction * reach, far - direction * reach]
            )
            part = piece.intersection(half)
            if isinstance(part, Polygon) and not part.is_empty:
                todo.append(part)
    return blocks, canals


def frame_of(polygon: Polygon) -> Frame:
    """The smallest rectangle around a polygon, its longer side along."""
    ring = np.asarray(shapely.minimum_rotated_rectangle(polygon).exterior.coords)[:4]
    if not Polygon(ring).exterior.is_ccw:
        ring = ring[::-1]
    first, second = ring[1] - ring[0], ring[2] - ring[1]
    length, width = float(np.hypot(*first)), float(np.hypot(*second))
    if length >= width:
        return Frame(ring[0], first / length, second / width, length, width)
    return Frame(ring[1], second / width, -first / length, width, length)


def plot_in(block: Polygon) -> Frame:
    """The smallest rectangle around a block, drawn in until it lies inside but for slivers."""
    whole = frame_of(block)
    plot = whole
    for inset in range(13):
        if whole.width_m - 2 * inset < 15:
            break
        corner = whole.corner + (whole.along + whole.across) * inset
        plot = Frame(corner, whole.along, whole.across, whole.length_m - 2 * inset, whole.width_m - 2 * inset)
        outline = plot.to_map(box(0, 0, plot.length_m, plot.width_m))
        if outline.intersection(block).area > 0.996 * outline.area:
            break
    return plot


def open_ground(bounds: tuple[float, float, float, float], tile_m: float, rng: np.random.Generator) -> list[Polygon]:
    """Polders that stay free of buildings and are wide enough that some tiles lie in them.

    Args:
        bounds: west, south, east, north of the tiles, m.
        tile_m: side of a tile, m.
        rng: source of small turns.
    """
    west, south, east, north = bounds
    count = max(1, round((east - west) * (north - south) / tile_m**2 / 30))
    polders = []
    for index in range(count):
        x = west + ((0.6 + 0.618 * index) % 1) * (east - west)
        y = south + ((0.3 + 0.4 * index) % 1) * (north - south)
        shape = box(x - 1.05 * tile_m, y - 0.75 * tile_m, x + 1.05 * tile_m, y + 0.75 * tile_m)
        polders.append(rotate(shape, rng.uniform(-3, 3), origin=Point(x, y)))
    return polders
