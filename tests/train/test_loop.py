"""Training: it learns, it is repeatable, it validates on the right view, and it records what it did."""

import json

import pytest
import torch
from safetensors.torch import load_file

from sspipe.errors import UserError
from sspipe.files import read_json
from sspipe.variants import Stage
from tests.train.engine import SHARED, SMALL, run_stage, training


def test_a_shared_space_network_learns_to_find_buildings_from_sar(packed):
    run = training(packed, **SHARED, batch_size=2, stages=[{"views": ["sar", "eo"], "epochs": 12}])
    epochs = run.run()
    assert epochs[-1].train_loss < 0.75 * epochs[0].train_loss
    assert run.chosen.validation_iou > 0.5


def test_same_seed_gives_the_same_weights_and_another_seed_others(packed):
    def weights(seed):
        run = training(packed, seed, **SHARED, stages=[{"views": ["sar", "eo"], "epochs": 1}])
        run.run()
        return run.weights()

    one, same, other = weights(0), weights(0), weights(1)
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert any(not torch.equal(one[name], other[name]) for name in one)


def test_fine_tuning_goes_on_from_the_first_stages_weights_on_the_other_view(packed):
    model = {"model": {**SMALL, "kind": "unet16"}}
    first = {"views": ["eo"], "epochs": 2}
    alone = training(packed, **model, stages=[first], test_view="eo")
    alone.run()
    both = training(packed, **model, stages=[first, {"views": ["sar"], "epochs": 1, "learning_rate": 1e-12}])
    assert [epoch.view for epoch in both.run()] == ["eo", "eo", "sar"]
    weight = "decoder.head.weight"  # a learning rate of nothing keeps what the first stage learned
    assert torch.allclose(alone.weights()[weight], both.weights()[weight], atol=1e-6)
    assert (both.chosen.stage, both.chosen.epoch) == (2, 1)


def test_best_keeps_the_epoch_with_the_highest_validation_iou_and_last_keeps_the_last(packed, monkeypatch):
    for select, kept in (("best", 2), ("last", 3)):
        run = training(
            packed, model={**SMALL, "kind": "unet16"}, stages=[{"views": ["sar"], "epochs": 3}], select=select
        )
        ious = iter([0.1, 0.6, 0.3])
        seen = []

        def validate(run=run, ious=ious, seen=seen):
            seen.append(run.weights())
            return 1.0, next(ious)

        monkeypatch.setattr(run, "validate", validate)
        run.run()
        assert run.chosen.epoch == kept
        final = run.weights()
        assert all(torch.equal(final[name], seen[kept - 1][name]) for name in final)


def test_validation_uses_sar_alone_when_the_stage_trains_on_sar(packed, monkeypatch):
    run = training(packed, **SHARED, stages=[{"views": ["sar", "eo"], "epochs": 1}])
    asked = []
    row = run.validation_tiles.row
    monkeypatch.setattr(run.validation_tiles, "row", lambda sample, name: asked.append(name) or row(sample, name))
    run.validate()
    assert set(asked) == {"sar", "masks"}
    unet = training(packed, model={**SMALL, "kind": "unet16"}, stages=[{"views": ["eo"], "epochs": 1}], test_view="eo")
    assert unet.variant.stages[0].validation_view == "eo"
    assert Stage(views=("eo", "sar"), epochs=1).validation_view == "sar"


def test_validation_counts_no_padding_and_leaves_out_tiles_without_buildings(packed, monkeypatch):
    run = training(packed, model={**SMALL, "kind": "unet16"}, stages=[{"views": ["sar"], "epochs": 1}])
    tiles = run.validation_tiles

    def everything(views, psi=None):
        return {view: torch.full((len(image), 2, 64, 64), 9.0) for view, image in views.items()}

    monkeypatch.setattr(run.network, "forward", everything)
    _, iou = run.validate()
    expected = [tiles.row(sample, "masks")[0].sum() / tiles.size_px**2 for sample in range(len(tiles))]
    assert iou == pytest.approx(sum(expected) / len(expected))


def test_a_loss_that_is_not_finite_stops_the_run_and_names_step_learning_rate_and_last_checkpoint(packed, tmp_path):
    settings = {
        "model": {"kind": "unet16", "width": 0.0625},
        "stages": [{"views": ["sar"], "epochs": 3}],
        "learning_rate": 1e30,
    }
    told = r"spatial/mine seed 0: stage 1/1 \(SAR\) epoch 1/3 step 2: .* not finite; learning_rate is 1e\+30; "
    with pytest.raises(UserError, match=told + "the last good checkpoint is none.*Lower learning_rate"):
        run_stage(packed, tmp_path / "run", settings)
    written = {path.name for path in (tmp_path / "run").iterdir()}
    assert not {"model.safetensors", "metrics.jsonl", "train.json"} & written
    assert not list((tmp_path / "run" / "checkpoints").glob("*.pt"))
    # With a checkpoint after each step, none holds what broke the weights, and the one before is named.
    with pytest.raises(
        UserError, match=told + r"the last good checkpoint is .*checkpoint-000001\.pt.*delete .*checkpoints"
    ):
        run_stage(packed, tmp_path / "each", settings, checkpoint_minutes=0)
    assert [path.name for path in (tmp_path / "each" / "checkpoints").glob("*.pt")] == ["checkpoint-000001.pt"]


def test_the_stage_writes_weights_metrics_and_a_record_of_what_it_did(packed, tmp_path, capsys):
    settings = {**SHARED, "stages": [{"views": ["sar", "eo"], "epochs": 2}]}
    folder = run_stage(packed, tmp_path / "run", settings, seed=3)
    record = read_json(folder / "train.json")
    assert (record["split"], record["variant"], record["seed"]) == ("spatial", "mine", 3)
    assert record["settings"]["model"]["skips"] == {"shared": "random", "private": "none"}
    assert record["settings"]["select"] == "best"  # defaults are resolved
    assert record["tiles"] == {"train": 10, "validation": 3}
    assert record["parameters_paper_style"] > record["parameters_unique"]
    assert {"torch", "python", "sspipe"} <= set(record["versions"])
    assert record["seconds"] > 0 and record["gpu_seconds"] == 0 and record["peak_memory_gib"] > 0
    assert (record["restarts"], record["ranks"], record["precision"]) == (0, 1, "fp32")
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [(line["stage"], line["epoch"]) for line in lines] == [(1, 1), (1, 2)]
    best = max(lines, key=lambda line: line["validation_iou"])
    assert record["best"]["validation_iou"] == best["validation_iou"]
    unique = sum(
        tensor.numel()
        for name, tensor in load_file(folder / "model.safetensors").items()
        if not name.endswith(("running_mean", "running_var", "num_batches_tracked"))
    )
    assert unique == record["parameters_unique"]
    log = capsys.readouterr().out
    assert "epoch 2/2" in log and "validation IoU" in log and "left" in log
