"""A window of the city as rasters, and what a ray from one side can see of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import shapely
from affine import Affine
from rasterio.features import rasterize
from scipy import ndimage
from shapely.geometry import box, mapping

from sspipe.data.synthetic.scene import CAR_HEIGHT_M, CODE, Scene

TEXTURE_PERIOD_PX = 1024
TEXTURE_SCALES_PX = (0, 2, 8, 30)  # standard deviation of the Gaussian that each texture is smoothed with
CAR_CODES = tuple(CODE[cover] for cover in ("white car", "dark car", "red car"))


@dataclass(frozen=True)
class Window:
    """A piece of map as a pixel grid: upper-left corner (m), pixel size (m), rows and columns."""

    easting_m: float
    northing_m: float
    pixel_m: float
    rows: int
    columns: int

    @property
    def transform(self) -> Affine:
        """From (column, row) to (easting, northing)."""
        return Affine(self.pixel_m, 0, self.easting_m, 0, -self.pixel_m, self.northing_m)

    @property
    def outline(self) -> shapely.Polygon:
        """The window's rectangle on the map."""
        width, height = self.columns * self.pixel_m, self.rows * self.pixel_m
        return box(self.easting_m, self.northing_m - height, self.easting_m + width, self.northing_m)

    def grown(self, rows: int, columns: int) -> Window:
        """The window with this many more rows (columns) on both sides."""
        east, north = self.easting_m - columns * self.pixel_m, self.northing_m + rows * self.pixel_m
        return Window(east, north, self.pixel_m, self.rows + 2 * rows, self.columns + 2 * columns)


@dataclass(frozen=True)
class Relief:
    """Rasters of a window, each (rows, columns); row 0 is north.

    Attributes:
        cover: uint8, code of the land cover.
        face: int32, index of the roof plane, -1 outside buildings.
        height_m: float32, above the ground: roofs, crowns of trees, cars.
        is_tree: bool.
    """

    cover: np.ndarray
    face: np.ndarray
    height_m: np.ndarray
    is_tree: np.ndarray


class Rasterizer:
    """Draws windows of one scene; it keeps the indexes that make a window cheap."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._land = shapely.STRtree(scene.land)
        self._faces = shapely.STRtree(scene.faces)
        self._trees = shapely.STRtree(shapely.points(scene.trees[:, :2]))

    def draw(self, window: Window) -> Relief:
        """Draws one window."""
        scene, shape = self._scene, (window.rows, window.columns)
        land = np.sort(self._land.query(window.outline))
        cover = _burn(scene.land[land], scene.land_code[land], window, fill=CODE["road"], dtype="uint8")
        faces = np.sort(self._faces.query(window.outline))
        face = _burn(scene.faces[faces], faces, window, fill=-1, dtype="int32")
        height = np.zeros(shape, np.float32)
        height[np.isin(cover, CAR_CODES)] = CAR_HEIGHT_M
        crowns = self._crowns(window)
        built = face >= 0
        is_tree = (crowns > height) & ~built
        height = np.where(is_tree, crowns, height)
        if built.any():
            height[built] = scene.face_height_m[face[built]]
        return Relief(cover, face, height, is_tree)

    def _crowns(self, window: Window) -> np.ndarray:
        """Heights of the tree crowns, (rows, columns) float32: domes on a stem, 0 elsewhere."""
        heights = np.zeros((window.rows, window.columns), np.float32)
        for index in np.sort(self._trees.query(window.outline.buffer(5))):
            x, y, radius, height = self._scene.trees[index]
            column, row = (x - window.easting_m) / window.pixel_m, (window.northing_m - y) / window.pixel_m
            reach = radius / window.pixel_m
            top, left = max(0, int(row - reach)), max(0, int(column - reach))
            patch = heights[top : int(row + reach) + 2, left : int(column + reach) + 2]
            if not patch.size:
                continue
            rows = np.arange(top, top + patch.shape[0])[:, None] + 0.5 - row
            columns = np.arange(left, left + patch.shape[1])[None, :] + 0.5 - column
            rest = 1 - (rows**2 + columns**2) / reach**2
            np.maximum(patch, np.where(rest > 0, height * (0.55 + 0.45 * np.sqrt(np.maximum(rest, 0))), 0), out=patch)
        return heights


class Textures:
    """Noise that belongs to the ground: the same place has the same value in every strip."""

    def __init__(self, seed: int, pixel_m: float) -> None:
        rng = np.random.default_rng([seed, 3])
        self._pixel_m = pixel_m
        self._fields = []
        for scale in TEXTURE_SCALES_PX:
            field = rng.standard_normal((TEXTURE_PERIOD_PX, TEXTURE_PERIOD_PX), dtype=np.float32)
            if scale:
                field = ndimage.gaussian_filter(field, scale, mode="wrap", truncate=3)
            self._fields.append((field - field.mean()) / field.std())

    def at(self, window: Window, scale: int, draw: int) -> np.ndarray:
        """Noise with mean 0 and standard deviation 1, (rows, columns) float32.

        Args:
            window: where.
            scale: index into `TEXTURE_SCALES_PX`.
            draw: textures of different number have nothing to do with each other.
        """
        row = round(-window.northing_m / self._pixel_m) + 389 * draw
        column = round(window.easting_m / self._pixel_m) + 211 * draw
        rows = (row + np.arange(window.rows)) % TEXTURE_PERIOD_PX
        columns = (column + np.arange(window.columns)) % TEXTURE_PERIOD_PX
        return self._fields[scale][rows[:, None], columns[None, :]]


def seen_from_top(height_m: np.ndarray, pixel_m: float, drop: float, sideways: float = 0.0) -> np.ndarray:
    """Which pixels a distant source beyond row 0 reaches over the heights before them.

    Along a ray the height falls by `drop` metres for each metre of rows; so height + drop * distance is constant on a
    ray, and a pixel is hidden exactly where that sum has been larger before.

    Args:
        height_m: (rows, columns) float32.
        pixel_m: side of a pixel.
        drop: fall of the ray, m per m of rows.
        sideways: columns that the ray moves right for each row.

    Returns:
        (rows, columns) bool.
    """
    rows, columns = height_m.shape
    level = height_m + (np.arange(rows, dtype=np.float32) * pixel_m * drop)[:, None]
    if not sideways:
        return level >= np.maximum.accumulate(level, axis=0) - 0.05
    # Slanted rays become columns if each row is shifted; what leaves on one side comes back on the other, outside the
    # part of the window that is kept.
    shift = np.round(np.arange(rows) * sideways).astype(np.int64)
    to_ray = (np.arange(columns)[None, :] + shift[:, None]) % columns
    slanted = np.take_along_axis(level, to_ray, axis=1)
    seen = slanted >= np.maximum.accumulate(slanted, axis=0) - 0.05
    back = (np.arange(columns)[None, :] - shift[:, None]) % columns
    return np.take_along_axis(seen, back, axis=1)


def _burn(polygons: np.ndarray, values: np.ndarray, window: Window, *, fill: int, dtype: str) -> np.ndarray:
    shape = (window.rows, window.columns)
    if not len(polygons):
        return np.full(shape, fill, dtype)
    shapes = ((mapping(polygon), int(value)) for polygon, value in zip(polygons, values, strict=True))
    return rasterize(shapes, out_shape=shape, fill=fill, transform=window.transform, dtype=dtype)
