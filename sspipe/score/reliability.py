"""Whether probabilities mean what they say: of the pixels called building with 70 %, are 70 % building?

A reliability diagram (Niculescu-Mizil and Caruana, ICML 2005) shows it bin by bin, the expected calibration error
(Naeini et al., AAAI 2015; Guo et al., ICML 2017, arXiv 1706.04599, equation 3) in one number.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

BINS = 20


class Reliability:
    """Counts pixels by their probability, tile by tile.

    Args:
        bins: number of equal parts of 0 to 1. A probability equal to an edge belongs to the bin above it, and 1 to the
            last.
    """

    def __init__(self, bins: int = BINS) -> None:
        self._bins = bins
        self._pixels = np.zeros(bins, np.int64)
        self._probability = np.zeros(bins)
        self._building = np.zeros(bins, np.int64)

    def add(self, probability: ArrayLike, building: ArrayLike, imaged: ArrayLike) -> None:
        """Takes the pixels of a tile in.

        Args:
            probability: (S, S), any float type, that a pixel is building.
            building: (S, S) bool, whether it is.
            imaged: (S, S) bool, whether it has data; others are left out.

        Raises:
            ValueError: a probability is not within 0 to 1.
        """
        chosen = np.asarray(imaged, bool)
        values = np.asarray(probability)[chosen].astype(np.float64)
        if not ((values >= 0) & (values <= 1)).all():  # NaN is neither
            raise ValueError("a probability is not a number from 0 to 1")
        place = np.minimum((values * self._bins).astype(np.intp), self._bins - 1)
        self._pixels += np.bincount(place, minlength=self._bins)
        self._probability += np.bincount(place, weights=values, minlength=self._bins)
        self._building += np.bincount(place[np.asarray(building, bool)[chosen]], minlength=self._bins)

    def table(self) -> pd.DataFrame:
        """The counts.

        Returns:
            One row per bin, from the lowest: low and high (its edges), pixels, mean_probability and building_share
            (the share of its pixels that is building); the last two are NaN in a bin without pixels.
        """
        some = self._pixels > 0
        return pd.DataFrame(
            {
                "low": np.arange(self._bins) / self._bins,
                "high": np.arange(1, self._bins + 1) / self._bins,
                "pixels": self._pixels,
                "mean_probability": np.where(some, self._probability / np.maximum(self._pixels, 1), np.nan),
                "building_share": np.where(some, self._building / np.maximum(self._pixels, 1), np.nan),
            }
        )


def expected_calibration_error(table: pd.DataFrame) -> float | None:
    """Mean distance of the share of building from the mean probability, bins weighted by their pixels.

    With two classes and the probability of one of them this is `sum_b n_b / n * |share_b - probability_b|`. Most pixels
    of a city are plainly not building, so a small value is the rule; the table shows where the distance lies.

    Args:
        table: as `Reliability.table` gives it.

    Returns:
        0 (calibrated) to 1; None without pixels.
    """
    some = table[table["pixels"] > 0]
    if some.empty:
        return None
    return float(np.average((some["building_share"] - some["mean_probability"]).abs(), weights=some["pixels"]))
