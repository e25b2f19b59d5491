"""Test tiles as the report shows them: what is on each, and the printed form (the paper's Figs. 4 to 6)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely

from sspipe.errors import UserError
from sspipe.report import imagery
from sspipe.report.outlines import Judged, Truth, judged, truth_of
from sspipe.report.records import read_record

# No picture on the page is larger: the viewer's stage is about as wide.
MAX_SIDE_PX = 600


class Run(NamedTuple):
    """What one run is called everywhere."""

    split: str
    variant: str
    seed: int


class RunFiles(NamedTuple):
    """Where the footprints of one run lie, and what the score said of them."""

    polygons: Path
    buildings: Path


@dataclass(frozen=True)
class Panel:
    """One test tile, ready to be shown.

    Attributes:
        split: the split that it is a test tile of.
        tile_id: the tile.
        group: the first rule that chose it, of `choice.GROUPS`.
        reason: every reason why it was chosen.
        size_px: rows and columns of the tile; outlines are in these pixels.
        side_m: length of a side on the ground.
        optical: (H, W, 3) uint8, at most `MAX_SIDE_PX` to a side; None: the tile has no optical image.
        radar: the same.
        truth: its buildings.
        judged: variant -> its footprints and what the score said of them; a variant without any is a gap.
        scores: variant, title, role, seed, f1, tp, fp, fn, pixel_iou of the runs in `judged`; one row a variant.
    """

    split: str
    tile_id: str
    group: str
    reason: str
    size_px: int
    side_m: float
    optical: np.ndarray | None
    radar: np.ndarray
    truth: Truth
    judged: dict[str, Judged]
    scores: pd.DataFrame


def index_runs(scores: Sequence[Path], polygons: Sequence[Path]) -> dict[Run, RunFiles]:
    """Finds out whose each file is, from the JSON beside it.

    Args:
        scores: scores.json of each run; buildings.parquet lies beside each.
        polygons: polygons.parquet of each run; probabilities.json lies beside each. Runs that lack one are left out.

    Raises:
        UserError: a file is missing.
    """
    judgements = {_run_of(path): Path(path).with_name("buildings.parquet") for path in scores}
    found = {}
    for path in map(Path, polygons):
        run = _run_of(path.with_name("probabilities.json"))
        if run not in judgements:
            continue
        for needed, rule in ((path, "extract_polygons"), (judgements[run], "score_polygons")):
            if not needed.is_file():
                raise UserError(f"{needed}: no such file; run the rule {rule}")
        found[run] = RunFiles(path, judgements[run])
    return found


def read_panels(
    chosen: pd.DataFrame,
    tiles: pd.DataFrame,
    runs: pd.DataFrame,
    files: Mapping[Run, RunFiles],
    raw: Path,
    truth: pd.DataFrame,
    min_area_px: float,
    eo_bands: Sequence[str] = (),
) -> list[Panel]:
    """Reads the chosen tiles of one split.

    Args:
        chosen: tile_id, group and reason.
        tiles: the catalog.
        runs: the runs shown, one a variant and tile: split, variant, title, role, seed, tile_id, f1, tp, fp, fn,
            pixel_iou.
        files: of any runs; a run without files is left out of the panels.
        raw: folder that the catalog's paths are relative to.
        truth: image_id and geometry (tile pixels) of at least the buildings on these tiles, in the file's order.
        min_area_px: smaller buildings are not scored.
        eo_bands: names of the optical images' bands, in order.
    """
    by_id = tiles.drop_duplicates("tile_id").set_index("tile_id")
    names = list(chosen["tile_id"])
    of_truth = {
        name: truth_of(truth.loc[truth["image_id"] == name, "geometry"].to_numpy(dtype=object), min_area_px)
        for name in names
    }
    shown: dict[str, dict[str, Judged]] = {name: {} for name in names}
    for key, rows in runs[runs["tile_id"].isin(names)].groupby(["split", "variant", "seed"], sort=False):
        run = Run(*key)
        if run not in files:
            continue
        columns = ["tile_id", "building_id", "geometry"]
        proposals = _of_tiles(gpd.read_parquet, files[run].polygons, names, columns, "extract_polygons")
        buildings = _of_tiles(pd.read_parquet, files[run].buildings, names, None, "score_polygons")
        for name in rows["tile_id"]:
            tile = by_id.loc[name]
            shown[name][run.variant] = judged(
                of_truth[name],
                _in_pixels(proposals[proposals["tile_id"] == name], tile),
                buildings[buildings["tile_id"] == name],
                f"{run.split}/{run.variant}/seed{run.seed}",
            )
    panels = []
    for row in chosen.itertuples():
        tile = by_id.loc[row.tile_id]
        scores = runs[(runs["tile_id"] == row.tile_id) & runs["variant"].isin(list(shown[row.tile_id]))]
        panels.append(
            Panel(
                split=str(runs["split"].iloc[0]),
                tile_id=str(row.tile_id),
                group=str(row.group),
                reason=str(row.reason),
                size_px=int(tile["size_px"]),
                side_m=float(tile["size_px"] * tile["pixel_m"]),
                optical=_optical(raw, tile["eo_path"], eo_bands),
                radar=imagery.shrunk(imagery.radar_picture(imagery.read_tile(raw / tile["sar_path"])), MAX_SIDE_PX),
                truth=of_truth[row.tile_id],
                judged=shown[row.tile_id],
                scores=scores.reset_index(drop=True),
            )
        )
    return panels


def scale_bar_m(side_m: float) -> float:
    """A round length of about a third of a tile's side; whole metres unless the tile is of a few."""
    step = 10 ** math.floor(math.log10(side_m / 3))
    length = max(round_to * step for round_to in (1, 2, 5) if round_to * step <= side_m / 3 * 1.01)
    return int(length) if length >= 1 else length


def _of_tiles(
    read: Callable[..., pd.DataFrame], path: Path, names: Sequence[str], columns: Sequence[str] | None, rule: str
) -> pd.DataFrame:
    """The rows of some tiles in a Parquet table."""
    try:
        return read(path, columns=columns, filters=[("tile_id", "in", names)])
    except (OSError, ValueError) as error:  # pyarrow's errors are ValueErrors
        raise UserError(f"{path}: not a table that can be used ({error}); run the rule {rule} again") from None


def _run_of(path: Path) -> Run:
    record = read_record(path, Run._fields)
    return Run(record["split"], record["variant"], record["seed"])


def _optical(raw: Path, path: str | float | None, names: Sequence[str]) -> np.ndarray | None:
    """The optical picture; None where the catalog names no image."""
    if not isinstance(path, str) or not path:
        return None
    return imagery.shrunk(imagery.optical_picture(imagery.read_tile(raw / path), names), MAX_SIDE_PX)


def _in_pixels(proposals: gpd.GeoDataFrame, tile: pd.Series) -> pd.DataFrame:
    """Moves footprints from the map to their tile's pixels: building_id, geometry (x right, y down)."""
    corner = np.array([tile["easting_m"], tile["northing_m"]])
    step = np.array([tile["pixel_m"], -tile["pixel_m"]])
    shapes = shapely.transform(proposals.geometry.to_numpy(), lambda xy: (xy - corner) / step)
    return pd.DataFrame({"building_id": proposals["building_id"].to_numpy(), "geometry": shapes})
