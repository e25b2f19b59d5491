"""Sentences say no more than the numbers do."""

import pandas as pd
import pytest

from sspipe.report.wording import best_sentence, bounds, counted, gap_sentence, interval, signed


def test_the_leak_sentence_counts_validation_tiles_as_seen_as_the_audits_headline_does():
    gaps = pd.DataFrame([{"random_split": "random", "spatial_split": "spatial", "gap": 0.1, "title": "A"}])
    shares = {"test_against_train": 0.8, "test_against_train_and_validation": 0.9}
    leakage = pd.DataFrame(
        [
            {"split": split, "comparison": name, "over_50": share if split == "random" else 0.0}
            for split in ("random", "spatial")
            for name, share in shares.items()
        ]
    )
    assert "90.0\u00a0% of the test tiles of the random split" in gap_sentence(gaps, leakage)


def test_each_pair_of_a_random_and_a_spatial_split_has_its_own_gap():
    gaps = pd.DataFrame(
        [
            {"random_split": "random", "spatial_split": split, "gap": gap, "title": title}
            for split, of_a, of_b in (("west", 0.1, 0.2), ("east", 0.3, 0.4))
            for title, gap in (("A", of_a), ("B", of_b))
        ]
    )
    said = gap_sentence(gaps, pd.DataFrame(columns=["split", "comparison"]))
    assert "F1 on the random split minus F1 on the west split is +0.100 to +0.200 over 2 variants" in said
    assert "F1 on the random split minus F1 on the east split is +0.300 to +0.400 over 2 variants" in said


@pytest.mark.parametrize(
    ("value", "words"), [(0.0, "0.000"), (-0.0, "0.000"), (-0.0004, "0.000"), (0.0123, "+0.012"), (-0.0567, "−0.057")]
)
def test_a_difference_has_a_sign_unless_it_rounds_to_nothing(value, words):
    assert signed(value) == words


@pytest.mark.parametrize(("count", "words"), [(0, "0 buildings"), (1, "1 building"), (2100, "2,100 buildings")])
def test_one_is_singular(count, words):
    assert counted(count, "building") == words


def test_an_f1_without_an_interval_has_no_empty_brackets():
    row = {"f1": 0.5, "f1_low": float("nan"), "f1_high": float("nan")}
    assert bounds(row) == "" and interval(pd.Series(row)) == "0.500"


def test_of_several_ceilings_the_best_is_told():
    def row(title: str, role: str, f1: float) -> dict[str, object]:
        return {"title": title, "role": role, "f1": f1, "f1_low": f1 - 0.1, "f1_high": f1 + 0.1}

    table = pd.DataFrame([row("A", "candidate", 0.5), row("B", "ceiling", 0.7), row("C", "ceiling", 0.8)])
    assert "The best of 2 ceilings, which see the optical image at test, reaches 0.800" in best_sentence(table)
    assert "The ceiling, which sees the optical image at test, reaches 0.700" in best_sentence(table.head(2))
