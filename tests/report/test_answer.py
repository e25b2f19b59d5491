"""The answer and Table 1 in a real browser: what is told, sorting, links."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

import pandas as pd
import pytest

from tests.report.browser import opened


def order(page, split: str, column: str) -> list[str]:
    """What the rows of a table have in a column, from top to bottom."""
    return page.eval_on_selector_all(
        f"table[data-split={split}] tbody [data-column={column}]", "cells => cells.map(cell => cell.dataset.value)"
    )


def test_the_answer_is_told_before_anything_else_and_the_honest_split_first(browser, report):
    with opened(browser, report.arguments["out"]) as page:
        headings = page.locator("section").first.locator("h2, .answer h3").all_inner_texts()
        assert headings[0] == "The answer"
        assert [heading.split()[0] for heading in headings[1:]] == ["Spatial", "Random", "Leakage"]
        told = page.locator(".answer").inner_text()
        assert "higher F1: " in told and "Take this as hints, not proof" in told
        assert page.locator("#figure-leak_gap").is_visible()
        cards = page.locator(".cards li").all_inner_texts()
        assert len(cards) == 3 and "Leakage gap" in cards[2]


def test_every_comparison_is_told_with_titles(browser, report):
    rows = pd.read_csv(report.root / "report" / "comparisons.csv")
    with opened(browser, report.arguments["out"]) as page:
        page.locator("#comparisons summary").click()
        statements = page.locator("#comparisons li").all_inner_texts()
        assert len(statements) == len(rows)
        assert not any(name in statement for name in rows["variant"] for statement in statements)
        assert not any("unet16_finetune" in statement for statement in statements)


def test_the_papers_f1_is_not_told_where_it_does_not_compare(browser, report, lone_report):
    for fake in (report, lone_report):  # synthetic data; real data, but a spatial split
        with opened(browser, fake.arguments["out"]) as page:
            assert "The paper's F1" not in page.locator(".answer").inner_text()
            assert "paper" not in page.locator("#figure-f1_by_variant").inner_text()


@pytest.mark.parametrize("column", ["f1", "pixel_iou", "parameters_unique", "train_seconds"])
def test_a_click_on_a_heading_sorts_and_a_third_restores(browser, report, column):
    with opened(browser, report.arguments["out"]) as page:
        before, titles = order(page, "spatial", column), order(page, "spatial", "title")
        heading = page.locator(f"table[data-split=spatial] th[data-sort={column}]")
        button = heading.get_by_role("button")
        button.click()
        assert order(page, "spatial", column) == sorted(before, key=float, reverse=True)
        assert heading.get_attribute("aria-sort") == "descending"
        assert page.locator("table th[aria-sort]").count() == 1
        button.click()
        assert order(page, "spatial", column) == sorted(before, key=float)
        assert heading.get_attribute("aria-sort") == "ascending"
        button.click()
        assert order(page, "spatial", "title") == titles
        assert heading.get_attribute("aria-sort") is None


def test_keys_sort_and_what_is_sorted_is_said(browser, report):
    with opened(browser, report.arguments["out"]) as page:
        page.locator("table[data-split=spatial] th[data-sort=title] button").focus()
        page.keyboard.press("Enter")
        titles = order(page, "spatial", "title")
        assert titles == sorted(titles)
        assert page.get_by_role("status").filter(has_text="spatial split: sorted by Variant, A to Z").count() == 1
        page.keyboard.press("Tab")
        page.keyboard.press("Space")  # the next heading: parameters, unique
        sorts = page.locator("table[data-split=spatial] th[aria-sort]")
        assert sorts.get_attribute("data-sort") == "parameters_unique"


def test_a_number_that_is_missing_comes_last_whichever_way_it_is_sorted(browser, report):
    with opened(browser, report.arguments["out"]) as page:
        button = page.locator("table[data-split=spatial] th[data-sort=paper_f1] button")
        for reverse in (True, False):
            button.click()
            papers = order(page, "spatial", "paper_f1")
            present = [paper for paper in papers if paper]
            assert 0 < len(present) < len(papers)
            assert papers[: len(present)] == sorted(present, key=float, reverse=reverse)


def test_on_a_phone_a_list_sorts(browser, report):
    with opened(browser, report.arguments["out"], width=390) as page:
        chooser = page.get_by_label("Sort by").first
        assert chooser.is_visible()
        chooser.select_option(label="SpaceNet F1, highest first")
        scores = order(page, "spatial", "f1")
        assert scores == sorted(scores, key=float, reverse=True)
    with opened(browser, report.arguments["out"]) as page:
        assert not page.get_by_label("Sort by").first.is_visible()


@pytest.mark.parametrize(("name", "runs"), [("report", 2), ("lone_report", 1)])
def test_every_row_links_to_config_and_files_that_are_there(browser, request, name, runs):
    fake = request.getfixturevalue(name)
    with opened(browser, fake.arguments["out"]) as page:
        for row in page.locator("table.scores tbody tr").all():
            links = row.locator("a").evaluate_all("links => links.map(link => [link.textContent, link.href])")
            words = [text for text, _ in links]
            assert words.count("config") == words.count("scores") == words.count("footprints (Parquet)") == runs
            for _, address in links:
                assert address.startswith("file:") and Path(unquote(urlsplit(address).path)).is_file()


def test_without_scripts_everything_can_be_read(browser, report):
    with opened(browser, report.arguments["out"], java_script_enabled=False) as page:
        text = page.locator("main").inner_text()
        assert page.locator("table[data-split=spatial] tbody tr").count() == 5
        assert "Against the baseline" in text and "Choose a heading" not in text
        assert page.locator("figure.plot .wide svg").first.is_visible()


def test_the_sections_stay_at_hand_and_the_skip_link_shows_when_focused(browser, report):
    with opened(browser, report.arguments["out"]) as page:
        page.keyboard.press("Tab")
        assert page.locator(".skip").bounding_box()["x"] >= 0
        page.get_by_role("link", name="Table 1", exact=True).click()
        nav = page.locator("nav").bounding_box()
        assert nav["y"] == 0
        assert page.locator("#table-1").bounding_box()["y"] >= nav["height"] - 1
