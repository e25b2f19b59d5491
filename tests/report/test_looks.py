"""One look against all looks, and how footprints are made, as the page tells it."""

import json
import re

import numpy as np
import pytest

from sspipe.errors import UserError
from sspipe.report.page import compare_variants
from sspipe.score.looks import SIDES, blocks_of_record, look_intervals, scores_of
from tests.report.fake_results import make_fake_results

BLOCKS = 12


def look_record(key):
    """A looks.json: of each block's ten buildings one look finds some, all looks find three more and no wrong one."""
    random = np.random.default_rng(key["seed"])
    blocks = []
    for number in range(BLOCKS):
        found = int(random.integers(3, 7))
        one, together = {"tp": found, "fp": 2, "fn": 10 - found}, {"tp": found + 3, "fp": 0, "fn": 7 - found}
        blocks.append({"block": f"{number}_0", "one_look": one, "all_looks": together})
    table = blocks_of_record({"blocks": blocks})
    bounds = look_intervals([table], 100)
    sides = {side: scores_of(table[side]) | bounds[side] for side in SIDES}
    rest = {"difference": bounds["difference"], "block_m": 600.0, "bootstrap_samples": 100}
    return {**key, "looks_per_place": 17.2, **sides, **rest, "blocks": blocks}


@pytest.fixture
def experiment(tmp_path):
    """A fake experiment of one variant, two splits and two seeds, with looks.json and polygons.json of each run."""
    fake = make_fake_results(
        tmp_path, size_px=32, tiles=6, variants=("ss_rsc_shared",), random_variants=("ss_rsc_shared",), panels=1
    )
    files = fake.files
    for train, look, tuning in zip(files.trains, files.looks, files.tunings, strict=True):
        run = json.loads(train.read_text())
        key = {name: run[name] for name in ("split", "variant", "seed")}
        look.parent.mkdir(parents=True, exist_ok=True)
        look.write_text(json.dumps(look_record(key)))
        choice = {"interior_threshold": 0.4, "border_threshold": 0.85, "min_area_px": 120, "simplify_px": 1}
        tuned = {**key, "tuned": True, "choice": choice, "f1": 0.43, "f1_as_configured": 0.13, "scores": [{}] * 61}
        tuning.write_text(json.dumps(tuned))
    return fake


def page(fake, **more):
    compare_variants(**fake.arguments, **more)
    return fake.arguments["out"].read_text()


def test_each_variants_f1_of_one_look_stands_beside_that_of_all_looks(experiment):
    fake, looks = experiment, experiment.files.looks
    html = page(fake, maps=True)
    section = html.split('<h2 id="looks">')[1].split("</section>")[0]
    records = [json.loads(path.read_text()) for path in looks]
    means = {side: np.mean([record[side]["f1"] for record in records if record["split"] == "random"]) for side in SIDES}
    gain = means["all_looks"] - means["one_look"]
    for column, mean in (("one_f1", means["one_look"]), ("all_f1", means["all_looks"]), ("difference_f1", gain)):
        values = re.findall(rf'data-column="{column}" data-value="([^"]*)"', section)
        assert [float(value) for value in values] == pytest.approx([mean, mean])  # of two seeds, on two splits
    assert "17.2 tiles show a place" in section
    assert '<a href="#looks">' in html


def test_the_interval_is_that_of_the_mean_over_seeds_and_decides_what_is_said(experiment):
    fake, looks = experiment, experiment.files.looks
    section = page(fake, maps=True).split('<h2 id="looks">')[1].split("</section>")[0]
    of_split = [json.loads(path.read_text()) for path in looks if "/random/" in str(path)]
    found = look_intervals([blocks_of_record(record) for record in of_split], 100)["difference"]
    assert found["f1_low"] > 0
    assert f"<small>[{found['f1_low']:+.3f}, {found['f1_high']:+.3f}]</small>" in section
    assert "For 1 of 1 variants all looks together have a clearly higher F1 than one at a time, for 0" in section

    for path in looks:
        record = json.loads(path.read_text())
        for number, block in enumerate(record["blocks"]):
            block["all_looks"] = {"tp": 6, "fp": 2, "fn": 4} if number % 2 else {"tp": 3, "fp": 2, "fn": 7}
        path.write_text(json.dumps(record))
    section = page(fake, maps=True).split('<h2 id="looks">')[1].split("</section>")[0]
    assert "for 1 the two are not distinguishable" in section

    for path in looks:
        record = json.loads(path.read_text())
        path.write_text(json.dumps(record | {"blocks": record["blocks"][:1]}))
    section = page(fake, maps=True).split('<h2 id="looks">')[1].split("</section>")[0]
    assert "lies in one block of ground, so nothing says how sure" in section
    assert "nan" not in section.lower() and "None" not in section


def test_how_footprints_are_made_is_told_for_every_run(experiment):
    tunings = experiment.files.tunings
    made = page(experiment).split('<h2 id="made">')[1]
    rows = re.findall(r"<code>(\w+/ss_rsc_shared/seed\d)</code>.*?Border\">([\d.]+)<.*?Validation F1\">([\d.]+)<", made)
    assert len(rows) == len(tunings)
    assert {row[1:] for row in rows} == {("0.85", "0.430")}


def test_without_maps_the_page_has_no_such_section(experiment):
    html = page(experiment)
    assert 'id="looks"' not in html and 'href="#looks"' not in html


def test_a_damaged_file_is_named(experiment):
    fake, looks = experiment, experiment.files.looks
    looks[1].write_text('{"split": "random"}')
    with pytest.raises(UserError, match=r"looks\.json: lacks variant"):
        page(fake, maps=True)
