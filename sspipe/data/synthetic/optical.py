"""What the optical satellite sees: red, green, blue and near infrared, 11 bit, one overpass for the whole city."""

from __future__ import annotations

import math

import numpy as np
from scipy import ndimage

from sspipe.data.synthetic.buildings import ROOFS
from sspipe.data.synthetic.relief import Relief, Textures, Window, seen_from_top
from sspipe.data.synthetic.scene import COVERS, Scene

LARGEST = 2047  # 11 bit
SUN_AZIMUTH = math.radians(163)  # clockwise from north: late morning at the end of August
SUN_ELEVATION = math.radians(46)
SHADE = 0.36  # light that is left in a cast shadow
HAZE = np.array([38, 52, 74, 16], np.float32)  # added by the air; more in the blue
SENSOR_NOISE = 7.0
BLUR_PX = 0.55

# Digital numbers in full sun without haze: red, green, blue, near infrared.
COVER_COLOURS = {
    "road": (245, 255, 255, 240),
    "pavement": (350, 335, 315, 365),
    "garden": (228, 258, 190, 680),
    "grass": (210, 272, 168, 960),
    "water": (70, 110, 105, 40),
    "crop": (232, 300, 165, 1120),
    "soil": (470, 410, 325, 560),
    "parking": (290, 292, 290, 288),
    "wood": (112, 165, 105, 880),
    "white car": (1150, 1150, 1130, 1000),
    "dark car": (110, 115, 125, 120),
    "red car": (620, 200, 170, 520),
}
ROOF_COLOURS = {
    "red tile": (520, 370, 285, 560),
    "brown tile": (430, 335, 270, 470),
    "dark tile": (200, 205, 220, 225),
    "gravel": (560, 550, 525, 570),
    "bitumen": (165, 168, 180, 170),
    "light": (720, 710, 680, 670),
    "metal": (790, 815, 840, 750),
}
TREE_COLOUR = (116, 172, 106, 1050)
VEGETATION = ("garden", "grass", "crop", "wood")


def render_optical(relief: Relief, scene: Scene, window: Window, textures: Textures) -> np.ndarray:
    """Renders a window.

    Args:
        relief: rasters of the window.
        scene: the scene that `relief.face` points into.
        window: where it lies; the same place always looks the same.
        textures: the ground's own noise.

    Returns:
        (4, rows, columns) uint16, red, green, blue, near infrared; 1 to 2047.
    """
    colours = np.array([COVER_COLOURS[cover] for cover in COVERS], np.float32)
    image = colours[relief.cover]  # (rows, columns, 4)
    fine, medium, coarse = (textures.at(window, scale, draw) for draw, scale in enumerate((0, 1, 3)))
    green = np.isin(relief.cover, [COVERS.index(cover) for cover in VEGETATION])
    # Plants differ from metre to metre and from plot to plot, and paving a little.
    image *= np.where(green, 1 + 0.10 * medium + 0.08 * coarse, 1 + 0.035 * medium + 0.03 * coarse)[..., None]
    garden = relief.cover == COVERS.index("garden")
    patches = garden & (textures.at(window, 2, 3) + 0.5 * medium > 1.2)  # terraces and paths in the gardens
    image[patches] = np.array(COVER_COLOURS["pavement"], np.float32) * (1 + 0.06 * medium[patches])[:, None]
    image[relief.is_tree] = np.array(TREE_COLOUR, np.float32) * (1 + 0.16 * medium[relief.is_tree])[:, None]
    built = relief.face >= 0
    image[built] = _roofs(relief.face[built], scene) * (1 + 0.05 * medium[built] + 0.04 * fine[built])[:, None]
    image[built & (medium > 2.0)] += 260.0  # skylights and machines
    image[built & (medium < -2.1)] *= 0.5
    image *= np.where(_sunlit(relief.height_m, window.pixel_m), 1.0, SHADE).astype(np.float32)[..., None]
    bands = np.empty((4, window.rows, window.columns), np.uint16)
    for band in range(4):
        seen = ndimage.gaussian_filter(image[..., band] + HAZE[band], BLUR_PX)
        seen += (SENSOR_NOISE + 0.012 * seen) * textures.at(window, 0, 5 + band)
        bands[band] = np.clip(np.rint(seen), 1, LARGEST)
    return bands


def _roofs(face: np.ndarray, scene: Scene) -> np.ndarray:
    """Colours of roof pixels, (n, 4): the material, a shade for each house, brighter on planes that face the sun."""
    materials = np.array([ROOF_COLOURS[roof] for roof in ROOFS], np.float32)
    house = scene.face_building[face] * 17 + face // 2
    shade = 1 + 0.09 * np.sin(house * 12.9898).astype(np.float32)  # any fixed scatter will do
    towards_sun = math.pi / 2 - SUN_AZIMUTH  # as an angle from east towards north
    facing = np.nan_to_num(np.cos(scene.face_aspect[face] - towards_sun), nan=0.0)
    return materials[scene.face_roof[face]] * (shade * (1 + 0.30 * facing))[:, None]


def _sunlit(height_m: np.ndarray, pixel_m: float) -> np.ndarray:
    """Where the sun reaches the surface. It stands in the south, so the rays run up the rows."""
    off_south = SUN_AZIMUTH - math.pi  # negative: the sun is east of south and the rays run to the west
    drop = math.tan(SUN_ELEVATION) / math.cos(off_south)
    return seen_from_top(height_m[::-1], pixel_m, drop, sideways=math.tan(off_south))[::-1]
