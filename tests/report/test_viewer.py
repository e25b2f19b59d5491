"""The viewer of test tiles, used as a reader would: in a real browser, by click and by key."""

from __future__ import annotations

import re

import pandas as pd
import pytest

from sspipe.data.spacenet_csv import read_spacenet_csv
from sspipe.report import panels
from tests.report.browser import opened, screenshot
from tests.report.fake_results import MIN_AREA_PX

# What the stage draws: the picture, and the outlines above it, by the ids of what stands in the page.
DRAWN = """() => {
  const seen = [...document.querySelectorAll('#viewer .stage use:not(.casing)')].map(use => use.getAttribute('href'));
  return seen.filter(href => href && href.startsWith('#look-')).filter(href => href !== '#look-north');
}"""
VARIANTS = ["unet16_finetune", "ss_no_skips", "ss_rsc_shared", "ss_rsc_shared_bce", "unet16_eo"]


@pytest.fixture
def page(browser, report):
    with opened(browser, report.arguments["out"]) as page:
        page.locator("#viewer .stage").scroll_into_view_if_needed()
        yield page
        assert page.complaints == []


def status(page) -> str:
    return page.locator("#viewer .status").inner_text()


def pressed(page, selector: str) -> list[str]:
    return page.evaluate(
        "s => [...document.querySelectorAll(s)].filter(b => b.getAttribute('aria-pressed') === 'true')"
        ".map(b => b.dataset.variant || b.dataset.tile || b.dataset.base || b.dataset.toggle)",
        f"#viewer {selector}",
    )


def pixels(page) -> bytes:
    """The stage as it is painted, without anything around it."""
    return page.locator("#viewer .stage svg.tile-picture").screenshot()


def test_a_click_on_a_variant_draws_its_footprints_and_says_its_counts(page, report):
    assert page.evaluate(DRAWN) == ["#look-0-sar", "#look-0-0"]
    before, first = pixels(page), status(page)
    page.locator("#viewer button[data-variant=ss_no_skips]").click()
    assert page.evaluate(DRAWN) == ["#look-0-sar", "#look-0-1"]
    assert pressed(page, ".variants button") == ["ss_no_skips"]
    assert pixels(page) != before and status(page) != first
    assert page.locator("#viewer .stage svg").first.get_attribute("aria-label").endswith(status(page))


def test_keys_switch_variants_tiles_pictures_and_layers(page):
    page.keyboard.press("ArrowRight")
    assert page.evaluate(DRAWN) == ["#look-0-sar", "#look-0-1"]
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    assert pressed(page, ".variants button") == [VARIANTS[-1]]
    page.keyboard.press("3")
    assert pressed(page, ".variants button") == ["ss_rsc_shared"]
    radar = pixels(page)
    page.keyboard.press("e")
    assert page.evaluate(DRAWN) == ["#look-0-eo", "#look-0-2"] and pressed(page, "[data-base]") == ["eo"]
    assert pixels(page) != radar
    page.keyboard.press("s")
    assert pixels(page) == radar
    page.keyboard.press("t")
    assert page.evaluate(DRAWN) == ["#look-0-sar", "#look-0-truth", "#look-0-2"]
    assert pixels(page) != radar
    page.keyboard.press("o")
    assert page.evaluate(DRAWN) == ["#look-0-sar", "#look-0-truth"]
    for key, tile in (("]", 1), ("n", 2), ("[", 1), ("p", 0)):
        page.keyboard.press(key)
        assert page.evaluate(DRAWN)[0] == f"#look-{tile}-sar"
        assert pressed(page, ".tiles button") == [str(tile)]
        assert status(page).startswith(f"Tile {tile + 1} of ")


def test_keys_are_left_alone_with_modifiers_in_fields_and_away_from_the_viewer(page):
    for key in ("Control+ArrowRight", "Alt+e", "Meta+t", "Shift+ArrowRight"):
        page.keyboard.press(key)
        assert page.evaluate(DRAWN) == ["#look-0-sar", "#look-0-0"]
    slider = page.locator("#viewer input[type=range]")
    slider.focus()
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("t")
    assert page.evaluate(DRAWN) == ["#look-0-sar", "#look-0-0"]
    assert slider.input_value() == "95"
    assert page.evaluate("() => document.querySelector('#viewer .over').style.opacity") == "0.95"
    page.evaluate("() => { document.activeElement.blur(); scrollTo(0, 0); }")
    page.keyboard.press("ArrowRight")
    assert page.evaluate(DRAWN) == ["#look-0-sar", "#look-0-0"]
    # With the focus in it, it listens wherever the page is scrolled to.
    page.locator("#viewer button[data-variant=unet16_finetune]").focus()
    page.keyboard.press("ArrowRight")
    assert page.evaluate(DRAWN) == ["#look-0-sar", "#look-0-1"]


def test_a_click_on_a_tile_and_the_arrows_beside_its_name_change_the_tile(page):
    page.locator("#viewer button[data-tile='2']").click()
    assert page.evaluate(DRAWN)[0] == "#look-2-sar"
    page.get_by_role("button", name="Previous tile").click()
    assert page.evaluate(DRAWN)[0] == "#look-1-sar"
    page.get_by_role("button", name="Next variant").click()
    assert page.evaluate(DRAWN)[1] == "#look-1-1"
    assert "ss, skip connections removed" in page.locator("#viewer .now-variant").inner_text().lower()


def test_counts_on_the_page_are_those_of_the_score_for_every_tile_and_variant(page, report):
    data = page.evaluate("() => JSON.parse(document.getElementById('viewer-data').textContent)")
    checked = 0
    for tile in data["tiles"]:
        page.locator(f"#viewer button[data-tile='{tile['place']}']").click()
        for variant, run in zip(data["variants"], tile["runs"], strict=True):
            button = page.locator(f"#viewer button[data-variant={variant['name']}]")
            if "gap" in run:
                assert button.is_disabled() and "not on this split" in button.inner_text()
                continue
            button.click()
            folder = report.root / "score" / tile["split"] / variant["name"] / "seed0"
            score = pd.read_parquet(folder / "tiles.parquet").set_index("tile_id").loc[tile["tile"]]
            shown = [
                int(page.locator(f"#viewer b[data-count={kind}]").inner_text()) for kind in ("found", "false", "missed")
            ]
            assert shown == [score["tp"], score["fp"], score["fn"]]
            said = f"F1 {score['f1']:.2f}, {shown[0]} found, {shown[1]} false, {shown[2]} missed"
            assert status(page).endswith(said)
            # One outline on the page for each that is counted: as many closed rings as buildings.
            for kind, count in zip(("found", "false", "missed"), shown, strict=True):
                path = page.evaluate(
                    "([id, kind]) => document.querySelector(`#${id} .f-${kind}`)?.getAttribute('d') || ''",
                    [f"look-{tile['place']}-{data['variants'].index(variant)}", kind],
                )
                assert len(re.findall("M", path)) == count
            checked += 1
    assert checked == 4 * 5 + 4 * 2


def test_a_tile_of_a_split_that_lacks_the_variant_shows_one_that_it_has(page):
    page.locator("#viewer button[data-variant=ss_no_skips]").click()
    page.locator("#viewer [aria-label='Test tiles of the random split'] button").first.click()
    assert pressed(page, ".variants button") == ["unet16_finetune"]
    assert "random split" in status(page) and "F1" in status(page)
    page.keyboard.press("2")
    assert pressed(page, ".variants button") == ["unet16_finetune"]
    page.keyboard.press("ArrowRight")
    assert pressed(page, ".variants button") == ["ss_rsc_shared"]


def test_it_can_be_used_without_seeing_it(page):
    assert page.locator("#viewer .status").get_attribute("aria-live") == "polite"
    names = page.evaluate(
        "() => [...document.querySelectorAll('#viewer button')].map(b => (b.getAttribute('aria-label') || b.innerText))"
    )
    assert len(names) > 20 and all(name.strip() for name in names)
    states = page.evaluate(
        "() => [...document.querySelectorAll('#viewer .variants button, #viewer .tiles button, #viewer [data-base],"
        " #viewer [data-toggle]')].map(b => b.getAttribute('aria-pressed'))"
    )
    assert set(states) == {"true", "false"}
    button = page.locator("#viewer button[data-base=eo]")
    page.locator("#viewer button[data-base=sar]").focus()
    page.keyboard.press("Tab")
    assert button.evaluate("b => document.activeElement === b && getComputedStyle(b).outlineStyle") == "solid"
    page.keyboard.press("Enter")
    assert page.evaluate(DRAWN)[0] == "#look-0-eo"


def test_each_tile_says_why_it_is_there_and_each_picture_has_scale_and_north(page):
    reasons = page.evaluate("() => [...document.querySelectorAll('#viewer .tiles button')].map(b => b.title)")
    assert any("best F1 of" in reason for reason in reasons) and any("worst F1 of" in reason for reason in reasons)
    shown = page.locator("#viewer .reason").inner_text()
    assert shown.startswith(f"Chosen for: {reasons[0]}. Tile ") and "32 m to a side" in shown
    assert page.locator("#viewer .stage .scale b").inner_text() == "10 m"
    share = page.evaluate(
        "() => document.querySelector('#viewer .stage .scale').getBoundingClientRect().width"
        " / document.querySelector('#viewer .stage').getBoundingClientRect().width"
    )
    assert share == pytest.approx(10 / 32, abs=0.01)
    assert page.locator("#viewer .stage .north").is_visible()


@pytest.mark.parametrize(
    ("width", "height", "scheme"), [(390, 844, "dark"), (1280, 900, "light"), (1920, 1080, "dark")]
)
def test_the_stage_is_large_and_its_line_is_in_view_with_it(browser, report, width, height, scheme):
    with opened(browser, report.arguments["out"], width=width, height=height, color_scheme=scheme) as page:
        page.evaluate("() => document.getElementById('viewer').scrollIntoView()")
        stage = page.locator("#viewer .stage").bounding_box()
        line = page.locator("#viewer .status").bounding_box()
        assert stage["width"] >= min(width - 40, 700) and abs(stage["width"] - stage["height"]) < 2
        assert line["y"] + 20 < height
        assert page.evaluate("() => document.documentElement.scrollWidth") == width
        sizes = page.evaluate(
            "() => [...document.querySelectorAll('#viewer button')].map(b => b.getBoundingClientRect())"
            ".map(r => [r.width, r.height])"
        )
        assert all(across >= 40 and down >= 38 for across, down in sizes)
        screenshot(page, f"viewer_{width}_{scheme}")


def test_it_works_by_touch(browser, report):
    with opened(browser, report.arguments["out"], width=390, height=844, has_touch=True, is_mobile=True) as page:
        page.get_by_role("button", name="Next variant").tap()
        assert page.evaluate(DRAWN) == ["#look-0-sar", "#look-0-1"]
        assert not page.locator("#viewer .keys").is_visible()


GRID = """() => {
  const pictures = [...document.querySelectorAll('.grid svg[role=img]')].filter(svg => svg.checkVisibility());
  return pictures.map(svg => [svg.getAttribute('aria-label'), svg.getBoundingClientRect().width,
    [...svg.querySelectorAll('use')].every(use => document.querySelector(use.getAttribute('href')))]);
}"""


def test_without_a_script_and_in_print_every_tile_and_variant_stands_in_a_grid(browser, report):
    wanted = 4 * (3 + 5) + 4 * (3 + 2)
    with opened(browser, report.arguments["out"], java_script_enabled=True) as page:
        assert page.evaluate(GRID) == []
        page.emulate_media(media="print")
        printed = page.evaluate(GRID)
        assert not page.locator("#viewer").is_visible()
        assert page.locator(".grid .outline-legend").is_visible()
        screenshot(page, "viewer_print")
    assert len(printed) == wanted and len({label for label, *_ in printed}) == wanted
    assert all(len(label) > 20 and width > 80 and drawn for label, width, drawn in printed)
    with opened(browser, report.arguments["out"], java_script_enabled=False) as page:
        assert not page.locator("#viewer").is_visible()
        assert page.locator(".grid").is_visible()
        assert page.locator(".grid .tile").count() == 8
        assert page.locator(".grid figure").count() == 8 * (3 + 5)
        assert page.locator(".grid .gap").count() == 4 * 3
        assert page.get_by_role("heading", name="Spatial split: worst").count() == 1
        assert page.locator(".grid svg.tile-picture").first.bounding_box()["width"] > 100


def test_footprints_are_drawn_where_they_lie(report):
    arguments = report.arguments
    catalog = pd.read_parquet(arguments["catalog"])
    files = panels.index_runs(report.files.scores, report.files.polygons)
    run = panels.Run("spatial", "ss_rsc_shared", 0)
    score = pd.read_parquet(files[run].buildings.with_name("tiles.parquet"))
    runs = score.assign(**run._asdict(), title="T", role="candidate")
    chosen = runs.nlargest(2, "tp")[["tile_id"]].assign(group="best", reason="best")
    truth = read_spacenet_csv(arguments["truth"])
    read = panels.read_panels(chosen, catalog, runs, files, arguments["raw"], truth, MIN_AREA_PX)
    for panel in read:
        found = panel.judged["ss_rsc_shared"].found
        assert len(found) > 2
        # They are the buildings themselves, a fifth of a pixel smaller to every side.
        for shape, building in zip(found, panel.truth.scored, strict=False):
            assert building.buffer(-0.1).contains(shape) and shape.buffer(0.3, join_style="mitre").contains(building)


def test_no_picture_stands_twice_in_the_page(report):
    text = report.arguments["out"].read_text()
    assert text.count("data:image/webp") == 8 * 2


def test_one_variant_and_one_tile_make_a_viewer(browser, lone_report):
    with opened(browser, lone_report.arguments["out"], width=390) as page:
        assert page.complaints == []
        page.get_by_role("button", name="Next tile").click()
        page.get_by_role("button", name="Next variant").click()
        assert page.evaluate(DRAWN) == ["#look-0-sar", "#look-0-0"]
        assert "Test tiles, chosen by rule: 1 of the spatial split" in page.locator("main").inner_text()


def test_on_a_phone_a_tile_that_is_chosen_far_below_comes_into_view(browser, report):
    with opened(browser, report.arguments["out"], width=390, height=844, has_touch=True, is_mobile=True) as page:
        page.locator("#viewer button[data-tile='5']").tap()
        assert page.evaluate(DRAWN)[0] == "#look-5-sar"
        assert page.locator("#viewer .stage").bounding_box()["y"] >= -1
