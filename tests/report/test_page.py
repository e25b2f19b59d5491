"""The comparison report, opened in a real browser."""

from __future__ import annotations

import io
import itertools

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from sspipe.errors import UserError
from sspipe.report.page import MAX_PAGE_BYTES, compare_variants
from tests.report.browser import CONTRASTS, opened, screenshot
from tests.report.fake_results import make_fake_results

SYNTHETIC = "synthetic data: not comparable with the paper"


@pytest.fixture(scope="module")
def page(browser, report):
    with opened(browser, report.arguments["out"]) as page:
        yield page


def test_nothing_fails_and_nothing_is_fetched(page, report):
    assert page.complaints == []
    assert [url for url in page.requested if not url.startswith("data:")] == [report.arguments["out"].as_uri()]


@pytest.mark.parametrize("name", ["report", "lone_report"])
def test_the_synthetic_line_is_visible_exactly_when_the_data_are_synthetic(browser, request, name):
    fake = request.getfixturevalue(name)
    with opened(browser, fake.arguments["out"]) as page:
        line = page.get_by_text(SYNTHETIC, exact=True)
        assert line.count() == int(fake.arguments["synthetic"])
        assert all(line.nth(place).is_visible() for place in range(line.count()))


def test_the_table_holds_the_numbers_of_scores_csv(page, report):
    scores = pd.read_csv(report.arguments["scores_csv"])
    measures = [
        "parameters_unique",
        "parameters_paper_style",
        "pixel_iou",
        "pixel_iou_pooled",
        "f1",
        "precision",
        "recall",
    ]
    rows = 0
    for (split, variant), runs in scores.groupby(["split", "variant"]):
        row = page.locator(f"table[data-split={split}] tr[data-variant={variant}]")
        for measure in measures:
            cell = row.locator(f"td[data-column={measure}]")
            assert float(cell.get_attribute("data-value")) == pytest.approx(runs[measure].mean(), rel=1e-12)
            if measure == "f1":
                bounds = f"[{runs['f1_low'].mean():.3f}, {runs['f1_high'].mean():.3f}]"
                shown = cell.inner_text().replace("\u00a0", " ")
                assert f"{runs['f1'].mean():.3f}" in shown and bounds in shown
                assert f"± {runs['f1'].std():.3f}" in shown
        rows += 1
    assert page.locator("table.scores tbody tr").count() == rows


def test_the_papers_numbers_stand_beside_ours_on_every_split(page):
    def papers(split: str, variant: str) -> list[str]:
        row = page.locator(f"table[data-split={split}] tr[data-variant={variant}]")
        return [row.locator(f"td[data-column=paper_{name}]").inner_text() for name in ("parameters", "pixel_iou", "f1")]

    for split in ("random", "spatial"):
        assert papers(split, "unet16_finetune") == ["44M", "0.596", "0.522"]
        assert papers(split, "ss_rsc_shared") == ["44M", "0.639", "0.616"]
    assert papers("spatial", "ss_no_skips") == ["36M", "0.577", "0.498"]
    assert papers("spatial", "unet16_eo") == ["–", "–", "–"]
    assert "36M for the network without skip connections cannot be reproduced" in page.locator("main").inner_text()


def test_a_variant_is_absent_from_a_split_it_was_not_trained_on(page):
    assert page.locator("table[data-split=random] tr[data-variant=ss_no_skips]").count() == 0
    assert "ss_no_skips" in page.get_by_text("not trained on the random split").inner_text()


@pytest.mark.parametrize("width", [390, 1280])
def test_every_picture_has_an_alt_text_and_a_size(browser, report, width):
    with opened(browser, report.arguments["out"], width=width) as page:
        drawings = page.evaluate(
            "() => [...document.querySelectorAll('svg[role=img]')].filter(d => d.checkVisibility())"
            ".map(d => [d.getAttribute('aria-label'), d.getBoundingClientRect().width])"
        )
        # The drawings of the page, and the stage of the viewer.
        assert len(drawings) == len(list(report.arguments["out_figures"].glob("*.svg"))) + 1
        assert all(len(label) > 20 and shown > 300 for label, shown in drawings)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 800, 1045, 1280, 1920])
def test_the_page_never_scrolls_sideways(browser, report, width, scheme):
    with opened(browser, report.arguments["out"], width=width, color_scheme=scheme) as page:
        page.evaluate("() => document.querySelectorAll('details').forEach(d => d.open = true)")
        assert page.evaluate("() => document.documentElement.scrollWidth") == width
        assert page.evaluate(
            "() => [...document.querySelectorAll('table, figure, svg:not(.strip svg)')]"
            ".every(node => node.getBoundingClientRect().right <= innerWidth)"
        )
        screenshot(page, f"report_{width}_{scheme}")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_what_is_behind_it(browser, report, scheme):
    with opened(browser, report.arguments["out"], color_scheme=scheme) as page:
        background = page.evaluate("() => getComputedStyle(document.body).backgroundColor")
        assert background == {"light": "rgb(255, 255, 255)", "dark": "rgb(20, 24, 29)"}[scheme]
        worst = page.evaluate(CONTRASTS)
        assert worst[0][0] >= 4.5, worst


def test_headings_tables_and_ids_are_sound(page):
    levels = [
        int(level)
        for level in page.evaluate("() => [...document.querySelectorAll('h1,h2,h3,h4')].map(h => h.tagName[1])")
    ]
    assert levels.count(1) == 1 and levels[0] == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
    assert page.evaluate("() => [...document.querySelectorAll('table')].every(t => t.caption.textContent.trim())")
    assert page.evaluate("() => document.documentElement.lang") == "en"
    ids = page.evaluate("() => [...document.querySelectorAll('[id]')].map(n => n.id)")
    assert len(ids) == len(set(ids))
    assert page.evaluate(
        "() => [...document.querySelectorAll('nav a')].every(a => document.getElementById(a.hash.slice(1)))"
    )


def test_on_a_phone_every_number_of_the_table_keeps_its_label(browser, report):
    with opened(browser, report.arguments["out"], width=390) as page:
        labels = page.evaluate(
            "() => [...document.querySelectorAll('table.scores td:not(.files)')].filter(c => c.checkVisibility())"
            ".map(c => getComputedStyle(c, '::before').content)"
        )
        assert labels and all(len(label) > 3 for label in labels)


def test_it_prints_on_a4_without_its_navigation(browser, report):
    # 182 mm between the margins are 688 CSS px.
    with opened(browser, report.arguments["out"], width=688, color_scheme="dark") as page:
        page.emulate_media(media="print")
        assert page.evaluate("() => document.documentElement.scrollWidth") == 688
        assert page.evaluate("() => getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        assert not page.locator("nav").is_visible()
        assert page.locator("h1").is_visible()


def test_in_print_a_heading_that_is_repeated_keeps_its_words_and_grey_pictures_are_no_filtered_copies(browser, report):
    with opened(browser, report.arguments["out"]) as page:
        page.emulate_media(media="print")
        # Chromium leaves buttons out of headings that it repeats on the next sheet.
        buttons = page.evaluate(
            "() => [...document.querySelectorAll('.scores thead button')].map(b => getComputedStyle(b).display)"
        )
        assert len(buttons) > 20 and set(buttons) == {"contents"}
        truth = page.locator(".grid .tile svg[aria-label^='True outlines']").first
        assert truth.evaluate("s => getComputedStyle(s.querySelector('.base')).filter") == "none"
        # White outlines over radar: no colour anywhere, while the radar picture beside it has some.
        assert colour(truth.screenshot()) < 6
        assert colour(page.locator(".grid .tile svg[aria-label^='Radar']").first.screenshot()) > 40


def colour(picture: bytes) -> int:
    """How far the channels of a picture are apart at most."""
    pixels = np.asarray(Image.open(io.BytesIO(picture)).convert("RGB")).astype(int)[8:-8, 8:-8]
    return int((pixels.max(axis=2) - pixels.min(axis=2)).max())


def test_one_variant_alone_makes_a_readable_page(browser, lone_report):
    with opened(browser, lone_report.arguments["out"], width=390) as page:
        assert page.complaints == []
        assert page.locator("table.scores").count() == 1
        assert page.locator("table.scores tbody tr").count() == 1
        assert "so the gap between them is not known" in page.locator("main").inner_text()
        assert "1 variant compared on 1 split of 12 tiles" in page.locator("header").inner_text().replace("\n", " ")
        assert page.evaluate("() => document.documentElement.scrollWidth") == 390
        screenshot(page, "report_lone_390")


def test_every_figure_has_its_data_beside_it(report):
    folder = report.arguments["out_figures"]
    drawings = sorted(path.stem for path in folder.glob("*.svg"))
    assert [name for name in drawings if not (folder / f"{name}.csv").is_file()] == []
    assert {"f1_by_variant", "leak_gap", "leakage", "tile_map", "learning_curves_spatial"} <= set(drawings)
    assert "bce_against_bce_dice_spatial_ss_rsc_shared" in drawings
    shown = pd.read_csv(folder / "panels.csv")
    tiles = {f"panel_{row.split}_{row.tile_id}" for row in shown.itertuples()}
    assert tiles == {path.stem for path in folder.glob("panel_*.png")}
    assert report.arguments["out"].stat().st_size < MAX_PAGE_BYTES


def test_the_same_results_give_the_same_bytes(lone_report):
    # Beside the first, so that its links are the same.
    folder = lone_report.root / "report"
    again = {**lone_report.arguments, "out": folder / "again.html", "out_figures": folder / "again"}
    compare_variants(**again)
    assert again["out"].read_bytes() == lone_report.arguments["out"].read_bytes()
    files = sorted(path.name for path in again["out_figures"].iterdir())
    assert files == sorted(path.name for path in lone_report.arguments["out_figures"].iterdir())
    for name in files:
        assert (again["out_figures"] / name).read_bytes() == (lone_report.arguments["out_figures"] / name).read_bytes()


def test_a_tile_that_cannot_be_read_leaves_nothing_behind(tmp_path):
    fake = make_fake_results(tmp_path, seeds=(0,), variants=("ss_rsc_shared",), random_variants=(), panels=1)
    before = {path.name for path in (tmp_path / "report").iterdir()}
    for picture in (tmp_path / "raw").rglob("*SAR-Intensity*.tif"):
        picture.write_bytes(b"not a picture")
    with pytest.raises(UserError, match=r"SAR-Intensity.*cannot be read"):
        compare_variants(**fake.arguments)
    assert before == {path.name for path in (tmp_path / "report").iterdir()}
