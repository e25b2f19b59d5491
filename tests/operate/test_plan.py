"""What `plan` reckons, on captured output and small settings."""

import json
from pathlib import Path

import pytest
import yaml

from sspipe.config import load_config
from sspipe.operate import disk, work
from sspipe.operate.dry_run import PlannedJob, jobs_per_rule, parse_dry_run
from sspipe.operate.gpus import gpus_of
from sspipe.operate.plan import concurrency, make_plan, makespan, render
from sspipe.operate.profile import Profile
from sspipe.variants import Model, Variant

ROOT = Path(__file__).parents[2]
DRY_RUN = """\
Building DAG of jobs...
Job stats:
job              count
-------------  -------
train                2
total                3

[Sun Nov 22 22:06:44 2026]
rule train:
    input: results/t/variants/a.json, results/t/pack/0/manifest.json
    output: results/t/train/spatial/a/seed0/train.json
    log: results/t/logs/train/spatial/a/seed0.log
    jobid: 57
    reason: Missing output files: results/t/train/spatial/a/seed0/train.json; Input files updated by another job: x
    wildcards: split=spatial, variant=a, seed=0
    threads: 8
    resources: tmpdir=<TBD>, running=--ranks auto, --workers 2, runtime=90, gres=gpu:v100:4, gpu=4

[Sun Nov 22 22:06:44 2026]
rule train:
    output: results/t/train/spatial/a/seed1/train.json
    jobid: 58
    reason: Params have changed since last execution: before: 1 now: 2
    wildcards: split=spatial, variant=a, seed=1
    threads: 8
    resources: tmpdir=<TBD>, runtime=90, gres=gpu:v100:4, gpu=4
[Sun Nov 22 22:06:44 2026]
localrule all:
    input: results/t/train/spatial/a/seed0/train.json
    jobid: 0
    reason: Input files updated by another job: results/t/train/spatial/a/seed0/train.json
    resources: tmpdir=/tmp
"""
SETTINGS = {
    "experiment": "t",
    "seeds": [0, 1],
    "archive": {"source": "synthetic", "synthetic": {"strips": 10, "tiles_per_strip": 10}},
    "tiles": {"size_px": 100, "padded_px": 128},
    "splits": {"spatial": {"kind": "spatial", "test_fraction": 0.2, "validation_fraction": 0.25}},
    "variants": {"a": {"model": {"kind": "unet16"}, "stages": [{"views": ["sar"], "epochs": 10}]}},
    "plan": {"gpu_tflops": 0.1, "gpu_scaling": 0.5},
}


@pytest.fixture()
def config(tmp_path):
    return load_config({**SETTINGS, "results": str(tmp_path)})


def test_the_dry_run_is_read_with_reasons_resources_and_threads():
    first, second = parse_dry_run(DRY_RUN)  # and not the target, which makes nothing
    assert first == PlannedJob(
        rule="train",
        local=False,
        wildcards={"split": "spatial", "variant": "a", "seed": "0"},
        reasons=("missing output files", "input files updated by another job"),
        threads=8,
        resources={
            "tmpdir": "<TBD>",
            "running": "--ranks auto, --workers 2",
            "runtime": "90",
            "gres": "gpu:v100:4",
            "gpu": "4",
        },
    )
    assert not second.local
    assert jobs_per_rule([first, second]) == [
        ("train", 2, ["missing output files (1)", "params have changed since last execution (1)"])
    ]


def test_work_is_counted_in_the_networks_own_operations():
    """VGG16's 13 convolutions at 224 px are 15.35 G multiplications (Simonyan and Zisserman); ours adds a decoder."""
    unet = work.forward_tflop(Model(kind="unet16"), ("sar",), 224)
    assert unet > 2 * 15.35e9 / 1e12
    assert work.forward_tflop(Model(kind="unet16"), ("sar",), 448) == pytest.approx(4 * unet)
    both = work.forward_tflop(Model(), ("sar", "eo"), 224)
    assert both == pytest.approx(2 * work.forward_tflop(Model(), ("sar",), 224))
    variant = Variant.model_validate({"model": {"kind": "unet16"}, "stages": [{"views": ["sar"], "epochs": 3}]})
    assert work.training_tflop(variant, work.Tiles(10, 2, 5), 224) == pytest.approx(3 * (10 * 3 + 2) * unet)


def test_tiles_are_expected_as_the_split_is_made_until_its_table_is_there(config):
    assert work.tiles_of(config, "spatial") == work.Tiles(train=60, validation=20, test=20)


def test_a_rate_that_was_measured_takes_the_place_of_the_configured_one(config):
    assert work.measured_rate(config, on_gpu=True) is None
    record = {
        "settings": config.variants["a"].model_dump(mode="json"),
        "tiles": {"train": 60, "validation": 20},
        "seconds": 50.0,
        "gpu_seconds": 200.0,
        "device": "4 x Tesla V100",
    }
    path = config.folder / "train/spatial/a/seed0/train.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(record))
    rate = work.measured_rate(config, on_gpu=True)
    done = work.training_tflop(config.variants["a"], work.Tiles(60, 20, 0), 128)
    assert rate.tflops == pytest.approx(done / 200) and rate.measured and "4 x Tesla V100" in rate.source
    assert work.measured_rate(config, on_gpu=False) is None  # a GPU's rate prices no CPU


def test_what_several_gpus_lose_is_counted_once_in_a_rate_that_they_measured(config):
    variant = config.variants["a"]
    done = work.training_tflop(variant, work.Tiles(60, 20, 0), 128)
    record = {"settings": variant.model_dump(mode="json"), "tiles": {"train": 60, "validation": 20}, "device": "V100"}
    path = config.folder / "train/spatial/a/seed0/train.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({**record, "seconds": 50.0, "gpu_seconds": 200.0, "ranks": 4}))
    assert work.measured_rate(config, on_gpu=True).tflops == pytest.approx(done / 200 / 0.5)
    made = make_plan(config, Profile(), parse_dry_run(DRY_RUN), night_hours=12)
    # The next training on four GPUs takes as long as the one that was measured.
    assert [each["hours"] * 3600 for each in made["trainings"]] == pytest.approx([50.0, 50.0])
    assert made["gpu_hours"] * 3600 == pytest.approx(400)
    path.write_text(json.dumps({**record, "seconds": 200.0, "gpu_seconds": 200.0, "ranks": 1}))
    assert work.measured_rate(config, on_gpu=True).tflops == pytest.approx(done / 200)


@pytest.mark.parametrize(
    ("resources", "gpus"),
    [
        ({"gres": "gpu:v100:4"}, 4),
        ({"gres": "gpu:2"}, 2),
        ({"gpu": "1"}, 1),
        ({"gpu": 4, "gpu_model": "v100"}, 4),
        ({}, 0),
    ],
)
def test_gpus_are_counted_in_every_spelling(resources, gpus):
    assert gpus_of(resources) == gpus


def test_jobs_are_laid_one_after_another_onto_what_the_profile_lets_run_at_once():
    job = parse_dry_run(DRY_RUN)[0]
    slurm = {"executor": "slurm", "jobs": 50}
    assert concurrency(job, Profile(None, {**slurm, "resources": {"gpu": 12}}), cpus=2) == 3
    assert concurrency(job, Profile(None, {**slurm, "resources": ["gpu=3"]}), cpus=2) == 1
    assert concurrency(job, Profile(None, slurm), cpus=2) == 50
    assert concurrency(job, Profile(None, {"cores": 17}), cpus=2) == 2
    assert makespan([5, 1, 1, 1, 3], 2) == 6
    assert makespan([], 4) == 0


def test_the_plan_holds_hours_nights_disk_and_what_is_wrong(config, monkeypatch):
    profile = Profile("profiles/slurm/config.yaml", {"executor": "slurm", "resources": {"gpu": 4}})
    made = make_plan(config, profile, parse_dry_run(DRY_RUN), night_hours=0.02)
    tflop = work.training_tflop(config.variants["a"], work.Tiles(60, 20, 20), 128)
    one = tflop / (0.1 * 4 * 0.5) / 3600
    assert [each["hours"] for each in made["trainings"]] == pytest.approx([one, one])
    assert made["gpu_hours"] == pytest.approx(2 * 4 * one)
    assert made["training_wall_hours"] == pytest.approx(2 * one) and made["at_once"] == 1
    assert made["nights"] == -(-2 * one // 0.02)
    assert not made["problems"] and not made["rate"]["measured"]
    text = render(made)
    assert "train" in text and "GPU-hours" in text and "plan.gpu_tflops" in text


def test_too_small_a_disk_is_a_problem_that_names_the_key(config, monkeypatch):
    monkeypatch.setattr("sspipe.operate.plan.shutil.disk_usage", lambda path: type("usage", (), {"free": 1000}))
    made = make_plan(config, Profile(), parse_dry_run(DRY_RUN), night_hours=12)
    assert len(made["problems"]) == 1 and "`results` in config.yaml" in made["problems"][0]
    assert "PROBLEM" in render(made)


def test_a_short_walltime_is_told_as_the_restarts_that_it_makes(config):
    text = DRY_RUN.replace("runtime=90", "runtime=1")
    quick = config.model_copy(
        update={
            "plan": config.plan.model_copy(update={"gpu_tflops": 0.01}),
            "training": config.training.model_copy(update={"checkpoint_minutes": 0.5}),
        }
    )
    made = make_plan(quick, Profile("p", {"set-resources": {"train": {"runtime": 1}}}), parse_dry_run(text), 12)
    assert not made["problems"]
    assert any("set-resources.train.runtime" in note and "is requeued about" in note for note in made["notes"])
    slow = make_plan(config, Profile(), parse_dry_run(text), 12)
    assert any("training.checkpoint_minutes" in problem for problem in slow["problems"])


def test_disk_is_what_the_formulas_say_and_nothing_twice(config):
    lines = {line.what: line for line in disk.space(config, [("spatial", "a", 0), ("spatial", "a", 1)], at_once=2)}
    assert lines["raw"].bytes == pytest.approx(100 * 24 * 100**2, rel=1e-4)
    assert lines["pack"].bytes == 100 * 18 * 128**2
    assert lines["predictions"].bytes == 2 * 20 * 4 * 100**2
    assert lines["weights"].bytes == 2 * 2 * 4 * 29_307_074
    assert lines["checkpoints"].bytes == 2 * 3 * 4 * 4 * 29_307_074
    config.folder.mkdir(exist_ok=True, parents=True)
    (config.folder / "archive.tar.gz").write_bytes(b"12345")
    archive = disk.space(config, [], 1)[0]
    assert (archive.bytes, archive.there) == (5, True)


def test_the_papers_archive_and_pack_have_the_sizes_that_are_known():
    config = load_config(yaml.safe_load((ROOT / "config.yaml").read_text()))
    sizes = {line.what: line.bytes for line in disk.space(config, [], 1)}
    assert sizes["archive"] == 41_874_641_730
    assert sizes["raw"] == pytest.approx(66.1e9, rel=0.01)
    assert sizes["pack"] == pytest.approx(64.2e9, rel=0.01)


def test_own_tiles_are_counted_by_their_table_and_take_no_room_of_their_own(tmp_path):
    content = yaml.safe_load((ROOT / "config.yaml").read_text())
    table = tmp_path / "tiles.csv"
    table.write_text("tile_id,sar_path\n" + "".join(f"{number},x.tif\n" for number in range(50)))
    content |= {"results": str(tmp_path), "archive": {"source": "table", "path": str(table)}}
    content["tiles"] |= {"sar_bands": ["VV", "VH"], "eo_bands": ["red", "green", "blue"]}
    config = load_config(content)
    assert work.tile_count(config) == 50
    lines = {line.what: line.bytes for line in disk.space(config, [("random", "ss_rsc", 0)], 1)}
    assert lines["pack"] == 50 * (2 * 2 + 3 * 2 + 2) * 1024**2
    assert "archive" not in lines and "raw" not in lines
    bands = work.bands_of(config)
    three, four = (work.parameters(config.variants["ss_rsc"], each) for each in (bands, (("sar", 4), ("eo", 4))))
    assert four - three == (2 + 1) * 64 * 9  # first layers of both encoders
