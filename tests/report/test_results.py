"""Reading a finished experiment: what is missing is named."""

from __future__ import annotations

import json

import pandas as pd
import pytest

from sspipe.errors import UserError
from sspipe.report.results import Results, read_results
from tests.report.fake_results import FakeResults, make_fake_results


@pytest.fixture(scope="module")
def fake(tmp_path_factory) -> FakeResults:
    return make_fake_results(tmp_path_factory.mktemp("results"), size_px=32)


def read(fake: FakeResults, **other) -> Results:
    return read_results(**(fake.inputs | other))


def test_runs_come_in_the_order_of_the_configuration_and_random_splits_last(fake):
    shuffled = fake.root / "shuffled.csv"
    pd.read_csv(fake.arguments["scores_csv"]).sample(frac=1, random_state=3).to_csv(shuffled, index=False)
    results = read(fake, scores_csv=shuffled)
    assert results.splits == ["spatial", "random"]  # the one without a leak first
    spatial = results.runs[results.runs["split"] == "spatial"]
    assert list(dict.fromkeys(spatial["variant"])) == list(results.config.variants)
    assert list(spatial["seed"][:2]) == [0, 1]


def test_epochs_are_counted_over_all_stages(fake):
    epochs = read(fake).epochs
    run = epochs[(epochs["variant"] == "unet16_finetune") & (epochs["split"] == "spatial") & (epochs["seed"] == 0)]
    assert list(run["step"]) == list(range(1, 11))
    assert list(run["stage"]) == [1] * 6 + [2] * 4


def test_scores_without_their_training_are_refused(fake):
    with pytest.raises(UserError, match=r"random/unet16_finetune/seed0 has scores but no train\.json"):
        read(fake, trains=fake.files.trains[1:])


def test_a_table_without_its_columns_is_refused(fake):
    poor = fake.root / "poor.csv"
    pd.read_csv(fake.arguments["scores_csv"]).drop(columns=["f1_low", "tp"]).to_csv(poor, index=False)
    with pytest.raises(UserError, match="lacks the columns tp, f1_low"):
        read(fake, scores_csv=poor)


def test_a_missing_file_is_named(fake):
    with pytest.raises(UserError, match=r"nowhere\.csv: no such file"):
        read(fake, scores_csv=fake.root / "nowhere.csv")
    with pytest.raises(UserError, match=r"nowhere\.parquet: no such file"):
        read(fake, catalog=fake.root / "nowhere.parquet")


def test_a_training_without_metrics_is_refused(fake, tmp_path):
    alone = tmp_path / "train.json"
    alone.write_text(fake.files.trains[0].read_text())
    with pytest.raises(UserError, match=r"metrics\.jsonl: no such file"):
        read(fake, trains=[alone, *fake.files.trains[1:]])


def test_a_split_without_a_leakage_audit_is_refused(fake):
    spatial = [path for path in fake.arguments["leakages"] if json.loads(path.read_text())["split"] == "spatial"]
    with pytest.raises(UserError, match="split `random` has scores but no leakage audit"):
        read(fake, leakages=spatial).kind("random")


BROKEN = {
    "scores_csv": ("", "scores\\.csv: not a table that can be used .* run the rule collect_scores again"),
    "catalog": ("PAR1", "catalog\\.parquet: not a table that can be used"),
    "catalog_report": ("{}", "catalog\\.json: lacks tiles, strips"),
    "leakages": ("{}", "leakage\\.json: lacks split, kind"),
    "trains": ("{}", "train\\.json: lacks split, variant"),
    "scores": ("[]", "scores\\.json: lacks split, variant, seed"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_damaged_file_is_named_with_the_remedy(fake, tmp_path, name):
    content, words = BROKEN[name]
    given = fake.inputs[name]
    damaged = tmp_path / (given[0] if isinstance(given, list) else given).name
    damaged.write_text(content)
    with pytest.raises(UserError, match=words):
        read(fake, **{name: [damaged, *given[1:]] if isinstance(given, list) else damaged})


@pytest.mark.parametrize("content", ["", '{"epoch": 1}', '{"epoch": '])
def test_a_training_whose_epochs_cannot_be_read_is_not_called_one_that_was_not_trained(fake, tmp_path, content):
    alone = tmp_path / "train.json"
    alone.write_text(fake.files.trains[0].read_text())
    (tmp_path / "metrics.jsonl").write_text(content)
    with pytest.raises(UserError, match=r"metrics\.jsonl: .*train this variant again"):
        read(fake, trains=[alone, *fake.files.trains[1:]])


def test_the_split_without_a_leak_comes_first_wherever_splits_are_listed(fake):
    results = read(fake)
    assert [list(table["split"].unique()) for table in (results.leakage, results.tiles)] == [["spatial", "random"]] * 2
