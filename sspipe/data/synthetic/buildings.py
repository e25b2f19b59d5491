"""Buildings of one block, in the block's own frame: u along its length, v across, m."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import shapely
from shapely.geometry import Polygon, box

FLAT = float("nan")  # the aspect of a roof without a slope

# Roofs by name; `optical` and `radar` say what they look like.
ROOFS = ("red tile", "brown tile", "dark tile", "gravel", "bitumen", "light", "metal")


@dataclass(frozen=True)
class RoofFace:
    """One plane of a roof: outline, mean height, and where it faces (radians from +u towards +v; NaN: flat)."""

    outline: Polygon
    height_m: float
    aspect: float


@dataclass(frozen=True)
class Building:
    """A footprint with its roof."""

    footprint: Polygon
    faces: tuple[RoofFace, ...]
    roof: str
    height_m: float  # mean of the roof
    height_spread_m: float  # standard deviation over the roof


def plan_block(use: str, length_m: float, width_m: float, rng: np.random.Generator) -> list[Building]:
    """Draws the buildings of a block of the given use; some may stick out of a block that is no rectangle."""
    return PLANS[use](length_m, width_m, rng) if use in PLANS else []


def _terraces(length: float, width: float, rng: np.random.Generator) -> list[Building]:
    """Rows of houses with gardens between; most rows are one footprint, as in SpaceNet 6, some are touching houses."""
    found = []
    depth, front, height = rng.uniform(9, 10.5), rng.uniform(2.5, 4), rng.uniform(5.5, 8)
    roof = _pick(rng, {"red tile": 0.5, "brown tile": 0.25, "dark tile": 0.25})
    for v in _rows(front, width - front, depth, rng.uniform(12, 16)):
        u = front + rng.uniform(0, 3)
        while True:
            touching = rng.random() < 0.12
            unit = rng.uniform(7, 8.5) if touching else rng.uniform(5.6, 7)
            count = int(rng.integers(2, 5)) if touching else int(rng.integers(3, 8))
            count = min(count, int((length - front - u) / unit))
            if count < 2:
                break
            house_height = height + rng.normal(0, 0.2)
            if touching:
                for k in range(count):
                    step = rng.uniform(-0.6, 0.6)
                    found.append(
                        _pitched(u + k * unit, v + step, u + (k + 1) * unit, v + step + depth, house_height, roof)
                    )
            else:
                found.append(_row_of_houses(u, v, unit, count, depth, house_height, roof))
            for k in range(count):
                if rng.random() < 0.15:
                    shed_u, shed_v = u + (k + 0.2) * unit, v + depth + rng.uniform(5, 7)
                    found.append(_flat(box(shed_u, shed_v, shed_u + 2.6, shed_v + 3.2), 2.4, "bitumen"))
            u += count * unit + rng.uniform(3.5, 6)
    return found


def _detached(length: float, width: float, rng: np.random.Generator) -> list[Building]:
    found = []
    front = rng.uniform(3, 4.5)
    for v in _rows(front, width - front, 11.5, rng.uniform(7, 11)):
        u = front
        while u + 13 < length - front:
            long, deep, height = rng.uniform(9, 13), rng.uniform(8.5, 11), rng.uniform(5, 7.5)
            roof = _pick(rng, {"red tile": 0.4, "brown tile": 0.2, "dark tile": 0.25, "light": 0.15})
            set_back = v + rng.uniform(0, 1.5)
            if rng.random() < 0.3:
                found.append(
                    _flat(_l_shape(u, set_back, long, deep, rng), height - 1, _pick(rng, {"gravel": 0.6, "light": 0.4}))
                )
            else:
                found.append(_pitched(u, set_back, u + long, set_back + deep, height, roof))
            u += long + rng.uniform(3.5, 7)
    return found


def _slabs(length: float, width: float, rng: np.random.Generator) -> list[Building]:
    """Blocks of flats on lawns."""
    found = []
    depth, height, roof = rng.uniform(11, 13), rng.uniform(10, 18), _pick(rng, {"gravel": 0.6, "light": 0.4})
    for v in _rows(3, width - 3, depth, rng.uniform(15, 20)):
        u = 6 + rng.uniform(0, 6)
        while u + 25 < length - 5:
            long = min(rng.uniform(28, 52), length - 5 - u)
            found.append(_flat(box(u, v, u + long, v + depth), height, roof))
            u += long + rng.uniform(9, 16)
    return found


def _perimeter(length: float, width: float, rng: np.random.Generator) -> list[Building]:
    """Houses around a courtyard."""
    found = []
    pieces = 2 if length > 72 else 1
    each = (length - 6 - 8 * (pieces - 1)) / pieces
    for piece in range(pieces):
        u, v, deep = 3 + piece * (each + 8), 3.0, min(width - 6, rng.uniform(34, 48))
        ring, height = rng.uniform(9.5, 11.5), rng.uniform(8, 12)
        outline = box(u, v, u + each, v + deep)
        court = (
            box(u + ring, v + ring, u + each - ring, v + deep - ring) if min(each, deep) > 2 * ring + 7 else Polygon()
        )
        if not court.is_empty and rng.random() < 0.3:  # open on one side
            court = court.union(box(u + each / 2 - 4, v + ring, u + each / 2 + 4, v + deep + 1))
        found.append(
            _flat(outline.difference(court), height, _pick(rng, {"gravel": 0.5, "bitumen": 0.2, "red tile": 0.3}))
        )
    return found


def _industrial(length: float, width: float, rng: np.random.Generator) -> list[Building]:
    """Large halls of several parts with different heights."""
    found = []
    v = 3.0
    while width - 2 - v >= 16:
        deep = min(width - 2 - v, rng.uniform(26, 40))
        u = 3.0
        while length - 3 - u >= 24:
            long = min(rng.uniform(30, 55), length - 3 - u)
            hall = _hall(u, v, long, deep, rng)
            if hall is not None:
                found.append(hall)
            u += long + rng.uniform(7, 14)
        v += deep + rng.uniform(8, 14)
    return found


def _hall(u: float, v: float, long: float, deep: float, rng: np.random.Generator) -> Building | None:
    """A hall with a lower wing and a higher office; None in the rare case that they do not hang together."""
    height, roof = rng.uniform(6, 10), _pick(rng, {"metal": 0.45, "light": 0.25, "gravel": 0.3})
    office_deep = deep * rng.uniform(0.15, 0.25)
    hall = box(u, v, u + long * rng.uniform(0.55, 0.75), v + deep - office_deep)
    wing = box(u, v + deep * 0.15, u + long, v + deep * rng.uniform(0.5, 0.7)).difference(hall)
    office = box(u + long * 0.2, v + deep - office_deep, u + long * 0.45, v + deep)
    faces = (RoofFace(hall, height, FLAT), RoofFace(wing, height - 2, FLAT), RoofFace(office, height + 1, FLAT))
    whole = shapely.union_all([face.outline for face in faces])
    return _building(whole, faces, roof, 0.05) if isinstance(whole, Polygon) else None


def _mixed(length: float, width: float, rng: np.random.Generator) -> list[Building]:
    """Shops, schools and small offices: L-shapes and boxes of all sizes."""
    found = []
    pitch_v = rng.uniform(24, 29)
    for v in np.arange(3, width - 15, pitch_v):
        u = 4.0
        while u + 14 < length - 4:
            long, deep, height = rng.uniform(14, 30), min(rng.uniform(12, 22), width - 2 - v), rng.uniform(4.5, 9)
            long = min(long, length - 4 - u)
            roof = _pick(rng, {"gravel": 0.45, "light": 0.2, "bitumen": 0.15, "metal": 0.2})
            shape = _l_shape(u, v, long, deep, rng) if rng.random() < 0.5 else box(u, v, u + long, v + deep)
            found.append(_flat(shape, height, roof))
            u += long + rng.uniform(4, 9)
    return found


PLANS: dict[str, Callable[[float, float, np.random.Generator], list[Building]]] = {
    "terraces": _terraces,
    "detached": _detached,
    "slabs": _slabs,
    "perimeter": _perimeter,
    "industrial": _industrial,
    "mixed": _mixed,
}


def _rows(first: float, last: float, depth: float, gap: float) -> np.ndarray:
    """Where rows of `depth` begin, so that they fill the block from one side to the other at least `gap` apart."""
    count = int((last - first + gap) // (depth + gap))
    if count < 1:
        return np.empty(0)
    return np.linspace(first, last - depth, count) if count > 1 else np.array([first])


def _pitched(u0: float, v0: float, u1: float, v1: float, height: float, roof: str) -> Building:
    """A house whose ridge runs along u, or along v where it is deeper than long by far."""
    if v1 - v0 > 1.6 * (u1 - u0):
        middle = (u0 + u1) / 2
        halves = ((box(u0, v0, middle, v1), np.pi), (box(middle, v0, u1, v1), 0.0))
    else:
        middle = (v0 + v1) / 2
        halves = ((box(u0, v0, u1, middle), -np.pi / 2), (box(u0, middle, u1, v1), np.pi / 2))
    faces = tuple(RoofFace(half, height, float(aspect)) for half, aspect in halves)
    return _building(box(u0, v0, u1, v1), faces, roof, 0.8)


def _row_of_houses(u: float, v: float, unit: float, count: int, depth: float, height: float, roof: str) -> Building:
    """One footprint for a whole row; the party walls stay as corners on its long sides, as in the real labels."""
    near = [(u + k * unit, v) for k in range(count + 1)]
    far = [(u + k * unit, v + depth) for k in range(count, -1, -1)]
    ridge = v + depth / 2
    faces = tuple(
        RoofFace(box(u + k * unit, low, u + (k + 1) * unit, high), height, aspect)
        for k in range(count)
        for low, high, aspect in ((v, ridge, -np.pi / 2), (ridge, v + depth, np.pi / 2))
    )
    return _building(Polygon(near + far), faces, roof, 0.8)


def _flat(outline: Polygon, height: float, roof: str) -> Building:
    return _building(outline, (RoofFace(outline, height, FLAT),), roof, 0.02)


def _building(footprint: Polygon, faces: tuple[RoofFace, ...], roof: str, roughness_m: float) -> Building:
    areas = np.array([face.outline.area for face in faces])
    heights = np.array([face.height_m for face in faces])
    mean = float(np.average(heights, weights=areas))
    spread = float(np.sqrt(np.average((heights - mean) ** 2, weights=areas) + roughness_m**2))
    return Building(footprint, faces, roof, mean, spread)


def _l_shape(u: float, v: float, long: float, deep: float, rng: np.random.Generator) -> Polygon:
    """A rectangle without one of its corners."""
    u1, v1 = u + long, v + deep
    cut_u, cut_v = long * rng.uniform(0.35, 0.55), deep * rng.uniform(0.35, 0.5)
    west, south = rng.random() < 0.5, rng.random() < 0.5
    cut = box(
        u if west else u1 - cut_u, v if south else v1 - cut_v, u + cut_u if west else u1, v + cut_v if south else v1
    )
    return box(u, v, u1, v1).difference(cut)


def _pick(rng: np.random.Generator, shares: dict[str, float]) -> str:
    return str(rng.choice(list(shares), p=list(shares.values())))
