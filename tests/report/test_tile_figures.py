"""Maps of test tiles: each place has the mean of the tiles that show it."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest

from sspipe.report import failure_words as words
from sspipe.report import style, tile_figures
from sspipe.report.failures import tile_table
from sspipe.report.multiples import cast

WIDTHS = [style.WIDE_IN, style.NARROW_IN]
SIDE_M = 60.0


def tiles(*rows: tuple[float, float, float], variant: str = "a") -> pd.DataFrame:
    """Of east and north (upper-left corner, m) and F1."""
    table = pd.DataFrame(rows, columns=["easting_m", "northing_m", "f1"])
    ids = [f"t{place}" for place in range(len(rows))]
    return table.assign(tile_id=ids, variant=variant, size_px=120, pixel_m=SIDE_M / 120, difference=table["f1"] - 0.5)


def named(*names: str):
    return cast({name: f"Title {name}" for name in names}, dict.fromkeys(names, 0.5), "a")


def at(ground: tile_figures.Cover, x_m: float, y_m: float, what: np.ndarray) -> float:
    """The value at metres from the south-western corner."""
    _, east, _, north = ground.extent
    rows, columns = what.shape
    return what[int((north * 1000 - y_m) / (north * 1000) * rows), int(x_m / (east * 1000) * columns)]


def test_a_place_has_the_mean_of_the_tiles_that_show_it():
    # Two tiles that share their middle, one apart to the south-east, one that has no F1.
    table = tiles((1000, 2060, 0.2), (1030, 2060, 0.6), (1200, 1900, 1.0), (1000, 1960, np.nan))
    ground = tile_figures.cover(table, "f1", table)
    assert ground.extent == pytest.approx((0, 0.26, 0, 0.22))
    assert at(ground, 10, 210, ground.values) == pytest.approx(0.2)
    assert at(ground, 45, 190, ground.values) == pytest.approx(0.4)
    assert at(ground, 80, 190, ground.values) == pytest.approx(0.6)
    assert at(ground, 230, 20, ground.values) == pytest.approx(1.0)
    assert np.isnan(at(ground, 150, 190, ground.values)) and not at(ground, 150, 190, ground.seen)
    assert np.isnan(at(ground, 20, 100, ground.values)) and at(ground, 20, 100, ground.seen)
    assert np.nanmean(ground.values) > 0 and ground.seen.sum() * 10 * 10 == pytest.approx(90 * 60 + 2 * 60 * 60)


@pytest.mark.parametrize("width", WIDTHS)
def test_the_map_has_a_scale_a_north_arrow_and_a_panel_a_variant(width):
    table = pd.concat([tiles((0, 60, 0.2), (300, 60, 0.4)), tiles((0, 60, 0.7), (300, 60, 0.9), variant="b")])
    figure = tile_figures.f1_map_figure(table, named("a", "b"), width)
    shown = re.findall(r"<text[^>]*>([^<]*)</text>", style.svg_text(figure))
    assert {"100 m", "N ↑", "Title a", "Title b", "mean F1 of the test tiles that show a place"} <= set(shown)
    pictures = [axis.images[0].get_array() for axis in figure.axes if axis.images]
    assert [sorted(set(np.ma.masked_invalid(values).compressed())) for values in pictures] == [[0.2, 0.4], [0.7, 0.9]]
    bar = next(line for line in figure.axes[0].lines if line.get_linewidth() == 2.5)
    assert bar.get_xdata() == pytest.approx([0, 0.1])  # km, as the axes are


def test_the_difference_map_leaves_the_baseline_out_and_has_zero_in_its_middle():
    table = pd.concat([tiles((0, 60, 0.5), (300, 60, 0.5)), tiles((0, 60, 0.7), (300, 60, 0.4), variant="b")])
    figure = tile_figures.difference_map_figure(table, named("a", "b"), style.WIDE_IN)
    (picture,) = [axis.images[0] for axis in figure.axes if axis.images]
    assert sorted(set(np.ma.masked_invalid(picture.get_array()).compressed().round(3))) == [-0.1, 0.2]
    assert picture.get_clim() == pytest.approx((-0.2, 0.2))


def test_a_variant_without_scores_leaves_a_marked_panel():
    figure = tile_figures.f1_map_figure(tiles((0, 60, 0.2)), named("a", "lost"), style.WIDE_IN)
    assert "no scores" in style.svg_text(figure)


@pytest.mark.parametrize(("size_px", "most"), [(900, 400_000), (120, 1_500_000)])
def test_maps_of_thousands_of_tiles_stay_small(size_px, most):
    """Tiles as large as SpaceNet 6's cover the ground many times; small ones lie scattered, each with an outline."""
    rng = np.random.default_rng(0)
    rows = [tuple(row) for row in rng.uniform((0, 0, 0), (9000, 5000, 1), (3401, 3))]
    names = [f"v{place}" for place in range(8)]
    table = pd.concat([tiles(*rows, variant=name) for name in names]).assign(size_px=size_px)
    assert len(style.svg_text(tile_figures.f1_map_figure(table, named(*names), style.NARROW_IN))) < most


def test_tiles_are_averaged_over_seeds_and_held_against_the_baseline():
    scores = pd.DataFrame(
        [("s", variant, seed, "t", f1) for variant, pair in {"a": (0.2, 0.4), "b": (0.6, np.nan)}.items()
         for seed, f1 in enumerate(pair)],
        columns=["split", "variant", "seed", "tile_id", "f1"],
    )  # fmt: skip
    place = {"strip": "x", "orientation": 0, "easting_m": 5.0, "northing_m": 6.0, "size_px": 2, "pixel_m": 0.5}
    table = tile_table(scores, pd.DataFrame([{"split": "s", "tile_id": "t", **place}]), "a").set_index("variant")
    assert table["f1"].to_dict() == pytest.approx({"a": 0.3, "b": 0.6})
    assert table["difference"].to_dict() == pytest.approx({"a": 0.0, "b": 0.3})
    assert table["easting_m"].tolist() == [5.0, 5.0]


def test_the_sentence_counts_tiles_and_names_the_weakest_quarter():
    west = [(0, 100 * place, 0.4) for place in range(6)]
    east = [(5000, 100 * place, 0.9) for place in range(6)]
    north = [(0, 9000 + place, 0.7) for place in range(5)]
    told = words.map_sentence(tiles(*west, *east, *north, (0, 0, np.nan)), "a", "A")
    assert "Of 18 test tiles, F1 of “A” is below 0.5 on 6 and at least 0.8 on 6; 1 has neither" in told
    assert "lowest in the south-west (mean 0.40, 6 tiles) and highest in the south-east (mean 0.90, 6 tiles)" in told
