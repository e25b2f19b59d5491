"""What the page holds of test tiles: every picture and outline once, in a budget of bytes, and what is said of each."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from sspipe.report import imagery, outlines, panels, wording
from sspipe.report.panels import Panel

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


def _title(title: str, role: str) -> str:
    return title if role == "candidate" or role in title else f"{title} ({role})"
