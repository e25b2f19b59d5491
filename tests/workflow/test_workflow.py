"""The whole workflow on a tiny city: what it makes, what it makes again, and what it refuses."""

import json
import shutil

import pandas as pd
import pytest
import yaml

from sspipe.files import read_json

pytestmark = [pytest.mark.xdist_group("workflow"), pytest.mark.slow]

RUNS = 8 + 2  # every variant on the spatial split, two on the random one
LISTED = [
    "split",
    "variant",
    "seed",
    "parameters_unique",
    "parameters_paper_style",
    "pixel_iou",
    "pixel_iou_pooled",
    "f1",
    "precision",
    "recall",
    "tp",
    "fp",
    "fn",
    "f1_low",
    "f1_high",
]


def test_all_ends_in_one_row_of_scores_for_every_run(finished):
    scores = pd.read_csv(finished.results / "report" / "scores.csv")
    assert len(scores) == RUNS
    assert list(scores.columns[: len(LISTED)]) == LISTED
    assert set(scores["split"]) == {"random", "spatial"}
    assert scores["f1"].between(0, 1).all() and scores["pixel_iou"].between(0, 1).all()
    assert ((scores["f1_low"] <= scores["f1"]) & (scores["f1"] <= scores["f1_high"])).all()


def test_solaris_itself_agrees_with_every_score(finished):
    checks = sorted(finished.results.rglob("solaris.json"))
    assert len(checks) == RUNS
    for check in checks:
        ours, theirs = read_json(check.with_name("scores.json")), read_json(check)
        assert theirs["identical"]
        assert [ours[key] for key in ("tp", "fp", "fn")] == [theirs[key] for key in ("tp", "fp", "fn")]


def test_every_rule_has_logged_and_been_measured_and_no_job_took_3_gib(finished):
    measured = sorted((finished.results / "benchmarks").rglob("*.tsv"))
    logs = sorted((finished.results / "logs").rglob("*.log"))
    assert len(measured) == len(logs) > 5 * RUNS
    peaks = [pd.read_csv(path, sep="\t", na_values="-")["max_rss"].max() for path in measured]
    assert pd.Series(peaks).max() < 3 * 1024


def test_nothing_half_written_is_left(finished):
    assert not [path for path in finished.results.rglob("*") if "partial" in path.name]


def test_the_spatial_split_shares_no_ground_and_the_random_one_does(finished):
    leak = {split: read_json(finished.results / f"splits/{split}.leakage.json") for split in ("random", "spatial")}
    assert leak["spatial"]["test_against_train_and_validation"]["over_0"] == 0
    assert leak["spatial"]["validation_against_train"]["over_0"] == 0
    assert leak["random"]["test_against_train_and_validation"]["over_50"] > 0.3


def test_a_second_run_finds_nothing_to_do(finished):
    done = finished.snakemake("all")
    assert done.returncode == 0
    assert "Nothing to be done" in done.stdout + done.stderr


def test_a_new_variant_is_trained_alone(changed):
    changed.edit(
        lambda content: content["variants"].update(
            {"ss_deep": {"model": {"private_blocks": 1, "skips": {"shared": "random", "private": "none"}}}}
        )
    )
    trained = {path: path.stat().st_mtime_ns for path in changed.results.rglob("model.safetensors")}
    done = changed.snakemake("all")
    assert done.returncode == 0, done.stdout + done.stderr
    assert {path: path.stat().st_mtime_ns for path in trained} == trained
    assert (changed.results / "train/spatial/ss_deep/seed0/model.safetensors").exists()
    scores = pd.read_csv(changed.results / "report" / "scores.csv")
    assert len(scores) == RUNS + 1
    assert "ss_deep" in (changed.results / "report" / "index.html").read_text()


def test_editing_one_variants_learning_rate_runs_that_variant_and_what_follows_it(changed):
    changed.edit(lambda content: content["variants"].update({"ss_rsc": {"learning_rate": 0.02}}))
    assert changed.planned("all") == {
        "resolve_variant": 1,
        "train": 1,
        "predict_tiles": 1,
        "predict_validation": 1,
        "tune_polygons": 1,
        "extract_polygons": 1,
        "score_polygons": 1,
        "check_against_solaris": 1,
        "mosaic_predictions": 1,
        "map_footprints": 1,
        "collect_scores": 1,
        "compare_scores": 1,
        "describe_models": 1,
        "measure_efficiency": 1,
        "resolve_experiment": 1,
        "compare_variants": 1,
        "all": 1,
    }
    done = changed.snakemake("variant_ss_rsc")
    assert done.returncode == 0, done.stdout + done.stderr
    record = read_json(changed.results / "train/spatial/ss_rsc/seed0/train.json")
    assert record["settings"]["learning_rate"] == 0.02
    # The variant's target ends at its scores; what is left are its map and what sums up all runs.
    maps = {"mosaic_predictions", "map_footprints"}
    summaries = {"collect_scores", "compare_scores", "measure_efficiency", "compare_variants", "describe_models"}
    assert changed.planned("all").keys() == maps | summaries | {"resolve_experiment", "all"}


def test_renaming_a_variant_trains_nothing_and_shows_in_the_report(changed):
    changed.edit(lambda content: content["variants"].update({"ss_rsc": {"title": "Mixed {skips}, really"}}))
    changed.edit(lambda content: content["report"].update({"title": "A {tiny} city"}))
    pages = ("describe_tiles", "resolve_experiment", "describe_models", "compare_variants")
    assert changed.planned("all") == dict.fromkeys((*pages, "all"), 1)
    done = changed.snakemake("all")
    assert done.returncode == 0, done.stdout + done.stderr
    page = (changed.results / "report" / "index.html").read_text()
    assert "Mixed {skips}, really" in page and "A {tiny} city" in page


def test_weights_that_are_not_there_are_told_before_anything_runs(fresh):
    weights = {"model": {"width": 1, "vgg16_weights": "absent.safetensors"}}
    fresh.edit(lambda content: content["variants"].update({"ss_rsc": weights}))
    done = fresh.snakemake("-n", "variant_ss_rsc")
    assert done.returncode != 0
    assert "absent.safetensors" in done.stdout + done.stderr


def test_editing_a_threshold_of_the_polygons_trains_nothing(changed):
    changed.edit(lambda content: content.update({"polygons": {"interior_threshold": 0.4}}))
    planned = changed.planned("all")
    assert "train" not in planned and "predict_tiles" not in planned
    assert planned["extract_polygons"] == planned["score_polygons"] == RUNS


def test_pinned_settings_of_polygons_need_no_validation_predictions(fresh):
    fresh.edit(lambda content: content.update({"polygons": {"tune": False}}))
    planned = fresh.planned("all")
    assert "predict_validation" not in planned
    assert planned["tune_polygons"] == planned["extract_polygons"] == RUNS


def test_maps_are_a_target_of_their_own_and_can_be_left_out_of_all(fresh):
    fresh.edit(lambda content: content.update({"maps": {"with_all": False}}))
    planned = fresh.planned("all")
    assert "mosaic_predictions" not in planned and "map_footprints" not in planned
    planned = fresh.planned("maps")
    assert planned["mosaic_predictions"] == planned["map_footprints"] == RUNS
    assert "compare_variants" not in planned


def test_the_target_of_one_variant_asks_for_that_variant_alone(fresh):
    planned = fresh.planned("variant_ss_rsc_shared")
    assert planned["train"] == planned["check_against_solaris"] == 2  # on both splits
    assert planned["resolve_variant"] == 1
    assert "collect_scores" not in planned


def test_without_a_target_everything_is_made(fresh):
    assert fresh.planned() == fresh.planned("all")
    assert fresh.planned()["train"] == RUNS


@pytest.mark.parametrize(
    ("target", "last"),
    [
        ("data", "compute_statistics"),
        ("train_all", "train"),
        ("score_all", "score_polygons"),
        ("report", "compare_variants"),
    ],
)
def test_targets_reach_as_far_as_their_names_say(fresh, target, last):
    planned = fresh.planned(target)
    order = ["compute_statistics", "train", "score_polygons", "compare_variants"]
    assert last in planned
    assert not set(order[order.index(last) + 1 :]) & set(planned)


def test_the_whole_experiment_at_spacenet_6s_size_is_fewer_than_500_jobs(fresh):
    (fresh.folder / "tiny.yaml").write_text("{}\n")  # config.yaml alone: the paper's experiment
    planned = fresh.planned("all")
    assert planned["train"] == 2 * 8 * 3
    assert planned["fetch_archive"] == 1
    assert sum(planned.values()) < 500


def test_a_misspelt_key_stops_before_anything_runs_and_names_the_nearest(fresh):
    fresh.edit(lambda content: content["tiles"].update({"paded_px": 96}))
    done = fresh.snakemake("all")
    text = done.stdout + done.stderr
    assert done.returncode != 0
    assert "tiles.paded_px: unknown key; did you mean `padded_px`?" in text
    assert "Traceback" not in text
    assert not fresh.results.exists()


def test_a_key_that_stands_twice_stops_before_anything_runs(fresh):
    overlay = fresh.folder / "tiny.yaml"
    overlay.write_text(overlay.read_text() + "\nexperiment: another\n")
    done = fresh.snakemake("-n", "all")
    assert done.returncode != 0
    assert "tiny.yaml: `experiment` stands in line" in done.stdout + done.stderr


def test_a_file_in_the_place_of_the_results_folder_is_named(fresh):
    fresh.edit(lambda content: content.update(results="taken"))
    (fresh.folder / "taken").touch()
    done = fresh.snakemake("-n", "all")
    told = done.stdout + done.stderr
    assert done.returncode != 0
    assert "results: taken is no folder" in told
    assert "Traceback" not in told


def test_a_misspelt_variant_is_named_with_the_nearest(fresh):
    done = fresh.snakemake("-n", "variant_ss_rsc_shraed")
    assert done.returncode != 0
    assert "no variant `ss_rsc_shraed`; did you mean `ss_rsc_shared`?" in done.stdout + done.stderr


def test_a_tile_size_that_does_not_match_the_archive_stops_with_the_reason_in_the_log(finished, fresh):
    shutil.copy(finished.results / "archive.tar.gz", fresh.folder / "given.tar.gz")
    given = {"source": "file", "path": "given.tar.gz", "size_bytes": None, "sha256": None}
    fresh.edit(lambda content: content["archive"].update(given))
    fresh.edit(lambda content: content["tiles"].update({"size_px": 80}))
    done = fresh.snakemake("data")
    assert done.returncode != 0, done.stdout + done.stderr
    log = (fresh.results / "logs" / "index_tiles.log").read_text()
    assert "tiles.size_px" in log and "90" in log
    assert "Traceback" not in log
    assert not (fresh.results / "catalog.parquet").exists()


def test_the_demo_profile_plans_its_experiment(fresh):
    done = fresh.snakemake("--profile", "profiles/demo", "-n", "all")
    assert done.returncode == 0, done.stdout + done.stderr


def test_progress_names_variant_epoch_loss_and_time_left(finished):
    log = (finished.results / "logs/train/spatial/ss_rsc/seed0.log").read_text()
    for word in ("spatial/ss_rsc seed 0", "epoch 1/1", "loss", "validation IoU", "left"):
        assert word in log


def test_settings_in_the_record_are_the_resolved_ones(finished):
    overlay = yaml.safe_load((finished.folder / "tiny.yaml").read_text())
    record = json.loads((finished.results / "train/spatial/ss_unet_skips/seed0/train.json").read_text())
    assert record["settings"]["learning_rate"] == overlay["defaults"]["learning_rate"]
    assert record["settings"]["model"]["skips"] == {"shared": "own", "private": "own"}
