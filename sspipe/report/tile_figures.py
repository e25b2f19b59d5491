"""Maps of test tiles coloured by F1: each function takes a table of one split and returns a matplotlib Figure."""

from __future__ import annotations

import math
from typing import NamedTuple

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from sspipe.report.multiples import Cast, columns_of, panel_grid, remark
from sspipe.report.style import BLUE, GREY, INK, MUTED, ORANGE, is_narrow, styled

# A tile's side has so many cells: the outlines of tiles that overlap are kept to a sixth of it.
CELLS_PER_TILE = 6
MOST_CELLS = 240
# Room below the map for the scale bar, of the map's height.
FOOT = 0.16
MOST_HIGH_IN = 2.2
MOST_EDGES = 3000
# Light enough at both ends to be seen on a dark page, dark enough on a light one; its lightness rises all the way.
F1_COLOURS = LinearSegmentedColormap.from_list("f1", matplotlib.colormaps["viridis"](np.linspace(0.12, 1, 64)))
DIFFERENCE_COLOURS = LinearSegmentedColormap.from_list("difference", [ORANGE, "#c9ced4", BLUE])


class Cover(NamedTuple):
    """A raster over the ground of the test tiles; row 0 is in the north.

    Attributes:
        values: (H, W) float64, mean over the tiles that show a place; NaN where none has a value.
        seen: (H, W) bool, whether any tile shows it.
        extent: west, east, south, north, km from the south-western corner of all tiles.
    """

    values: np.ndarray
    seen: np.ndarray
    extent: tuple[float, float, float, float]


def cover(tiles: pd.DataFrame, column: str, ground: pd.DataFrame) -> Cover:
    """Averages a value of tiles over the ground that they show.

    Args:
        tiles: easting_m, northing_m (upper-left corner), size_px, pixel_m and the column.
        column: the value; NaN does not count.
        ground: the same columns but the value, of all tiles that the raster has to hold.
    """
    sides = ground["size_px"] * ground["pixel_m"]
    left, top = ground["easting_m"].min(), ground["northing_m"].max()
    wide, high = (ground["easting_m"] + sides).max() - left, top - (ground["northing_m"] - sides).min()
    cell = max(sides.min() / CELLS_PER_TILE, max(wide, high) / MOST_CELLS)
    shape = (math.ceil(high / cell - 1e-6), math.ceil(wide / cell - 1e-6))
    sums, counts, seen = np.zeros(shape), np.zeros(shape), np.zeros(shape, bool)

    def cells(start: float, side: float) -> slice:
        # A cell belongs to the tiles that show its centre.
        return slice(*(math.ceil(edge / cell - 0.5 - 1e-9) for edge in (start, start + side)))

    for tile in tiles.itertuples():
        side, value = tile.size_px * tile.pixel_m, getattr(tile, column)
        place = cells(top - tile.northing_m, side), cells(tile.easting_m - left, side)
        seen[place] = True
        if not np.isnan(value):
            sums[place] += value
            counts[place] += 1
    values = np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)
    return Cover(values, seen, (0.0, shape[1] * cell / 1000, 0.0, shape[0] * cell / 1000))


@styled
def f1_map_figure(tiles: pd.DataFrame, cast: Cast, width_in: float) -> Figure:
    """Draws the ground of the test tiles coloured by their F1, a panel a variant.

    Args:
        tiles: rows of one split from `failures.tile_table`.
        cast: of the panels.
        width_in: inches.
    """
    return _maps(
        tiles, "f1", cast.titles, F1_COLOURS, (0.0, 1.0), "mean F1 of the test tiles that show a place", width_in
    )


@styled
def difference_map_figure(tiles: pd.DataFrame, cast: Cast, width_in: float) -> Figure:
    """Draws the ground of the test tiles coloured by the difference of F1 from the baseline's, a panel a variant.

    Args:
        tiles: rows of one split from `failures.tile_table`.
        cast: of the panels; its baseline has none.
        width_in: inches.
    """
    titles = {name: title for name, title in cast.titles.items() if name != cast.baseline}
    largest = max(0.05, float(np.nanmax([0.0, *tiles["difference"].abs()])))
    label = "F1 minus the baseline’s, mean of the tiles that show a place"
    return _maps(tiles, "difference", titles, DIFFERENCE_COLOURS, (-largest, largest), label, width_in)


def _maps(
    tiles: pd.DataFrame,
    column: str,
    titles: dict[str, str],
    colours: Colormap,
    limits: tuple[float, float],
    label: str,
    width_in: float,
) -> Figure:
    ground = tiles.drop_duplicates("tile_id")
    _, east, _, north = cover(ground, column, ground).extent
    # Two wide maps side by side would be too small on a phone.
    columns = 1 if is_narrow(width_in) and east > 1.5 * north else columns_of(len(titles), width_in)
    high_in = min(MOST_HIGH_IN, 0.92 * width_in / columns * (1 + FOOT) * north / east)
    map_in = min(width_in / columns, 0.92 * high_in * east / north)
    figure, axes = panel_grid(titles.values(), width_in, high_in + 0.35, columns, title_in=max(1.2, 1.25 * map_in))
    picture = None
    for axis, name in zip(axes, titles, strict=True):
        own = tiles[tiles["variant"] == name]
        axis.set(xticks=[], yticks=[], anchor="W")
        axis.grid(visible=False)
        axis.spines[:].set_visible(False)
        if own[column].notna().any():
            picture = _map(axis, cover(own, column, ground), colours, limits)
        else:
            remark(axis, "no scores")
        axis.set(xlim=(0, east), ylim=(-FOOT * north, north), aspect="equal")
    _scale_and_north(axes[0], east, north)
    if picture is not None:
        bar = figure.colorbar(picture, ax=axes, location="top", shrink=0.5, aspect=40, pad=0.02)
        bar.set_label(label, fontsize=8.5, color=MUTED)
        bar.outline.set_visible(False)
        # Its colours are data, and not the page's to change.
        bar.solids.set_rasterized(True)  # type: ignore[union-attr]
    return figure


def _map(axis: Axes, ground: Cover, colours: Colormap, limits: tuple[float, float]) -> AxesImage:
    edges = _outline(ground)
    # As pixels once they are many: lines of each panel would weigh megabytes.
    axis.plot(*edges, color=GREY, linewidth=0.8, rasterized=len(edges[0]) > MOST_EDGES)
    return axis.imshow(
        np.ma.masked_invalid(ground.values), extent=ground.extent, cmap=colours, vmin=limits[0], vmax=limits[1],
        interpolation="nearest",
    )  # fmt: skip


def _outline(ground: Cover) -> tuple[np.ndarray, np.ndarray]:
    """The edges between cells that are seen and cells that are not: x and y of one line, NaN where it breaks."""
    _, east, _, north = ground.extent
    rows, columns = ground.seen.shape
    x, y = np.linspace(0, east, columns + 1), np.linspace(north, 0, rows + 1)
    lines = []
    for seen, along, across, turned in ((ground.seen, x, y, False), (ground.seen.T, y, x, True)):
        padded = np.pad(seen.astype(int), ((1, 1), (0, 0)))
        for place, changes in enumerate(np.diff(padded, axis=0) != 0):
            ends = np.flatnonzero(np.diff(np.pad(changes.astype(int), 1)))
            for start, stop in ends.reshape(-1, 2):
                pair = ([along[start], along[stop], np.nan], [across[place], across[place], np.nan])
                lines.append(pair[::-1] if turned else pair)
    return np.concatenate([line[0] for line in lines]), np.concatenate([line[1] for line in lines])


def _scale_and_north(axis: Axes, east: float, north: float) -> None:
    """A scale bar below the map and an arrow to the north; eastings and northings are not more than 2 degrees off."""
    power = 10 ** math.floor(math.log10(east / 3))
    length = max(step * power for step in (1, 2, 5) if step * power <= east / 3)
    at = -0.45 * FOOT * north
    axis.plot([0, length], [at, at], color=INK, linewidth=2.5, solid_capstyle="butt")
    words = f"{length:g} km" if length >= 1 else f"{1000 * length:g} m"
    axis.annotate(words, (length, at), (5, 0), textcoords="offset points", va="center", fontsize=8)
    axis.annotate("N ↑", (east, at), va="center", ha="right", fontsize=8.5, fontweight="bold")
