"""All runs in one table."""

from __future__ import annotations

import json

import pandas as pd
import pytest

from sspipe.errors import UserError
from sspipe.report.tables import collect_scores

COLUMNS = (
    "split,variant,seed,parameters_unique,parameters_paper_style,pixel_iou,pixel_iou_pooled,f1,precision,recall,"
    "tp,fp,fn,f1_low,f1_high"
)


@pytest.fixture
def write(tmp_path):
    """Writes scores.json and train.json of a run; returns both paths."""

    def written(split: str, variant: str, seed: int, **scores):
        run = {"split": split, "variant": variant, "seed": seed}
        folder = tmp_path / split / variant / str(seed)
        folder.mkdir(parents=True, exist_ok=True)
        score = {
            **run,
            "tiles": 4,
            "tp": 2,
            "fp": 2,
            "fn": 1,
            "precision": 0.5,
            "recall": 2 / 3,
            "f1": 4 / 7,
            "f1_low": 0.1,
            "f1_high": 0.9,
            "f1_macro": None,
            "pixel_iou": 0.25,
            "pixel_iou_pooled": 0.36,
            "iou_threshold": 0.5,
            "min_area_px": 80,
            "bootstrap_samples": 100,
            **scores,
        }
        train = {
            **run,
            "parameters_unique": 29307074,
            "parameters_paper_style": 44022338,
            "settings": {},
            "tiles": {"train": 8, "validation": 2},
            "best": {"stage": 1, "epoch": 3, "validation_iou": 0.4},
            "seconds": 12.5,
            "device": "cpu",
            "commit": "0" * 40,
        }
        (folder / "scores.json").write_text(json.dumps(score))
        (folder / "train.json").write_text(json.dumps(train))
        return folder / "scores.json", folder / "train.json"

    return written


def test_one_row_a_run_in_the_order_of_the_scores(write, tmp_path):
    runs = [write("spatial", "ss_rsc", 1), write("random", "unet16_sar", 0, f1=0.25), write("random", "ss_rsc", 0)]
    scores, trains = ([run[side] for run in runs] for side in (0, 1))
    collect_scores(scores=scores, trains=trains[::-1], out=tmp_path / "scores.csv")
    header = (tmp_path / "scores.csv").read_text().splitlines()[0]
    assert header.startswith(COLUMNS)
    table = pd.read_csv(tmp_path / "scores.csv")
    assert table[["split", "variant", "seed"]].to_numpy().tolist() == [
        ["spatial", "ss_rsc", 1],
        ["random", "unet16_sar", 0],
        ["random", "ss_rsc", 0],
    ]
    assert table["f1"].tolist() == [4 / 7, 0.25, 4 / 7]  # to the last digit
    assert table["parameters_unique"].tolist() == [29307074] * 3
    assert table["best_epoch"].tolist() == [3] * 3


def test_undefined_scores_are_blank(write, tmp_path):
    score, train = write("spatial", "ss_rsc", 0, pixel_iou=None)
    collect_scores(scores=[score], trains=[train], out=tmp_path / "scores.csv")
    assert pd.read_csv(tmp_path / "scores.csv")[["pixel_iou", "f1_macro"]].isna().all().all()


def test_run_with_only_one_of_its_files_is_refused(write, tmp_path):
    first, second = write("spatial", "ss_rsc", 0), write("spatial", "ss_rsc", 1)
    with pytest.raises(UserError, match=r"no train\.json of spatial/ss_rsc/seed1"):
        collect_scores(scores=[first[0], second[0]], trains=[first[1]], out=tmp_path / "scores.csv")
    with pytest.raises(UserError, match=r"no scores\.json of spatial/ss_rsc/seed1"):
        collect_scores(scores=[first[0]], trains=[first[1], second[1]], out=tmp_path / "scores.csv")
    assert not (tmp_path / "scores.csv").exists()


def test_run_given_twice_is_refused(write, tmp_path):
    score, train = write("spatial", "ss_rsc", 0)
    with pytest.raises(UserError, match="spatial/ss_rsc/seed0 was already given"):
        collect_scores(scores=[score, score], trains=[train], out=tmp_path / "scores.csv")


def test_missing_key_is_named_with_its_file(write, tmp_path):
    score, train = write("spatial", "ss_rsc", 0)
    train.write_text(json.dumps({"split": "spatial", "variant": "ss_rsc", "seed": 0, "tiles": {}, "best": {}}))
    with pytest.raises(UserError, match=r"train\.json: no key `parameters_unique`"):
        collect_scores(scores=[score], trains=[train], out=tmp_path / "scores.csv")
