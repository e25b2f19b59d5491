"""Which test tiles the report shows: by rule, so that nobody picks the finest."""

from __future__ import annotations

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely

from sspipe.report import wording

# Order of the groups on the page; where there is not room for all, the first ones come first.
BEST, WORST, IMPROVED, SMALL, COMPLEX, SPREAD = (
    "best",
    "worst",
    "most improved",
    "small buildings",
    "large complex buildings",
    "spread by building count",
)
GROUPS = (BEST, WORST, IMPROVED, SMALL, COMPLEX, SPREAD)
# A tile of a few sheds says little of small buildings, so tiles with fewer buildings than the median are left out.
SMALL_NEEDS_QUANTILE = 0.5
# Of what counts as large: the largest twentieth of the buildings that are looked through.
LARGE_QUANTILE = 0.95


def choose_tiles(
    tiles: pd.DataFrame,
    judge: pd.DataFrame,
    baseline: pd.DataFrame | None,
    buildings: gpd.GeoDataFrame,
    count: int,
    judge_title: str = "the best",
    baseline_title: str = "the baseline",
) -> pd.DataFrame:
    """Chooses the test tiles of one split: extremes by five rules, then a spread over building counts.

    Only tiles with buildings that radar sees over at least half their ground are taken, if there are any. A tile that
    several rules choose is shown once, with every reason. At least one place, if there are several, stays for the
    spread.

    Args:
        tiles: test tiles: tile_id, building_count, sar_no_data_fraction.
        judge: tile_id, f1, tp, fp, fn of the variant that decides what is best, worst and most improved.
        baseline: the same of the variant that improvement is over; None: there is none, or it is the judge itself.
        buildings: the buildings that the score counts: tile_id, area_m2, geometry (in any unit, equal for all).
        count: how many tiles; fewer if there are fewer.
        judge_title: the judge's name, for reasons.
        baseline_title: the baseline's name, for reasons.

    Returns:
        tile_id, group (the first rule that chose it, of `GROUPS`) and reason (of every rule), in the order to be
        shown; no tile twice.
    """
    good = tiles[(tiles["building_count"] > 0) & (tiles["sar_no_data_fraction"] <= 0.5)]
    pool = (good if len(good) else tiles).sort_values(["building_count", "tile_id"]).reset_index(drop=True)
    count = min(count, len(pool))
    judge = judge[judge["tile_id"].isin(pool["tile_id"])]
    here = buildings[buildings["tile_id"].isin(pool["tile_id"])]
    found = {
        BEST: _best(judge, judge_title),
        WORST: _worst(judge, judge_title),
        IMPROVED: None if baseline is None else _improved(judge, baseline, judge_title, baseline_title),
        SMALL: _small(here),
        COMPLEX: _complex(here),
    }
    chosen: dict[str, tuple[str, str]] = {}
    for group, pick in found.items():
        if pick is None:
            continue
        tile_id, reason = pick
        if tile_id in chosen:
            first, reasons = chosen[tile_id]
            chosen[tile_id] = (first, f"{reasons}; {reason}")
        elif len(chosen) < count - 1:
            chosen[tile_id] = (group, reason)
    rows = [(tile_id, group, reason) for tile_id, (group, reason) in chosen.items()]
    rows += _spread(pool[~pool["tile_id"].isin(chosen)].reset_index(drop=True), count - len(chosen))
    return pd.DataFrame(rows, columns=["tile_id", "group", "reason"])


def _best(judge: pd.DataFrame, title: str) -> tuple[str, str] | None:
    """The highest F1; of equals the one with most buildings found: three of three is easier than thirty of thirty."""
    ranked = judge[judge["f1"].notna()].sort_values(["f1", "tp", "tile_id"], ascending=[False, False, True])
    if len(ranked) < 2:
        return None
    top = ranked.iloc[0]
    return str(top["tile_id"]), f"best F1 of {wording.quoted(title)}: {wording.number(top['f1'], 2)}"


def _worst(judge: pd.DataFrame, title: str) -> tuple[str, str] | None:
    """The lowest F1; of equals the one with most errors."""
    errors = judge.assign(errors=judge["fp"] + judge["fn"])
    ranked = errors[errors["f1"].notna()].sort_values(["f1", "errors", "tile_id"], ascending=[True, False, True])
    if len(ranked) < 2:
        return None
    top = ranked.iloc[0]
    return str(top["tile_id"]), f"worst F1 of {wording.quoted(title)}: {wording.number(top['f1'], 2)}"


def _improved(judge: pd.DataFrame, baseline: pd.DataFrame, title: str, over: str) -> tuple[str, str] | None:
    """The tile whose F1 rises most from the baseline to the judge; none if it rises nowhere."""
    both = judge.merge(baseline[["tile_id", "f1", "tp"]], on="tile_id", suffixes=("", "_baseline"))
    both["rise"] = both["f1"] - both["f1_baseline"]
    both["found"] = both["tp"] - both["tp_baseline"]
    ranked = both[both["rise"] > 0].sort_values(["rise", "found", "tile_id"], ascending=[False, False, True])
    if ranked.empty:
        return None
    top = ranked.iloc[0]
    reason = (
        f"most improved over {wording.quoted(over)}: F1 {wording.signed(top['rise'], 2)} with {wording.quoted(title)}"
    )
    return str(top["tile_id"]), reason


def _small(buildings: gpd.GeoDataFrame) -> tuple[str, str] | None:
    """The smallest median area among tiles that have at least as many buildings as the median tile."""
    if buildings.empty:
        return None
    areas = buildings.groupby("tile_id")["area_m2"].agg(["median", "size"])
    enough = areas[areas["size"] >= areas["size"].quantile(SMALL_NEEDS_QUANTILE)]
    ranked = enough.reset_index().sort_values(["median", "tile_id"])
    top = ranked.iloc[0]
    return str(top["tile_id"]), f"small buildings: {top['median']:,.0f} m² in the median of {top['size']}"


def _complex(buildings: gpd.GeoDataFrame) -> tuple[str, str] | None:
    """The large building whose outline is furthest from a rectangle: most ground between it and the one around it."""
    large = buildings[buildings["area_m2"] >= buildings["area_m2"].quantile(LARGE_QUANTILE)].reset_index(drop=True)
    if large.empty:
        return None
    shapes = large.geometry.to_numpy()
    areas = shapely.area(shapes)
    share = 1 - areas / shapely.area(shapely.oriented_envelope(shapes))
    top = large.iloc[int(np.argmax(np.round(share * large["area_m2"].to_numpy(), 6)))]
    corners = shapely.get_num_coordinates(top.geometry.exterior) - 1
    reason = f"large complex buildings: one of {top['area_m2']:,.0f} m² with {corners} corners"
    return str(top["tile_id"]), reason


def _spread(pool: pd.DataFrame, wanted: int) -> list[tuple[str, str, str]]:
    """The middles of equal parts of the ranking: the densest and the emptiest part are both shown."""
    rows = {}
    for place in range(wanted):
        tile = pool.iloc[int((place + 0.5) / wanted * len(pool))]
        # As the catalog has it, which is more than are scored.
        count = wording.counted(int(tile["building_count"]), "building")
        rows[str(tile["tile_id"])] = f"{place + 1} of {wanted} by building count: {count} of any size"
    return [(tile_id, SPREAD, reason) for tile_id, reason in rows.items()]
