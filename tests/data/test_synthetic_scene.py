"""The embedded city behaves as a city under a radar and a camera: geometry of strips, layover, shadow, vegetation."""

from __future__ import annotations

import math

import numpy as np
import pytest
import shapely
from shapely.geometry import Polygon, box

from sspipe.data.synthetic.buildings import ROOFS
from sspipe.data.synthetic.layout import bounds_of, plan_strips
from sspipe.data.synthetic.optical import render_optical
from sspipe.data.synthetic.radar import INCIDENCE, render_radar
from sspipe.data.synthetic.relief import Rasterizer, Relief, Textures, Window, seen_from_top
from sspipe.data.synthetic.scene import CODE, Scene, draw_scene

TILE_M = 112.5
WINDOW = Window(592000.0, 5749000.0, 0.5, 160, 200)  # 80 m x 100 m


def scene_of(*outlines: Polygon, height_m: float = 8.0, trees: list[tuple] | None = None) -> Scene:
    """Flat gravel roofs on a lawn."""
    count = len(outlines)
    return Scene(
        land=np.array([WINDOW.outline.buffer(100)], dtype=object),
        land_code=np.array([CODE["grass"]], np.uint8),
        footprints=np.array(outlines, dtype=object),
        height_m=np.full(count, height_m),
        height_spread_m=np.zeros(count),
        faces=np.array(outlines, dtype=object),
        face_building=np.arange(count),
        face_height_m=np.full(count, height_m, np.float32),
        face_aspect=np.full(count, np.nan, np.float32),
        face_roof=np.full(count, ROOFS.index("gravel")),
        trees=np.array(trees or np.empty((0, 4)), float).reshape(-1, 4),
    )


def house() -> Polygon:
    """40 m long (columns 60 to 140) and 12 m deep (rows 68 to 92), in the middle of the window."""
    return box(592030.0, 5748954.0, 592070.0, 5748966.0)


def radar_rows(scene: Scene, orientation: int) -> np.ndarray:
    """Mean VV of each row over the columns of the house, (160,)."""
    relief, textures = Rasterizer(scene).draw(WINDOW), Textures(0, 0.5)
    image = render_radar(relief, scene, WINDOW, textures, orientation, np.random.default_rng(0))
    return image[3][:, 65:135].mean(axis=1)


def relief_of(scene: Scene) -> Relief:
    return Rasterizer(scene).draw(WINDOW)


@pytest.fixture(scope="module")
def plans():
    return plan_strips(tile_m=TILE_M, strips=16, tiles_per_strip=12, seed=0)


@pytest.mark.parametrize(("orientation", "wall", "behind"), [(0, 67, 94), (1, 92, 65)])
def test_the_bright_wall_stands_on_the_sensors_side(orientation, wall, behind):
    rows = radar_rows(scene_of(house()), orientation)
    lawn = np.median(rows[:20])
    assert abs(int(np.argmax(rows)) - wall) <= 2
    assert rows[wall] > lawn + 10
    assert rows[behind] < lawn


@pytest.mark.parametrize("orientation", [0, 1])
def test_radar_shadow_is_darker_than_open_ground_and_ends_where_geometry_says(orientation):
    rows = radar_rows(scene_of(house()), orientation)
    if orientation == 1:
        rows = rows[::-1]
    lawn = np.median(rows[:20])
    end = 92 + round(8.0 * math.tan(INCIDENCE) / 0.5)
    assert rows[93 : end - 1].mean() < lawn - 4
    assert abs(rows[end + 2 : end + 12].mean() - lawn) < 2


@pytest.mark.parametrize("orientation", [0, 1])
def test_roofs_lie_over_towards_the_sensor(orientation):
    """The roof of an 8 m high house appears 8 m / tan(incidence) before it, over what is lawn."""
    rows = radar_rows(scene_of(house()), orientation)
    if orientation == 1:
        rows = rows[::-1]
    reach = round(8.0 / math.tan(INCIDENCE) / 0.5)
    lawn = np.median(rows[:20])
    assert rows[68 - reach + 2 : 66].mean() > lawn + 4
    assert abs(rows[68 - reach - 12 : 68 - reach - 2].mean() - lawn) < 2


def test_the_wall_is_dimmer_when_the_house_is_turned():
    turned = shapely.affinity.rotate(house(), 40, origin="centroid")

    def brightest(outline: Polygon) -> float:
        scene = scene_of(outline)
        image = render_radar(relief_of(scene), scene, WINDOW, Textures(0, 0.5), 0, np.random.default_rng(0))
        return float(np.sort(image[3].ravel())[-80:].mean())

    assert brightest(turned) < brightest(house()) - 3


def test_speckle_differs_from_pass_to_pass_over_the_same_ground():
    scene = scene_of(house())
    relief, textures = relief_of(scene), Textures(0, 0.5)
    one, two = (render_radar(relief, scene, WINDOW, textures, 0, np.random.default_rng(seed))[3] for seed in (1, 2))
    lawn = np.s_[:30, :]
    assert abs(np.corrcoef(one[lawn].ravel(), two[lawn].ravel())[0, 1]) < 0.5
    assert one[lawn].std() > 3


def test_vegetation_is_bright_in_near_infrared_and_roofs_are_not():
    trees = [(592010.0, 5748960.0, 4.0, 9.0)]
    scene = scene_of(house(), trees=trees)
    relief = relief_of(scene)
    red, _, _, infrared = render_optical(relief, scene, WINDOW, Textures(0, 0.5)).astype(float)
    index = (infrared - red) / (infrared + red)
    assert np.median(index[:20]) > 0.4
    assert np.median(index[relief.is_tree]) > 0.4
    assert np.median(index[relief.face >= 0]) < 0.15


def test_houses_cast_shadows_to_the_north_in_the_optical_image():
    scene = scene_of(house())
    grey = render_optical(relief_of(scene), scene, WINDOW, Textures(0, 0.5)).mean(axis=0)
    north, south = grey[58:66, 80:120].mean(), grey[96:104, 80:120].mean()
    assert north < 0.6 * south


def test_the_same_ground_looks_the_same_in_every_optical_tile():
    """One overpass took all optical images, so tiles of different strips agree where they overlap."""
    scene = scene_of(house())
    moved = Window(WINDOW.easting_m + 10, WINDOW.northing_m - 5, 0.5, 150, 180)
    images = []
    for window in (WINDOW, moved):
        images.append(render_optical(Rasterizer(scene).draw(window), scene, window, Textures(0, 0.5)))
    whole, part = images[0][:, 10:160, 20:200], images[1]
    inner = np.s_[:, 40:-10, 20:-20]  # shadows come from outside a window
    np.testing.assert_array_equal(whole[inner], part[inner])


def test_a_ray_hides_what_lies_in_the_shadow_of_a_height():
    height = np.zeros((20, 3), np.float32)
    height[5, 1] = 4.0
    seen = seen_from_top(height, pixel_m=1.0, drop=1.0)
    np.testing.assert_array_equal(np.nonzero(~seen[:, 1])[0], [6, 7, 8])  # the ray meets the ground at 9
    assert seen[:, [0, 2]].all()


def test_slanted_rays_move_the_shadow_sideways():
    height = np.zeros((20, 21), np.float32)
    height[5, 10] = 4.0
    rows, columns = np.nonzero(~seen_from_top(height, pixel_m=1.0, drop=1.0, sideways=-1.0))
    np.testing.assert_array_equal(rows, [6, 7, 8])
    np.testing.assert_array_equal(columns, [9, 8, 7])


def test_strips_look_from_both_sides_and_every_place_is_seen_several_times(plans):
    assert sorted(plan.orientation for plan in plans) == [0] * 8 + [1] * 8
    west, south, east, north = bounds_of(plans, TILE_M)
    x, y = np.meshgrid(np.arange(west + 2, east, 5.0), np.arange(south + 2, north, 5.0))
    seen = {0: np.zeros(x.shape, int), 1: np.zeros(x.shape, int)}
    for plan in plans:
        for tile in plan.tiles:
            ground = box(tile.easting_m, tile.northing_m - TILE_M, tile.easting_m + TILE_M, tile.northing_m)
            seen[plan.orientation] += shapely.contains_xy(ground.intersection(plan.swath), x, y)
    covered = (seen[0] + seen[1]) > 0
    assert np.mean((seen[0] + seen[1])[covered] >= 2) > 0.85
    assert (seen[0] + seen[1])[covered].mean() > 3
    assert np.mean((seen[0] > 0)[covered] & (seen[1] > 0)[covered]) > 0.8


def test_tiles_abut_inside_a_strip_and_strips_share_no_tile_grid(plans):
    for plan in plans:
        for tile in plan.tiles:
            assert tile.easting_m == pytest.approx(plan.easting_m + tile.column * TILE_M, abs=1e-5)
            assert tile.northing_m == pytest.approx(plan.northing_m - tile.row * TILE_M, abs=1e-5)
    for axis in ("easting_m", "northing_m"):
        corners = np.array([getattr(plan, axis) for plan in plans]) % TILE_M
        gaps = np.abs(corners[:, None] - corners[None, :])[np.triu_indices(len(plans), 1)]
        assert np.minimum(gaps, TILE_M - gaps).min() > 1e-3
    assert len({tile.tile_id for plan in plans for tile in plan.tiles}) == 16 * 12


def test_a_split_by_easting_with_a_guard_leaves_enough_to_train_on(plans):
    west = np.sort([tile.easting_m for plan in plans for tile in plan.tiles])
    line = west[-round(0.2 * len(west))]
    kept = np.mean(west + TILE_M <= line)
    assert kept > 0.65  # training and validation together, after a fifth for test and the guard


def test_the_city_has_courtyards_complexes_terraces_and_sheds_that_do_not_overlap(plans):
    scene = draw_scene(bounds=bounds_of(plans, TILE_M), tile_m=TILE_M, seed=0)
    assert shapely.is_valid(scene.footprints).all()
    assert (shapely.get_type_id(scene.footprints) == shapely.GeometryType.POLYGON).all()
    areas = shapely.area(scene.footprints)
    assert (areas > 800).any()
    assert 0.02 < (areas < 20).mean() < 0.25  # sheds
    assert (shapely.get_num_interior_rings(scene.footprints) > 0).any()
    assert (shapely.get_num_coordinates(scene.footprints) == 7).any()  # L-shapes
    first, second = shapely.STRtree(scene.footprints).query(scene.footprints, predicate="intersects")
    pairs = first < second
    shared = shapely.intersection(scene.footprints[first[pairs]], scene.footprints[second[pairs]])
    assert shapely.area(shared).max() < 1e-6
    assert (shapely.length(shared) > 3).any()  # houses that share a wall
    ground = box(*bounds_of(plans, TILE_M))
    built = shapely.area(shapely.intersection(scene.footprints, ground)).sum() / ground.area
    assert 0.07 < built < 0.14
