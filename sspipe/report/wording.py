"""Plain sentences and plain numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from sspipe.data.leakage import HEADLINE
from sspipe.log import duration

NONE = "–"


def number(value: float | None, digits: int = 3) -> str:
    """Formats a measure; a dash where there is none."""
    return NONE if value is None or pd.isna(value) else f"{value:.{digits}f}"


def signed(value: float, digits: int = 3) -> str:
    """Formats a difference with its sign (a true minus sign); what rounds to 0 has none."""
    text = f"{value:+.{digits}f}"
    return text.lstrip("+-") if float(text) == 0 else text.replace("-", "−")


def counted(count: int, noun: str) -> str:
    """`1 building`, `2 buildings`, `1,200 buildings`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def percent(share: float | None) -> str:
    """Formats a share: one decimal, so that 99.6 % is not 100 %."""
    return NONE if share is None or pd.isna(share) else f"{100 * share:.1f}\u00a0%"


def millions(count: int) -> str:
    """Formats a parameter count in millions with at least two significant digits."""
    return f"{count / 1e6:.2f}M"


def time(seconds: float | None) -> str:
    """Formats seconds as h:mm:ss."""
    return NONE if seconds is None or pd.isna(seconds) else duration(seconds)


def listed(words: Sequence[str], most: int = 4) -> str:
    """Joins words as in a sentence; a long list is cut and counted."""
    words = list(words)
    if len(words) > most:
        words = [*words[: most - 1], f"{len(words) - most + 1} others"]
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def quoted(title: str) -> str:
    """A variant's title inside a sentence: titles hold commas."""
    return f"“{title}”"


def interval(row: pd.Series) -> str:
    """`0.432 [0.401, 0.463]`, never broken over two lines."""
    return f"{number(row['f1'])}\u00a0{bounds(row)}".rstrip()


def bounds(row: Mapping[str, Any] | pd.Series) -> str:
    """`[0.401, 0.463]`: the interval of F1, never broken over two lines; nothing where there is none."""
    if row["f1_low"] is None or pd.isna(row["f1_low"]):
        return ""
    return f"[{number(row['f1_low'])},\u00a0{number(row['f1_high'])}]"


def best_sentence(table: pd.DataFrame) -> str:
    """Says which variant does best on one split with radar alone at test, and how far the ceiling is.

    Args:
        table: rows of one split from `comparison.table_one`.
    """
    scored = table[table["f1"].notna()]
    radar = scored[scored["role"] != "ceiling"]
    if radar.empty:
        return "No variant that sees radar alone at test has a score on this split."
    best = radar.loc[radar["f1"].idxmax()]
    if len(radar) == 1:
        text = f"With radar alone at test, {quoted(best['title'])} has F1 {interval(best)}."
    else:
        text = f"With radar alone at test, {quoted(best['title'])} has the highest F1, {interval(best)}"
        text += f", of {len(radar)} variants."
    ceilings = scored[scored["role"] == "ceiling"]
    if not ceilings.empty:
        which = "The ceiling" if len(ceilings) == 1 else f"The best of {len(ceilings)} ceilings"
        highest = ceilings.loc[ceilings["f1"].idxmax()]
        text += f" {which}, which {'sees' if len(ceilings) == 1 else 'see'} the optical image at test, reaches "
        text += f"{interval(highest)}."
    return text


def paper_sentence(table: pd.DataFrame) -> str:
    """Says what the paper reports for the variants of a random split; empty if none is in its Table 1.

    Args:
        table: rows of one split from `comparison.table_one`.
    """
    both = table[table["f1"].notna() & table["paper_f1"].notna()]
    if both.empty:
        return ""
    told = [
        f"{number(row['paper_f1'])} for {quoted(row['title'])} (here {number(row['f1'])})" for _, row in both.iterrows()
    ]
    return f"The paper's F1, on a random split of its own: {listed(told, 6)}."


def gap_sentence(gaps: pd.DataFrame, leakage: pd.DataFrame) -> str:
    """Says how much higher a random split scores, and how much of its test ground training has seen.

    Args:
        gaps: `comparison.leak_gaps`.
        leakage: `Results.leakage`.
    """
    if gaps.empty:
        return "No variant has an F1 on both a random and a spatial split, so the gap between them is not known."

    def covered(split: str) -> str:
        rows = leakage[(leakage["split"] == split) & (leakage["comparison"] == HEADLINE)]
        return percent(rows["over_50"].iloc[0]) if len(rows) else "An unknown share"

    parts = []
    for (random, spatial), rows in gaps.groupby(["random_split", "spatial_split"], sort=False):
        low, high = rows["gap"].min(), rows["gap"].max()
        if len(rows) == 1:
            size = f"{signed(low)} for {quoted(rows['title'].iloc[0])}"
        else:
            size = f"{signed(low)} to {signed(high)} over {len(rows)} variants"
        parts.append(
            f"F1 on the {random} split minus F1 on the {spatial} split is {size}. {covered(random)} of the test "
            f"tiles of the {random} split are more than half covered by one tile of training or validation; "
            f"on the {spatial} split, {covered(spatial)}."
        )
    parts.append("The two splits are tested on different places, so the gap holds their difference in difficulty too.")
    return " ".join(parts)
