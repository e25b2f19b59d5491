"""The data report, opened in a real browser."""

from __future__ import annotations

import itertools
import json
import re

import pandas as pd
import pytest

from sspipe.errors import UserError
from sspipe.report.data_page import LISTED, describe_tiles
from tests.report.browser import CONTRASTS, opened, screenshot
from tests.report.fake_catalog import make_fake_catalog

SHOWN = "() => [...document.querySelectorAll('svg[role=img]')].filter(drawing => drawing.checkVisibility())"


@pytest.fixture(scope="module")
def described(tmp_path_factory):
    """The data report of a data set of SpaceNet 6's size, with something odd of every kind."""
    arguments = make_fake_catalog(tmp_path_factory.mktemp("data"))
    describe_tiles(**arguments)
    return arguments


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    """The data report of a few generated tiles with nothing odd."""
    arguments = {**make_fake_catalog(tmp_path_factory.mktemp("clean"), tiles=12, clean=True), "source": "synthetic"}
    describe_tiles(**arguments)
    return arguments


@pytest.fixture(scope="module")
def page(browser, described):
    with opened(browser, described["out"]) as page:
        yield page


def text_of(page):
    return " ".join(page.locator("body").inner_text().split())


def test_nothing_fails_and_nothing_is_fetched(page, described):
    assert page.complaints == []
    assert [url for url in page.requested if not url.startswith("data:")] == [described["out"].as_uri()]
    assert described["out"].stat().st_size < 3_000_000  # with 3401 tiles of 204 strips


def test_the_counts_are_those_of_the_tables(page, described):
    text = text_of(page)
    footprints = pd.read_parquet(described["footprints"], columns=["building_id"])
    assert "3,401, each 900 × 900 px of 0.5 m (450 m to a side)" in text
    assert "204, flown on 2019-08-04, 2019-08-22 and 2019-08-23" in text
    assert "1,749 tiles of 102 strips (orientation 0)" in text and "1,652 tiles of 102 strips (orientation 1)" in text
    assert f"{len(footprints):,} footprints in tiles, of {footprints['building_id'].nunique():,} buildings" in text
    assert "3 members of the archive have names that are not SpaceNet 6’s" in text


def test_what_was_left_out_is_listed_with_its_reason_and_capped(page, described):
    rows = page.locator("#left-out-tiles tbody tr")
    left_out = json.loads(described["catalog_report"].read_text())["left_out"]["tiles"]
    assert rows.count() == LISTED < len(left_out)
    assert rows.first.inner_text().split("\t")[0] == left_out[0]["tile_id"]
    text = text_of(page)
    assert "55 tiles are not used: 55 no EO image." in text
    assert f"… and {len(left_out) - LISTED} more; catalog.json has all." in text


def test_the_bands_stand_beside_spacenets_own_and_say_whose_they_are(page):
    cells = page.locator("#bands-sar tbody tr").first.locator("td").all_inner_texts()
    assert cells[-4:] == ["28.60", "8.40", "28.63", "8.41"]
    assert page.locator("#bands-sar thead").inner_text().strip().split("\t")[-2:] == [
        "SpaceNet 6: mean",
        "SpaceNet 6: deviation",
    ]
    assert "SpaceNet 6" not in page.locator("#bands-eo").inner_text()


def test_what_is_odd_is_told(page):
    text = text_of(page)
    for sentence in (
        "SAR images without any data: 20190804111224_20190804111453_tile_8679.",
        "Tiles with values outside 0 to 100; they are used all the same.",
        "No value lies outside 0 to 2250.",
        "1 of 68,011 whole footprints differs from SpaceNet's own area",
        "Footprints that were repaired or skipped.",
        "60 in the CSV alone, 0 in the label files alone",
        "Tiles in which they differ, the worst first.",
    ):
        assert sentence in text


@pytest.mark.parametrize("width", [390, 1280])
def test_every_drawing_has_an_alt_text_and_a_size(browser, described, width):
    with opened(browser, described["out"], width=width) as page:
        drawings = page.evaluate(
            SHOWN + ".map(drawing => [drawing.getAttribute('aria-label'), drawing.getBoundingClientRect().width])"
        )
        assert len(drawings) == 6
        assert len({label for label, _ in drawings}) == 6
        assert all(len(label) > 40 and shown > 300 for label, shown in drawings)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_never_scrolls_sideways_and_its_text_stands_out(browser, described, width, scheme):
    with opened(browser, described["out"], width=width, color_scheme=scheme) as page:
        page.evaluate("() => document.querySelectorAll('details').forEach(d => d.open = true)")
        assert page.evaluate("() => document.documentElement.scrollWidth") == width
        assert page.evaluate(
            "() => [...document.querySelectorAll('table, figure, svg')]"
            ".every(node => node.getBoundingClientRect().right <= innerWidth)"
        )
        assert page.evaluate(CONTRASTS)[0][0] >= 4.5
        screenshot(page, f"data_{width}_{scheme}")


def test_headings_tables_and_ids_are_sound(page):
    levels = [
        int(level) for level in page.evaluate("() => [...document.querySelectorAll('h1,h2,h3')].map(h => h.tagName[1])")
    ]
    assert levels.count(1) == 1 and all(after - before <= 1 for before, after in itertools.pairwise(levels))
    assert page.evaluate("() => [...document.querySelectorAll('table')].every(t => t.caption.textContent.trim())")
    ids = page.evaluate("() => [...document.querySelectorAll('[id]')].map(n => n.id)")
    assert len(ids) == len(set(ids))
    assert page.evaluate(
        "() => [...document.querySelectorAll('nav a')].every(a => document.getElementById(a.hash.slice(1)))"
    )


def test_on_a_phone_every_number_of_a_table_keeps_its_label(browser, described):
    with opened(browser, described["out"], width=390) as page:
        labels = page.evaluate(
            "() => [...document.querySelectorAll('table td')].filter(c => c.checkVisibility())"
            ".map(c => getComputedStyle(c, '::before').content)"
        )
        assert labels and all(len(label) > 3 for label in labels)


def test_data_without_anything_odd_say_so(browser, clean):
    with opened(browser, clean["out"]) as page:
        text = text_of(page)
        assert "No tile was left out." in text and "They agree in every tile." in text
        assert "synthetic data: generated in SpaceNet 6’s form" in text
        assert page.complaints == []


def test_the_same_data_give_the_same_bytes(clean, tmp_path):
    describe_tiles(**{**clean, "out": tmp_path / "catalog.html"})
    assert (tmp_path / "catalog.html").read_bytes() == clean["out"].read_bytes()


def test_tiles_without_any_building_have_a_page(tmp_path):
    arguments = make_fake_catalog(tmp_path, tiles=3, clean=True)
    empty = pd.read_parquet(arguments["footprints"]).iloc[:0]
    empty.to_parquet(arguments["footprints"])
    describe_tiles(**arguments)
    assert "figure-buildings" not in arguments["out"].read_text()


def test_sentences_agree_with_one_of_everything(browser, tmp_path):
    arguments = make_fake_catalog(tmp_path, tiles=1, clean=True)
    buildings = pd.read_parquet(arguments["footprints"]).iloc[:1]
    buildings.assign(height_m=float("nan")).to_parquet(arguments["footprints"])
    content = json.loads(arguments["catalog_report"].read_text())
    content |= {"orientation": {"0": 0, "1": 1}, "strip_orientation": {"0": 0, "1": 1}}
    content |= {"buildings": 1, "distinct_buildings": 1}
    content["areas"] |= {"truncated": 1, "compared": 1, "disagreeing": 1, "worst": 0.1}
    content["labels"] |= {"matched": 1, "csv_invalid": 1}
    arguments["catalog_report"].write_text(json.dumps(content))
    unpacked = json.loads(arguments["manifest"].read_text())
    unpacked["unknown"]["members"] = 1
    arguments["manifest"].write_text(json.dumps(unpacked))
    describe_tiles(**arguments)
    with opened(browser, arguments["out"]) as page:
        text = text_of(page)
        assert "Map of the outlines of 1 strip," in page.content()
    for sentence in (
        "0 tiles of 0 strips (orientation 0)",
        "1 tile of 1 strip (orientation 1)",
        "1 footprint in tiles, of 1 building (by Building_ID); 0 tiles have none",
        "1 is cut by its tile's edge",
        "unknown for 1 footprint",
        "1 of 1 whole footprint differs from SpaceNet's own area",
        "1 is in both",
        "1 member of the archive has a name that is not SpaceNet 6’s, and was passed over",
    ):
        assert sentence in text
    assert not re.search(r"\b1 (tiles|strips|members|footprints|buildings|are|have)\b", text)


def test_images_of_no_data_alone_have_a_page_without_numbers(tmp_path):
    arguments = make_fake_catalog(tmp_path, tiles=3, clean=True)
    content = json.loads(arguments["catalog_report"].read_text())
    for band in content["values"]["sar"]["bands"]:
        band |= {"count": 0, "min": None, "max": None, "mean": None, "std": None, "histogram": [0] * 100}
    arguments["catalog_report"].write_text(json.dumps(content))
    describe_tiles(**arguments)
    assert ">nan<" not in arguments["out"].read_text()


def test_a_catalog_of_an_older_run_is_told(tmp_path):
    arguments = make_fake_catalog(tmp_path, tiles=3)
    content = json.loads(arguments["catalog_report"].read_text())
    del content["values"], content["labels"]
    arguments["catalog_report"].write_text(json.dumps(content))
    with pytest.raises(UserError, match=r"catalog\.json: has no values, labels; index the tiles again"):
        describe_tiles(**arguments)
    assert not arguments["out"].exists()


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("s3", "Imagery and labels of SpaceNet 6: CC BY-SA 4.0, SpaceNet LLC."),
        ("synthetic", "generated by sspipe; none are of a real place."),
        ("table", "of tiles that this experiment brought itself"),
    ],
)
def test_the_footer_says_whose_the_data_are(tmp_path, source, said):
    arguments = {**make_fake_catalog(tmp_path, tiles=3, clean=True), "source": source}
    describe_tiles(**arguments)
    page = arguments["out"].read_text()
    footer = page[page.index("<footer>") :]
    assert said in footer
    assert ("SpaceNet" in footer) == (source == "s3")
