"""The section "How it was made": what it is made from, and what it says in a browser."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import yaml

from sspipe.config import load_config
from sspipe.operate.efficiency import Row
from sspipe.report import making_facts
from sspipe.report.attempts import attempts_of, read_attempts
from sspipe.report.page import compare_variants
from sspipe.report.results import read_results
from tests.report.browser import opened
from tests.report.fake_results import make_fake_results

DIGEST = "ab" * 32
LOG = """\
23:12:10 submitted as Slurm job 17 (train-a); its own log is slurm/17.log
23:12:12 spatial/a seed 0: sspipe 0.1.0, commit 0123abc+changes, settings 1b107; Slurm job 17, attempt 1; V100 on gpu3
23:12:33 spatial/a seed 0: stage 1/2 (EO) epoch 1/4: loss 1.362, validation loss 1.147, 2:01 left
slurmstepd: error: *** JOB 17 ON gpu3 CANCELLED AT 2026-11-22T23:13:00 DUE TO TIME LIMIT ***
23:13:01 spatial/a seed 0: stopped by SIGUSR1; what was done is kept in checkpoints, and the same command goes on
23:13:02 Slurm job 17 ended as TIMEOUT: going on from epoch 1
23:14:12 spatial/a seed 0: sspipe 0.1.0, commit 0123abc+changes, settings 1b107; Slurm job 17, attempt 2; V100 on gpu4
23:14:13 spatial/a seed 0: going on from checkpoint-3.pt: stage 1 epoch 1 step 3
Traceback (most recent call last):
  File "loop.py", line 3, in step
    raise OutOfMemoryError
torch.OutOfMemoryError: CUDA out of memory
23:15:02 Slurm job 17 ended as TIMEOUT: going on from epoch 1
23:16:12 spatial/a seed 0: sspipe 0.1.0, commit 0123abc+changes, settings 1b107; Slurm job 17, attempt 3; V100 on gpu4
sspipe train: error: statistics.json: no such file; run compute_statistics
23:17:12 spatial/a seed 0: sspipe 0.1.0, commit 0123abc+changes, settings 1b107; no Slurm job; CPU: EPYC, 1 thread on vm
23:18:12 train done in 2:21
"""


@pytest.fixture(scope="module")
def made(browser, report):
    """The section of the session's report, opened, with everything in it unfolded."""
    with opened(browser, report.arguments["out"], width=390) as page:
        page.evaluate("() => document.querySelectorAll('details').forEach(d => d.open = true)")
        yield page.locator("section[aria-labelledby=made]")


@pytest.fixture(scope="module")
def results(report):
    return read_results(**report.inputs)


def facts(content):
    assert len({name for name, _ in content}) == len(content)
    return dict(content)


def test_attempts_and_what_ended_them_are_read_from_the_log_of_all():
    attempts = attempts_of(LOG.splitlines())
    assert attempts.begun == 4
    assert attempts.ends == [
        "JOB 17 ON gpu3 CANCELLED AT 2026-11-22T23:13:00 DUE TO TIME LIMIT",
        "stopped by SIGUSR1",
        "17 ended as TIMEOUT (2 times)",
        "torch.OutOfMemoryError: CUDA out of memory",
        "statistics.json: no such file; run compute_statistics",
    ]


def test_a_training_that_went_through_has_one_attempt_and_no_log_none(tmp_path):
    (tmp_path / "train.log").write_text(LOG.splitlines()[1] + "\n23:18:12 train done in 2:21\n")
    assert read_attempts(tmp_path / "train.log") == (1, [])
    assert read_attempts(tmp_path / "other.log") is None


def test_the_archive_is_named_by_size_and_checksum_and_held_against_the_configuration(results):
    manifest = {"bytes": 41_874_641_730, "sha256": DIGEST}
    told = facts(making_facts.data_facts(results, manifest, "s3"))
    assert told["Source"].startswith("s3://spacenet-dataset/spacenet/SN6_buildings/")
    assert f"sha256 {DIGEST}, not 406e5b77" in told["Archive"] and "41,874,641,730 bytes" in told["Archive"]
    pinned = {**manifest, "sha256": results.config.archive.sha256}
    assert facts(making_facts.data_facts(results, pinned, "s3"))["Archive"].endswith("as the configuration pins it")
    told = facts(making_facts.data_facts(results, manifest, "synthetic"))
    assert told["Archive"].endswith("not pinned by the configuration") and "generated" in told["Source"]
    assert "Archive" not in facts(making_facts.data_facts(results, manifest, "table"))
    assert "SpaceNet" not in facts(making_facts.data_facts(results, manifest, "table"))["Data"]
    assert "earlier version" in facts(making_facts.data_facts(results, {"products": {}}, "s3"))["Archive"]


def test_dropped_tiles_are_told_with_their_reasons(results):
    left_out = {"count": 12, "share": 0.0035, "reasons": {"no EO image": 9, "no orientation": 3}, "tiles": []}
    told = facts(making_facts.data_facts(_with_data(results, left_out=left_out), {}, "s3"))
    assert told["Tiles dropped"] == "12 (0.4\u00a0% of all): 9 no EO image, 3 no orientation"
    left_out = {"count": 0, "share": 0.0, "reasons": {}, "tiles": []}
    told = facts(making_facts.data_facts(_with_data(results, left_out=left_out), {}, "s3"))
    assert told["Tiles dropped"] == "none"


def _with_data(results, **more):
    return replace(results, data={**results.data, **more})


def test_every_split_says_how_it_was_drawn_and_how_many_tiles_each_part_has(results):
    rows = {row["split"]: row for row in making_facts.split_rows(results)}
    assert rows["random"]["how"].startswith("at random, seed 0: 20\u00a0% for test")
    assert rows["spatial"]["how"].startswith("by place, with a guard: east of 595,343 m for test")
    for split, row in rows.items():
        parts = results.tiles[results.tiles["split"] == split]
        assert sum(row[part] for part in ("train", "validation", "test", "guard")) == len(parts)
    assert rows["spatial"]["guard"] > 0 and rows["random"]["guard"] == 0


def test_gpu_hours_and_energy_are_told_where_they_were_measured_and_not_known_elsewhere():
    trains = [{"seconds": 1800.0, "gpu_seconds": 7200.0}, {"seconds": 1800.0, "gpu_seconds": 3600.0}]
    held = Row("train/spatial/a/seed0", 1, gpu_hours_requested=3.5, energy_j=5.4e6)
    told = facts(making_facts.cost_facts(trains, [held, Row("train/spatial/a/seed1", 1), Row("rule pack_tiles", 2)]))
    assert told["Trainings"] == "2, 1:00:00 in all"
    assert told["GPU-hours"] == "3.00 spent training, in 3.50 that jobs held"
    assert told["Energy"].startswith("1.5 kWh taken by the nodes")
    assert told["Energy"].endswith("of 1 training it is not known")
    told = facts(making_facts.cost_facts([{"seconds": 5.0}], []))
    assert told["GPU-hours"] == "none: trained without a GPU" and told["Energy"].startswith("not known")


def test_the_section_has_every_part_and_each_variants_settings(made, report):
    assert made.locator("h3").all_inner_texts() == [
        "Data",
        "Splits",
        "Software and machines",
        "Time, GPU-hours and energy",
        "Settings",
        "What failed, and was tried again",
        "What was not done",
    ]
    text = made.inner_text()
    assert DIGEST in text and "not known: nothing measured it" in text
    trained = {json.loads(path.read_text())["variant"] for path in report.files.trains}
    variants = made.locator("details.variant-settings")
    assert set(variants.locator("summary code").all_inner_texts()) == trained
    shown = yaml.safe_load(variants.filter(has_text="ss_rsc_shared_bce").locator("pre").inner_text())
    assert shown["loss"] == {"dice": 0.0, "bce": 1.0, "dice_smoothing": 1.0} and "title" not in shown
    whole = made.locator("pre").first.inner_text()
    assert load_config(yaml.safe_load(whole)) == load_config(json.loads(report.arguments["settings"].read_text()))


def test_trainings_that_were_tried_again_are_listed_and_the_others_are_not(made, report):
    rows = made.locator("#made-attempts tbody tr")
    again = [path for path in report.files.trains if path.parent.name == "seed1"]
    assert rows.count() == len(again)
    assert all("seed1" in row and "7 ended as NODE_FAIL" in row for row in rows.all_inner_texts())


def test_that_nothing_went_on_from_a_checkpoint_does_not_say_that_nothing_began_anew(made):
    told = made.locator("dl.facts").last.inner_text()
    assert "none went on from a checkpoint" in told and "from its beginning to its end" not in told


def test_links_of_the_section_lead_somewhere(made, report):
    page = report.arguments["out"]
    for link in made.locator("a").all():
        href = link.get_attribute("href")
        if href.startswith("#"):
            assert made.page.locator(href).count() == 1, href
        elif href != "catalog.html":  # which a rule of its own writes beside it
            assert (page.parent / href).is_file(), href


def test_cards_and_the_reference_evaluators_agreement_are_told_where_they_are(tmp_path):
    fake = make_fake_results(tmp_path, seeds=(0,), variants=("ss_rsc_shared",), random_variants=(), panels=1)
    for train in fake.files.trains:
        train.with_name("README.md").write_text("a card")
    for score in fake.files.scores:
        score.with_name("solaris.json").write_text(json.dumps({"identical": True, "version": "0.4.0"}))
    compare_variants(**fake.arguments)
    page = fake.arguments["out"].read_text()
    assert 'href="../train/spatial/ss_rsc_shared/seed0/README.md">card</a>' in page
    assert "solaris 0.4.0, run as it is, counts the same TP, FP and FN on every test tile, in 1 of 1 runs" in page
