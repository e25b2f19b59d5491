"""The section of test tiles: which of each split are shown, the data of the viewer, and the printed form."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely

from sspipe.data.spacenet_csv import read_spacenet_csv
from sspipe.log import say, warn
from sspipe.report import choice, imagery, outlines, panels, style, wording
from sspipe.report.panel_figure import panel_figure
from sspipe.report.panels import Panel
from sspipe.report.results import Results
from sspipe.report.section import Section

# Of the page's 15 MB: pictures, and outlines of footprints with what is said of them; the rest is for plots and text.
PICTURE_BYTES = 5_000_000
OUTLINE_BYTES = 3_000_000
PICTURE_SIDES_PX = (panels.MAX_SIDE_PX, 450, 300, 225, 150)
# What a page says of one variant on one tile besides the outlines: a figure, its caption, its counts.
CELL_BYTES = 1_000
# What the viewer's script says of a tile, besides its runs.
SPOKEN = (
    "place", "split", "tile", "group", "reason", "buildings", "small", "side_m", "scale_m", "scale_percent", "eo"
)  # fmt: skip


class Plan(NamedTuple):
    """What is shown of one split.

    Attributes:
        split: the split.
        chosen: tile_id, group and reason, `choice.choose_tiles`.
        runs: the scores of the runs shown on every test tile: one seed a variant.
    """

    split: str
    chosen: pd.DataFrame
    runs: pd.DataFrame


class Drawn(NamedTuple):
    """A tile and the outlines that the page holds of it.

    Attributes:
        panel: the tile.
        truth: path of the buildings that are scored.
        truth_small: path of the others.
        paths: variant -> kind -> path, of the kinds of `outlines.KINDS`.
    """

    panel: Panel
    truth: str
    truth_small: str
    paths: dict[str, dict[str, str]]

    @property
    def size(self) -> int:
        """Characters of all paths."""
        return sum(map(len, (self.truth, self.truth_small))) + sum(
            len(path) for kinds in self.paths.values() for path in kinds.values()
        )


def look_section(
    results: Results,
    kinds: Mapping[str, str],
    scores: Sequence[Path],
    polygons: Sequence[Path],
    truth: Path,
    raw: Path,
    count: int,
    folder: Path,
) -> Section:
    """Reads the chosen tiles, writes their printed form into `folder`, and gives the page what it shows.

    Args:
        results: of the experiment.
        kinds: split -> its kind.
        scores: scores.json of each run; buildings.parquet lies beside each.
        polygons: polygons.parquet of each run; probabilities.json lies beside each.
        truth: the truth that the scores counted, in the challenge's CSV form.
        raw: folder that the catalog's paths are relative to.
        count: tiles of each split, if they fit into the page.
        folder: of figures.

    Raises:
        UserError: a file is missing or cannot be read, or scores and footprints do not belong together.
    """
    say("reading the tiles to be shown")
    min_area_px = results.config.score.min_area_px
    test = results.tiles[(results.tiles["subset"] == "test") & results.tiles["split"].isin(list(kinds))]
    buildings = read_spacenet_csv(truth, images=set(test["tile_id"]))
    plan = plan_panels(results, kinds, buildings, count)
    files = panels.index_runs(scores, polygons)
    read = [
        panels.read_panels(part.chosen, results.tiles, part.runs, files, Path(raw), buildings, min_area_px)
        for part in plan
    ]
    variants = results.runs.drop_duplicates("variant")[["variant", "title", "role"]]
    drawn = fitting([[draw(panel) for panel in part] for part in read], len(variants))
    shown = [tile.panel for tile in drawn]
    dropped = sum(map(len, read)) - len(shown)
    if dropped:
        warn(f"{dropped} tiles that report.panels asks for do not fit into the page with {len(variants)} variants")
    for panel in shown:
        figure = panel_figure(panel, style.WIDE_IN)
        figure.savefig(folder / f"panel_{panel.split}_{panel.tile_id}.png", dpi=110, metadata={"Software": None})
    told = pd.concat([panel.scores.assign(reason=panel.reason, buildings=len(panel.truth.scored)) for panel in shown])
    told.to_csv(folder / "panels.csv", index=False, lineterminator="\n")
    return Section(
        "look",
        "Look",
        "Test tiles and what each variant makes of them",
        "look.html.jinja",
        {
            **look_content(drawn, variants),
            "rule": _rule(plan, shown, results.config.tiles.sar_bands),
            "dropped": dropped,
        },
    )


def plan_panels(results: Results, kinds: Mapping[str, str], truth: pd.DataFrame, count: int) -> list[Plan]:
    """Chooses `count` test tiles of each split, the first spatial split first.

    Args:
        results: of the experiment.
        kinds: split -> its kind.
        truth: image_id and geometry (tile pixels) of the test tiles' buildings.
        count: tiles of each split.
    """
    plan = []
    for split in sorted(kinds, key=lambda name: kinds[name] != "spatial"):
        runs = results.runs[results.runs["split"] == split]
        lowest = runs.loc[runs.groupby("variant", sort=False)["seed"].idxmin().sort_values()]
        radar = lowest[lowest["role"] != "ceiling"]
        judges = radar if len(radar) else lowest
        judge = judges.loc[judges["f1"].fillna(-1.0).idxmax()]
        run = ["split", "variant", "seed"]
        scores = results.tile_scores.merge(lowest[[*run, "title", "role"]], on=run)
        tiles = results.tiles[(results.tiles["split"] == split) & (results.tiles["subset"] == "test")]
        base = lowest[(lowest["variant"] == results.config.score.baseline) & (lowest["variant"] != judge["variant"])]
        of_variant = dict(iter(scores.groupby("variant")))
        chosen = choice.choose_tiles(
            tiles,
            of_variant[judge["variant"]],
            of_variant[base["variant"].iloc[0]] if len(base) else None,
            _scored(truth, tiles, results.config.score.min_area_px),
            count,
            judge["title"],
            base["title"].iloc[0] if len(base) else "",
        )
        columns = [*run, "title", "role", "tile_id", "f1", "tp", "fp", "fn", "pixel_iou"]
        plan.append(Plan(split, chosen, scores[columns]))
    return plan


def draw(panel: Panel) -> Drawn:
    """Draws every outline of a tile."""
    return Drawn(
        panel,
        outlines.svg_path(panel.truth.scored, panel.size_px),
        outlines.svg_path(panel.truth.unscored, panel.size_px),
        {
            variant: {kind: outlines.svg_path(getattr(shown, kind), panel.size_px) for kind in outlines.KINDS}
            for variant, shown in panel.judged.items()
        },
    )


def fitting(read: Sequence[Sequence[Drawn]], variants: int) -> list[Drawn]:
    """Leaves out the last tiles of each split, in turns, until outlines fit into the page; one of each stays.

    Args:
        read: the tiles of each split, in the order to be shown.
        variants: how many there are.
    """
    room, kept = OUTLINE_BYTES, {id(part[0]) for part in read if part}
    turns = sorted(
        ((place, order, tile) for order, part in enumerate(read) for place, tile in enumerate(part)),
        key=lambda turn: turn[:2],
    )
    for _, _, tile in turns:
        room -= CELL_BYTES * (variants + 3) + tile.size
        if room >= 0:
            kept.add(id(tile))
    return [tile for part in read for tile in part if id(tile) in kept]


def look_content(shown: Sequence[Drawn], variants: pd.DataFrame) -> dict[str, Any]:
    """What the template reads: every picture and outline once, and what the viewer says of them.

    Args:
        shown: the tiles, those of a split together.
        variants: variant, title and role of every variant of the experiment, in order.
    """
    names = [{"name": row.variant, "title": _title(row.title, row.role)} for row in variants.itertuples()]
    tiles = [_tile(place, tile, names) for place, tile in enumerate(shown)]
    side, pictures = _pictures([tile.panel for tile in shown])
    for tile, (radar, optical) in zip(tiles, pictures, strict=True):
        tile |= {"radar": radar, "optical": optical}
    data = {
        "variants": names,
        "tiles": [
            {**{key: tile[key] for key in SPOKEN}, "runs": [cell["run"] for cell in tile["cells"]]} for tile in tiles
        ],
    }
    return {
        "tiles": tiles,
        "variants": names,
        "side_px": side,
        "units": outlines.SIDE_UNITS,
        "kinds": outlines.KIND_WORDS,
        # Inside a <script>: no tag can begin in it.
        "data": json.dumps(data, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c"),
    }


def _tile(place: int, drawn: Drawn, variants: Sequence[Mapping[str, str]]) -> dict[str, Any]:
    """What the page says of one tile."""
    panel = drawn.panel
    scale_m = panels.scale_bar_m(panel.side_m)
    rows = {row.variant: row for row in panel.scores.itertuples()}
    cells = []
    for number, variant in enumerate(variants):
        row, shown = rows.get(variant["name"]), panel.judged.get(variant["name"])
        if row is None or shown is None:
            gap = f"no footprints of it on the {panel.split} split"
            cells.append({"title": variant["title"], "gap": gap, "run": {"gap": gap}})
            continue
        tp, fp, fn = shown.counts()
        run: dict[str, Any] = {
            "f1": wording.number(row.f1, 2),
            "iou": wording.number(row.pixel_iou, 2),
            "found": tp,
            "false": fp,
            "missed": fn,
            "unscored": len(shown.unscored),
            "seed": int(row.seed),
        }
        paths = drawn.paths[variant["name"]]
        says = f"{tp} found, {fp} false, {fn} missed"
        key = f"look-{place}-{number}"
        cells.append({"title": variant["title"], "gap": "", "key": key, "paths": paths, "run": run, "says": says})
    return {
        "place": place,
        "split": panel.split,
        "tile": panel.tile_id,
        "group": panel.group,
        "reason": panel.reason,
        "buildings": len(panel.truth.scored),
        "small": len(panel.truth.unscored),
        "side_m": round(panel.side_m, 1),
        "scale_m": scale_m,
        "scale_percent": round(100 * scale_m / panel.side_m, 3),
        "eo": panel.optical is not None,
        "truth": drawn.truth,
        "truth_small": drawn.truth_small,
        "cells": cells,
    }


def _pictures(shown: Sequence[Panel]) -> tuple[int, list[tuple[str, str | None]]]:
    """The radar and the optical picture of each tile as text, as large as the page has room for; and that side."""
    side, *smaller = PICTURE_SIDES_PX
    while True:
        encoded = [
            (_encoded(panel.radar, side), None if panel.optical is None else _encoded(panel.optical, side))
            for panel in shown
        ]
        over = sum(len(text) for pair in encoded for text in pair if text) / PICTURE_BYTES
        # Bytes go with the area, about: sides that cannot do are not tried.
        smaller = [less for less in smaller if less <= max(side / over**0.5 * 1.1, PICTURE_SIDES_PX[-1])]
        if over <= 1 or not smaller:
            return side, encoded
        side, *smaller = smaller


def _encoded(picture: np.ndarray, side_px: int) -> str:
    return imagery.data_uri(imagery.webp(imagery.shrunk(picture, side_px)))


def _scored(truth: pd.DataFrame, tiles: pd.DataFrame, min_area_px: float) -> gpd.GeoDataFrame:
    """The buildings on these tiles that the score counts: tile_id, area_m2, geometry (tile pixels)."""
    areas = shapely.area(truth["geometry"].to_numpy(dtype=object))
    pixel_m2 = truth["image_id"].map(tiles.set_index("tile_id")["pixel_m"]) ** 2
    table = gpd.GeoDataFrame(
        {"tile_id": truth["image_id"], "area_m2": areas * pixel_m2}, geometry=truth["geometry"].to_numpy()
    )
    return table[(areas >= min_area_px) & (areas > 0) & pixel_m2.notna()].reset_index(drop=True)


def _title(title: str, role: str) -> str:
    return title if role == "candidate" or role in title else f"{title} ({role})"


def _rule(plan: Sequence[Plan], shown: Sequence[Panel], bands: Sequence[str]) -> str:
    """Says which tiles these are and what is on them."""
    counts = [(part.split, sum(panel.split == part.split for panel in shown)) for part in plan]
    parts = [f"{number} of the {split} split" for split, number in counts]
    return (
        f"Test tiles, chosen by rule: {wording.listed(parts)}. Radar sees at least half the ground of each (if there "
        "are such tiles with buildings). Some are each the first by one rule, which they name; the rest are spread "
        "evenly over the ranking by number of buildings. Of each variant the lowest seed is shown. "
        f"{imagery.radar_words(bands)} Outlines are what the score counted, building by building; under predictions "
        "the radar picture is grey."
    )
