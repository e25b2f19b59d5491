"""What the radar sees: HH, HV, VH, VV, log-scaled, from the north or from the south.

The image is in ground range, uncorrected for the height of things, as SpaceNet 6's is. With the sensor beyond row 0 and
the incidence angle t, a point of height h appears h / tan(t) nearer to the sensor than its foot (layover), and hides
h * tan(t) behind it (shadow). Wall and ground together send most of the energy straight back, from the wall's foot.
"""

from __future__ import annotations

import math

import numpy as np
from scipy import ndimage

from sspipe.data.synthetic.buildings import ROOFS
from sspipe.data.synthetic.relief import Relief, Textures, Window, seen_from_top
from sspipe.data.synthetic.scene import COVERS, Scene

INCIDENCE = math.radians(38)
LAYOVER = 1 / math.tan(INCIDENCE)  # m towards the sensor for each m of height
LOOKS = (0.9, 0.9, 1.4, 1.4)  # of the speckle; the first two bands are the noisier ones in SpaceNet 6
BLUR_PX = 0.45
FLOOR_DB = -15.0  # thermal noise, which also fills shadows
SMALLEST, LARGEST = 1e-5, 93.0  # of valid values; 0 is kept for no-data

# From decibel to the values of the files, band by band, so that their means and spreads are SpaceNet 6's.
GAIN = np.array([1.16, 1.25, 1.31, 1.22], np.float32)
OFFSET = np.array([35.3, 44.5, 42.1, 32.8], np.float32)

# Backscatter in dB: both polarisations alike (HH, VV) and crossed (HV, VH).
COVER_DB = {
    "road": (-10, -11),
    "pavement": (-6, -7),
    "garden": (-1.5, -2),
    "grass": (-4, -4),
    "water": (-18, -18),
    "crop": (-2.5, -3.5),
    "soil": (-5, -8),
    "parking": (-8.5, -9.5),
    "wood": (1, 2),
    "white car": (8, 2),
    "dark car": (8, 2),
    "red car": (8, 2),
}
ROOF_DB = {
    "red tile": (1, -2),
    "brown tile": (1, -2),
    "dark tile": (1, -2),
    "gravel": (3, 1),
    "bitumen": (-2, -4),
    "light": (2, -1),
    "metal": (4, -3),
}
TREE_DB = (1, 2)
WALL_DB = (6, 2)
CORNER_DB = (24, 17)  # wall and ground together
SLOPE_DB = 7.0  # a roof plane gains this if it faces the sensor, and loses it if it faces away
CROSSED = (0, 1, 1, 0)  # index into the pairs above, for HH, HV, VH, VV


def render_radar(
    relief: Relief,
    scene: Scene,
    window: Window,
    textures: Textures,
    orientation: int,
    rng: np.random.Generator,
) -> np.ndarray:
    """Renders a window.

    Args:
        relief: rasters of the window.
        scene: the scene that `relief.face` points into.
        window: where it lies.
        textures: the ground's own noise; it makes the same roof rough in every strip.
        orientation: 0 looks from the north (row 0), 1 from the south.
        rng: of the speckle, which differs from pass to pass.

    Returns:
        (4, rows, columns) float32 in HH, HV, VH, VV, above 0 and at most 93.
    """
    # A crown is half transparent: it scatters from its middle and hides little.
    height = np.where(relief.is_tree, relief.height_m / 2, relief.height_m)
    face = relief.face
    energy = 10 ** (_surface_db(relief, scene, window, textures, orientation) / 10)
    if orientation == 1:  # the sensor is always beyond row 0
        energy, height, face = energy[:, ::-1], height[::-1], face[::-1]
    scattered = _project(energy, height, window.pixel_m) + _walls(height, face >= 0, window.pixel_m)
    if orientation == 1:
        scattered = scattered[:, ::-1]
    values = np.empty(scattered.shape, np.float32)
    floor = 10 ** (FLOOR_DB / 10)
    for band in range(4):
        looks = LOOKS[band]
        speckle = rng.standard_gamma(looks, scattered.shape[1:], dtype=np.float32) / looks
        received = ndimage.gaussian_filter((scattered[band] + floor) * speckle, BLUR_PX)
        decibel = 10 * np.log10(np.maximum(received, 1e-12))
        values[band] = np.clip(OFFSET[band] + GAIN[band] * decibel, SMALLEST, LARGEST)
    return values


def _surface_db(relief: Relief, scene: Scene, window: Window, textures: Textures, orientation: int) -> np.ndarray:
    """Backscatter of each surface before geometry, (4, rows, columns) float32 in dB."""
    fine, medium, coarse = (textures.at(window, scale, 10 + scale) for scale in (0, 1, 2))
    built = relief.face >= 0
    face = relief.face[built]
    towards_sensor = math.pi / 2 if orientation == 0 else -math.pi / 2
    facing = np.nan_to_num(np.cos(scene.face_aspect[face] - towards_sensor), nan=0.0)
    # Few strong reflectors on a roof stand out: chimneys, dormers, machines.
    points = np.where(fine[built] > 2.1, 9.0, 0.0) + 1.5 * medium[built]
    bands = np.empty((4, *relief.face.shape), np.float32)
    for pair in (0, 1):
        ground = np.array([COVER_DB[cover][pair] for cover in COVERS], np.float32)[relief.cover]
        ground += 0.9 * medium + 0.9 * coarse
        ground[relief.is_tree] = TREE_DB[pair] + 2.0 * medium[relief.is_tree]
        roof = np.array([ROOF_DB[name][pair] for name in ROOFS], np.float32)[scene.face_roof[face]]
        ground[built] = roof + SLOPE_DB * facing + points
        for band in range(4):
            if CROSSED[band] == pair:
                bands[band] = ground
    return bands


def _project(energy: np.ndarray, height_m: np.ndarray, pixel_m: float) -> np.ndarray:
    """Moves what is seen of each surface to where the radar puts it; energies that meet add up."""
    rows, columns = height_m.shape
    seen = seen_from_top(height_m, pixel_m, LAYOVER)
    low = height_m < 0.5
    scattered = np.where(seen & low, energy, 0.0)
    row, column = np.nonzero(seen & ~low)
    target = row - np.rint(height_m[row, column] * (LAYOVER / pixel_m)).astype(np.int64)
    inside = target >= 0
    row, column, target = row[inside], column[inside], target[inside] * columns + column[inside]
    for band in range(len(energy)):
        moved = np.bincount(target, weights=energy[band, row, column], minlength=rows * columns)
        scattered[band] += moved.reshape(rows, columns)
    return scattered


def _walls(height_m: np.ndarray, built: np.ndarray, pixel_m: float) -> np.ndarray:
    """Energy of the walls that face the sensor: smeared over their layover, and concentrated at their foot.

    Returns:
        (4, rows, columns) float64.
    """
    rows, columns = height_m.shape
    seen = seen_from_top(height_m, pixel_m, LAYOVER)
    rise = np.zeros_like(height_m)
    rise[:-1] = height_m[1:] - height_m[:-1]  # above the pixel before the wall
    is_foot = np.zeros(built.shape, bool)
    is_foot[:-1] = built[1:] & (rise[:-1] > 1.5) & seen[:-1]
    row, column = np.nonzero(is_foot)
    # A wall returns most where it stands square to the beam, least where it stands edge-on.
    smooth = ndimage.gaussian_filter(np.where(built, 1.0, 0.0).astype(np.float32), 2.0)
    down, right = np.gradient(smooth)
    facing = np.abs(down) / np.maximum(np.hypot(down, right), 1e-6)
    strength = 0.12 + 0.88 * facing[row, column] ** 4
    foot_m = height_m[row, column]
    top = row - np.rint((foot_m + rise[row, column]) * (LAYOVER / pixel_m)).astype(np.int64)
    bottom = row - np.rint(foot_m * (LAYOVER / pixel_m)).astype(np.int64)
    begin = np.maximum(top, 0) * columns + column
    end = np.minimum(np.maximum(bottom, 0) + 1, rows - 1) * columns + column
    change = np.bincount(begin, strength, rows * columns) - np.bincount(end, strength, rows * columns)
    smear = np.maximum(np.cumsum(change.reshape(rows, columns), axis=0), 0.0)
    is_ground = foot_m < 0.5
    corner = np.bincount(row[is_ground] * columns + column[is_ground], strength[is_ground], rows * columns)
    corner = corner.reshape(rows, columns)
    corner[:-1] += 0.5 * corner[1:]  # the beam is wider than a pixel
    return np.stack([10 ** (WALL_DB[pair] / 10) * smear + 10 ** (CORNER_DB[pair] / 10) * corner for pair in CROSSED])
