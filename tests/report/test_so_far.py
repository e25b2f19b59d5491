"""The report of what has finished, while other runs train, wait or have failed."""

from __future__ import annotations

import json
import shutil

import pytest

from sspipe.cli import main
from sspipe.data.spacenet6 import TRUTH_FILE
from tests.report.browser import opened, screenshot
from tests.report.fake_results import make_fake_results

VARIANTS = ("unet16_finetune", "ss_no_skips", "ss_rsc_shared", "unet16_eo")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A checkout's folder with an experiment: one training failed, one run is trained and not scored."""
    here = tmp_path_factory.mktemp("checkout")
    root = here / "results" / "fake"
    fake = make_fake_results(root, seeds=(0,), variants=VARIANTS, panels=1)
    shutil.copy(fake.arguments["settings"], here / "config.yaml")  # JSON is YAML
    truth = root / "raw" / TRUTH_FILE
    truth.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(fake.arguments["truth"], truth)
    failed = root / "train" / "spatial" / "ss_no_skips" / "seed0"
    (failed / "train.json").unlink()
    (failed / "train.log").write_text("10:00:00 train begins\nsspipe train: error: the loss is not finite\n")
    (root / "score" / "random" / "ss_rsc_shared" / "seed0" / "scores.json").unlink()
    return here


@pytest.fixture(scope="module")
def page_file(folder):
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert main(["report-so-far"]) == 0
    return folder / "results" / "fake" / "report" / "so_far" / "index.html"


def test_the_page_says_at_its_top_that_it_is_unfinished(browser, page_file):
    with opened(browser, page_file) as page:
        assert page.complaints == []
        told = page.locator("header").inner_text().replace("\n", " ")
        assert "unfinished, as of 20" in told and "4 of 6 runs have results" in told
        screenshot(page, "report_so_far_1280")


def test_a_failed_run_leaves_a_marked_gap_with_its_error_and_its_log(browser, page_file):
    with opened(browser, page_file) as page:
        row = page.locator("table[data-split=spatial] tr[data-variant=ss_no_skips]")
        assert "no result (failed)" in row.inner_text() and "the loss is not finite" in row.inner_text()
        log = row.get_by_role("link", name="log")
        assert (page_file.parent / log.get_attribute("href")).resolve().read_text().endswith("not finite\n")
        assert page.locator("svg", has_text="no result (failed)").first.is_visible()


def test_a_trained_run_without_scores_is_told_from_a_failed_one(browser, page_file):
    with opened(browser, page_file, width=390) as page:
        row = page.locator("table[data-split=random] tr[data-variant=ss_rsc_shared]")
        assert "trained, not scored yet" in row.inner_text()
        assert page.evaluate("() => document.documentElement.scrollWidth") == 390


def test_what_the_workflow_has_made_is_left_as_it_is(folder, page_file):
    report = folder / "results" / "fake" / "report"
    assert {path.name for path in report.iterdir()} == {
        "so_far", "scores.csv", "comparisons.csv", "comparisons.json", "seeds.csv", "efficiency.csv",
    }  # fmt: skip
    assert len(json.loads((report / "comparisons.json").read_text())["splits"]["spatial"]["statements"]) == 6


def test_without_any_scores_it_says_where_to_look(folder, tmp_path, monkeypatch, capsys):
    shutil.copy(folder / "config.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    assert main(["report-so-far"]) == 1
    assert "no run of this experiment has scores yet" in capsys.readouterr().err
