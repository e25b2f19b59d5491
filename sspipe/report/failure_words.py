"""What the tables of failures show, in plain sentences."""

from __future__ import annotations

import numpy as np
import pandas as pd

from sspipe.report.data_figures import ORIENTATION_WORDS
from sspipe.report.failures import FEW_BUILDINGS, FEW_TILES
from sspipe.report.wording import number, percent, quoted

# Nearer than this, probability and share of building are the same for any use.
CALIBRATED = 0.02
SPOKEN_IOUS = (0.5, 0.7, 0.9)
LOW_F1, HIGH_F1 = 0.5, 0.8


def recall_sentence(table: pd.DataFrame, variant: str, title: str, unit: str) -> str:
    """Says how much of the lowest and of the highest bin is found.

    Args:
        table: rows of one split from `failures.recall_table`.
        variant: whose numbers are told.
        title: its title.
        unit: of the bins, for example `m²`.
    """
    solid = table[(table["buildings"] >= FEW_BUILDINGS) & (table["low"].notna() | table["high"].notna())]
    own = solid[solid["variant"] == variant].sort_values("place")
    if own.empty:
        return f"No bin holds {FEW_BUILDINGS} buildings, so no share is told."
    first, last = own.iloc[0], own.iloc[-1]
    text = f"Of the {first['buildings']:.0f} buildings {_bin(first, unit)}, {quoted(title)} finds {_share(first)}"
    if len(own) == 1:
        return f"{text}; no other bin holds {FEW_BUILDINGS} buildings."
    text += f"; of the {last['buildings']:.0f} {_bin(last, unit)}, {_share(last)}."
    ends = solid[solid["place"].isin([first["place"], last["place"]])].pivot(
        index="variant", columns="place", values="recall"
    )
    fewer = int((ends[first["place"]] < ends[last["place"]]).sum())
    if len(ends) > 1:
        text += f" {_so_many(fewer, len(ends), 'find')} a smaller share of the former than of the latter."
    return text


def orientation_sentence(table: pd.DataFrame, variant: str, title: str) -> str:
    """Says whether the side that the radar looks from matters.

    Args:
        table: rows of one split from `failures.group_table` of orientation.
        variant: whose numbers are told.
        title: its title.
    """
    own = table[(table["variant"] == variant)].sort_values("orientation")
    sides = [f"{row['tiles']:.0f} tiles {ORIENTATION_WORDS[row['orientation']]}" for _, row in own.iterrows()]
    if len(own) < 2:
        return f"All test tiles ({sides[0]}) look from one side, so orientations cannot be compared."
    if own["f1"].isna().any():
        return f"There are {' and '.join(sides)}; one side has neither building nor proposal."
    (_, north), (_, south) = own.iterrows()
    text = f"{quoted(title)}: F1 {_with_bounds(north)} on the {sides[0]}, {_with_bounds(south)} on the {sides[1]}"
    bounds = [north["f1_low"], north["f1_high"], south["f1_low"], south["f1_high"]]
    if not np.isnan(bounds).any():
        apart = north["f1_high"] < south["f1_low"] or south["f1_high"] < north["f1_low"]
        text += "; the intervals do not overlap" if apart else "; the intervals overlap"
    both = table.pivot(index="variant", columns="orientation", values="f1").dropna()
    if len(both) > 1:
        text += f". {_so_many(int((both[0] > both[1]).sum()), len(both), 'score')} higher from the north"
    return f"{text}."


def strip_sentence(table: pd.DataFrame, variant: str, title: str) -> str:
    """Says how much F1 differs between strips, as far as a strip has enough tiles.

    Args:
        table: rows of one split from `failures.group_table` of strips.
        variant: whose numbers are told.
        title: its title.
    """
    own = table[table["variant"] == variant]
    if len(own) < 2:
        return f"All test tiles belong to one strip ({own['strip'].iloc[0]}), so strips cannot be compared."
    solid = own[(own["tiles"] >= FEW_TILES) & own["f1"].notna()].sort_values("f1", kind="stable")
    text = f"{len(own)} strips have test tiles, {len(solid) or 'none'} of them at least {FEW_TILES}"
    if len(solid) < 2:
        return f"{text}: too few to tell strips apart."
    low, high = solid.iloc[0], solid.iloc[-1]
    return (
        f"{text}. Among these, F1 of {quoted(title)} lies between {number(low['f1'])} (strip {low['strip']}, "
        f"{low['tiles']:.0f} tiles) and {number(high['f1'])} (strip {high['strip']}, {high['tiles']:.0f} tiles)."
    )


def threshold_sentence(table: pd.DataFrame, variant: str, title: str) -> str:
    """Says how fast F1 falls as matches have to be closer.

    Args:
        table: rows of one split from `failures.threshold_table`.
        variant: whose numbers are told.
        title: its title.
    """
    own = table[table["variant"] == variant].assign(iou=table["iou"].round(2)).set_index("iou")["f1"]
    first, middle, last = (number(own.get(iou)) for iou in SPOKEN_IOUS)
    text = (
        f"F1 of {quoted(title)} is {first} where a match needs an IoU of {SPOKEN_IOUS[0]}, {middle} at "
        f"{SPOKEN_IOUS[1]} and {last} at {SPOKEN_IOUS[2]}"
    )
    below = own[own < own.iloc[0] / 2]
    return f"{text}; from {below.index[0]:g} on it is less than half." if len(below) else f"{text}."


def reliability_sentence(table: pd.DataFrame, variant: str, title: str, titles: dict[str, str]) -> str:
    """Says whether the probabilities can be taken at their word.

    Args:
        table: rows of one split from `failures.reliability_table`.
        variant: whose numbers are told.
        title: its title.
        titles: of all variants.
    """
    own = table[(table["variant"] == variant) & (table["low"] >= 0.5) & (table["pixels"] > 0)]
    if own.empty:
        text = f"{quoted(title)} gives no pixel 50 % or more."
    else:
        names = ("mean_probability", "building_share")
        said, is_so = (float(np.average(own[name], weights=own["pixels"])) for name in names)
        verdict = "too high" if said > is_so + CALIBRATED else "too low" if said < is_so - CALIBRATED else "about right"
        text = (
            f"Of the pixels to which {quoted(title)} gives 50 % or more, {percent(is_so)} are building where it "
            f"expects {percent(said)}: {verdict}."
        )
    errors = table.groupby("variant", sort=False)["calibration_error"].first().dropna()
    if len(errors) > 1:
        best, worst = errors.idxmin(), errors.idxmax()
        text += (
            f" The expected calibration error lies between {number(errors[best])} ({quoted(titles[best])}) and "
            f"{number(errors[worst])} ({quoted(titles[worst])})."
        )
    elif len(errors):
        text += f" The expected calibration error is {number(errors.iloc[0])}."
    return f"{text} Most pixels are plainly no building, which keeps it small."


def map_sentence(tiles: pd.DataFrame, variant: str, title: str) -> str:
    """Says how F1 spreads over tiles, and where it is low.

    Args:
        tiles: rows of one split from `failures.tile_table`.
        variant: whose numbers are told.
        title: its title.
    """
    own = tiles[tiles["variant"] == variant]
    known = own[own["f1"].notna()]
    text = (
        f"Of {len(own)} test tiles, F1 of {quoted(title)} is below {LOW_F1} on {int((known['f1'] < LOW_F1).sum())} and "
        f"at least {HIGH_F1} on {int((known['f1'] >= HIGH_F1).sum())}"
    )
    if len(known) < len(own):
        without = len(own) - len(known)
        text += f"; {without} {'has' if without == 1 else 'have'} neither building nor proposal"
    text += "."
    quarters = known.groupby(_quarters(known))["f1"].agg(["mean", "size"])
    quarters = quarters[quarters["size"] >= FEW_TILES]
    if len(quarters) > 1:
        low, high = quarters["mean"].idxmin(), quarters["mean"].idxmax()
        told = [
            f"{name} (mean {number(quarters['mean'][name], 2)}, {quarters['size'][name]} tiles)" for name in (low, high)
        ]
        text += f" By quarters of the test ground it is lowest in the {told[0]} and highest in the {told[1]}."
    return text


def difference_sentence(tiles: pd.DataFrame, variant: str, title: str, baseline_title: str) -> str:
    """Says on how many tiles a variant beats the baseline.

    Args:
        tiles: rows of one split from `failures.tile_table`.
        variant: whose numbers are told.
        title: its title.
        baseline_title: the baseline's.
    """
    difference = tiles.loc[tiles["variant"] == variant, "difference"].dropna()
    return (
        f"{quoted(title)} has the higher F1 on {int((difference > 0).sum())} test tiles and {quoted(baseline_title)}, "
        f"the baseline, on {int((difference < 0).sum())}; on {int((difference == 0).sum())} they are equal."
    )


def _so_many(count: int, total: int, verb: str) -> str:
    """`3 of 5 variants find`."""
    if count == 0:
        return f"{'Neither variant' if total == 2 else f'None of the {total} variants'} {verb}s"
    if count == total:
        return f"{'Both' if total == 2 else f'All {total}'} variants {verb}"
    return f"{count} of {total} variants {verb}{'s' * (count == 1)}"


def _bin(row: pd.Series, unit: str) -> str:
    if pd.isna(row["low"]):
        return f"below {row['high']:g} {unit}"
    if pd.isna(row["high"]):
        return f"of {row['low']:g} {unit} and more"
    return f"from {row['low']:g} to {row['high']:g} {unit}"


def _share(row: pd.Series) -> str:
    return f"{100 * row['recall']:.0f} %"


def _with_bounds(row: pd.Series) -> str:
    if pd.isna(row["f1_low"]):
        return number(row["f1"])
    return f"{number(row['f1'])} [{number(row['f1_low'])}, {number(row['f1_high'])}]"


def _quarters(tiles: pd.DataFrame) -> pd.Series:
    """The quarter of the ground that each tile's centre lies in."""
    half = tiles["size_px"] * tiles["pixel_m"] / 2
    x, y = tiles["easting_m"] + half, tiles["northing_m"] - half
    northern = y > (y.min() + y.max()) / 2
    eastern = x > (x.min() + x.max()) / 2
    return northern.map({True: "north", False: "south"}) + "-" + eastern.map({True: "east", False: "west"})
