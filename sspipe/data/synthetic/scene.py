"""The city as vectors: land cover, buildings with roofs, trees and cars, all in map coordinates (EPSG:32631, m)."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import shapely
from shapely.affinity import scale
from shapely.geometry import Point, Polygon, box
from shapely.ops import substring

from sspipe.data.synthetic.buildings import ROOFS, Building, plan_block
from sspipe.data.synthetic.streets import Frame, cut_blocks, open_ground, plot_in

# Land covers, in the order of their codes. What no polygon covers is road.
COVERS = (
    "road",
    "pavement",
    "garden",
    "grass",
    "water",
    "crop",
    "soil",
    "parking",
    "wood",
    "white car",
    "dark car",
    "red car",
)
CODE = {cover: code for code, cover in enumerate(COVERS)}
CAR_HEIGHT_M = 1.5

# One hand of uses, dealt to the blocks from west to east, so that every part of the city has some of each.
USES = (
    ("terraces",) * 6
    + ("detached",) * 4
    + ("slabs",) * 2
    + ("perimeter",) * 3
    + ("industrial",) * 3
    + ("mixed",) * 2
    + ("park",) * 2
    + ("meadow",)
    + ("parking",)
)
YARD = {"slabs": "grass", "industrial": "parking", "mixed": "pavement", "park": "grass", "parking": "parking"}
TREES_PER_M2 = {"park": 1 / 90, "meadow": 1 / 2500, "parking": 1 / 260, "industrial": 1 / 900}
MARGIN_M = 60.0  # city beyond the tiles: what lies there still casts shadows and layover into them


@dataclass(frozen=True)
class Scene:
    """Everything that stands or lies in the city.

    Attributes:
        land: (N,) polygons in the order of painting, and `land_code` (N,) their covers.
        footprints: (B,) polygons, with `height_m`, `height_spread_m` (B,) of their roofs.
        faces: (F,) roof planes, with `face_building` (F,) index of the building, `face_height_m` (F,),
            `face_aspect` (F,) direction faced in radians from east towards north (NaN: flat), `face_roof` (F,) index
            into `buildings.ROOFS`.
        trees: (T, 4) x, y, crown radius, height, m.
    """

    land: np.ndarray
    land_code: np.ndarray
    footprints: np.ndarray
    height_m: np.ndarray
    height_spread_m: np.ndarray
    faces: np.ndarray
    face_building: np.ndarray
    face_height_m: np.ndarray
    face_aspect: np.ndarray
    face_roof: np.ndarray
    trees: np.ndarray


def draw_scene(*, bounds: tuple[float, float, float, float], tile_m: float, seed: int) -> Scene:
    """Draws the city that the tiles see.

    Args:
        bounds: west, south, east, north of the tiles, m.
        tile_m: side of a tile, m; it decides how wide the open polders are.
        seed: everything follows from it.
    """
    rng = np.random.default_rng([seed, 2])
    area = box(*bounds).buffer(MARGIN_M, join_style="mitre")
    blocks, canals = cut_blocks(area, rng)
    polders = shapely.union_all(open_ground(bounds, tile_m, rng))
    draft = _Draft()
    for block, use in _deal(blocks, polders, rng):
        draft.add_block(block, use, polders, rng)
    for water in canals:
        draft.paint(water, "water")
    return draft.finish()


class _Draft:
    """A scene while it is drawn."""

    def __init__(self) -> None:
        self.land: list[Polygon] = []
        self.codes: list[int] = []
        self.cars: list[tuple[Polygon, str]] = []
        self.buildings: list[tuple[Building, Polygon, list[Polygon], float]] = []  # with geometry and turn of the block
        self.trees: list[np.ndarray] = []

    def paint(self, polygon: Polygon, cover: str) -> None:
        self.land.append(polygon)
        self.codes.append(CODE[cover])

    def add_block(self, block: Polygon, use: str, polders: Polygon, rng: np.random.Generator) -> None:
        inner = block.buffer(-2.0, join_style="mitre")
        if inner.is_empty:
            return
        plot = plot_in(block)
        self.paint(block, "pavement")
        self._add_ground(inner, use, plot, rng)
        clear = block.buffer(-1.5, join_style="mitre")
        shapely.prepare(clear)
        for building in plan_block(use, plot.length_m, plot.width_m, rng):
            footprint = plot.to_map(building.footprint)
            if clear.contains(footprint) and not polders.intersects(footprint):
                outlines = [plot.to_map(face.outline) for face in building.faces]
                self.buildings.append((building, footprint, outlines, plot.turn))
        self._add_trees(block, inner, use, rng)
        self._add_cars(block, use, plot, rng)

    def _add_ground(self, inner: Polygon, use: str, plot: Frame, rng: np.random.Generator) -> None:
        length, width = plot.length_m, plot.width_m
        if use == "meadow":
            # Long parcels with their own crops, ditches between them; they fill the block beyond the plot.
            edges = np.cumsum([-15.0, *rng.uniform(14, 34, 3 + int(width // 14))])
            for low, high in pairwise(edges):
                parcel = plot.to_map(box(-15, low + 0.7, length + 15, high - 0.7)).intersection(inner)
                self.paint(parcel, str(rng.choice(["crop", "grass", "soil"], p=[0.5, 0.35, 0.15])))
            return
        self.paint(inner, YARD.get(use, "garden"))
        if use == "park" and rng.random() < 0.5:
            pond = scale(Point(length / 2, width / 2).buffer(1), 0.3 * length, 0.18 * width)
            self.paint(plot.to_map(pond).intersection(inner), "water")
        elif use == "park":
            self.paint(inner.centroid.buffer(0.4 * width).intersection(inner), "wood")

    def _add_trees(self, block: Polygon, inner: Polygon, use: str, rng: np.random.Generator) -> None:
        ring = block.buffer(-1.0).exterior
        if use != "meadow" and not ring.is_empty and rng.random() < 0.5:  # an avenue
            steps = np.arange(4, ring.length - 4, rng.uniform(9, 13))
            points = shapely.get_coordinates(shapely.line_interpolate_point(ring, steps))
            points = points[rng.random(len(points)) < 0.7]
            self._plant(points, rng.uniform(1.6, 2.8, len(points)), rng)
        count = rng.poisson(inner.area * TREES_PER_M2.get(use, 1 / 240))
        west, south, east, north = inner.bounds
        points = np.column_stack([rng.uniform(west, east, count), rng.uniform(south, north, count)])
        points = points[shapely.contains_xy(inner, points)]
        self._plant(points, rng.uniform(1.3, 3.6, len(points)), rng)

    def _plant(self, points: np.ndarray, radii: np.ndarray, rng: np.random.Generator) -> None:
        self.trees.append(np.column_stack([points, radii, radii * rng.uniform(1.7, 2.6, len(points))]))

    def _add_cars(self, block: Polygon, use: str, plot: Frame, rng: np.random.Generator) -> None:
        places = []
        if use == "parking":
            for v in np.arange(8, plot.width_m - 8, 11.0):
                for u in np.arange(6, plot.length_m - 8, 2.8):
                    if rng.random() < 0.5:
                        places.append(plot.to_map(box(u, v, u + 1.8, v + 4.3)))
        elif use != "meadow":
            kerb = block.buffer(1.4, join_style="mitre").exterior
            steps = np.arange(0, kerb.length - 5, 5.6)
            for start in steps[rng.random(len(steps)) < 0.3]:
                places.append(substring(kerb, start, start + 4.2).buffer(0.9, cap_style="flat"))
        for place in places:
            self.cars.append((place, str(rng.choice(["white car", "dark car", "red car"], p=[0.45, 0.4, 0.15]))))

    def finish(self) -> Scene:
        for polygon, cover in self.cars:
            self.paint(polygon, cover)
        footprints = np.array([footprint for _, footprint, _, _ in self.buildings], dtype=object)
        trees = np.concatenate(self.trees)
        # Keep the trees whose crowns stay clear of the houses (they may still touch a corner).
        if len(footprints) and len(trees):
            crowns = shapely.buffer(shapely.points(trees[:, :2]), trees[:, 2] * 0.8)
            taken = shapely.STRtree(crowns).query(footprints, predicate="intersects")[1]
            trees = np.delete(trees, np.unique(taken), axis=0)
        keep = np.array([not shapely.is_empty(polygon) for polygon in self.land])
        records = [
            (outline, index, face.height_m, face.aspect + turn, ROOFS.index(building.roof))
            for index, (building, _, outlines, turn) in enumerate(self.buildings)
            for face, outline in zip(building.faces, outlines, strict=True)
        ]
        return Scene(
            land=np.array(self.land, dtype=object)[keep],
            land_code=np.array(self.codes, dtype=np.uint8)[keep],
            footprints=footprints,
            height_m=np.round([building.height_m for building, *_ in self.buildings], 2),
            height_spread_m=np.round([building.height_spread_m for building, *_ in self.buildings], 3),
            faces=np.array([record[0] for record in records], dtype=object),
            face_building=np.array([record[1] for record in records], dtype=np.int64),
            face_height_m=np.array([record[2] for record in records], dtype=np.float32),
            face_aspect=np.array([record[3] for record in records], dtype=np.float32),
            face_roof=np.array([record[4] for record in records], dtype=np.int64),
            trees=trees,
        )


def _deal(blocks: list[Polygon], polders: Polygon, rng: np.random.Generator) -> list[tuple[Polygon, str]]:
    """Gives each block a use; those that lie mostly in a polder are meadows."""
    blocks = sorted(blocks, key=lambda block: (block.centroid.x, block.centroid.y))
    hand: list[str] = []
    dealt = []
    for block in blocks:
        if polders.contains(block.centroid):
            dealt.append((block, "meadow"))
            continue
        if not hand:
            hand = list(rng.permutation(USES))
        dealt.append((block, str(hand.pop())))
    return dealt
