"""The README's tables and index say what the configuration and the report say."""

import re

import pytest
import yaml

from sspipe.config import load_config
from sspipe.report.comparison import PAPER_TABLE_1
from tests.docs.pages import ROOT

TEXT = (ROOT / "README.md").read_text()
CONFIG = load_config(yaml.safe_load((ROOT / "config.yaml").read_text()))
ROWS = {
    cells[0].strip("` "): [cell.strip() for cell in cells[1:]]
    for line in TEXT.splitlines()
    if (cells := line.strip("|").split("|")) and cells[0].strip("` ") in CONFIG.variants
}


def test_every_variant_is_in_the_table_in_the_order_of_the_configuration():
    assert list(ROWS) == list(CONFIG.variants)


@pytest.mark.parametrize("variant", CONFIG.variants)
def test_a_variant_stands_beside_its_row_of_the_paper(variant):
    _, row, numbers = ROWS[variant]
    named = CONFIG.variants[variant].paper_row
    if named is None:
        assert row.startswith("none") and not numbers
    else:
        paper = PAPER_TABLE_1[named]
        assert (row, numbers) == (named, f"{paper.pixel_iou:.3f}, {paper.f1:.3f}")


def test_the_size_of_the_experiment_is_the_configurations():
    size = re.search(r"(\d+) variants, (\d+) splits, (\d+) seeds", TEXT)
    assert [int(number) for number in size.groups()] == [len(CONFIG.variants), len(CONFIG.splits), len(CONFIG.seeds)]


def test_the_index_leads_to_every_page_once():
    index = TEXT[TEXT.index("## Read on") : TEXT.index("## Licence")]
    pages = {path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").glob("*.md")}
    assert sorted(pages | {"envs/README.md", "CHANGELOG.md"}) == sorted(re.findall(r"\]\(([^)#]+)\)", index))


def test_what_it_is_and_for_whom_is_said_in_three_sentences():
    first = " ".join(TEXT.split("\n\n")[1].split())
    assert len(re.findall(r"[.?](?= [a-zA-Z]|$)(?<!al\.)", first)) == 3


def test_the_run_on_a_cluster_is_five_lines():
    block = TEXT[TEXT.index("<!-- needs: cluster -->") :].split("\n\n")[1]
    assert len(block.splitlines()) == 5
