"""What the radar sees: HH, HV, VH, VV, log-scaled, from the north or from the south.

The image is in ground range, uncorrected for the height of things, as SpaceNet 6's is. With the sensor beyond row 0 and
the incidence angle t, a point of height h appears h / tan(t) nearer to the sensor than its foot (layover), and hides
h * tan(t) behind it (shadow). Wall and ground together send most of the energy straight back, from the wall's foot.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from scipy import ndimage

from sspipe.data.synthetic.buildings import ROOFS
from sspipe.data.synthetic.relief import Relief, Textures, Window, seen_from_top
from sspipe.data.synthetic.scene import COVERS, Scene

INCIDENCE = math.radians(38)
LAYOVER = 1 / math.tan(INCIDENCE)  # m towards the sensor for each m of height
BLUR_PX = 0.75  # the system's response; it spreads speckle over neighbouring pixels too
# Shape of the gamma noise before that blur, which multiplies it by about 4 pi BLUR_PX^2: speckle of 2 to 3 looks.
# SpaceNet 6's first two bands are noisier than the others.
LOOKS = (0.28, 0.28, 0.42, 0.42)
CROSS_SHARE = 0.7  # of its speckle that VH has in common with HV, by reciprocity
FLOOR_DB = -10.0  # thermal noise and side lobes, which fill shadows until they look like roads
SMALLEST, LARGEST = 1e-5, 93.0  # of valid values; 0 is kept for no-data

# From decibel to the values of the files, band by band, so that their means and spreads are SpaceNet 6's.
GAIN = np.array([1.38, 1.52, 1.65, 1.47], np.float32)
OFFSET = np.array([33.7, 43.0, 40.6, 31.1], np.float32)

# Backscatter in dB: both polarisations alike (HH, VV) and crossed (HV, VH).
COVER_DB = {
    "road": (-8, -9),
    "pavement": (-6, -7),
    "garden": (-1.5, -2),
    "grass": (-4, -4),
    "water": (-15, -15),
    "crop": (-2.5, -3.5),
    "soil": (-5, -8),
    "parking": (-6.5, -7.5),
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
CORNER_DB = (20, 13)  # wall and ground together, before each building's own luck
CORNER_SPREAD_DB = 5.0  # between buildings: glass, brick, balconies, parked cars
ROOF_SPREAD_DB = 4.0
CLUTTER_DB = 10.0  # fences, sheds, playgrounds and garden furniture stand out from yards and gardens
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
    scattered = _project(energy, height, window.pixel_m) + _walls(height, face, scene, window.pixel_m)
    if orientation == 1:
        scattered = scattered[:, ::-1]
    values = np.empty(scattered.shape, np.float32)
    floor = 10 ** (FLOOR_DB / 10)
    for band, speckle in enumerate(_speckle(scattered.shape[1:], rng)):
        received = ndimage.gaussian_filter((scattered[band] + floor) * speckle, BLUR_PX)
        decibel = 10 * np.log10(np.maximum(received, 1e-12))
        values[band] = np.clip(OFFSET[band] + GAIN[band] * decibel, SMALLEST, LARGEST)
    return values


def _speckle(shape: tuple[int, int], rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Noise with mean 1 to multiply each band with, four times (rows, columns) float32."""
    hh, hv, vh, vv = (rng.standard_gamma(looks, shape, dtype=np.float32) / looks for looks in LOOKS)
    yield from (hh, hv, CROSS_SHARE * hv + (1 - CROSS_SHARE) * vh, vv)


def _surface_db(relief: Relief, scene: Scene, window: Window, textures: Textures, orientation: int) -> np.ndarray:
    """Backscatter of each surface before geometry, (4, rows, columns) float32 in dB."""
    fine, medium, coarse = (textures.at(window, scale, 10 + scale) for scale in (0, 1, 2))
    built = relief.face >= 0
    face = relief.face[built]
    towards_sensor = math.pi / 2 if orientation == 0 else -math.pi / 2
    facing = np.nan_to_num(np.cos(scene.face_aspect[face] - towards_sensor), nan=0.0)
    # Few strong reflectors on a roof stand out: chimneys, dormers, machines.
    points = np.where(fine[built] > 2.1, 9.0, 0.0) + 1.5 * medium[built]
    yards = [COVERS.index(cover) for cover in ("garden", "pavement", "parking")]
    clutter = np.isin(relief.cover, yards) & (fine + medium > 3.1)
    bands = np.empty((4, *relief.face.shape), np.float32)
    for pair in (0, 1):
        ground = np.array([COVER_DB[cover][pair] for cover in COVERS], np.float32)[relief.cover]
        ground = ground + 0.9 * medium + 0.9 * coarse
        ground[clutter] += CLUTTER_DB
        ground[relief.is_tree] = TREE_DB[pair] + 2.0 * medium[relief.is_tree]
        roof = np.array([ROOF_DB[name][pair] for name in ROOFS], np.float32)[scene.face_roof[face]]
        ground[built] = roof + SLOPE_DB * facing + points + ROOF_SPREAD_DB * _luck(scene.face_building[face], 1)
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


def _walls(height_m: np.ndarray, face: np.ndarray, scene: Scene, pixel_m: float) -> np.ndarray:
    """Energy of the walls that face the sensor: smeared over their layover, and concentrated at their foot.

    Returns:
        (4, rows, columns) float64.
    """
    shape, columns = height_m.shape, height_m.shape[1]
    row, column = np.nonzero(_feet(height_m, face >= 0, pixel_m))
    foot_m, top_m = height_m[row, column], height_m[row + 1, column]
    luck = _luck(scene.face_building[face[row + 1, column]], 2)
    strength = _squareness(face >= 0)[row, column] * 10 ** (CORNER_SPREAD_DB / 10 * luck)
    nearest, last = (np.maximum(row - np.rint(m * (LAYOVER / pixel_m)).astype(np.int64), 0) for m in (top_m, foot_m))
    begin, end = nearest * columns + column, np.minimum(last + 1, shape[0] - 1) * columns + column
    change = np.bincount(begin, strength, face.size) - np.bincount(end, strength, face.size)
    smear = np.maximum(np.cumsum(change.reshape(shape), axis=0), 0.0)
    on_ground = foot_m < 0.5
    foot = (row * columns + column)[on_ground]
    corner = np.bincount(foot, strength[on_ground], face.size).astype(np.float64).reshape(shape)
    corner[:-1] += 0.5 * corner[1:]  # the corner is not quite sharp
    return np.stack([10 ** (WALL_DB[pair] / 10) * smear + 10 ** (CORNER_DB[pair] / 10) * corner for pair in CROSSED])


def _feet(height_m: np.ndarray, built: np.ndarray, pixel_m: float) -> np.ndarray:
    """The visible pixels just before a wall that faces the sensor, (rows, columns) bool; never in the last row."""
    feet = np.zeros(built.shape, bool)
    feet[:-1] = built[1:] & (height_m[1:] - height_m[:-1] > 1.5)
    return feet & seen_from_top(height_m, pixel_m, LAYOVER)


def _squareness(built: np.ndarray) -> np.ndarray:
    """How much a wall at each pixel returns: 1 square to the beam, little when turned, (rows, columns) float32."""
    down, right = np.gradient(ndimage.gaussian_filter(built.astype(np.float32), 2.0))
    return 0.12 + 0.88 * (np.abs(down) / np.maximum(np.hypot(down, right), 1e-6)) ** 4


def _luck(building: np.ndarray, kind: int) -> np.ndarray:
    """A number for each building that belongs to it in every strip, between -1.4 and 1.4 with standard deviation 1."""
    return (math.sqrt(2) * np.sin(building * 78.233 + kind * 37.719)).astype(np.float32)
