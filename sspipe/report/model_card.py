"""A model card: Markdown for people, under YAML front matter as model hubs read it."""

from __future__ import annotations

from typing import Any

import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from sspipe.log import duration
from sspipe.report import wording
from sspipe.report.html import TEMPLATES
from sspipe.report.stac_item import CITATION
from sspipe.report.trained_model import TrainedModel


def card_text(model: TrainedModel) -> str:
    """Writes a model's card.

    Returns:
        Markdown whose front matter is YAML with the keys of model hubs, `model-index` among them.
    """
    # No escaping: what comes out is Markdown, and what goes in is our own.
    environment = Environment(loader=FileSystemLoader(TEMPLATES), undefined=StrictUndefined, keep_trailing_newline=True)
    tiles, record = model.config.tiles, model.record
    return environment.get_template("model_card.md.jinja").render(
        front_matter=yaml.safe_dump(front_matter(model), sort_keys=False, allow_unicode=True, width=100),
        title=model.title,
        split=model.split,
        variant=model.variant,
        seed=model.seed,
        view=model.view,
        bands=model.bands,
        size_px=tiles.size_px,
        pixel_m=f"{tiles.pixel_m:g}",
        padded_px=tiles.padded_px,
        data=model.data,
        record=record,
        scores=model.scores,
        stages=_stages(model),
        beginning="ImageNet weights of VGG16" if model.settings.model.vgg16_weights else "random weights",
        architecture=_architecture(model),
        loss=_loss(model),
        duration=duration(record["seconds"]),
        polygons=_polygons(model),
        tuned=model.tuning["tuned"],
        leakage=_leakage(model),
        measure_of=_measure_of(model),
        measures=model.measures(),
        resampled=_resampled(model),
        synthetic=model.config.archive.source == "synthetic",
        limits=_limits(model),
        commands=commands(model),
        settings_digest=model.settings_digest,
        version=record["versions"].get("sspipe", "of an unknown version"),
        versions=", ".join(f"{name} {version}" for name, version in record["versions"].items()),
        citation=CITATION,
    )


def front_matter(model: TrainedModel) -> dict[str, Any]:
    """What model hubs read: licence, task, tags, and the scores as `model-index`."""
    metrics = [
        {"type": key, "name": words, "value": round(value, 4)}
        | ({} if ends is None else {"args": {"interval_95": [round(end, 4) for end in ends]}})
        for key, words, value, ends in model.measures()
    ]
    task = {"type": "image-segmentation", "name": "Building footprints"}
    return {
        "license": "other",
        "license_name": "not-chosen",
        "library_name": "sspipe",
        "pipeline_tag": "image-segmentation",
        "tags": ["remote-sensing", "building-footprints", model.view, model.settings.model.kind.replace("_", "-")],
        "datasets": [model.data.slug],
        "model-index": [
            {
                "name": model.name,
                "results": [
                    {
                        "task": task,
                        "dataset": {
                            "type": model.data.slug,
                            "name": f"{model.data.name}, {model.split} split",
                            "split": "test",
                        },
                        "metrics": metrics,
                    }
                ],
            }
        ],
    }


def commands(model: TrainedModel) -> str:
    """Lines for a shell that make footprints with it, from the experiment's folder."""
    run = f"{model.split}/{model.variant}/seed{model.seed}"
    choice = model.tuning["choice"]
    return "\n".join(
        [
            f"python -m sspipe predict-tiles --model train/{run}/model.safetensors --record train/{run}/train.json \\",
            f"  --split-table splits/{model.split}.parquet --statistics statistics/{model.split}.json \\",
            "  --packs pack/*/manifest.json --subset test --precision auto --threads 2 --workers 2 \\",
            f"  --batch-size {model.settings.batch_size} --out again/probabilities.npy",
            f"# interior {choice['interior_threshold']:g}, border {choice['border_threshold']:g}, "
            f"least area {choice['min_area_px']:g} px, outlines simplified by {choice['simplify_px']:g} px",
            "python -m sspipe extract-polygons --probabilities again/probabilities.npy --catalog catalog.parquet \\",
            f"  --settings predict/{run}/polygons.json --out-parquet again/footprints.parquet \\",
            "  --out-gpkg again/footprints.gpkg --out-submission again/footprints.csv",
        ]
    )


def _stages(model: TrainedModel) -> str:
    parts = []
    for stage in model.settings.stages:
        views = " and ".join(view.upper() for view in stage.views)
        parts.append(f"{stage.epochs} {'epoch' if stage.epochs == 1 else 'epochs'} of {views}")
    return ", then ".join(parts)


def _architecture(model: TrainedModel) -> str:
    network = model.settings.model
    skips = f"skip connections: {network.skips.shared} in the shared space, {network.skips.private} before it"
    if network.kind == "unet16":
        return f"UNet16, width {network.width:g}"
    return (
        f"shared-space autoencoder of UNet16, width {network.width:g}, {network.private_blocks} private blocks; {skips}"
    )


def _loss(model: TrainedModel) -> str:
    loss = model.settings.loss
    return f"{loss.bce:g} × BCE + {loss.dice:g} × Dice, Adam with learning rate {model.settings.learning_rate:g}"


def _polygons(model: TrainedModel) -> str:
    how = "chosen on the validation tiles" if model.tuning["tuned"] else "as configured"
    return f"footprints are drawn from both by a watershed, with thresholds {how}"


def _leakage(model: TrainedModel) -> str:
    shares = model.leakage.get(model.leakage.get("headline", "test_against_train_and_validation"), {})
    over_50 = wording.percent(shares.get("over_50"))
    if model.leakage["kind"] == "spatial":
        kind = "The split is by place, with a guard between its parts"
    elif model.leakage["kind"] == "random":
        kind = "The split is at random, and tiles overlap, so test tiles lie on ground that training has seen"
    else:
        kind = "The split is the challenge baseline's, by slices without a guard"
    return f"{kind}: {over_50} of the test tiles are more than half covered by one tile of training or validation."


def _measure_of(model: TrainedModel) -> str:
    score = model.config.score
    return (
        f"{model.scores['tiles']} tiles; footprints match at an IoU above {score.iou_threshold:g}, and buildings below "
        f"{score.min_area_px:g} px are left out."
    )


def _resampled(model: TrainedModel) -> str:
    if model.scores.get("bootstrap_over") == "blocks":
        return f"blocks of ground, {model.config.score.block_m:g} m to a side"
    return "test tiles"


def _limits(model: TrainedModel) -> list[str]:
    lines = [
        f"One sensor and one area: trained on {len(model.tiles)} tiles of {model.tiles['strip'].nunique()} strips; "
        "elsewhere it was not tried.",
        "One training: another seed gives other scores; the experiment's report says how far they spread.",
    ]
    if model.leakage["kind"] == "random":
        lines.append("Its test tiles share ground with its training tiles: expect lower scores on new ground.")
    small = next(iter(model.scores.get("recall_by_area_m2", [])), None)
    if small and small["buildings"] and small["to"] is not None:
        lines.append(
            f"Small buildings are missed: recall below {small['to']:g} m² is {wording.number(small['recall'])} "
            f"({small['buildings']} of them)."
        )
    if model.view == "eo":
        lines.append("It needs optical images at test: it is the ceiling that radar is held against, not a substitute.")
    calibration = model.scores.get("expected_calibration_error")
    if calibration is not None:
        lines.append(
            f"Its probabilities are off by {wording.number(calibration)} on average (expected calibration error)."
        )
    return lines
