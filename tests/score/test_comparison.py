"""Comparing variants: paired on the same resamples, careful about seeds, and plain in what it says."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from sspipe.cli import main
from sspipe.errors import UserError
from sspipe.score.comparison import compare_scores, verdict
from sspipe.score.measures import summarize

TILES = 60


def write_run(
    root: Path, variant: str, seed: int, skill: float, *, split: str = "random", block: int = 1, tiles: int = TILES
) -> Path:
    """A run that finds buildings with some probability; how hard a tile is, is the same for every run."""
    hardness = np.random.default_rng(0).beta(2, 2, tiles)
    random = np.random.default_rng([seed, *variant.encode()])
    found = random.binomial(20, np.clip(hardness * skill, 0, 1))
    table = pd.DataFrame({"tile_id": [f"t{number:03}" for number in range(tiles)]})
    table["block"] = table["tile_id"] if block == 1 else [f"b{number // block}" for number in range(tiles)]
    table["tp"], table["fp"], table["fn"] = found, random.poisson(3, tiles), 20 - found
    table["pixel_intersection"], table["pixel_union"] = 50 * found, 1000 + 5 * table["fp"]
    folder = root / split / variant / f"seed{seed}"
    folder.mkdir(parents=True)
    table.sample(frac=1, random_state=seed).to_parquet(folder / "tiles.parquet")  # in any order
    scores = {"split": split, "variant": variant, "seed": seed, **summarize(table, 100, table["block"].to_numpy())}
    scores |= {"bootstrap_over": "tiles" if block == 1 else "blocks", "block_m": None if block == 1 else 600.0}
    scores |= {"iou_threshold": 0.5, "min_area_px": 80.0}
    (folder / "scores.json").write_text(json.dumps(scores))
    return folder / "scores.json"


def compared(root: Path, paths: list[Path], baseline: str = "plain"):
    compare_scores(
        scores=paths,
        baseline=baseline,
        bootstrap_samples=400,
        out_comparisons=root / "comparisons.csv",
        out_seeds=root / "seeds.csv",
        out_statements=root / "comparisons.json",
    )
    table = pd.read_csv(root / "comparisons.csv").set_index(["split", "variant", "measure"])
    return table, pd.read_csv(root / "seeds.csv"), json.loads((root / "comparisons.json").read_text())


def test_better_worse_and_alike_are_told_apart(tmp_path):
    skills = {"plain": 0.8, "better": 0.95, "worse": 0.6, "alike": 0.8}
    paths = [write_run(tmp_path, name, seed, skill) for name, skill in skills.items() for seed in (0, 1, 2)]
    table, _, said = compared(tmp_path, paths)
    verdicts = table["verdict"].xs("f1", level="measure").droplevel("split").to_dict()
    assert verdicts == {"better": "better", "worse": "worse", "alike": "not distinguishable"}
    assert table["seeds"].eq(3).all()
    statements = said["splits"]["random"]["statements"]
    assert len(statements) == 6
    better = next(text for text in statements if text.startswith("On the random split, F1 of better is 0."))
    assert "above plain's" in better and "over 60 test tiles, mean of 3 seeds" in better
    assert better.endswith(": distinguishable, better.")
    assert any("F1 of alike" in text and text.endswith("not distinguishable.") for text in statements)
    # Three variants by two measures: 1 - 0.95 ** 6.
    note = said["splits"]["random"]["notes"][-1]
    assert note.startswith("6 comparisons, each at 95 %") and "in up to 26% of such experiments" in note
    assert "does not say that two variants are equal" in said["rule"]


def test_difference_is_that_of_the_scores_and_the_interval_that_of_drawing_tiles_for_both(tmp_path):
    paths = [
        write_run(tmp_path, name, seed, skill) for name, skill in (("plain", 0.7), ("other", 0.75)) for seed in (0, 1)
    ]
    table, _, _ = compared(tmp_path, paths)
    scores = {path: json.loads(path.read_text()) for path in paths}
    row = table.loc[("random", "other", "f1")]
    f1 = [scores[path]["f1"] for path in paths]
    assert row["difference"] == pytest.approx((f1[2] - f1[0] + f1[3] - f1[1]) / 2)
    assert sorted([row["smallest"], row["largest"]]) == pytest.approx(sorted([f1[2] - f1[0], f1[3] - f1[1]]))
    tiles = [pd.read_parquet(path.with_name("tiles.parquet")).sort_values("tile_id") for path in paths]
    random = np.random.default_rng(5)
    chosen = random.integers(0, TILES, (2000, TILES))
    tp, fp, fn = (
        np.stack([table[name].to_numpy()[chosen].sum(axis=1) for table in tiles]) for name in ("tp", "fp", "fn")
    )
    again = 2 * tp / (2 * tp + fp + fn)
    drawn = (again[2] - again[0] + again[3] - again[1]) / 2
    np.testing.assert_allclose([row["low"], row["high"]], np.quantile(drawn, [0.025, 0.975]), atol=0.008)
    # What is hard for both cancels out: the single interval of each is far wider.
    assert row["high"] - row["low"] < 0.7 * (scores[paths[0]]["f1_high"] - scores[paths[0]]["f1_low"])


def test_seeds_that_disagree_are_not_distinguishable():
    row = {"low": 0.01, "high": 0.05, "smallest": -0.01, "largest": 0.07}
    assert verdict(row) == "not distinguishable"
    assert verdict(row | {"smallest": 0.005}) == "better"
    assert verdict({"low": -0.05, "high": -0.01, "smallest": -0.07, "largest": 0.01}) == "not distinguishable"
    assert verdict({"low": None, "high": None, "smallest": 0.1, "largest": 0.1}) == "not distinguishable"


def test_a_statement_shows_the_sign_that_decides_it(tmp_path):
    # Each tile of the other has one hit more in thousands: a difference that three digits do not show.
    paths = [write_run(tmp_path, name, 0, 0.7) for name in ("plain", "other")]
    table = pd.read_parquet(paths[0].with_name("tiles.parquet"))
    table[["tp", "fp", "fn"]] = table[["tp", "fp", "fn"]] * 1000 + [0, 0, 1]
    table.to_parquet(paths[0].with_name("tiles.parquet"))
    table[["tp", "fn"]] += [1, -1]
    table.to_parquet(paths[1].with_name("tiles.parquet"))
    _, _, said = compared(tmp_path, paths)
    statement = said["splits"]["random"]["statements"][0]
    difference, low, high = (float(number) for number in re.findall(r"[+-]?0\.\d+", statement))
    assert 0 < low <= difference <= high < 0.0005
    assert statement.endswith("distinguishable, better.")


def test_only_seeds_that_both_have_are_compared(tmp_path):
    paths = [write_run(tmp_path, "plain", seed, 0.7) for seed in (0, 1)] + [
        write_run(tmp_path, "other", seed, 0.8) for seed in (1, 2)
    ] + [write_run(tmp_path, "late", 7, 0.8)]  # fmt: skip
    table, _, said = compared(tmp_path, paths)
    assert table.loc[("random", "other", "f1"), "seeds"] == 1
    assert said["splits"]["random"]["not_compared"] == ["late"]
    assert "one seed" in table.loc[("random", "other", "f1"), "statement"]


def test_seeds_are_summed_up(tmp_path):
    paths = [write_run(tmp_path, "plain", seed, 0.7) for seed in (0, 1, 2)] + [write_run(tmp_path, "lone", 0, 0.7)]
    _, seeds, _ = compared(tmp_path, paths)
    f1 = [json.loads(path.read_text())["f1"] for path in paths[:3]]
    row = seeds.set_index(["variant", "measure"]).loc[("plain", "f1")]
    assert (row["seeds"], row["low"], row["high"]) == (3, min(f1), max(f1))
    assert row["mean"] == pytest.approx(np.mean(f1))
    assert row["standard_deviation"] == pytest.approx(np.std(f1, ddof=1))
    assert np.isnan(seeds.set_index(["variant", "measure"]).loc[("lone", "f1"), "standard_deviation"])


def test_blocks_are_drawn_whole(tmp_path):
    tiles = [write_run(tmp_path, name, 0, skill) for name, skill in (("plain", 0.7), ("other", 0.75))]
    blocks = [
        write_run(tmp_path, name, 0, skill, split="spatial", block=20)
        for name, skill in (("plain", 0.7), ("other", 0.75))
    ]
    table, _, said = compared(tmp_path, tiles + blocks)
    assert any("Only 3 blocks of 600 m" in note for note in said["splits"]["spatial"]["notes"])
    assert not any("Only" in note for note in said["splits"]["random"]["notes"])
    assert "over 3 blocks of 600 m of the test area" in table.loc[("spatial", "other", "f1"), "statement"]
    assert table.loc[("spatial", "other", "f1"), "low"] != table.loc[("random", "other", "f1"), "low"]
    one = [write_run(tmp_path / "one", name, 0, 0.7, split="spatial", block=TILES) for name in ("plain", "other")]
    table, _, _ = compared(tmp_path, one)
    assert table[["low", "high"]].isna().all(axis=None)
    assert "no interval can be had" in table.loc[("spatial", "other", "f1"), "statement"]


def test_a_split_without_the_baseline_is_told_and_its_seeds_are_summed_up(tmp_path, capsys):
    table, seeds, said = compared(tmp_path, [write_run(tmp_path, "other", 0, 0.7)], baseline="plian")
    assert table.empty and len(seeds)
    assert said["splits"]["random"] == {
        "statements": [],
        "notes": said["splits"]["random"]["notes"],
        "not_compared": ["other"],
    }
    assert "no scores of the baseline plian" in capsys.readouterr().err


def test_runs_on_other_tiles_or_with_other_settings_are_refused(tmp_path):
    plain = write_run(tmp_path, "plain", 0, 0.7)
    with pytest.raises(UserError, match="other test tiles or blocks"):
        compared(tmp_path, [plain, write_run(tmp_path, "other", 0, 0.7, tiles=TILES - 1)])
    strict = write_run(tmp_path, "strict", 0, 0.7)
    strict.write_text(json.dumps(json.loads(strict.read_text()) | {"min_area_px": 20.0}))
    with pytest.raises(UserError, match="min_area_px is 20, but 80 in"):
        compared(tmp_path, [plain, strict])
    with pytest.raises(UserError, match="already given"):
        compared(tmp_path, [plain, plain])


def test_the_command_takes_what_the_rule_gives(tmp_path):
    paths = [str(write_run(tmp_path, name, 0, 0.7)) for name in ("plain", "other")]
    outputs = [f"--out-{name}={tmp_path / name}" for name in ("comparisons", "seeds", "statements")]
    assert (
        main(["compare-scores", "--scores", *paths, "--baseline", "plain", "--bootstrap-samples", "100", *outputs]) == 0
    )
    assert (tmp_path / "statements").exists()
