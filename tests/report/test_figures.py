"""Figures: from a table to a drawing that a page can hold."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest

from sspipe.report import comparison, failure_figures, figures, score_figures, style
from sspipe.report.absence import Absent
from sspipe.report.multiples import cast
from tests.report.test_comparison import run

BY_IOU = ["variant", "iou", "f1", "f1_low", "f1_high"]
WIDTHS = [style.WIDE_IN, style.NARROW_IN]


def texts(figure) -> list[str]:
    return re.findall(r"<text[^>]*>([^<]*)</text>", style.svg_text(figure))


@pytest.mark.parametrize("width", WIDTHS)
def test_the_f1_figure_names_every_variant_and_its_score(width):
    runs = pd.DataFrame([run("random", "a", f1=0.31), run("spatial", "a", f1=0.42), run("spatial", "b", f1=0.53)])
    shown = texts(score_figures.f1_figure(comparison.table_one(runs), runs, width))
    assert {"Title, a", "Title, b", "random split", "spatial split"} <= set(shown)
    told = ["0.310", "0.420", "0.530"]
    if width == style.WIDE_IN:
        told = ["0.310  [0.290, 0.330]", "0.420  [0.400, 0.440]", "0.530  [0.510, 0.550]"]
    assert set(told) <= set(shown)


@pytest.mark.parametrize("width", WIDTHS)
def test_a_variant_without_result_leaves_a_gap_that_says_why(width):
    runs = pd.DataFrame([run("spatial", "a")])
    lost = Absent("spatial", "b", 0, "Title, b", "candidate", "failed")
    shown = texts(score_figures.f1_figure(comparison.table_one(runs, [lost]), runs, width))
    assert {"Title, b", "no result (failed)"} <= set(shown)


def test_of_very_many_variants_the_best_and_the_baseline_are_drawn():
    runs = pd.DataFrame([run("spatial", f"v{place}", f1=place / 200) for place in range(100)])
    table = comparison.table_one(runs)
    drawn = score_figures.rows_drawn(table, keep=("v3",))
    expected = [*range(99, 100 - score_figures.MAX_ROWS, -1), 3]
    assert list(drawn["variant"]) == [f"v{place}" for place in expected]
    assert score_figures.f1_figure(table, runs, style.WIDE_IN).get_figheight() < 14
    assert len(score_figures.rows_drawn(table.head(8))) == 8


def test_dollars_in_a_title_are_dollars():
    title = r"from $\frac{ to $5"
    runs = pd.DataFrame([{**run("spatial", "a"), "title": title}, run("spatial", "b")])
    assert title in texts(score_figures.f1_figure(comparison.table_one(runs), runs, style.WIDE_IN))
    scores = pd.DataFrame([("a", 0.5, 0.4, 0.3, 0.5), ("b", 0.5, 0.6, 0.5, 0.7)], columns=BY_IOU)
    shown = cast({"a": title, "b": "B"}, {"a": 0.4, "b": 0.6}, "a")
    assert {title, f"baseline: {title}"} <= set(texts(failure_figures.threshold_figure(scores, shown, style.WIDE_IN)))


def test_an_undefined_f1_leaves_a_marked_gap():
    runs = pd.DataFrame([run("random", "a"), run("random", "b", f1=float("nan"))])
    assert "F1 not defined" in texts(score_figures.f1_figure(comparison.table_one(runs), runs, style.WIDE_IN))


def test_the_papers_f1_is_drawn_only_where_it_compares():
    runs = pd.DataFrame([run("random", "a", paper_row="UNet16 with fine-tuning")])
    table = comparison.table_one(runs)
    with_paper = style.svg_text(score_figures.f1_figure(table, runs, style.WIDE_IN, ("random",)))
    without = style.svg_text(score_figures.f1_figure(table, runs, style.WIDE_IN))
    assert style.ORANGE in with_paper and style.ORANGE not in without


@pytest.mark.parametrize("width", WIDTHS)
def test_the_gap_figure_prints_the_gap_with_its_sign(width):
    table = comparison.table_one(
        pd.DataFrame([run(split, name, f1=f1) for split, name, f1 in
                      [("r", "a", 0.6), ("s", "a", 0.4), ("r", "b", 0.3), ("s", "b", 0.4)]])
    )  # fmt: skip
    shown = texts(score_figures.gap_figure(comparison.leak_gaps(table, {"r": "random", "s": "spatial"}), width))
    assert {"+0.200", "−0.100"} <= set(shown)


@pytest.mark.parametrize("width", WIDTHS)
def test_rows_of_several_pairs_of_splits_are_named_by_their_splits_too(width):
    table = comparison.table_one(
        pd.DataFrame([run(split, "a", f1=f1) for split, f1 in (("r", 0.6), ("west", 0.4), ("east", 0.5))])
    )
    gaps = comparison.leak_gaps(table, {"r": "random", "west": "spatial", "east": "spatial"})
    shown = texts(score_figures.gap_figure(gaps, width))
    names = [f"{gaps['title'].iloc[0]} (r minus {split})" for split in ("west", "east")]
    assert {*names, "+0.200", "+0.100", "r split", "west and east splits"} <= set(shown)


def test_of_very_many_gaps_the_largest_are_drawn():
    gaps = pd.DataFrame({"variant": range(40), "gap": np.linspace(0.0, 0.39, 40)})
    assert list(score_figures.gaps_drawn(gaps)["variant"]) == list(range(39, 9, -1))
    assert score_figures.gaps_drawn(gaps[:30]).equals(gaps[:30])


@pytest.mark.parametrize("width", WIDTHS)
def test_a_map_of_thousands_of_tiles_stays_small(width):
    count = 3401
    rng = np.random.default_rng(0)
    tiles = pd.DataFrame(
        {
            "split": "random", "tile_id": range(count), "size_px": 900, "pixel_m": 0.5,
            "subset": rng.choice(list(figures.SUBSET_WORDS), count),
            "easting_m": 590_000 + rng.uniform(0, 9000, count), "northing_m": 5_750_000 + rng.uniform(0, 5000, count),
        }
    )  # fmt: skip
    assert len(style.svg_text(figures.tile_map_figure(tiles, width))) < 2_000_000


def test_every_tile_is_counted_once():
    tiles = pd.DataFrame({"split": ["a", "a", "a", "b"], "subset": ["test", "train", "train", "guard"]})
    counts = figures.subset_counts(tiles).set_index("split")
    assert counts.loc["a"].to_dict() == {"train": 2, "validation": 0, "test": 1, "guard": 0, "validation_guard": 0}
    assert counts.loc["b", "guard"] == 1


def test_an_inline_drawing_takes_the_pages_colours_and_its_own_ids():
    table = pd.DataFrame([run("random", "a"), run("spatial", "a")])
    svg = style.svg_text(score_figures.f1_figure(comparison.table_one(table), table, style.WIDE_IN))
    inline = style.inline_svg(svg, "mine", 'says "so" & <more>')
    assert not re.findall(r"#(?!mine-)[0-9a-fA-F]{3,}", inline)
    assert all(name.startswith("mine-") for name in re.findall(r'\bid="([^"]+)"', inline))
    referred = set(re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', inline))
    assert {a or b for a, b in referred} <= set(re.findall(r'\bid="([^"]+)"', inline))
    assert 'aria-label="says &quot;so&quot; &amp; &lt;more&gt;"' in inline


def test_light_colours_occur_once_so_that_each_becomes_its_own_variable():
    lights = [light for light, _ in style.PALETTE.values()]
    assert len(set(lights)) == len(lights)
