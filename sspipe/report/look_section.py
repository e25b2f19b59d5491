"""The section of test tiles: which of each split are shown, the data of the viewer, and the printed form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import geopandas as gpd
import pandas as pd
import shapely

from sspipe.data.spacenet_csv import read_spacenet_csv
from sspipe.log import say, warn
from sspipe.report import choice, imagery, panels, style, wording
from sspipe.report.look_content import draw, fitting, look_content
from sspipe.report.panel_figure import panel_figure
from sspipe.report.panels import Panel
from sspipe.report.results import Results, role_of
from sspipe.report.section import Section


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
    eo_bands = results.config.tiles.eo_bands
    read = [
        panels.read_panels(part.chosen, results.tiles, part.runs, files, Path(raw), buildings, min_area_px, eo_bands)
        for part in plan
    ]
    variants = _variants(results)
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


def _scored(truth: pd.DataFrame, tiles: pd.DataFrame, min_area_px: float) -> gpd.GeoDataFrame:
    """The buildings on these tiles that the score counts: tile_id, area_m2, geometry (tile pixels)."""
    areas = shapely.area(truth["geometry"].to_numpy(dtype=object))
    pixel_m2 = truth["image_id"].map(tiles.set_index("tile_id")["pixel_m"]) ** 2
    table = gpd.GeoDataFrame(
        {"tile_id": truth["image_id"], "area_m2": areas * pixel_m2}, geometry=truth["geometry"].to_numpy()
    )
    return table[(areas >= min_area_px) & (areas > 0) & pixel_m2.notna()].reset_index(drop=True)


def _variants(results: Results) -> pd.DataFrame:
    """variant, title and role of every variant, in order: those without any run too, which leave gaps."""
    have = results.runs.drop_duplicates("variant")[["variant", "title", "role"]]
    lost = [
        (name, settings.title or name, role_of(settings))
        for name, settings in results.config.variants.items()
        if name not in set(have["variant"])
    ]
    both = pd.concat([have, pd.DataFrame(lost, columns=have.columns)], ignore_index=True) if lost else have
    order = {name: place for place, name in enumerate(results.config.variants)}
    return both.sort_values("variant", key=lambda names: names.map(order), kind="stable", ignore_index=True)


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
