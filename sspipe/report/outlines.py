"""Footprints as a page draws them: what the score said of each, and its outline as an SVG path."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd
import shapely

from sspipe.errors import UserError

# Units of a drawing to a tile's side, whatever its pixels: whole numbers are then within half a pixel of 900.
SIDE_UNITS = 2000
# What the score said of a footprint: a proposal that matched, one that did not, a building that none matched, and
# what is too small to be counted.
FOUND, FALSE, MISSED, UNSCORED = KINDS = ("found", "false", "missed", "unscored")
KIND_WORDS = {
    FOUND: "found: predicted, and a building (TP)",
    FALSE: "false: predicted, but no building (FP)",
    MISSED: "missed: a building, but not predicted (FN)",
    UNSCORED: "too small to be scored",
}


@dataclass(frozen=True)
class Truth:
    """The buildings of one tile, in tile pixels (x right, y down).

    Attributes:
        scored: (N,) object, those that the score counts, in the order of the truth's file.
        unscored: (M,) object, the smaller ones.
    """

    scored: np.ndarray
    unscored: np.ndarray

    def __len__(self) -> int:
        return len(self.scored) + len(self.unscored)


@dataclass(frozen=True)
class Judged:
    """What one run made of one tile, in tile pixels: the footprints of each of `KINDS`, (N,) object."""

    found: np.ndarray
    false: np.ndarray
    missed: np.ndarray
    unscored: np.ndarray

    def counts(self) -> tuple[int, int, int]:
        """True positives, false positives, false negatives."""
        return len(self.found), len(self.false), len(self.missed)


def truth_of(geometries: np.ndarray, min_area_px: float) -> Truth:
    """Parts the buildings of one tile as the score does.

    Args:
        geometries: (N,) object, polygons in tile pixels, some empty, in the order of the truth's file.
        min_area_px: smaller buildings are not scored.
    """
    areas = shapely.area(geometries)
    scored = (areas >= min_area_px) & (areas > 0)
    return Truth(geometries[scored], geometries[~scored & ~shapely.is_empty(geometries)])


def judged(truth: Truth, proposals: pd.DataFrame, buildings: pd.DataFrame, run: str) -> Judged:
    """Sorts the footprints of one tile by what buildings.parquet says of them.

    Args:
        truth: of the tile.
        proposals: the run's footprints on it: building_id, geometry (tile pixels).
        buildings: its rows of the run's buildings.parquet: kind, building_id, matched.
        run: whose they are, for errors.

    Raises:
        UserError: the score counted other buildings or other footprints than these.
    """
    of_truth = buildings[buildings["kind"] == "truth"]
    # Ids may repeat in the truth, but the order of what was counted is the file's.
    if len(of_truth) != len(truth.scored):
        raise UserError(
            f"{run}: its score counted {len(of_truth)} buildings on a tile where the truth has {len(truth.scored)}; "
            "the two belong to different data or settings: score this run again"
        )
    of_proposals = buildings[buildings["kind"] == "proposal"].set_index("building_id")["matched"]
    ids = proposals["building_id"].to_numpy()
    if of_proposals.index.has_duplicates or not of_proposals.index.isin(ids).all():
        raise UserError(f"{run}: its score counted other footprints than polygons.parquet has; score this run again")
    shapes = proposals["geometry"].to_numpy(dtype=object)
    scored = np.isin(ids, of_proposals.index)
    matched = np.zeros(len(ids), bool)
    matched[scored] = of_proposals.loc[ids[scored]].to_numpy(dtype=bool)
    return Judged(
        found=shapes[matched],
        false=shapes[scored & ~matched],
        missed=truth.scored[~of_truth["matched"].to_numpy(dtype=bool)],
        unscored=shapes[~scored],
    )


def svg_path(geometries: Iterable[shapely.Geometry], size_px: int) -> str:
    """Draws polygons as the `d` of one SVG path, to be filled by the non-zero rule.

    Args:
        geometries: polygons or multipolygons in tile pixels; empty ones leave nothing.
        size_px: side of their tile.

    Returns:
        Relative whole coordinates in `SIDE_UNITS` to the side; outlines turn one way and holes the other.
    """
    shapes = shapely.orient_polygons(np.array(list(geometries), dtype=object))
    return "".join(
        _ring(shapely.get_coordinates(ring) * (SIDE_UNITS / size_px))
        for polygon in shapely.get_parts(shapes)
        for ring in shapely.get_rings(polygon)
    )


def _ring(xy: np.ndarray) -> str:
    """One closed ring, (N, 2), the last point the first again; corners that fall on one another are drawn once."""
    points = np.rint(xy[:-1]).astype(int)
    moves = np.diff(points, axis=0)
    moves = moves[(moves != 0).any(axis=1)]
    # A minus sign parts numbers as well as a space does.
    steps = " ".join(f"{x} {y}" for x, y in moves.tolist()).replace(" -", "-")
    return f"M{points[0][0]} {points[0][1]}l{steps}z" if len(moves) else ""
