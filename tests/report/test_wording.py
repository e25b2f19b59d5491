"""Sentences say no more than the numbers do."""

import pandas as pd

from sspipe.report.wording import gap_sentence, loss_sentence


def epochs(**ious):
    rows = [
        {"variant": variant, "seed": 0, "stage": 1, "stages": 1, "validation_iou": iou}
        for variant, values in ious.items()
        for iou in values
    ]
    return pd.DataFrame(rows)


def test_stability_is_not_compared_with_a_network_that_found_nothing():
    flat = loss_sentence(epochs(alone=[0.0, 0.001, 0.0, 0.0], both=[0.2, 0.4, 0.5, 0.45]), "alone", "both")
    assert "found next to no building" in flat
    learned = loss_sentence(epochs(alone=[0.1, 0.3, 0.2, 0.4], both=[0.2, 0.4, 0.5, 0.45]), "alone", "both")
    assert "found next to no building" not in learned
    assert "0.400 with BCE alone, 0.500 with BCE + Dice" in learned


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
