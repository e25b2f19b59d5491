"""Panels of test tiles (the paper's Figs. 4 to 6): which tiles, what is on them, and the printed form."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.patches import Patch

from sspipe.errors import UserError
from sspipe.files import read_json
from sspipe.report import imagery, wording
from sspipe.report.style import INK, styled

MAX_SIDE_PX = 450
# Of the page's 15 MB; the rest is for plots and text.
PICTURES_BYTES = 11_000_000
# Bytes of PNG a pixel as base64, from the speckled and sharp pictures of real-size tiles: an upper bound.
COLOUR_BYTES_PX, OUTCOME_BYTES_PX = 1.25, 0.2


@dataclass(frozen=True)
class Predictions:
    """Where one run's probabilities lie and which tile is in which row of them."""

    split: str
    variant: str
    seed: int
    path: Path
    rows: dict[str, int]

    def mask(self, tile_id: str, threshold: float) -> np.ndarray:
        """Building pixels of one tile, (H, W) bool; reads that tile alone."""
        probabilities = np.load(self.path, mmap_mode="r")
        return np.asarray(probabilities[self.rows[tile_id], 0]) >= threshold


@dataclass(frozen=True)
class Panel:
    """One test tile, ready to be shown; every picture has the same rows and columns.

    Attributes:
        split: the split that it is a test tile of.
        tile_id: the tile.
        reason: why it was chosen.
        buildings: footprints on it.
        side_m: length of a side on the ground.
        optical: (H, W, 3) uint8.
        radar: (H, W, 3) uint8.
        truth: (H, W) uint8, classes of `imagery.outcome` (found or background).
        outcomes: variant -> (H, W) uint8, classes of `imagery.outcome`.
        scores: variant, title, role, seed, f1, tp, fp, fn, pixel_iou of the runs shown; one row a variant.
    """

    split: str
    tile_id: str
    reason: str
    buildings: int
    side_m: float
    optical: np.ndarray
    radar: np.ndarray
    truth: np.ndarray
    outcomes: dict[str, np.ndarray]
    scores: pd.DataFrame


def choose_tiles(tiles: pd.DataFrame, scores: pd.DataFrame, count: int, extremes: bool = True) -> pd.DataFrame:
    """Chooses test tiles by rule: spread over building counts, then the best and the worst tile of one variant.

    Only tiles with buildings that radar sees over at least half their ground are taken, if there are any.

    Args:
        tiles: test tiles: tile_id, building_count, sar_no_data_fraction.
        scores: tile_id and f1 of the variant that decides what is best and worst.
        count: how many tiles; fewer if there are fewer.
        extremes: whether to add the best and the worst (needs a count of 3 or more).

    Returns:
        tile_id and reason, in the order to be shown; no tile twice.
    """
    good = tiles[(tiles["building_count"] > 0) & (tiles["sar_no_data_fraction"] <= 0.5)]
    pool = (good if len(good) else tiles).sort_values(["building_count", "tile_id"]).reset_index(drop=True)
    count = min(count, len(pool))
    chosen: dict[str, str] = {}
    ranked = scores[scores["tile_id"].isin(pool["tile_id"]) & scores["f1"].notna()].sort_values(["f1", "tile_id"])
    if extremes and count >= 3 and len(ranked) >= 2:
        chosen[str(ranked["tile_id"].iloc[-1])] = "best F1"
        chosen[str(ranked["tile_id"].iloc[0])] = "worst F1"
    rest = pool[~pool["tile_id"].isin(chosen)].reset_index(drop=True)
    wanted = count - len(chosen)
    spread: dict[str, str] = {}
    for place in range(wanted):
        # Middles of equal parts of the ranking: the densest and the emptiest part are both shown.
        row = rest.iloc[int((place + 0.5) / wanted * len(rest))]
        spread[str(row["tile_id"])] = f"{place + 1} of {wanted} by building count"
    return pd.DataFrame({**spread, **chosen}.items(), columns=["tile_id", "reason"])


def index_predictions(probabilities: Sequence[Path]) -> list[Predictions]:
    """Reads which run and which tiles each array of probabilities holds, from the JSON beside it.

    Raises:
        UserError: an array or its JSON is missing, or the two disagree.
    """
    found = []
    for path in map(Path, probabilities):
        record = read_json(path.with_suffix(".json"))
        if not path.is_file():
            raise UserError(f"{path}: no such file; run the rule predict_tiles")
        tile_ids = record["tile_ids"]
        if len(np.load(path, mmap_mode="r")) != len(tile_ids):
            raise UserError(f"{path}: does not hold the {len(tile_ids)} tiles its JSON lists; predict again")
        rows = {tile_id: row for row, tile_id in enumerate(tile_ids)}
        found.append(Predictions(record["split"], record["variant"], record["seed"], path, rows))
    return found


def picture_side_px(panels: int, variants: int) -> int:
    """The largest side of a picture with which all panels fit into the page."""
    bytes_px = panels * (2 * COLOUR_BYTES_PX + (1 + variants) * OUTCOME_BYTES_PX)
    return min(MAX_SIDE_PX, int(math.sqrt(PICTURES_BYTES / max(bytes_px, 1e-9))))


def read_panels(
    chosen: pd.DataFrame,
    tiles: pd.DataFrame,
    runs: pd.DataFrame,
    predictions: Sequence[Predictions],
    raw: Path,
    footprints: gpd.GeoDataFrame,
    threshold: float,
    side_px: int,
) -> Iterator[Panel]:
    """Reads the chosen tiles of one split one by one.

    Args:
        chosen: tile_id and reason.
        tiles: the catalog.
        runs: the runs shown, one a variant and tile: split, variant, title, role, seed, tile_id, f1, tp, fp, fn,
            pixel_iou.
        predictions: of any runs.
        raw: folder that the catalog's paths are relative to.
        footprints: all footprints: tile_id and geometry, EPSG:32631.
        threshold: probability of interior from which a pixel is building.
        side_px: largest side of a picture.
    """
    by_id = tiles.drop_duplicates("tile_id").set_index("tile_id")
    for tile_id, reason in zip(chosen["tile_id"], chosen["reason"], strict=True):
        tile = by_id.loc[tile_id]
        outlines = footprints.geometry[footprints["tile_id"] == tile_id]
        truth = imagery.truth_mask(
            outlines, tile["easting_m"], tile["northing_m"], int(tile["size_px"]), tile["pixel_m"]
        )
        scores = runs[runs["tile_id"] == tile_id]
        split = str(scores["split"].iloc[0])
        outcomes = {}
        for run in predictions:
            shown = scores[(scores["variant"] == run.variant) & (scores["seed"] == run.seed)]
            if run.split == split and len(shown) and tile_id in run.rows:
                outcomes[run.variant] = imagery.shrunk(imagery.outcome(run.mask(tile_id, threshold), truth), side_px)
        yield Panel(
            split=split,
            tile_id=str(tile_id),
            reason=str(reason),
            buildings=len(outlines),
            side_m=float(tile["size_px"] * tile["pixel_m"]),
            optical=imagery.shrunk(imagery.optical_picture(imagery.read_tile(raw / tile["eo_path"])), side_px),
            radar=imagery.shrunk(imagery.radar_picture(imagery.read_tile(raw / tile["sar_path"])), side_px),
            truth=imagery.shrunk(imagery.outcome(truth, truth), side_px),
            outcomes=outcomes,
            scores=scores[scores["variant"].isin(outcomes)].reset_index(drop=True),
        )


def scale_bar_m(side_m: float) -> int:
    """A round length of about a third of a tile's side."""
    step = 10 ** math.floor(math.log10(side_m / 3))
    return int(max(round_to * step for round_to in (1, 2, 5) if round_to * step <= side_m / 3 * 1.01))


@styled
def panel_figure(panel: Panel, width_in: float) -> Figure:
    """Draws one tile as the paper's Figs. 4 to 6 do: EO, SAR, truth and every variant's prediction, at one scale."""
    pictures = [
        ("Optical (EO)", panel.optical),
        ("Radar (SAR)", panel.radar),
        (f"Truth: {panel.buildings} buildings", imagery.outcome_colours(panel.truth)),
    ]
    for _, row in panel.scores.iterrows():
        pictures.append(
            (f"{row['title']}\nF1 {wording.number(row['f1'])}", imagery.outcome_colours(panel.outcomes[row["variant"]]))
        )
    columns = 4
    rows = math.ceil(len(pictures) / columns)
    layout = ConstrainedLayoutEngine(h_pad=0.07)  # two-line labels reach the upper edge otherwise
    figure = Figure(figsize=(width_in, 0.5 + rows * (width_in / columns + 0.35)), layout=layout)
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axis, (label, picture) in zip(axes, pictures, strict=False):
        axis.imshow(picture, extent=(0, panel.side_m, 0, panel.side_m), interpolation="nearest")
        axis.set_title(label, fontsize=8.5)
    for axis in axes:
        axis.set_axis_off()
    _draw_scale(axes[0], panel.side_m)
    words = zip(imagery.OUTCOME_COLOURS[1:], imagery.OUTCOME_WORDS[1:], strict=True)
    handles = [Patch(facecolor=colour, edgecolor=INK, linewidth=0.5, label=word) for colour, word in words]
    figure.legend(handles=handles, loc="outside lower left", ncols=3)
    return figure


def _draw_scale(axis: Axes, side_m: float) -> None:
    length, margin = scale_bar_m(side_m), side_m * 0.04
    for colour, width in (("black", 5.5), ("white", 3)):
        axis.plot([margin, margin + length], [margin, margin], color=colour, linewidth=width, solid_capstyle="butt")
    axis.text(
        margin,
        margin * 1.7,
        f"{length} m",
        color="white",
        fontsize=8.5,
        bbox={"facecolor": "black", "pad": 1, "alpha": 0.6},
    )
