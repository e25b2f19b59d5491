"""Where it fails: the tables are the scores' own numbers, the figures show the tables, and gaps are told."""

from __future__ import annotations

import json
import re
import shutil

import numpy as np
import pandas as pd
import pytest

from sspipe.errors import UserError
from sspipe.report import comparison, failure_figures, failures, style
from sspipe.report import failure_words as words
from sspipe.report.failures_section import failures_section
from sspipe.report.multiples import MOST_PANELS, Cast, cast, panel_grid
from sspipe.report.results import read_results
from tests.report.browser import opened
from tests.report.fake_results import make_fake_results

WIDTHS = [style.WIDE_IN, style.NARROW_IN]


def texts(figure) -> list[str]:
    return re.findall(r"<text[^>]*>([^<]*)</text>", style.svg_text(figure))


def record(variant: str = "a", seed: int = 0, **parts) -> dict:
    return {"split": "s", "variant": variant, "seed": seed, **parts}


def bin_of(low, high, buildings: int, recall) -> dict:
    bounds = {"recall_low": None, "recall_high": None} if recall is None else {
        "recall_low": recall - 0.1, "recall_high": recall + 0.1
    }  # fmt: skip
    return {"from": low, "to": high, "buildings": buildings, "matched": 0, "recall": recall, **bounds}


def bins(first, second, third=(0, None), unknown: int = 0) -> list[dict]:
    found = [bin_of(None, 50.0, *first), bin_of(50.0, 500.0, *second), bin_of(500.0, None, *third)]
    return [*found, bin_of(None, None, unknown, 0.5)] if unknown else found


def named(*names: str) -> Cast:
    return cast({name: f"Title {name}" for name in names}, dict.fromkeys(names, 0.5), "a")


def own_line(axis):
    return next(line for line in axis.lines if line.get_color() == style.BLUE and line.get_linestyle() == "-")


def test_recall_is_the_mean_of_the_seeds_and_so_are_its_bounds():
    records = [
        record(seed=seed, recall_by_area_m2=bins((20, value), (80, 0.8)))
        for seed, value in enumerate((0.2, 0.4))
    ]  # fmt: skip
    table = failures.recall_table(records, "area_m2")
    low = table[table["place"] == 0].iloc[0]
    assert low[["buildings", "recall", "recall_low", "recall_high"]].tolist() == pytest.approx([20, 0.3, 0.2, 0.4])
    assert np.isnan(low["low"]) and low["high"] == 50
    assert table.loc[table["place"] == 2, "recall"].isna().all()


@pytest.mark.parametrize("width", WIDTHS)
def test_the_recall_figure_draws_the_numbers_of_its_table(width):
    records = [
        record("a", recall_by_area_m2=bins((22, 0.1), (80, 0.6), (5, 1.0))),
        record("b", recall_by_area_m2=bins((22, 0.2), (80, 0.7), (5, 0.8))),
    ]
    table = failures.recall_table(records, "area_m2")
    figure = failure_figures.recall_figure(table, named("a", "b"), "footprint area, m²", width)
    first, second, bars = figure.axes
    assert own_line(first).get_ydata() == pytest.approx([0.1, 0.6, 1.0])
    assert own_line(second).get_ydata() == pytest.approx([0.2, 0.7, 0.8])
    beside = next(line for line in second.lines if line.get_color() == style.ORANGE)
    assert beside.get_ydata() == pytest.approx([0.1, 0.6, 1.0]) and beside.get_linestyle() != "-"
    assert [bar.get_height() for bar in bars.patches] == [22, 80, 5]
    shown = texts(figure)
    assert {"22", "80", "5", "50", "500", "fewer than 10 buildings", "baseline: Title a"} <= set(shown)


def test_recall_sentences_rest_on_bins_with_enough_buildings():
    table = failures.recall_table([record(recall_by_area_m2=bins((22, 0.14), (80, 0.6), (2, 1.0)))], "area_m2")
    told = words.recall_sentence(table, "a", "A", "m²")
    assert told == "Of the 22 buildings below 50 m², “A” finds 14 %; of the 80 from 50 to 500 m², 60 %."
    few = failures.recall_table([record(recall_by_area_m2=bins((3, 0.3), (2, 0.5)))], "area_m2")
    assert "No bin holds 10 buildings" in words.recall_sentence(few, "a", "A", "m²")


def test_f1_of_tiles_without_buildings_and_proposals_is_no_failure():
    part = {"orientation": 0, "tiles": 3, "tp": 0, "fp": 0, "fn": 0, "f1": 0.0, "f1_low": 0.0, "f1_high": 0.0}
    table = failures.group_table([record(by_orientation=[part])], "orientation")
    assert table["tiles"].tolist() == [3] and table["f1"].isna().all()


def orientations(**f1: tuple[float, float]) -> pd.DataFrame:
    records = [
        record(name, by_orientation=[
            {"orientation": side, "tiles": 10 + side, "tp": 1, "fp": 1, "fn": 1, "f1": value, "f1_low": value - 0.05,
             "f1_high": value + 0.05}
            for side, value in enumerate(pair)
        ])
        for name, pair in f1.items()
    ]  # fmt: skip
    return failures.group_table(records, "orientation")


def test_orientation_says_whether_the_intervals_overlap():
    told = words.orientation_sentence(orientations(a=(0.7, 0.5), b=(0.6, 0.62)), "a", "A")
    assert "0.700 [0.650, 0.750] on the 10 tiles imaged from the north" in told
    assert "0.500 [0.450, 0.550] on the 11 tiles imaged from the south; the intervals do not overlap" in told
    assert "1 of 2 variants scores higher from the north" in told
    assert "the intervals overlap" in words.orientation_sentence(orientations(a=(0.6, 0.62)), "a", "A")


@pytest.mark.parametrize("width", WIDTHS)
def test_orientations_are_told_apart_by_their_marks(width):
    figure = failure_figures.orientation_figure(orientations(a=(0.7, 0.5)), named("a"), width)
    marks = {line.get_marker(): line.get_xdata()[0] for line in figure.axes[0].lines if line.get_marker() != "None"}
    assert marks == {"^": 0.7, "v": 0.5}
    assert {"imaged from the north: 10 tiles", "imaged from the south: 11 tiles"} <= set(texts(figure))


def strips(**tiles: tuple[int, float]) -> pd.DataFrame:
    parts = [
        {"strip": name, "tiles": count, "tp": 1, "fp": 1, "fn": 1, "f1": f1, "f1_low": None, "f1_high": None}
        for name, (count, f1) in tiles.items()
    ]
    return failures.group_table([record(by_strip=parts)], "strip").assign(orientation=[0, 1] * (len(parts) // 2))


@pytest.mark.parametrize("width", WIDTHS)
def test_a_strip_with_few_tiles_is_drawn_hollow_and_not_told(width):
    table = strips(east=(9, 0.4), north=(2, 0.1), south=(7, 0.8), west=(5, 0.6))
    told = words.strip_sentence(table, "a", "A")
    assert "4 strips have test tiles, 3 of them at least 5" in told
    assert "between 0.400 (strip east, 9 tiles) and 0.800 (strip south, 7 tiles)" in told
    figure = failure_figures.strip_figure(table, named("a"), width)
    hollow = [list(line.get_ydata()) for line in figure.axes[0].lines if line.get_markerfacecolor() == style.SURFACE]
    assert [value for values in hollow for value in values] == [0.1]
    assert [bar.get_height() for bar in figure.axes[1].patches] == [9, 2, 7, 5]


def test_a_single_strip_is_told_and_not_compared():
    table = strips(east=(9, 0.4), north=(2, 0.1))
    told = words.strip_sentence(table[table["strip"] == "east"], "a", "A")
    assert told == "All test tiles belong to one strip (east), so strips cannot be compared."


@pytest.mark.parametrize("width", WIDTHS)
def test_f1_by_iou_is_a_curve_with_its_intervals(width):
    curve = {f"{0.5 + 0.05 * step:.2f}": 0.9 - 0.1 * step for step in range(10)}
    bounds = {f"f1_at_{iou}": [f1 - 0.02, f1 + 0.02] for iou, f1 in curve.items()}
    table = failures.threshold_table([record(f1_at_iou=curve, intervals=bounds)])
    figure = failure_figures.threshold_figure(table, named("a"), width)
    assert own_line(figure.axes[0]).get_ydata() == pytest.approx(list(curve.values()))
    ends = figure.axes[0].collections[0].get_segments()
    assert [segment[:, 1].tolist() for segment in ends] == [pytest.approx(pair) for pair in bounds.values()]
    told = words.threshold_sentence(table, "a", "A")
    assert "is 0.900 where a match needs an IoU of 0.5, 0.500 at 0.7 and 0.100 at 0.9" in told
    assert "from 0.75 on it is less than half" in told


def test_reliability_pools_the_pixels_of_all_seeds(tmp_path):
    records = []
    for seed, (pixels, probability, share) in enumerate([(100, 0.9, 0.5), (300, 0.7, 0.9)]):
        folder = tmp_path / str(seed)
        folder.mkdir()
        rows = {"low": [0, 0.5], "high": [0.5, 1], "pixels": [0, pixels], "mean_probability": [None, probability]}
        pd.DataFrame({**rows, "building_share": [None, share]}).to_csv(folder / "reliability.csv", index=False)
        records.append(record(seed=seed, folder=folder))
    table, missing = failures.reliability_table([*records, record("b", folder=tmp_path / "none")])
    assert missing == ["s/b/seed0"]
    empty, full = (row for _, row in table.iterrows())
    assert empty["pixels"] == 0 and np.isnan(empty["building_share"])
    assert full[["pixels", "mean_probability", "building_share"]].tolist() == pytest.approx([400, 0.75, 0.8])
    assert full["calibration_error"] == pytest.approx((0.4 + 0.2) / 2)
    told = words.reliability_sentence(table, "a", "A", {"a": "A"})
    assert "80.0\u00a0% are building where it expects 75.0\u00a0%: too low" in told
    assert "The expected calibration error is 0.300." in told
    figure = failure_figures.reliability_figure(table, named("a"), style.WIDE_IN)
    assert own_line(figure.axes[0]).get_xydata().tolist() == [pytest.approx([0.75, 0.8])]
    assert "error 0.300" in texts(figure)


def test_of_a_hundred_variants_the_baseline_and_the_best_are_shown_and_the_rest_stand_behind():
    names = [f"v{place}" for place in range(100)]
    chosen = cast({name: name for name in names}, {name: place for place, name in enumerate(names)}, "v3")
    assert list(chosen.titles) == ["v3", *names[-MOST_PANELS + 1 :]] and chosen.unseen == 100 - MOST_PANELS
    # Whom the sentences tell of is seen, though many that see EO at test do better.
    chosen = cast({name: name for name in names}, {name: place for place, name in enumerate(names)}, "v3", "v40")
    assert list(chosen.titles) == ["v3", "v40", *names[-MOST_PANELS + 2 :]]

    records = [
        record(name, recall_by_area_m2=bins((22, place / 200), (80, place / 100))) for place, name in enumerate(names)
    ]
    table = failures.recall_table(records, "area_m2")
    figure = failure_figures.recall_figure(table, chosen, "footprint area, m²", style.WIDE_IN)
    assert len(figure.axes) == MOST_PANELS + 1
    assert "where 98 other variants lie" in texts(figure)
    assert len(style.svg_text(figure)) < 100_000


def test_long_titles_that_differ_at_their_ends_are_told_apart():
    titles = {f"v{place}": f"UNet16, EO at test too (ceiling), ablation {place}" for place in range(8)}
    _, axes = panel_grid(titles.values(), style.WIDE_IN, 1.5, 4, title_in=1.6)
    assert len({axis.get_title(loc="left") or axis.get_title() for axis in axes}) == 8


def test_the_band_of_many_others_is_as_wide_as_they_lie_apart():
    rows = [
        {"variant": f"v{place}", "low": low, "high": low + 0.5, "pixels": 5000, "mean_probability": low + place / 100,
         "building_share": low + place / 40, "calibration_error": 0.1}
        for place in range(20) for low in (0.0, 0.5)
    ]  # fmt: skip
    figure = failure_figures.reliability_figure(pd.DataFrame(rows), named("v0"), style.WIDE_IN)
    (band,) = figure.axes[0].collections
    corners = band.get_paths()[0].vertices
    # Of all but v0, the first: from v1 to v19, at the mean of their probabilities.
    assert [corners[:, 0].min(), corners[:, 0].max()] == pytest.approx([0.1, 0.6])
    assert [corners[:, 1].min(), corners[:, 1].max()] == pytest.approx([1 / 40, 0.5 + 19 / 40])


def test_a_variant_without_scores_leaves_a_marked_gap():
    table = failures.recall_table([record("a", recall_by_area_m2=bins((22, 0.1), (80, 0.6)))], "area_m2")
    absent = cast({"a": "A", "lost": "Lost"}, {"a": 0.5}, "a")
    shown = texts(failure_figures.recall_figure(table, absent, "footprint area, m²", style.NARROW_IN))
    assert "Lost" in shown and "no scores" in shown


@pytest.fixture(scope="module")
def sections(tmp_path_factory):
    """Builds the section of a lone variant's results after `change` has been made to each scores.json."""
    root = tmp_path_factory.mktemp("lone")
    fake = make_fake_results(root, tiles=6, seeds=(0,), variants=("ss_rsc_shared",), random_variants=())

    def build(change=lambda content: None, folder=None):
        for path in fake.files.scores:
            kept = path.with_suffix(".kept")
            if not kept.exists():
                shutil.copy(path, kept)
            content = json.loads(kept.read_text())
            change(content)
            path.write_text(json.dumps(content))
        results = read_results(**fake.inputs)
        table = comparison.table_one(results.runs)
        made = failures_section(results, table, fake.files.scores, folder or tmp_path_factory.mktemp("figures"))
        (split,) = made.content["splits"]
        return {part.heading: part for part in split["parts"]}, fake

    return build


def test_heights_that_nobody_knows_and_a_lone_strip_are_told_and_not_drawn(sections):
    def change(content):
        unknown = [bin_of(part["from"], part["to"], 0, None) for part in content["recall_by_height_m"]]
        content["recall_by_height_m"] = [*unknown, bin_of(None, None, 40, 0.5)]
        content["by_strip"] = content["by_strip"][:1]
        content["by_orientation"] = content["by_orientation"][:1]

    parts, _ = sections(change)
    assert "No building of these test tiles has a height" in parts["Height of buildings"].sentence
    assert "strips cannot be compared" in parts["Strips"].sentence
    assert "orientations cannot be compared" in parts["Side that the radar looks from"].sentence
    drawn = {heading: len(part.drawings) for heading, part in parts.items()}
    assert [drawn[name] for name in ("Height of buildings", "Strips", "Side that the radar looks from")] == [0, 0, 0]
    # One variant has no baseline to differ from.
    assert drawn["Places"] == drawn["Size of buildings"] == 1


def test_a_run_without_reliability_is_named(sections, tmp_path):
    (path,) = sections()[1].files.scores
    table = path.with_name("reliability.csv")
    table.rename(tmp_path / "aside.csv")
    try:
        part = sections()[0]["Whether probabilities can be trusted"]
    finally:
        shutil.move(tmp_path / "aside.csv", table)
    assert "spatial/ss_rsc_shared/seed0 has no reliability.csv" in part.sentence and part.drawings == []


def test_scores_of_an_older_version_are_refused_with_the_remedy(sections):
    with pytest.raises(UserError, match=r"scores\.json: lacks f1_at_iou; run the rule score_polygons again"):
        sections(lambda content: content.pop("f1_at_iou"))


def test_the_page_shows_every_part_with_its_sentence_and_its_data(browser, report):
    folder = report.arguments["out_figures"]
    with opened(browser, report.arguments["out"]) as page:
        section = page.locator("section[aria-labelledby=fails]")
        headings = section.locator("h4").all_inner_texts()
        assert len(headings) == 2 * 7 and len(set(headings)) == 7
        assert page.locator("nav a[href='#fails']").count() == 1
        figures = section.locator("figure.plot").evaluate_all("all => all.map(one => one.id)")
        assert {"figure-recall_by_area_spatial", "figure-f1_map_random", "figure-reliability_spatial"} <= set(figures)
        table = pd.read_csv(folder / "recall_by_area_spatial.csv")
        lowest = table[(table["variant"] == "ss_rsc_shared") & (table["buildings"] >= 10)].sort_values("place").iloc[0]
        assert f"Of the {lowest['buildings']:.0f} buildings" in section.inner_text()
        assert f"finds {100 * lowest['recall']:.0f} %" in section.inner_text()
        assert page.complaints == []
    assert [name for name in figures if not (folder / f"{name.removeprefix('figure-')}.csv").is_file()] == []
