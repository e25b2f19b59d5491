"""Scores of parts: recall by the size of buildings, and all counts by a property of the tiles."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from sspipe.score.measures import summarize
from sspipe.score.uncertainty import interval, resampled_sums


def recall_by(
    values: np.ndarray,
    matched: np.ndarray,
    units: np.ndarray,
    all_units: np.ndarray,
    edges: Sequence[float],
    bootstrap_samples: int,
) -> list[dict[str, Any]]:
    """Recall of the buildings in each bin of a value.

    Args:
        values: (N,) float64 of each building that counts; NaN where unknown.
        matched: (N,) bool.
        units: (N,) unit of the tile that each building is in.
        all_units: every unit of the test area, also those without a building.
        edges: K ascending numbers that part K + 1 bins; a value equal to an edge belongs to the bin above it.
        bootstrap_samples: resamples of the units.

    Returns:
        One entry per bin, from the lowest, and a last one for buildings whose value is unknown, if there are any:
        from, to (null: without bound; both null: unknown), buildings, matched, recall (null without buildings), and
        recall_low and recall_high, its 95 % interval.
    """
    bins = np.where(np.isnan(values), len(edges) + 1, np.searchsorted(edges, values, side="right"))
    names = np.unique(all_units)
    places = np.searchsorted(names, units)
    wanted = len(edges) + 1 + bool(np.isnan(values).any())
    counts = np.zeros((len(names), 2 * wanted))
    np.add.at(counts, (places, 2 * bins), matched)
    np.add.at(counts, (places, 2 * bins + 1), 1.0)
    drawn = resampled_sums(counts, names, samples=bootstrap_samples) if len(names) > 1 else np.zeros((0, 2 * wanted))
    rows = []
    for place in range(wanted):
        found, there = (int(counts[:, 2 * place + offset].sum()) for offset in (0, 1))
        hits, all_drawn = drawn[:, 2 * place], drawn[:, 2 * place + 1]
        low, high = interval(hits[all_drawn > 0] / all_drawn[all_drawn > 0])
        unknown = place > len(edges)
        rows.append(
            {
                "from": None if unknown or place == 0 else float(edges[place - 1]),
                "to": None if unknown or place == len(edges) else float(edges[place]),
                "buildings": there,
                "matched": found,
                "recall": found / there if there else None,
                "recall_low": low,
                "recall_high": high,
            }
        )
    return rows


def scores_by(tiles: pd.DataFrame, column: str, bootstrap_samples: int) -> list[dict[str, Any]]:
    """Scores of the tiles that share a property.

    Args:
        tiles: as for `sspipe.score.measures.summarize`, with the column, and `block`, the unit that is resampled.
        column: name of the property.
        bootstrap_samples: resamples of the units.

    Returns:
        One entry per value, in ascending order: the value under the column's name; tiles; tp, fp, fn; precision,
        recall and f1, each with its 95 % interval under `_low` and `_high` (null where all tiles are one unit); and
        bootstrap_units, how many of them are resampled.
    """
    rows = []
    for value, group in tiles.groupby(column, sort=True):
        summary = summarize(group[["tp", "fp", "fn"]], bootstrap_samples, group["block"].to_numpy())
        plain = value.item() if isinstance(value, np.generic) else value
        row = {column: plain, **{name: summary[name] for name in ("tiles", "tp", "fp", "fn")}}
        for name in ("precision", "recall", "f1"):
            low, high = summary["intervals"][name]
            row |= {name: summary[name], f"{name}_low": low, f"{name}_high": high}
        rows.append(row | {"bootstrap_units": summary["bootstrap_units"]})
    return rows
