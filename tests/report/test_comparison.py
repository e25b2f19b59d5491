"""Table 1, the leak gap and what is compared with what."""

from __future__ import annotations

import math

import pandas as pd
import pytest
import yaml

from sspipe.config import load_config
from sspipe.report import comparison, wording
from sspipe.report.paired import caution_sentence
from sspipe.report.results import role_of
from tests.report.fake_results import REPOSITORY


@pytest.fixture(scope="module")
def config():
    return load_config(yaml.safe_load((REPOSITORY / "config.yaml").read_text()))


def run(split: str, variant: str, seed: int = 0, f1: float = 0.5, role: str = "candidate", **more) -> dict:
    return {
        "split": split, "variant": variant, "seed": seed, "title": f"Title, {variant}", "role": role, "paper_row": None,
        "parameters_unique": 1_000_000, "parameters_paper_style": 1_500_000, "pixel_iou": 0.4, "pixel_iou_pooled": 0.45,
        "f1": f1, "precision": 0.6, "recall": 0.4, "f1_low": f1 - 0.02, "f1_high": f1 + 0.02, "train_seconds": 60.0,
        "gpu_hours": float("nan"), **more,
    }  # fmt: skip


def test_the_papers_table_is_as_printed(config):
    printed = {
        "unet16_finetune": ("44M", 0.596, 0.522),
        "ss_no_skips": ("36M", 0.577, 0.498),
        "ss_unet_skips": ("44M", 0.639, 0.592),
        "ss_rsc": ("44M", 0.635, 0.604),
        "ss_rsc_shared": ("44M", 0.639, 0.616),
    }
    named = {name: variant.paper_row for name, variant in config.variants.items() if variant.paper_row}
    assert {name: tuple(comparison.PAPER_TABLE_1[row]) for name, row in named.items()} == printed


def test_seeds_are_averaged_and_their_spread_is_the_sample_deviation():
    runs = pd.DataFrame([run("random", "a", seed, f1) for seed, f1 in enumerate((0.4, 0.5, 0.6))])
    row = comparison.table_one(runs).iloc[0]
    assert (row["seeds"], row["f1"]) == (3, pytest.approx(0.5))
    assert row["f1_sd"] == pytest.approx(0.1)
    assert (row["f1_low"], row["f1_high"]) == (pytest.approx(0.48), pytest.approx(0.52))


def test_one_seed_has_no_spread():
    assert math.isnan(comparison.table_one(pd.DataFrame([run("random", "a")]))["f1_sd"].iloc[0])


def test_the_gap_is_random_minus_spatial_for_variants_on_both():
    table = comparison.table_one(
        pd.DataFrame([run("random", "a", f1=0.7), run("spatial", "a", f1=0.4), run("spatial", "b", f1=0.9)])
    )
    gaps = comparison.leak_gaps(table, {"random": "random", "spatial": "spatial"})
    assert list(gaps["variant"]) == ["a"]
    assert gaps["gap"].iloc[0] == pytest.approx(0.3)


def test_a_variant_whose_f1_is_not_defined_on_a_split_has_no_gap():
    undefined = run("spatial", "b", f1=float("nan"))
    runs = [run("random", "a", f1=0.7), run("spatial", "a", f1=0.4), run("random", "b", f1=0.5), undefined]
    gaps = comparison.leak_gaps(comparison.table_one(pd.DataFrame(runs)), {"random": "random", "spatial": "spatial"})
    assert list(gaps["variant"]) == ["a"]
    assert "nan" not in wording.gap_sentence(gaps, pd.DataFrame(columns=["split", "comparison"]))


def test_without_both_kinds_of_split_there_is_no_gap_and_it_is_said():
    table = comparison.table_one(pd.DataFrame([run("spatial", "a")]))
    gaps = comparison.leak_gaps(table, {"spatial": "spatial"})
    assert gaps.empty
    assert "not known" in wording.gap_sentence(gaps, pd.DataFrame())


def test_what_is_not_compared_is_no_hint_either():
    undefined = {"difference": float("nan"), "seeds": 1}
    rows = pd.DataFrame([undefined, undefined])
    assert caution_sentence(rows, 8, by_block=True) == ""
    rows.loc[0, "difference"] = 0.1
    assert "the test ground is only 8 blocks" in caution_sentence(rows, 8, by_block=True)
    assert caution_sentence(rows.iloc[:0], 8, by_block=True) == ""


def test_figure_2_pairs_the_variant_with_its_bce_only_twin(config):
    assert comparison.loss_pairs(config.variants) == [("ss_rsc_shared_bce", "ss_rsc_shared")]


def test_a_twin_with_another_learning_rate_is_no_pair(config):
    other = config.variants["ss_rsc_shared"].model_copy(update={"learning_rate": 1e-4})
    assert comparison.loss_pairs({**config.variants, "ss_rsc_shared": other}) == []


def test_floor_and_ceiling_are_found_from_the_settings(config):
    roles = {name: role_of(variant) for name, variant in config.variants.items()}
    assert {name: role for name, role in roles.items() if role != "candidate"} == {
        "unet16_sar": "floor",
        "unet16_eo": "ceiling",
    }


def test_the_best_variant_is_never_the_ceiling():
    table = comparison.table_one(
        pd.DataFrame(
            [run("random", "a", f1=0.5), run("random", "b", f1=0.4), run("random", "eo", f1=0.9, role="ceiling")]
        )
    )
    sentence = wording.best_sentence(table).replace("\u00a0", " ")
    assert sentence.startswith("With radar alone at test, “Title, a” has the highest F1, 0.500 [0.480, 0.520], of 2")
    assert "ceiling, which sees the optical image at test, reaches 0.900" in sentence


def test_one_variant_alone_is_not_called_the_highest():
    sentence = wording.best_sentence(comparison.table_one(pd.DataFrame([run("random", "a")])))
    assert "highest" not in sentence and "has F1 0.500" in sentence


def test_the_papers_f1_is_told_beside_ours():
    rows = [run("random", "a", f1=0.5, paper_row="SS with RSC only within the SS"), run("random", "b", f1=0.4)]
    sentence = wording.paper_sentence(comparison.table_one(pd.DataFrame(rows)))
    assert "0.616 for “Title, a” (here 0.500)" in sentence and "Title, b" not in sentence
    assert wording.paper_sentence(comparison.table_one(pd.DataFrame(rows[1:]))) == ""


def test_a_split_without_scores_is_said():
    table = comparison.table_one(pd.DataFrame([run("random", "a", f1=float("nan"))]))
    assert "No variant" in wording.best_sentence(table)
