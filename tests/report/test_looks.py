"""One look against all looks, and how footprints are made, as the page tells it."""

import json
import re

import pytest

from sspipe.errors import UserError
from sspipe.report.page import compare_variants
from tests.report.fake_results import make_fake_results


def one_side(f1, buildings):
    return {"f1": f1, "precision": f1 + 0.1, "recall": f1 - 0.1, "buildings": buildings, "tp": 1, "fp": 1, "fn": 1}


@pytest.fixture
def experiment(tmp_path):
    """A fake experiment of one variant, two splits and two seeds, with looks.json and polygons.json of each run."""
    fake = make_fake_results(
        tmp_path, size_px=32, tiles=6, variants=("ss_rsc_shared",), random_variants=("ss_rsc_shared",), panels=1
    )
    looks, tunings = [], []
    for train in fake.arguments["trains"]:
        run = json.loads(train.read_text())
        key = {name: run[name] for name in ("split", "variant", "seed")}
        f1 = 0.5 + 0.1 * run["seed"]
        folder = tmp_path / "maps" / run["split"] / run["variant"] / f"seed{run['seed']}"
        folder.mkdir(parents=True)
        looks.append(folder / "looks.json")
        content = {**key, "looks_per_place": 17.2, "one_look": one_side(f1, 900), "all_looks": one_side(f1 + 0.2, 60)}
        looks[-1].write_text(json.dumps(content))
        tunings.append(folder / "polygons.json")
        choice = {"interior_threshold": 0.4, "border_threshold": 0.85, "min_area_px": 120, "simplify_px": 1}
        tuned = {**key, "tuned": True, "choice": choice, "f1": 0.43, "f1_as_configured": 0.13, "scores": [{}] * 61}
        tunings[-1].write_text(json.dumps(tuned))
    return fake, looks, tunings


def page(fake, **more):
    compare_variants(**fake.arguments, **more)
    return fake.arguments["out"].read_text()


def test_each_variants_f1_of_one_look_stands_beside_that_of_all_looks(experiment):
    fake, looks, tunings = experiment
    html = page(fake, looks=looks, tunings=tunings)
    section = html.split('<h2 id="looks">')[1].split("</section>")[0]
    for column, mean in (("one_f1", 0.55), ("all_f1", 0.75)):
        values = re.findall(rf'data-column="{column}" data-value="([^"]*)"', section)
        assert [float(value) for value in values] == pytest.approx([mean, mean])  # of two seeds, on two splits
    assert "17.2 tiles show a place" in section
    assert "for 1 of 1 variants; the mean change is +0.200" in section
    assert '<a href="#looks">' in html


def test_how_footprints_are_made_is_told_for_every_run(experiment):
    fake, _, tunings = experiment
    made = page(fake, tunings=tunings).split('<h2 id="made">')[1]
    rows = re.findall(r"<code>(\w+/ss_rsc_shared/seed\d)</code>.*?Border\">([\d.]+)<.*?Validation F1\">([\d.]+)<", made)
    assert len(rows) == len(tunings)
    assert {row[1:] for row in rows} == {("0.85", "0.430")}


def test_without_maps_the_page_has_no_such_section(experiment):
    fake, *_ = experiment
    assert 'id="looks"' not in page(fake) and 'href="#looks"' not in page(fake)


def test_a_damaged_file_is_named(experiment):
    fake, looks, _ = experiment
    looks[1].write_text('{"split": "random"}')
    with pytest.raises(UserError, match=r"looks\.json: lacks variant"):
        page(fake, looks=looks)
