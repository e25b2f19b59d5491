"""Model cards and STAC items beside trained models."""

from __future__ import annotations

import hashlib
import json
import re
import socket

import pandas as pd
import pystac
import pytest
import shapely
import yaml
from pystac.extensions.mlm import MLMExtension
from pystac.validation.stac_validator import JsonSchemaSTACValidator

from sspipe.errors import UserError
from sspipe.files import write_json
from sspipe.report.describe import describe_models
from sspipe.report.stac_item import ground
from tests.report.fake_results import make_fake_results

MLM_REQUIRED = ("mlm:name", "mlm:architecture", "mlm:tasks", "mlm:input", "mlm:output")


@pytest.fixture(scope="module")
def experiment(tmp_path_factory):
    """Three models with cards, and what `describe_models` was called with."""
    root = tmp_path_factory.mktemp("experiment")
    fake = make_fake_results(root, seeds=(0,), variants=("ss_rsc_shared", "unet16_eo"), random_variants=("unet16_eo",))
    arguments = arguments_of(fake)
    describe_models(**arguments)
    return root, arguments


def arguments_of(fake):
    """The weights and statistics that the report itself has no use for are added."""
    root, statistics = fake.root, []
    for train in fake.files.trains:
        train.with_name("model.safetensors").write_bytes(f"weights of {train.parent}".encode())
    for split in ("random", "spatial"):
        path = root / "statistics" / f"{split}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps({"views": {view: {"mean": [1, 2, 3, 4], "std": [5] * 4} for view in ("sar", "eo")}}))
        statistics.append(path)
    given = {key: fake.arguments[key] for key in ("root", "runs", "leakages", "splits", "catalog", "settings")}
    return {**given, "statistics": statistics}


def changed_settings(arguments, folder, **archive):
    content = json.loads(arguments["settings"].read_text())
    content["archive"] |= archive
    write_json(folder / "experiment.json", content)
    return {**arguments, "settings": folder / "experiment.json"}


def item_of(root, run="spatial/ss_rsc_shared/seed0"):
    return json.loads((root / "train" / run / "model.stac.json").read_text())


def card_of(root, run="spatial/ss_rsc_shared/seed0"):
    """Front matter and text."""
    _, matter, text = (root / "train" / run / "README.md").read_text().split("---\n", 2)
    return yaml.safe_load(matter), text


def test_every_item_is_valid_stac_and_says_what_mlm_requires(experiment, monkeypatch):
    _, arguments = experiment
    # The core's schemas come with pystac; those of extensions would have to be fetched, and are not.
    monkeypatch.setattr(socket.socket, "connect", None)
    items = [item_of(arguments["root"], run) for run in arguments["runs"]]
    assert len({item["id"] for item in items}) == 3
    for content in items:
        JsonSchemaSTACValidator().validate_core(content, pystac.STACObjectType.ITEM, "1.1.0")
        item = pystac.Item.from_dict(content, preserve_dict=True)
        assert MLMExtension.has_extension(item)
        described = MLMExtension.ext(item)
        assert all(content["properties"][key] for key in MLM_REQUIRED)
        assert re.fullmatch(r"[a-zA-Z][a-zA-Z0-9_.-]+[a-zA-Z0-9]", described.name)
        (given,) = described.input
        # Bands by name have to be there as bands of the asset that holds the model.
        models = [asset for asset in content["assets"].values() if "mlm:model" in asset["roles"]]
        assert [band["name"] for band in models[0]["bands"]] == given.bands and len(models) == 1
        assert models[0]["mlm:artifact_type"]
        scalings = content["properties"]["mlm:input"][0]["value_scaling"]
        assert given.input.shape[1] == len(given.bands) == len(scalings) == 4
        assert scalings[1] == {"type": "z-score", "mean": 2, "stddev": 5}
        assert described.output[0].result.dim_order == ["batch", "channel", "height", "width"]
        # What is trained from scratch has to say so.
        assert content["properties"]["mlm:pretrained"] is False
        assert content["properties"]["mlm:pretrained_source"] is None
        assert all(re.fullmatch(r"[0-9a-zA-Z_.-]+", key) for key in content["properties"]["mlm:hyperparameters"])


def test_the_item_names_the_weights_by_size_and_checksum_and_every_file_is_there(experiment):
    root, _ = experiment
    folder = root / "train/spatial/ss_rsc_shared/seed0"
    assets = item_of(root)["assets"]
    weights = (folder / "model.safetensors").read_bytes()
    assert assets["model"]["file:size"] == len(weights)
    assert assets["model"]["file:checksum"] == "1220" + hashlib.sha256(weights).hexdigest()
    assert {name for name, asset in assets.items() if not (folder / asset["href"]).resolve().is_file()} == set()
    assert {"model", "model_card", "training", "metrics", "scores"} == set(assets)


def test_the_item_lies_where_and_when_the_training_tiles_were_taken(experiment):
    root, arguments = experiment
    item = item_of(root)
    shape = shapely.geometry.shape(item["geometry"])
    assert shape.is_valid and item["bbox"] == pytest.approx(shape.bounds)
    west, south, east, north = shape.bounds
    assert 4.3 < west < east < 4.5 and 51.8 < south < north < 52.0  # Rotterdam
    subsets = pd.read_parquet(arguments["splits"][1]).set_index("tile_id")["subset"]
    strips = {tile.split("_tile_")[0] for tile in subsets.index[subsets == "train"]}
    assert item["properties"]["start_datetime"] == "2019-08-04T11:12:00Z"
    assert item["properties"]["datetime"] is None and "201908041112" in min(strips)


def test_the_ground_of_tiles_is_that_of_all_of_them_and_turns_anticlockwise():
    tiles = pd.DataFrame(
        {"easting_m": [592000.0, 592300.0, 595000.0], "northing_m": 5750000.0, "size_px": 900, "pixel_m": 0.5}
    )
    shape = ground(tiles, 32631)
    assert shape.geom_type == "MultiPolygon" and len(shape.geoms) == 2
    assert all(part.exterior.is_ccw for part in shape.geoms)
    back = shapely.area(shape) * 111_195 * 111_195 * 0.6172  # a degree's metres, at the cosine of 51.89 degrees
    assert back == pytest.approx(750 * 450 + 450 * 450, rel=0.02)


def test_strips_that_are_not_named_by_their_time_leave_the_trainings(experiment, tmp_path):
    root, arguments = experiment
    catalog = pd.read_parquet(arguments["catalog"]).assign(strip="north-1")
    catalog.to_parquet(tmp_path / "catalog.parquet")
    describe_models(**{**arguments, "catalog": tmp_path / "catalog.parquet"})
    properties = item_of(root)["properties"]
    describe_models(**arguments)
    assert properties["datetime"] == "2026-01-01T10:05:00Z" and "start_datetime" not in properties


def test_the_front_matter_of_a_card_is_what_hubs_read(experiment):
    root, _ = experiment
    matter, _ = card_of(root)
    scores = json.loads((root / "score/spatial/ss_rsc_shared/seed0/scores.json").read_text())
    (model,) = matter["model-index"]
    (result,) = model["results"]
    metrics = {metric["type"]: metric["value"] for metric in result["metrics"]}
    assert metrics["f1"] == pytest.approx(scores["f1"], abs=1e-4)
    assert matter["library_name"] == "sspipe" and matter["pipeline_tag"] == "image-segmentation"
    assert model["name"] == item_of(root)["id"]
    assert result["dataset"]["name"].endswith("spatial split")


def test_a_card_says_what_its_model_sees_where_it_was_trained_and_what_it_scored(experiment):
    root, _ = experiment
    _, text = card_of(root)
    record = json.loads((root / "train/spatial/ss_rsc_shared/seed0/train.json").read_text())
    scores = json.loads((root / "score/spatial/ss_rsc_shared/seed0/scores.json").read_text())
    assert "At test:** SAR alone (HH, HV, VH, VV)" in text and "8 epochs of SAR and EO" in text
    assert f"| SpaceNet F1 | {scores['f1']:.3f} |" in text
    assert "0.0\u00a0% of the test tiles are more than half covered" in text
    assert record["commit"] in text and "458,907" in text
    settings = json.dumps(record["settings"], sort_keys=True, separators=(",", ":"))
    assert hashlib.sha256(settings.encode()).hexdigest() in text
    _, ceiling = card_of(root, "random/unet16_eo/seed0")
    assert "EO alone (red, green, blue, near infrared)" in ceiling and "It needs optical images at test" in ceiling
    assert "expect lower scores on new ground" in ceiling and "expect lower scores" not in text


@pytest.mark.parametrize("source", ["s3", "synthetic", "table"])
def test_only_spacenets_data_are_called_spacenets(experiment, source, tmp_path):
    root, arguments = experiment
    describe_models(**changed_settings(arguments, tmp_path, source=source, path="tiles.csv"))
    matter, text = card_of(root)
    item = json.dumps(item_of(root))
    describe_models(**arguments)
    assert ("CC BY-SA 4.0" in text) == (source == "s3") == ("CC BY-SA 4.0" in item)
    assert ("SpaceNet, LLC" in text or "SpaceNet LLC" in text) == (source == "s3")
    assert (matter["datasets"] == ["spacenet6"]) == (source == "s3")
    assert ("The data are synthetic" in text) == (source == "synthetic")
    if source == "table":
        assert "Trained by sspipe 0.1.0 on the spatial split of own tiles" in text


def test_a_model_without_scores_is_not_described_and_is_named(tmp_path, capsys):
    fake = make_fake_results(tmp_path, seeds=(0,), variants=("ss_rsc_shared",), random_variants=("ss_rsc_shared",))
    arguments = arguments_of(fake)
    (tmp_path / "score/random/ss_rsc_shared/seed0/scores.json").unlink()
    describe_models(**arguments)
    described = {path.relative_to(tmp_path / "train").parts[0] for path in tmp_path.rglob("README.md")}
    assert described == {"spatial"} == {path.parts[-4] for path in tmp_path.rglob("model.stac.json")}
    assert "random/ss_rsc_shared/seed0/train.json: its run has no scores yet" in capsys.readouterr().err


def test_a_split_without_statistics_is_told(experiment):
    _, arguments = experiment
    with pytest.raises(UserError, match="split `random`: no file of its statistics was given"):
        describe_models(**{**arguments, "statistics": arguments["statistics"][1:]})
