"""The reference runs unchanged, agrees, and stops the run where it does not."""

from __future__ import annotations

import json
import sys
from importlib import metadata

import pandas as pd
import pytest
from shapely import box

from sspipe.errors import UserError
from sspipe.score import solaris
from sspipe.score.solaris import check_against_solaris, load_evaluator
from tests.score.scene import SETTINGS, Scene, write_scene

A, B, C = box(4, 4, 14, 14), box(20, 20, 30, 30), box(34, 4, 44, 14)
TRUTH = {"s_tile_1": [A, B], "s_tile_2": [], "s_tile_3": [A], "s_tile_4": []}
PREDICTED = {"s_tile_1": [box(4, 4, 14, 12), C], "s_tile_2": [], "s_tile_3": [A], "s_tile_4": [C]}


@pytest.fixture
def scene(tmp_path) -> Scene:
    written = write_scene(tmp_path, TRUTH, PREDICTED, others=("s_tile_0", "s_tile_8"))
    written.score()
    return written


def check(scene: Scene) -> dict:
    check_against_solaris(
        submission=scene.folder / "submission.csv",
        truth=scene.folder / "truth.csv",
        probabilities=scene.folder / "probabilities.npy",
        scores=scene.folder / "scores.json",
        tiles=scene.folder / "tiles.parquet",
        **SETTINGS,
        out=scene.folder / "solaris.json",
    )
    return json.loads((scene.folder / "solaris.json").read_text())


def test_agreement_is_written_with_the_version(scene):
    written = check(scene)
    assert written == {
        "tp": 2,
        "fp": 2,
        "fn": 1,
        "f1": pytest.approx(4 / 7),
        "identical": True,
        "version": metadata.version("solaris"),
    }


@pytest.mark.parametrize("names", [("001", "01", "010"), ("NA", "nan", "1e5"), ("7", "2.50", "true")])
def test_ids_are_text_whatever_they_look_like(tmp_path, names):
    truth = dict(zip(names, ([A, B], [], [A]), strict=True))
    predicted = dict(zip(names, ([A], [C], [A, C]), strict=True))
    scene = write_scene(tmp_path, truth, predicted)
    scene.score()
    written = check(scene)
    assert (written["tp"], written["fp"], written["fn"]) == (2, 2, 1)


def test_ties_in_confidence_do_not_look_like_a_difference(tmp_path):
    # Each building is proposed twice with the same confidence; only the first in the file is good enough.
    buildings = [box(x, y, x + 8, y + 8) for x in (2, 14, 26, 38) for y in (2, 14, 26, 38)]
    truth = {f"s_tile_{n}": buildings for n in range(4)}
    scene = write_scene(tmp_path, truth, truth)
    rows = pd.read_csv(scene.folder / "submission.csv")
    worse = rows.assign(PolygonWKT_Pix=[box(0, 0, 6, 6).wkt] * len(rows))
    pd.concat([worse, rows, rows]).to_csv(scene.folder / "submission.csv", index=False)
    scene.score()
    assert check(scene)["tp"] == 64


def test_first_tiles_that_differ_are_named_and_nothing_is_written(scene):
    tiles = pd.read_parquet(scene.folder / "tiles.parquet")
    tiles.loc[tiles["tile_id"] == "s_tile_3", ["tp", "fn"]] = [0, 1]
    tiles.to_parquet(scene.folder / "tiles.parquet")
    with pytest.raises(UserError, match=r"1 of 4 tiles.*(\n.*)*s_tile_3: tp/fp/fn 0/0/1 here, 1/0/0 by solaris"):
        check(scene)
    assert not (scene.folder / "solaris.json").exists()


def test_tile_that_is_missing_here_is_a_difference(scene):
    tiles = pd.read_parquet(scene.folder / "tiles.parquet")
    tiles[tiles["tile_id"] != "s_tile_1"].to_parquet(scene.folder / "tiles.parquet")
    with pytest.raises(UserError, match="s_tile_1: tp/fp/fn -1/-1/-1 here, 1/1/1 by solaris"):
        check(scene)


def test_scores_that_do_not_add_up_are_a_difference(scene):
    scores = json.loads((scene.folder / "scores.json").read_text()) | {"tp": 3}
    (scene.folder / "scores.json").write_text(json.dumps(scores))
    with pytest.raises(UserError, match=r"scores\.json: tp/fp/fn 3/2/1, but solaris counts 2/2/1"):
        check(scene)


def test_evaluator_is_the_installed_one_without_its_heavy_relatives():
    evaluator = load_evaluator()
    installed = metadata.distribution("solaris").locate_file("solaris/eval/base.py")
    assert sys.modules[evaluator.__module__].__file__ == str(installed)
    assert "tensorflow" not in sys.modules
    assert "solaris" not in sys.modules


def test_without_solaris_the_remedy_is_named(monkeypatch, scene):
    def absent(name: str):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(solaris.metadata, "distribution", absent)
    with pytest.raises(UserError, match="uv pip install --no-deps solaris"):
        check(scene)
