"""Scores of a set of tiles, each a ratio of two sums over the tiles, with their intervals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from sspipe.score.uncertainty import interval, resampled_sums

# The thresholds of COCO's average; F1 at each.
IOU_THRESHOLDS = tuple(round(0.5 + 0.05 * step, 2) for step in range(10))
# F1 at one of them, and the mean of all.
AT_IOU, MEAN_AT_IOU = "f1_at_", "f1_at_iou_mean"
# What solaris calls 0 although it is 0 / 0.
ZERO_OF_NOTHING = ("precision", "recall", "f1")


def at_column(threshold: float) -> str:
    """The column of tiles.parquet that counts true positives at an IoU threshold: `tp_50` for 0.5."""
    return f"tp_{round(100 * threshold)}"


def ratios(tiles: pd.DataFrame) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Every score as a numerator and a denominator for each tile; the score is sum over sum.

    Args:
        tiles: tp, fp, fn, and as far as they are known: tp at the thresholds of `IOU_THRESHOLDS` (`at_column`),
            matched_iou_sum, boundary_iou_sum, pixel_intersection, pixel_union.

    Returns:
        name -> (N,) float64, (N,) float64. Of a mean over tiles (macro) the denominator is 1 for a tile that counts.
    """
    tp, fp, fn = (tiles[name].to_numpy(np.float64) for name in ("tp", "fp", "fn"))
    found: dict[str, tuple[np.ndarray, np.ndarray]] = {
        "precision": (tp, tp + fp),
        "recall": (tp, tp + fn),
        "f1": (2 * tp, 2 * tp + fp + fn),
        "precision_macro": _mean_over(_divided(tp, tp + fp)),
        "recall_macro": _mean_over(_divided(tp, tp + fn)),
        "f1_macro": _mean_over(_divided(2 * tp, 2 * tp + fp + fn)),
    }
    for name in ("matched_iou", "boundary_iou"):
        if f"{name}_sum" in tiles:
            found[name] = (tiles[f"{name}_sum"].to_numpy(np.float64), tp)
    if "pixel_union" in tiles:
        both, either = (tiles[f"pixel_{name}"].to_numpy(np.float64) for name in ("intersection", "union"))
        found["pixel_iou"] = _mean_over(_divided(both, either))
        found["pixel_iou_pooled"] = (both, either)
    for threshold in IOU_THRESHOLDS:
        if at_column(threshold) in tiles:
            # Proposals and buildings are as many at each threshold, so the denominator is that of F1.
            found[f"{AT_IOU}{threshold:.2f}"] = (2 * tiles[at_column(threshold)].to_numpy(np.float64), 2 * tp + fp + fn)
    return found


def summarize(tiles: pd.DataFrame, bootstrap_samples: int, units: np.ndarray | None = None) -> dict[str, Any]:
    """Sums a table of tiles up.

    Args:
        tiles: as for `ratios`.
        bootstrap_samples: resamples for the intervals.
        units: (N,) what is drawn together; None: tiles.

    Returns:
        The keys of scores.json from `tiles` to `bootstrap_units` (`sspipe.score.stage.score_polygons` says what they
        are). With one unit there is nothing to resample, so all bounds are null.
    """
    parts = ratios(tiles)
    count = len(tiles) if units is None else len(np.unique(units))
    bounds = _bounds(parts, bootstrap_samples, units) if count > 1 else dict.fromkeys(_names(parts), (None, None))
    values = {name: score(name, *(part.sum() for part in pair)) for name, pair in parts.items()}
    at = {name.removeprefix(AT_IOU): values.pop(name) for name in list(values) if name.startswith(AT_IOU)}
    summary: dict[str, Any] = {"tiles": len(tiles)}
    summary |= {name: int(tiles[name].sum()) for name in ("tp", "fp", "fn")}
    summary |= values
    summary["f1_low"], summary["f1_high"] = bounds["f1"]
    if at:
        summary["f1_at_iou"] = at
        summary[MEAN_AT_IOU] = float(np.mean(list(at.values())))
    summary["intervals"] = {name: list(pair) for name, pair in bounds.items()}
    summary["bootstrap_units"] = count
    return summary


def score(name: str, numerator: float, denominator: float) -> float | None:
    """The ratio; of nothing at all 0 for what solaris defines so, else None."""
    if denominator > 0:
        return float(numerator / denominator)
    return 0.0 if name.startswith(ZERO_OF_NOTHING) and not name.endswith("_macro") else None


def resampled(
    parts: dict[str, tuple[np.ndarray, np.ndarray]], samples: int, units: np.ndarray | None
) -> dict[str, np.ndarray]:
    """Every score in every resample: (samples,) float64 each, NaN where undefined. The draws are always the same."""
    columns = [column for pair in parts.values() for column in pair]
    sums = resampled_sums(np.stack(columns, axis=1), units, samples=samples)
    drawn = {}
    for position, name in enumerate(parts):
        nothing = score(name, 0, 0)
        drawn[name] = _divided(sums[:, 2 * position], sums[:, 2 * position + 1], np.nan if nothing is None else nothing)
    return drawn


def _bounds(
    parts: dict[str, tuple[np.ndarray, np.ndarray]], samples: int, units: np.ndarray | None
) -> dict[str, tuple[float | None, float | None]]:
    drawn = resampled(parts, samples, units)
    at = [scores for name, scores in drawn.items() if name.startswith(AT_IOU)]
    if at:
        drawn[MEAN_AT_IOU] = np.mean(at, axis=0)
    return {name: interval(scores) for name, scores in drawn.items()}


def _names(parts: dict[str, Any]) -> list[str]:
    """The scores that have an interval."""
    return [*parts, *([MEAN_AT_IOU] if any(name.startswith(AT_IOU) for name in parts) else [])]


def _mean_over(scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    defined = np.isfinite(scores)
    return np.where(defined, scores, 0.0), defined.astype(np.float64)


def _divided(numerator: np.ndarray, denominator: np.ndarray, nothing: float = np.nan) -> np.ndarray:
    return np.divide(numerator, denominator, out=np.full(denominator.shape, nothing), where=denominator > 0)
