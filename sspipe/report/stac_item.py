"""A STAC item of a trained model, with the Machine Learning Model extension (MLM 1.4.0).

MLM is what followed the ML-Model extension, which its owners archived in 2025 and whose readers they send to MLM. It
says what a program needs to run the model: bands, scaling, shapes. Version 1.4.0 is the newest that pystac reads. The
item is of STAC 1.1, where bands need no extension of their own.
https://github.com/stac-extensions/mlm
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import geopandas
import pandas as pd
import shapely
from shapely.geometry.polygon import orient

from sspipe.report.trained_model import TrainedModel

STAC_VERSION = "1.1.0"
EXTENSIONS = (
    "https://stac-extensions.github.io/mlm/v1.4.0/schema.json",
    "https://stac-extensions.github.io/file/v2.1.0/schema.json",
    "https://stac-extensions.github.io/scientific/v1.0.0/schema.json",
)
CITATION = (
    "Ashiotis et al., Shared-Space Autoencoders with Randomized Skip Connections for Building Footprint Detection with "
    "Missing Views"
)
# What a footprint of training tiles may be off by, m: a fraction of a tile, and few corners.
SIMPLIFIED_M = 10.0
_STRIP = re.compile(r"(\d{14})_(\d{14})")
_SHA256_MULTIHASH = "1220"  # the code of SHA-256, and its length of 32 bytes


def stac_item(model: TrainedModel, scores: Path) -> dict[str, Any]:
    """Describes a model as a STAC item; links to files are relative to its own folder.

    Args:
        model: trained, with its weights in its folder.
        scores: its scores.json.

    Returns:
        the item as JSON content. Its geometry is the ground of the training tiles, WGS 84; its time is that of their
        strips where these are named by it, as SpaceNet 6's are, and otherwise when the training ended.
    """
    geometry = ground(model.tiles, model.config.tiles.epsg)
    return {
        "type": "Feature",
        "stac_version": STAC_VERSION,
        "stac_extensions": list(EXTENSIONS),
        "id": model.name,
        "geometry": json.loads(shapely.to_geojson(geometry)),
        "bbox": list(geometry.bounds),
        "properties": {**_common(model), **_mlm(model)},
        "links": [],
        "assets": _assets(model, scores),
    }


def ground(tiles: pd.DataFrame, epsg: int) -> Any:
    """The ground that tiles lie on, as a polygon or several in WGS 84: longitude first, corners anticlockwise.

    Args:
        tiles: easting_m and northing_m of the north-western corner, size_px, pixel_m.
        epsg: code of their CRS, in metres.
    """
    side = tiles["size_px"] * tiles["pixel_m"]
    west, north = tiles["easting_m"], tiles["northing_m"]
    union = shapely.union_all(shapely.box(west, north - side, west + side, north))
    corners = geopandas.GeoSeries([shapely.simplify(union, SIMPLIFIED_M)], crs=f"EPSG:{epsg}").to_crs(4326).iloc[0]
    rounded = shapely.make_valid(shapely.set_precision(corners, 1e-6))
    # Making it valid may leave a collection that has a multipolygon in it, and lines without any ground.
    flat = shapely.get_parts(shapely.get_parts(rounded))
    parts = [orient(part) for part in flat if part.geom_type == "Polygon"]
    return parts[0] if len(parts) == 1 else shapely.MultiPolygon(parts)


def _common(model: TrainedModel) -> dict[str, Any]:
    record = model.record
    return {
        "title": f"{model.title}, {model.split} split, seed {model.seed}",
        "description": f"Building footprints from {model.view.upper()} tiles. Trained on {model.data.name}. "
        f"{model.data.sentence} README.md beside it is its model card.",
        **_times(model),
        "created": _zulu(datetime.fromisoformat(record["finished"])),
        "license": "other",
        "gsd": model.config.tiles.pixel_m,
        "sci:citation": CITATION,
        "sspipe:split": model.split,
        "sspipe:variant": model.variant,
        "sspipe:seed": model.seed,
        "sspipe:settings_sha256": model.settings_digest,
        "sspipe:version": record["versions"].get("sspipe"),
        "sspipe:commit": record["commit"],
        "sspipe:training_tiles": len(model.tiles),
        "sspipe:test_scores": {
            key: {"value": value, **({} if ends is None else {"low": ends[0], "high": ends[1]})}
            for key, _, value, ends in model.measures()
        },
    }


def _times(model: TrainedModel) -> dict[str, str | None]:
    found = [_STRIP.fullmatch(str(strip)) for strip in model.tiles["strip"].unique()]
    spans = [match.groups() for match in found if match]
    if not spans or len(spans) < len(found):
        return {"datetime": _zulu(datetime.fromisoformat(model.record["finished"]))}
    first, last = min(begin for begin, _ in spans), max(end for _, end in spans)
    return {"datetime": None, "start_datetime": _of_strip(first), "end_datetime": _of_strip(last)}


def _of_strip(digits: str) -> str:
    return _zulu(datetime.strptime(digits, "%Y%m%d%H%M%S").replace(tzinfo=UTC))


def _zulu(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _mlm(model: TrainedModel) -> dict[str, Any]:
    """The extension's own fields."""
    settings, side = model.settings, model.config.tiles.padded_px
    pretrained = settings.model.vgg16_weights
    kinds = {"unet16": "UNet16", "shared_space": "Shared-space autoencoder of UNet16"}
    axes = ["batch", "channel", "height", "width"]
    scaling = model.statistics["views"][model.view]
    tasks = ["semantic-segmentation", "instance-segmentation"]
    return {
        "mlm:name": model.name,
        "mlm:architecture": kinds[settings.model.kind],
        "mlm:tasks": tasks,
        "mlm:framework": "PyTorch",
        "mlm:framework_version": model.record["versions"]["torch"],
        "mlm:total_parameters": model.record["parameters_unique"],
        "mlm:pretrained": pretrained is not None,
        "mlm:pretrained_source": None if pretrained is None else "ImageNet (VGG16)",
        "mlm:batch_size_suggestion": settings.batch_size,
        "mlm:accelerator": None,
        "mlm:accelerator_constrained": False,
        "mlm:accelerator_summary": f"Trained on {model.record['device']}; runs on a CPU or a CUDA GPU",
        "mlm:input": [
            {
                "name": f"{model.view.upper()} tile",
                "description": f"Tiles of strips seen from the south are turned ({model.config.tiles.orientation}) "
                f"before they come in. Standardised; then no-data (0 in every band) and the padding from "
                f"{model.config.tiles.size_px} to {side} px are 0.",
                "bands": list(model.bands),
                "input": {"shape": [-1, len(model.bands), side, side], "dim_order": axes, "data_type": "float32"},
                "value_scaling": [
                    {"type": "z-score", "mean": mean, "stddev": deviation}
                    for mean, deviation in zip(scaling["mean"], scaling["std"], strict=True)
                ],
                "resize_type": "pad",
                "pre_processing_function": {"format": "python", "expression": "sspipe.pack.tiles:pack_tiles"},
            }
        ],
        "mlm:output": [
            {
                "name": "logits of interior and border",
                "description": "Two channels, each of its own: the sigmoid of the first is the probability of being "
                "building, of the second that of lying in the border band of one. Footprints are drawn from both.",
                "tasks": tasks,
                "result": {"shape": [-1, 2, side, side], "dim_order": axes, "data_type": "float32"},
                "classification:classes": [
                    {"value": 0, "name": "interior", "description": "building"},
                    {"value": 1, "name": "border", "description": "outline of a building, both sides"},
                ],
                "post_processing_function": {
                    "format": "python",
                    "expression": "sspipe.predict.polygons:extract_polygons",
                },
            }
        ],
        "mlm:hyperparameters": _hyperparameters(model),
    }


def _hyperparameters(model: TrainedModel) -> dict[str, Any]:
    settings = model.settings
    return {
        "optimizer": "Adam",
        "learning_rate": settings.learning_rate,
        "batch_size": settings.batch_size,
        "random_state": model.seed,
        "stages": [stage.model_dump(mode="json") for stage in settings.stages],
        "loss": settings.loss.model_dump(mode="json"),
        "model": settings.model.model_dump(mode="json"),
        "flip_left_right": settings.flip_left_right,
        "select": settings.select,
        "kept_epoch": dict(model.record["best"]),
        "polygons": dict(model.tuning["choice"]),
    }


def _assets(model: TrainedModel, scores: Path) -> dict[str, Any]:
    with model.weights.open("rb") as handle:
        digest = hashlib.file_digest(handle, "sha256").hexdigest()
    return {
        "model": {
            "href": f"./{model.weights.name}",
            "type": "application/octet-stream; application=safetensors",
            "title": "Weights",
            "roles": ["mlm:model", "mlm:weights", "data"],
            "mlm:artifact_type": "safetensors.torch.save_file",
            "file:size": model.weights.stat().st_size,
            "file:checksum": _SHA256_MULTIHASH + digest,
            "bands": [{"name": name} for name in model.bands],
        },
        "model_card": {
            "href": "./README.md",
            "type": "text/markdown",
            "title": "Model card",
            "roles": ["metadata", "overview"],
        },
        "training": {
            "href": "./train.json",
            "type": "application/json",
            "title": "Record of the training: settings, versions, device, time",
            "roles": ["metadata"],
        },
        "metrics": {
            "href": "./metrics.jsonl",
            "type": "application/x-ndjson",
            "title": "Losses and validation IoU of each epoch",
            "roles": ["metadata"],
        },
        "scores": {
            "href": os.path.relpath(scores, model.folder),
            "type": "application/json",
            "title": "Scores on the test tiles",
            "roles": ["metadata"],
        },
    }
