"""`snakemake --report report.zip` of the finished run: the same figures, each with its caption and labels."""

import html
import json
import zipfile

import pytest

from tests.report.browser import opened

pytestmark = [pytest.mark.xdist_group("workflow"), pytest.mark.slow]


@pytest.fixture(scope="module")
def unpacked(finished, tmp_path_factory):
    """The folder that the archive unpacks to."""
    folder = tmp_path_factory.mktemp("report")
    done = finished.snakemake("--report", str(folder / "report.zip"), "all")
    assert done.returncode == 0, done.stdout + done.stderr
    with zipfile.ZipFile(folder / "report.zip") as archive:
        archive.extractall(folder)
    return folder / "report"


@pytest.fixture(scope="module")
def entries(unpacked):
    """What it lists: labels, caption, path, by the file's name."""
    text = (unpacked / "report.html").read_text()
    begin = text.index("{", text.index('<script id="results">'))
    listed, _ = json.JSONDecoder().raw_decode(text[begin:])
    return {entry["filename"]: entry for entry in listed.values()}


def test_it_has_every_figure_of_the_page_and_every_table(finished, unpacked, entries):
    figures = finished.results / "report" / "figures"
    drawn = {path.name: path for path in figures.iterdir() if path.suffix in (".svg", ".png")}
    tables = {"scores.csv", "comparisons.csv", "seeds.csv", "efficiency.csv"}
    assert len(drawn) > 5 and drawn.keys() | tables | {"index.html", "catalog.html"} == entries.keys()
    for name, path in drawn.items():
        assert (unpacked / entries[name]["data_uri"]).read_bytes() == path.read_bytes()


def test_every_entry_has_labels_and_a_caption_and_figures_have_the_pages(finished, entries):
    page = (finished.results / "report" / "index.html").read_text()
    for name, entry in entries.items():
        assert entry["labels"]["what"] and len(entry["caption"]) > 40, name
        assert "System Message" not in entry["caption"] and "problematic" not in entry["caption"], name
        if name.endswith(".svg"):
            said = entry["caption"].removeprefix("<p>").split("</p>")[0]
            assert html.unescape(said) in html.unescape(page), name
    assert len({entry["caption"] for name, entry in entries.items() if name.endswith(".svg")}) > 5


def test_it_opens_without_a_network(browser, unpacked):
    with opened(browser, unpacked / "report.html") as page:
        page.get_by_text("Figures").first.click()
        page.get_by_text("f1 by variant").first.wait_for()
        assert page.complaints == []
        assert {url for url in page.requested if not url.startswith(("data:", "file:"))} == set()
