from __future__ import annotations

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely import affinity

from sspipe.pack.masks import tile_masks

SIZE_PX = 24
PIXEL_M = 0.5
WEST_M, NORTH_M = 592318.62, 5749872.405

# Rounding alone: pixel centres nearer to a boundary than this may fall on either side of it.
CLOSE_M = 1e-6

unit = st.floats(0, 1)


@st.composite
def buildings(draw):
    """A rectangle, an L or a courtyard, turned by any angle, on or partly off the tile; in map coordinates."""
    width, height = 2 + 8 * draw(unit), 2 + 8 * draw(unit)
    outline = shapely.box(0, 0, width, height)
    shape = draw(st.sampled_from(["rectangle", "corner", "courtyard"]))
    if shape == "corner":
        outline = outline.difference(shapely.box(width / 2, height / 2, width, height))
    elif shape == "courtyard":
        outline = outline.difference(shapely.box(width / 4, height / 4, 3 * width / 4, 3 * height / 4))
    side_m = SIZE_PX * PIXEL_M
    outline = affinity.rotate(outline, 360 * draw(unit))
    return affinity.translate(outline, WEST_M + side_m * draw(unit) - 3, NORTH_M - side_m * draw(unit) - 3)


def pixel_centres():
    """(S, S) points in map coordinates, row 0 in the north."""
    step = (np.arange(SIZE_PX) + 0.5) * PIXEL_M
    x, y = np.meshgrid(WEST_M + step, NORTH_M - step)
    return shapely.points(x, y)


def masks_of(footprints, border_px=3):
    return tile_masks(footprints, WEST_M, NORTH_M, PIXEL_M, SIZE_PX, border_px)


def box(west_px, south_px, east_px, north_px):
    """A rectangle given in pixels from the tile's upper-left corner, y down."""
    return shapely.box(
        WEST_M + west_px * PIXEL_M,
        NORTH_M - south_px * PIXEL_M,
        WEST_M + east_px * PIXEL_M,
        NORTH_M - north_px * PIXEL_M,
    )


@settings(max_examples=60)
@given(st.lists(buildings(), min_size=1, max_size=4))
def test_interior_is_the_pixels_whose_centre_lies_in_a_footprint(footprints):
    points = pixel_centres()
    inside = np.any([shapely.contains(footprint, points) for footprint in footprints], axis=0)
    clear = np.all([shapely.distance(footprint.boundary, points) > CLOSE_M for footprint in footprints], axis=0)
    interior = masks_of(footprints)[0]
    assert (interior[clear] == inside[clear]).all()


@settings(max_examples=60)
@given(st.lists(buildings(), min_size=1, max_size=4), st.integers(1, 6))
def test_border_is_the_pixels_near_an_outline_on_both_sides(footprints, border_px):
    points, width_m = pixel_centres(), border_px * PIXEL_M
    distance_m = np.min([shapely.distance(footprint.boundary, points) for footprint in footprints], axis=0)
    clear = np.abs(distance_m - width_m) > CLOSE_M
    border = masks_of(footprints, border_px)[1]
    assert (border[clear] == (distance_m <= width_m)[clear]).all()


@settings(max_examples=30)
@given(st.lists(buildings(), min_size=1, max_size=3), st.integers(1, 6))
def test_the_direction_of_rings_and_the_order_of_buildings_change_nothing(footprints, border_px):
    expected = masks_of(footprints, border_px)
    backwards = [shapely.reverse(footprint) for footprint in reversed(footprints)]
    assert (masks_of(backwards, border_px) == expected).all()
    mixed = [shapely.reverse(footprint) if k % 2 else footprint for k, footprint in enumerate(footprints)]
    assert (masks_of(mixed, border_px) == expected).all()


def test_masks_are_drawn_over_whatever_was_in_a_turned_place_before():
    footprints = [box(4, 20, 20, 4)]
    padded = np.full((2, SIZE_PX + 8, SIZE_PX + 8), 7, np.uint8)
    place = padded[:, :SIZE_PX, :SIZE_PX][:, ::-1, ::-1]
    tile_masks(footprints, WEST_M, NORTH_M, PIXEL_M, SIZE_PX, 3, out=place)
    assert (place == masks_of(footprints)).all()
    assert (padded[:, SIZE_PX:] == 7).all() and (padded[:, :, SIZE_PX:] == 7).all()
    assert not tile_masks([], WEST_M, NORTH_M, PIXEL_M, SIZE_PX, 3, out=place).any()


def test_interior_and_border_overlap_by_the_border_width():
    interior, border = masks_of([box(4, 20, 20, 4)], border_px=2)
    assert interior.sum() == 16 * 16
    assert (interior & border).sum() == 16 * 16 - 12 * 12
    assert border[4, 2:22].all() and not border[4, :2].any()
    assert not border[12, 6:18].any()


def test_the_wall_that_two_touching_buildings_share_is_border():
    interior, border = masks_of([box(2, 22, 12, 2), box(12, 22, 22, 2)], border_px=2)
    assert interior[2:22, 2:22].all()
    assert border[2:22, 10:14].all() and not border[6:18, 6:10].any()


def test_row_0_is_in_the_north_and_column_0_in_the_west():
    interior, _ = masks_of([box(1, 3, 6, 1)])
    assert interior[1:3, 1:6].all() and interior.sum() == 10


@pytest.mark.parametrize("footprints", [[], [box(-50, -10, -20, -40)]], ids=["none", "elsewhere"])
def test_a_tile_without_buildings_has_empty_masks(footprints):
    masks = masks_of(footprints)
    assert masks.shape == (2, SIZE_PX, SIZE_PX) and masks.dtype == np.uint8 and not masks.any()


def test_a_building_of_several_parts_is_drawn_whole():
    parts = shapely.MultiPolygon([box(2, 6, 6, 2), box(12, 20, 20, 12)])
    assert masks_of([parts])[0].sum() == 16 + 64
