"""What the values of an image's bands are: ranges, means and coarse histograms that add up over tiles."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray


class ValueRange(NamedTuple):
    """What a product's values should be, and the bins that they are counted in."""

    lowest: float  # where the first bin begins
    highest: float
    step: float  # width of a bin
    bins: int  # at most 256; the first also counts what lies below it, the last what lies above it


# Of SpaceNet 6's products, by the dtype that they must have, which tells their scales apart.
RANGES = {
    "float32": ValueRange(0, 100, 1, 100),  # SAR: log-scaled amplitudes, about 0 to 93
    "uint16": ValueRange(0, 2250, 16, 141),  # 11 bit, and a tenth more because sharpening overshoots
    "uint8": ValueRange(0, 255, 2, 128),
}


def range_of(lowest: float, highest: float) -> ValueRange:
    """A range in bins of equal width."""
    bins = 100
    return ValueRange(lowest, highest, (highest - lowest) / bins, bins)


class BandSummary(NamedTuple):
    """The valid pixels of one band, of one tile or of many."""

    pixels: int
    lowest: float
    highest: float
    mean: float
    squares: float  # sum of the squared deviations from the mean
    histogram: NDArray[np.int64]  # (bins,)

    @property
    def deviation(self) -> float:
        """Standard deviation (of all pixels, not of a sample); NaN of none."""
        return math.sqrt(self.squares / self.pixels) if self.pixels else math.nan


def summarize_bands(
    pixels: NDArray[Any], valid: NDArray[np.bool_], values: ValueRange
) -> tuple[list[BandSummary], int]:
    """Summarises each band over the valid pixels.

    Args:
        pixels: (bands, H, W), finite.
        valid: (H, W), False for no-data.
        values: range and bins.

    Returns:
        a summary of each band, and how many valid values lie outside the range.
    """
    summaries, outside = [], 0
    everywhere = bool(valid.all())
    for band in pixels:
        sample = band.ravel() if everywhere else band[valid]
        summary = _summary(sample, values)
        summaries.append(summary)
        if summary.pixels and (summary.lowest < values.lowest or summary.highest > values.highest):
            outside += int(((sample < values.lowest) | (sample > values.highest)).sum())
    return summaries, outside


def merged(summaries: Iterable[BandSummary]) -> BandSummary:
    """One summary of all pixels; at least one summary must be given."""
    return functools.reduce(_merged_two, summaries)


def as_json(summary: BandSummary) -> dict[str, Any]:
    """Plain numbers for catalog.json; null where there is no valid pixel."""
    found = summary.pixels > 0
    return {
        "count": summary.pixels,
        "min": summary.lowest if found else None,
        "max": summary.highest if found else None,
        "mean": summary.mean if found else None,
        "std": summary.deviation if found else None,
        "histogram": summary.histogram.tolist(),
    }


def _summary(sample: NDArray[Any], values: ValueRange) -> BandSummary:
    if not sample.size:
        return BandSummary(0, math.inf, -math.inf, 0.0, 0.0, np.zeros(values.bins, np.int64))
    if sample.dtype.kind == "u":
        return _summary_of_counts(np.bincount(sample), values)
    above = sample - values.lowest if values.lowest else sample
    binned = np.clip(above / values.step, 0, values.bins - 1).astype(np.uint8)
    mean = float(sample.mean(dtype=np.float64))
    deviations = np.subtract(sample, mean, dtype=np.float64)
    return BandSummary(
        int(sample.size),
        float(sample.min()),
        float(sample.max()),
        mean,
        # Not as a dot product: for that numpy starts threads, which only get in the other processes' way.
        float(np.square(deviations, out=deviations).sum()),
        np.bincount(binned, minlength=values.bins),
    )


def _summary_of_counts(counts: NDArray[np.int64], values: ValueRange) -> BandSummary:
    """From how often each whole number occurs, which says all: at least one does, and so does the last."""
    numbers = np.flatnonzero(counts)
    often = counts[numbers]
    mean = float(numbers @ often / often.sum())
    bins = np.clip((numbers - values.lowest) // values.step, 0, values.bins - 1).astype(np.int64)
    return BandSummary(
        int(often.sum()),
        float(numbers[0]),
        float(numbers[-1]),
        mean,
        float(often @ np.square(numbers - mean)),
        np.bincount(bins, weights=often, minlength=values.bins).astype(np.int64),
    )


def _merged_two(one: BandSummary, other: BandSummary) -> BandSummary:
    """Chan, Golub and LeVeque's update: no large sums of squares to subtract from each other."""
    count = one.pixels + other.pixels
    share = other.pixels / count if count else 0.0
    apart = other.mean - one.mean
    return BandSummary(
        count,
        min(one.lowest, other.lowest),
        max(one.highest, other.highest),
        one.mean + apart * share,
        one.squares + other.squares + apart**2 * one.pixels * share,
        one.histogram + other.histogram,
    )
