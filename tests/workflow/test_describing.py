"""Model cards and STAC items beside the models of the whole workflow."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pystac
import pytest
import yaml
from pystac.validation.stac_validator import JsonSchemaSTACValidator

from sspipe.files import read_json

pytestmark = [pytest.mark.xdist_group("workflow"), pytest.mark.slow]


def test_every_trained_model_has_a_card_and_a_valid_item_beside_it(finished):
    scores = pd.read_csv(finished.results / "report" / "scores.csv")
    for run in scores.itertuples():
        folder = finished.results / f"train/{run.split}/{run.variant}/seed{run.seed}"
        item = read_json(folder / "model.stac.json")
        JsonSchemaSTACValidator().validate_core(item, pystac.STACObjectType.ITEM, "1.1.0")
        assert item["properties"]["sspipe:test_scores"]["f1"]["value"] == pytest.approx(run.f1)
        assert all((folder / asset["href"]).is_file() for asset in item["assets"].values())
        matter = yaml.safe_load((folder / "README.md").read_text().split("---\n")[1])
        assert matter["model-index"][0]["name"] == item["id"]


def test_the_cards_commands_give_the_runs_own_footprints_again(changed):
    run = "spatial/ss_rsc_shared/seed0"
    card = (changed.results / f"train/{run}/README.md").read_text()
    commands = re.search(r"```bash\n(.*?)```", card, re.DOTALL)[1]
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-euc", commands],
        cwd=changed.results,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    first, again = changed.results / "predict" / run, changed.results / "again"
    difference = np.load(first / "probabilities.npy").astype(float) - np.load(again / "probabilities.npy")
    assert np.abs(difference).max() < 0.01  # fp16 of two runs, that may part their work otherwise
    assert (again / "footprints.csv").read_text().splitlines()[0] == "ImageId,BuildingId,PolygonWKT_Pix,Confidence"
    assert (again / "footprints.gpkg").is_file()


def test_a_card_that_is_gone_is_written_again_and_nothing_is_trained_for_it(changed):
    run = changed.results / "train/random/ss_rsc_shared/seed0"
    (run / "README.md").unlink()
    trained = (run / "model.safetensors").stat().st_mtime_ns
    (run / "model.stac.json").unlink()
    assert changed.planned("all").keys() == {"describe_models", "compare_variants", "all"}  # the report links to cards
    done = changed.snakemake("all")
    assert done.returncode == 0, done.stdout + done.stderr
    assert (run / "README.md").is_file() and (run / "model.safetensors").stat().st_mtime_ns == trained
    assert changed.planned("all") == {}
