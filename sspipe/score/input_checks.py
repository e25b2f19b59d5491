"""What can be wrong with a pair of files although each can be read: other coordinates, repeated ids, other images."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import shapely

from sspipe.data.spacenet_csv import WKT
from sspipe.errors import UserError
from sspipe.log import warn

Frame = Literal["pixels", "metres", "degrees"]

# No tile has so many pixels; eastings and northings of projected maps are larger, but for a strip along their origin.
FAR_PX = 50_000
# A building of 0.05 degrees is 3 km long or more; one of 0.05 px is none.
TINY = 0.05


@dataclass(frozen=True)
class Extent:
    """Where the polygons of a table lie; extents of parts of a file can be added.

    Attributes:
        polygons: number of polygons that are not empty.
        far: how many of them lie beyond `FAR_PX` in x or y.
        tiny: how many are smaller than `TINY` in both directions, at coordinates that could be degrees.
        low: (2,) float64, smallest x and y; inf without polygons.
        high: (2,) float64, largest x and y; -inf without polygons.
    """

    polygons: int
    far: int
    tiny: int
    low: np.ndarray
    high: np.ndarray

    def __add__(self, other: Extent) -> Extent:
        return Extent(
            self.polygons + other.polygons,
            self.far + other.far,
            self.tiny + other.tiny,
            np.minimum(self.low, other.low),
            np.maximum(self.high, other.high),
        )

    @property
    def frame(self) -> Frame:
        """What the coordinates are, by most of the polygons; `pixels` without polygons."""
        if 2 * self.tiny > self.polygons:
            return "degrees"
        return "metres" if 2 * self.far > self.polygons else "pixels"

    def __str__(self) -> str:
        (west, south), (east, north) = self.low, self.high
        return f"x {west:.6g} to {east:.6g}, y {south:.6g} to {north:.6g}"


NOWHERE = Extent(0, 0, 0, np.full(2, np.inf), np.full(2, -np.inf))


def extent_of(table: pd.DataFrame) -> Extent:
    """Measures where the polygons of a table lie."""
    shapes = table["geometry"].to_numpy(dtype=object)
    bounds = shapely.bounds(shapes[~shapely.is_empty(shapes)])
    if not len(bounds):
        return NOWHERE
    low, high = bounds[:, :2], bounds[:, 2:]
    # Of a polygon that spans the origin nothing is far.
    nearest = np.maximum(np.maximum(low, -high), 0)
    in_degrees = (np.abs(bounds) <= (180, 90, 180, 90)).all(axis=1)
    return Extent(
        len(bounds),
        int((nearest > FAR_PX).any(axis=1).sum()),
        int((((high - low) < TINY).all(axis=1) & in_degrees).sum()),
        low.min(axis=0),
        high.max(axis=0),
    )


def refuse_other_frames(truth_path: Path, truth: Extent, proposals_path: Path, proposals: Extent) -> None:
    """Refuses map coordinates in one file and pixels in the other, which would score 0 without a word.

    Both in map coordinates can be compared, but areas are no pixels then: that is warned of.

    Raises:
        UserError: says which file has which coordinates, and how to convert them.
    """
    if truth.frame == proposals.frame:
        if truth.frame != "pixels":
            warn(
                f"{truth_path} and {proposals_path}: coordinates look like map coordinates in {truth.frame} "
                f"({truth}), so areas are in square {truth.frame}, and so is the minimum area"
            )
        return
    path, wrong, other_path, other = (
        (proposals_path, proposals, truth_path, truth)
        if proposals.frame != "pixels"
        else (truth_path, truth, proposals_path, proposals)
    )
    against = f"those of {other_path} are {other.frame} ({other})" if other.polygons else "pixels are expected"
    raise UserError(
        f"{path}: column {WKT}: coordinates are map coordinates in {wrong.frame} ({wrong}), while {against}. "
        f"Convert them to pixels of their tile, with the geotransform of its image: column = (x - left) / pixel "
        f"width, row = (top - y) / pixel height"
        + ("; longitude and latitude must first be projected to the image's CRS" if wrong.frame == "degrees" else "")
    )


def repeated_ids(table: pd.DataFrame) -> pd.DataFrame:
    """The buildings of a table that have the id of another one before them in their image."""
    there = (table["building_id"] != "").to_numpy() & ~shapely.is_empty(table["geometry"].to_numpy(dtype=object))
    return table[there & table.duplicated(["image_id", "building_id"]).to_numpy()]


def warn_of_repeated_ids(path: Path, count: int, first: pd.Series) -> None:
    """Warns of buildings that have the id of another one in their image; ids play no part in the score."""
    warn(
        f"{path}: {count} buildings have the id of another one in their image, such as {first['building_id']} in "
        f"{first['image_id']}; each is counted as a building of its own, as solaris does"
    )
