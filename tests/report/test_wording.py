"""Sentences say no more than the numbers do."""

import pandas as pd

from sspipe.report.wording import loss_sentence


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
