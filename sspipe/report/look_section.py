"""The section of panels: which tiles of which split are shown, and how the page shows them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import geopandas as gpd
import pandas as pd

from sspipe.log import say
from sspipe.report import imagery, panels, style, wording
from sspipe.report.results import Results
from sspipe.report.section import Section

# Panels of a split that is there for comparison, not for the answer.
PANELS_OF_OTHER_SPLITS = 2


class Plan(NamedTuple):
    """What is shown of one split.

    Attributes:
        split: the split.
        chosen: tile_id and reason, `panels.choose_tiles`.
        runs: the scores of the runs shown on every test tile: one seed a variant.
        judge: title of the variant that decides which tile is best and worst.
    """

    split: str
    chosen: pd.DataFrame
    runs: pd.DataFrame
    judge: str


def look_section(
    results: Results,
    kinds: Mapping[str, str],
    probabilities: Sequence[Path],
    raw: Path,
    footprints: Path,
    count: int,
    threshold: float,
    folder: Path,
) -> Section:
    """Reads the chosen tiles, writes their printed form into `folder`, and gives the page what it shows."""
    say("reading the tiles to be shown")
    plan = plan_panels(results, kinds, count)
    predictions = panels.index_predictions(probabilities)
    outlines = gpd.read_parquet(footprints, columns=["tile_id", "geometry"])
    total = sum(len(part.chosen) for part in plan)
    side_px = panels.picture_side_px(total, results.runs["variant"].nunique())
    shown, data = [], []
    for part in plan:
        for panel in panels.read_panels(
            part.chosen, results.tiles, part.runs, predictions, Path(raw), outlines, threshold, side_px
        ):
            figure = panels.panel_figure(panel, style.WIDE_IN)
            figure.savefig(folder / f"panel_{panel.split}_{panel.tile_id}.png", dpi=110, metadata={"Software": None})
            data.append(panel.scores.assign(reason=panel.reason, buildings=panel.buildings))
            shown.append(_panel_context(panel))
    pd.concat(data, ignore_index=True).to_csv(folder / "panels.csv", index=False, lineterminator="\n")
    content = {
        "panels": shown,
        "panel_rule": _rule(plan),
        "outcomes": list(zip(imagery.OUTCOME_COLOURS[1:], imagery.OUTCOME_WORDS[1:], strict=True)),
    }
    return Section("look", "Look", "Test tiles and what each variant makes of them", "look.html.jinja", content)


def plan_panels(results: Results, kinds: Mapping[str, str], count: int) -> list[Plan]:
    """Chooses `count` tiles of the first spatial split (else of the first split), and a few of each other."""
    main = next((split for split, kind in kinds.items() if kind == "spatial"), next(iter(kinds)))
    plan = []
    for split in sorted(kinds, key=lambda name: name != main):
        runs = results.runs[results.runs["split"] == split]
        shown = runs.loc[runs.groupby("variant", sort=False)["seed"].idxmin().sort_values()]
        radar = shown[shown["role"] != "ceiling"]
        judges = radar if len(radar) else shown
        judge = judges.loc[judges["f1"].fillna(-1.0).idxmax()]
        run = ["split", "variant", "seed"]
        scores = results.tile_scores.merge(shown[[*run, "title", "role"]], on=run)
        tiles = results.tiles[(results.tiles["split"] == split) & (results.tiles["subset"] == "test")]
        chosen = panels.choose_tiles(
            tiles,
            scores.loc[scores["variant"] == judge["variant"], ["tile_id", "f1"]],
            count if split == main else min(count, PANELS_OF_OTHER_SPLITS),
            extremes=split == main,
        )
        columns = [*run, "title", "role", "tile_id", "f1", "tp", "fp", "fn", "pixel_iou"]
        plan.append(Plan(split, chosen, scores[columns], str(judge["title"])))
    return plan


def _rule(plan: Sequence[Plan]) -> str:
    main = plan[0]
    text = (
        f"{_tiles(main)} of the {main.split} split, chosen by rule from those with buildings that radar "
        "sees over at least half their ground (if there are any): ranked by number of buildings and taken from the "
        "middles of equal parts of the ranking"
    )
    if main.chosen["reason"].str.endswith("F1").any():
        text += f", then the tiles with the best and the worst F1 of {wording.quoted(main.judge)}"
    text += "."
    for part in plan[1:]:
        text += f" Then {_tiles(part)} of the {part.split} split, by number of buildings."
    return text + (
        " Every picture of a tile has the same scale, north up. Radar colours: red HH, green mean of HV and VH, blue "
        "VV. Predictions are pixels of the building interior, of the lowest seed of each variant; F1 counts buildings."
    )


def _tiles(part: Plan) -> str:
    return f"{len(part.chosen)} test {'tile' if len(part.chosen) == 1 else 'tiles'}"


def _panel_context(panel: panels.Panel) -> dict[str, Any]:
    """What the page shows of one tile."""
    tile = f"tile {panel.tile_id}"
    pictures = [
        _picture("Optical (EO)", imagery.colour_png(panel.optical), f"Optical picture of {tile}", scale=True),
        _picture("Radar (SAR)", imagery.colour_png(panel.radar), f"Radar false-colour composite of {tile}", scale=True),
        _picture(
            "Truth",
            imagery.outcome_png(panel.truth),
            f"True building footprints of {tile}: {panel.buildings} buildings",
            (f"{panel.buildings} buildings",),
        ),
    ]
    for _, row in panel.scores.iterrows():
        counts = f"{row['tp']:.0f} found, {row['fp']:.0f} false, {row['fn']:.0f} missed"
        role = "" if row["role"] == "candidate" else f" ({row['role']})"
        title = row["title"] if row["role"] in row["title"] else f"{row['title']}{role}"
        pictures.append(
            _picture(
                title,
                imagery.outcome_png(panel.outcomes[row["variant"]]),
                f"Prediction of {row['title']} on {tile}: {counts}",
                (f"F1 {wording.number(row['f1'])}, pixel IoU {wording.number(row['pixel_iou'])}", counts),
            )
        )
    scale_m = panels.scale_bar_m(panel.side_m)
    return {
        "split": panel.split,
        "tile_id": panel.tile_id,
        "reason": panel.reason,
        "buildings": panel.buildings,
        "side_m": panel.side_m,
        "side_px": panel.truth.shape[0],
        "scale_m": scale_m,
        "scale_percent": 100 * scale_m / panel.side_m,
        "pictures": pictures,
    }


def _picture(label: str, png: bytes, alt: str, notes: tuple[str, ...] = (), scale: bool = False) -> dict[str, Any]:
    return {"label": label, "uri": imagery.data_uri(png), "alt": alt, "notes": notes, "scale": scale}
