"""Sentences say no more than the numbers do."""

import pandas as pd

from sspipe.report.wording import gap_sentence


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
