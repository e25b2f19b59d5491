"""Figures of the data report: each function takes a table and returns a matplotlib Figure."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pandas as pd
import shapely
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from sspipe.report.style import BLUE, GREEN, GREY, INK, MUTED, ORANGE, PURPLE, SURFACE, is_narrow, styled

ORIENTATION_WORDS = {0: "imaged from the north", 1: "imaged from the south"}
DATE_COLOURS = (BLUE, ORANGE, GREEN, PURPLE, GREY)
BAND_COLOURS = (BLUE, ORANGE, GREEN, PURPLE)
NO_DATA_BINS = list(range(0, 101, 4))  # %
SIZES_PER_DECADE = 8


@styled
def strip_map_figure(strips: pd.DataFrame, width_in: float) -> Figure:
    """Draws the outlines of the strips, one panel an orientation, coloured by the day they were flown.

    Args:
        strips: `data_tables.strip_table`.
        width_in: inches.
    """
    west, south, east, north = shapely.total_bounds(strips["outline"].to_numpy())
    narrow = is_narrow(width_in)
    rows, columns = (2, 1) if narrow else (1, 2)
    shape = min(1.4, (north - south) / (east - west))
    figure = Figure(figsize=(width_in, 0.6 + rows * (0.7 + 0.88 * width_in / columns * shape)), layout="constrained")
    dates = sorted(strips["date"].unique())
    colours = {date: DATE_COLOURS[min(place, len(DATE_COLOURS) - 1)] for place, date in enumerate(dates)}
    for axis, (orientation, words) in zip(
        figure.subplots(rows, columns, squeeze=False).flat, ORIENTATION_WORDS.items(), strict=True
    ):
        here = strips[strips["orientation"] == orientation]
        for date, group in here.groupby("date"):
            _outlines(axis, group["outline"].to_numpy(), (west, south), colours[date])
        axis.set(title=f"Strips {words}: {len(here)}", aspect="equal", xlabel="km east", ylabel="km north")
        margin = 0.02 * (east - west) / 1000
        axis.set(xlim=(-margin, (east - west) / 1000 + margin), ylim=(-margin, (north - south) / 1000 + margin))
        _scale_bar(axis, (east - west) / 1000)
        axis.grid(visible=False)
    handles = [Line2D([], [], color=colours[date], linewidth=2, label=date or "day unknown") for date in dates]
    if any(dates):
        figure.legend(handles=handles, loc="outside upper left", ncols=2 if narrow else 5)
    return figure


@styled
def no_data_figure(catalog: pd.DataFrame, width_in: float) -> Figure:
    """Draws how many tiles have which share of no-data, SAR and EO.

    Args:
        catalog: sar_no_data_fraction, eo_no_data_fraction.
        width_in: inches.
    """
    figure, axes = _panels(width_in, 2)
    for axis, (name, colour) in zip(axes, (("sar", BLUE), ("eo", ORANGE)), strict=True):
        shares = 100 * catalog[f"{name}_no_data_fraction"]
        axis.hist(shares, NO_DATA_BINS, color=colour)
        axis.axvline(shares.mean(), color=INK, linewidth=1.2, linestyle=(0, (4, 2)))
        _beside(axis, shares.mean(), f"mean {shares.mean():.1f} %", right=shares.mean() < 60)
        axis.set(title=name.upper(), xlabel="no-data pixels of the tile, %", ylabel="tiles", xlim=(0, 100))
        axis.grid(axis="x", visible=False)
    return figure


@styled
def values_figure(histogram: pd.DataFrame, bands: pd.DataFrame, unit: str, width_in: float) -> Figure:
    """Draws the values of an image's bands: their histograms, and mean and standard deviation of each.

    Args:
        histogram: band, left (edge of the bin), width, share (of the band's valid pixels).
        bands: band, mean, std and, where there is something to hold them against, real_mean and real_std.
        unit: of the values, for the axis.
        width_in: inches.
    """
    figure, (shapes, means) = _panels(width_in, 2, height_in=2.9)
    filled = histogram[histogram["share"] > 0]
    last = float((filled["left"] + filled["width"]).max()) if len(filled) else 1.0
    first = min(0.0, float(filled["left"].min())) if len(filled) else 0.0
    for place, (colour, (_, band)) in enumerate(zip(itertools.cycle(BAND_COLOURS), bands.iterrows(), strict=False)):
        here = histogram[
            (histogram["band"] == band["band"]) & (histogram["left"] < last) & (histogram["left"] >= first)
        ]
        edges = [*here["left"], here["left"].iloc[-1] + here["width"].iloc[-1]]
        shapes.stairs(100 * here["share"], edges, color=colour, linewidth=1.6, label=band["band"])
        means.errorbar(
            band["mean"], place - 0.13, xerr=band["std"], marker="o", markersize=6, color=colour, linewidth=2
        )
        if pd.notna(band["real_mean"]):
            means.errorbar(
                band["real_mean"], place + 0.17, xerr=band["real_std"], marker="D", markersize=5,
                markerfacecolor=SURFACE, color=GREY, linewidth=1.2,
            )  # fmt: skip
    shapes.set(xlabel=unit, ylabel="valid pixels, %", title="Histogram", xlim=(first, last))
    shapes.set_ylim(bottom=0)
    shapes.legend(loc="upper right", title=None)
    means.set(xlabel=unit, title="Mean ± standard deviation", ylim=(len(bands) - 0.5, -0.5))
    means.set_yticks(range(len(bands)), list(bands["band"]))
    means.tick_params(axis="y", length=0, labelcolor=INK)
    means.grid(axis="y", visible=False)
    if first == 0:  # values below it need the space
        means.set_xlim(left=0)
    if bands["real_mean"].notna().any():
        handles = [
            Line2D([], [], color=INK, marker="o", linestyle="none", label="these tiles"),
            Line2D([], [], color=GREY, marker="D", markerfacecolor=SURFACE, linestyle="none", label="SpaceNet 6"),
        ]
        figure.legend(handles=handles, loc="outside upper right", ncols=2)
    return figure


@styled
def building_figure(footprints: pd.DataFrame, min_area_m2: float, width_in: float) -> Figure:
    """Draws how large (logarithmic) and how high the buildings are.

    Args:
        footprints: area_m2 (more than 0) and height_m, NaN where unknown; at least one row.
        min_area_m2: smaller buildings are not scored.
        width_in: inches.
    """
    known = footprints["height_m"].dropna()
    known = known[np.isfinite(known)]
    figure, axes = _panels(width_in, 2 if len(known) else 1)  # not every data set has heights
    sizes = axes[0]
    area = footprints["area_m2"]
    low, high = math.floor(np.log10(area.min())), math.ceil(np.log10(area.max()) + 1e-9)
    sizes.hist(area, np.logspace(low, high, (high - low) * SIZES_PER_DECADE + 1).tolist(), color=BLUE)
    sizes.set_xscale("log")
    sizes.axvline(min_area_m2, color=ORANGE, linewidth=1.6)
    _beside(sizes, min_area_m2, f"{min_area_m2:g} m²", right=False)
    sizes.set(title="Area", xlabel="area in its tile, m² (logarithmic)", ylabel="footprints")
    if len(known):
        heights = axes[1]
        heights.hist(known, np.linspace(min(0.0, known.min()), max(1.0, known.max()), 31).tolist(), color=GREEN)
        heights.set(title="Height", xlabel="mean height of the roof, m", ylabel="footprints")
    for axis in axes:
        axis.grid(axis="x", visible=False)
    return figure


@styled
def agreement_figure(footprints: pd.DataFrame, width_in: float) -> Figure:
    """Draws how far the outlines in the CSV lie from those in the label files (logarithmic).

    Args:
        footprints: csv_distance_px, NaN where the CSV has no such building; at least one is not.
        width_in: inches.
    """
    figure, (axis,) = _panels(width_in, 1)
    # Far below any rounding: what is exactly equal needs a place on a logarithmic axis too.
    distance = footprints["csv_distance_px"].dropna().clip(lower=1e-8)
    axis.hist(distance, np.logspace(-8, max(1, math.ceil(np.log10(distance.max()))), 37).tolist(), color=BLUE)
    axis.set_xscale("log")
    axis.set_yscale("symlog", linthresh=1)
    axis.axvline(0.01, color=ORANGE, linewidth=1.6)
    _beside(axis, 0.01, "0.01 px", right=True)
    axis.set(xlabel="largest distance between the two outlines, px (logarithmic)", ylabel="footprints")
    axis.grid(axis="x", visible=False)
    return figure


def _panels(width_in: float, count: int, height_in: float = 2.6) -> tuple[Figure, list[Axes]]:
    """Axes beside each other, on a phone below each other."""
    rows, columns = (count, 1) if is_narrow(width_in) else (1, count)
    figure = Figure(figsize=(width_in, 0.3 + rows * height_in), layout="constrained")
    return figure, list(figure.subplots(rows, columns, squeeze=False).flat)


def _outlines(axis: Axes, outlines: np.ndarray, corner: tuple[float, float], colour: str) -> None:
    parts = shapely.get_parts(outlines)
    rings = [(shapely.get_coordinates(shapely.get_exterior_ring(part)) - corner) / 1000 for part in parts]
    # Fainter the more strips lie over each other, so that each can still be seen.
    faint = min(0.2, 1 / max(1, len(outlines)))
    axis.add_collection(PolyCollection(rings, facecolor=colour, edgecolor="none", alpha=faint))
    axis.add_collection(PolyCollection(rings, facecolor="none", edgecolor=colour, linewidth=0.8, alpha=0.7))


def _scale_bar(axis: Axes, extent_km: float) -> None:
    """A bar of a round length, about a fifth of the map."""
    step = 10 ** math.floor(math.log10(extent_km / 4))
    length = max(step * factor for factor in (1, 2, 5) if step * factor <= extent_km / 4)
    axis.plot([0, length], [0.02, 0.02], transform=axis.get_xaxis_transform(), color=INK, linewidth=3, clip_on=False)
    axis.annotate(
        f"{length:g} km", (length, 0.02), (6, 0), xycoords=axis.get_xaxis_transform(), textcoords="offset points",
        va="center", fontsize=8.5, color=INK, bbox={"facecolor": SURFACE, "edgecolor": "none", "pad": 0.8},
    )  # fmt: skip


def _beside(axis: Axes, x: float, text: str, right: bool) -> None:
    """Names a vertical line, at the top beside it, where no bar comes."""
    axis.set_ylim(top=axis.get_ylim()[1] * (4 if axis.get_yscale() == "symlog" else 1.15))
    axis.annotate(
        text, (x, 0.96), (5 if right else -5, 0), xycoords=axis.get_xaxis_transform(), textcoords="offset points",
        ha="left" if right else "right", va="top", fontsize=8.5, color=MUTED,
    )  # fmt: skip
