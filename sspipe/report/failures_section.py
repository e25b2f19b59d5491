"""The section "Where it fails": recall and F1 by what makes a building or a tile hard, and how far to trust a pixel."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from sspipe.report import failure_figures, failures, tile_figures, wording
from sspipe.report import failure_words as words
from sspipe.report.drawing import Drawing, saved_drawing
from sspipe.report.multiples import Cast, cast
from sspipe.report.results import Results
from sspipe.report.section import Section

# Of an interval that is drawn: what it is over.
BOUNDS = "Bars: 95 % intervals over test tiles or blocks of ground."


@dataclass
class Part:
    """One question on one split: a heading, what the numbers say, and their figures."""

    heading: str
    sentence: str
    drawings: list[Drawing] = field(default_factory=list)


@dataclass(frozen=True)
class _Split:
    """What the parts of one split share."""

    name: str
    cast: Cast
    titles: dict[str, str]
    leader: str
    folder: Path

    @property
    def title(self) -> str:
        return self.titles[self.leader]

    def drawn(
        self, name: str, draw: Callable[..., Figure], table: pd.DataFrame, caption: str, sentence: str
    ) -> Drawing:
        """Draws a figure of this split; its data have every variant, also those without a panel."""
        data = table.assign(title=table["variant"].map(self.titles))
        return saved_drawing(
            self.folder, f"{name}_{self.name}", draw, data, f"{caption} {sentence}", f"{caption} {self.shown}".strip()
        )

    @property
    def shown(self) -> str:
        if not self.cast.unseen:
            return ""
        return (
            f"Large: the baseline, the best with radar alone and the variants with the best F1, "
            f"{len(self.cast.titles)} in all; {self.cast.unseen} more are in the data."
        )


def failures_section(results: Results, table: pd.DataFrame, scores: Sequence[Path], folder: Path) -> Section:
    """Draws and tells where predictions fail, split by split.

    Args:
        results: of the experiment.
        table: `comparison.table_one`.
        scores: scores.json of each run; reliability.csv lies beside each.
        folder: where figures are saved.

    Returns:
        the section; `splits` of its content has the name and the parts of each.

    Raises:
        UserError: scores.json lacks a part.
    """
    records = failures.read_scores(scores, results.runs)
    baseline = results.config.score.baseline
    recall = {value: failures.recall_table(records, value) for value in ("area_m2", "height_m")}
    orientation, strip = (failures.group_table(records, name) for name in ("orientation", "strip"))
    sides = results.tiles[["split", "strip", "orientation"]].drop_duplicates(["split", "strip"])
    strip = strip.merge(sides, on=["split", "strip"], how="left")
    thresholds = failures.threshold_table(records)
    reliability, unmeasured = failures.reliability_table(records)
    tiles = failures.tile_table(results.tile_scores, results.tiles, baseline)
    splits = []
    for name in results.splits:
        here = table[table["split"] == name]
        titles = dict(zip(here["variant"], here["title"], strict=True))
        scored = here[here["seeds"] > 0]
        told = leader(scored)
        shown = cast(titles, dict(zip(scored["variant"], scored["f1"], strict=True)), baseline, told)
        split = _Split(name, shown, titles, told, folder)
        of = {
            key: part[part["split"] == name]
            for key, part in {
                **recall, "orientation": orientation, "strip": strip, "iou": thresholds, "tiles": tiles,
                "reliability": reliability,
            }.items()
        }  # fmt: skip
        parts = [
            _size_part(split, of["area_m2"]),
            _height_part(split, of["height_m"]),
            _orientation_part(split, of["orientation"]),
            _strip_part(split, of["strip"]),
            _map_part(split, of["tiles"]),
            _threshold_part(split, of["iou"]),
            _reliability_part(split, of["reliability"], [run for run in unmeasured if run.startswith(f"{name}/")]),
        ]
        splits.append({"name": name, "title": split.title, "parts": parts, "unseen": shown.unseen})
    return Section("fails", "Where it fails", "Where it fails", "failures.html.jinja", {"splits": splits})


def leader(table: pd.DataFrame) -> str:
    """The variant that sentences tell of: the best F1 with radar alone at test, else the best of any.

    Args:
        table: rows of one split from `comparison.table_one` that have scores.
    """
    radar = table[table["role"] != "ceiling"]
    pool = radar if len(radar) else table
    return str(pool.sort_values("f1", ascending=False, kind="stable", na_position="last")["variant"].iloc[0])


def _size_part(split: _Split, table: pd.DataFrame) -> Part:
    sentence = words.recall_sentence(table, split.leader, split.title, "m²")
    caption = f"Recall on the {split.name} split by the area of a building’s footprint. {BOUNDS}"
    draw = functools.partial(failure_figures.recall_figure, table, split.cast, "footprint area, m²")
    return Part("Size of buildings", sentence, [split.drawn("recall_by_area", draw, table, caption, sentence)])


def _height_part(split: _Split, table: pd.DataFrame) -> Part:
    heading = "Height of buildings"
    known = table[table["low"].notna() | table["high"].notna()]
    if known["buildings"].sum() == 0:
        return Part(heading, "No building of these test tiles has a height, so recall by height cannot be told.")
    sentence = words.recall_sentence(table, split.leader, split.title, "m")
    unknown = table.loc[table["low"].isna() & table["high"].isna(), "buildings"]
    if len(unknown) and unknown.iloc[0]:
        sentence += f" {unknown.iloc[0]:.0f} buildings have no height; they stand at the right, under “?”."
    caption = f"Recall on the {split.name} split by the height of a building. {BOUNDS}"
    draw = functools.partial(failure_figures.recall_figure, table, split.cast, "height of the building, m")
    return Part(heading, sentence, [split.drawn("recall_by_height", draw, table, caption, sentence)])


def _orientation_part(split: _Split, table: pd.DataFrame) -> Part:
    sentence = words.orientation_sentence(table, split.leader, split.title)
    heading = "Side that the radar looks from"
    if table["orientation"].nunique() < 2:
        return Part(heading, sentence)
    caption = f"F1 on the {split.name} split by the side that tiles are imaged from. {BOUNDS}"
    draw = functools.partial(failure_figures.orientation_figure, table, split.cast)
    return Part(heading, sentence, [split.drawn("f1_by_orientation", draw, table, caption, sentence)])


def _strip_part(split: _Split, table: pd.DataFrame) -> Part:
    sentence = words.strip_sentence(table, split.leader, split.title)
    if table["strip"].nunique() < 2:
        return Part("Strips", sentence)
    caption = (
        f"F1 of each strip of the {split.name} split. Hollow: fewer than {failures.FEW_TILES} test tiles, so one "
        f"building more or less changes much. {BOUNDS}"
    )
    draw = functools.partial(failure_figures.strip_figure, table, split.cast)
    return Part("Strips", sentence, [split.drawn("f1_by_strip", draw, table, caption, sentence)])


def _map_part(split: _Split, table: pd.DataFrame) -> Part:
    sentence = words.map_sentence(table, split.leader, split.title)
    caption = (
        f"Test ground of the {split.name} split, coloured by the mean F1 of the tiles that show a place. Outlined "
        "without colour: tiles with neither building nor proposal."
    )
    draw = functools.partial(tile_figures.f1_map_figure, table, split.cast)
    drawings = [split.drawn("f1_map", draw, table, caption, sentence)]
    others = table[table["variant"] != split.cast.baseline]
    if split.cast.baseline and set(split.cast.titles) - {split.cast.baseline} and others["difference"].notna().any():
        # Of the leader, unless it is the baseline itself.
        means = others.groupby("variant", sort=False)["difference"].mean()
        told = split.leader if split.leader != split.cast.baseline else str(means.idxmax())
        compared = words.difference_sentence(table, told, split.titles[told], split.cast.baseline_title)
        caption = (
            f"The same ground, coloured by F1 minus the baseline’s ({split.cast.baseline_title}). Blue: better than "
            f"the baseline. {compared}"
        )
        draw = functools.partial(tile_figures.difference_map_figure, table, split.cast)
        drawings.append(split.drawn("f1_difference_map", draw, table, caption, ""))
    return Part("Places", sentence, drawings)


def _threshold_part(split: _Split, table: pd.DataFrame) -> Part:
    sentence = words.threshold_sentence(table, split.leader, split.title)
    caption = f"F1 on the {split.name} split by the IoU that a match needs; SpaceNet’s is 0.5. {BOUNDS}"
    draw = functools.partial(failure_figures.threshold_figure, table, split.cast)
    return Part("How exact footprints are", sentence, [split.drawn("f1_by_iou", draw, table, caption, sentence)])


def _reliability_part(split: _Split, table: pd.DataFrame, unmeasured: list[str]) -> Part:
    heading = "Whether probabilities can be trusted"
    lacking = ""
    if unmeasured:
        verb = "has" if len(unmeasured) == 1 else "have"
        lacking = f" {wording.listed(unmeasured)} {verb} no {failures.RELIABILITY}; the rule score_polygons writes it."
    if table["pixels"].sum() == 0:
        return Part(heading, f"There is no count of pixels by probability.{lacking}")
    measured = table[table["pixels"] > 0]["variant"]
    told = split.leader if split.leader in set(measured) else measured.iloc[0]
    sentence = words.reliability_sentence(table, told, split.titles[told], split.titles) + lacking
    caption = (
        f"Reliability on the {split.name} split: imaged pixels in twenty bins of probability. On the dotted diagonal "
        "probabilities are true; below it they are too high. Error: expected calibration error, the mean distance from "
        "the diagonal over all pixels."
    )
    draw = functools.partial(failure_figures.reliability_figure, table, split.cast)
    return Part(heading, sentence, [split.drawn("reliability", draw, table, caption, sentence)])
