"""The first section: what each split says, which variants can be told apart, and how large the leak is."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from sspipe.report import paired as paired_scores
from sspipe.report import score_figures, wording
from sspipe.report.drawing import Drawing, saved_drawing
from sspipe.report.links import relative
from sspipe.report.paired import Paired
from sspipe.report.results import Results
from sspipe.report.section import Section

KIND_WORDS = {
    "random": "tiles drawn at random, so that most test ground was seen in training",
    "spatial": "no test tile lies on ground that training or validation saw",
    "baseline_x": "the challenge’s own slices from west to east, which touch",
}


def answer_section(
    results: Results,
    table: pd.DataFrame,
    gaps: pd.DataFrame,
    kinds: Mapping[str, str],
    paired: Paired,
    synthetic: bool,
    page: Path,
    folder: Path,
) -> Section:
    """Says who does best on each split, what can be told apart and how large the leak is; draws F1 and the gap.

    Args:
        results: of the experiment.
        table: `comparison.table_one`.
        gaps: `comparison.leak_gaps`.
        kinds: `random`, `spatial` or `baseline_x` for each split that has scores.
        paired: comparisons with the baseline.
        synthetic: whether the data are generated; the paper's numbers are then neither drawn nor told.
        page: that is being written.
        folder: where figures are saved.
    """
    paper_splits = () if synthetic else tuple(split for split, kind in kinds.items() if kind == "random")
    content = {
        "cards": [*(_card(table, split, kind) for split, kind in kinds.items()), *_gap_cards(gaps)],
        "splits": [
            _split_part(results, table, split, kinds, paired, split in paper_splits)
            for split in table["split"].unique()
        ],
        "gap_sentence": wording.gap_sentence(gaps, results.leakage),
        "scores": _score_drawing(results, table[table["split"].isin(list(kinds))], paired, paper_splits, folder),
        "gap": _gap_drawing(gaps, folder),
        "rule": paired.rule,
        "comparisons": relative(paired.table, page),
    }
    return Section("answer", "The answer", "The answer", "answer.html.jinja", content)


def _split_part(
    results: Results, table: pd.DataFrame, split: str, kinds: Mapping[str, str], paired: Paired, with_paper: bool
) -> dict[str, Any]:
    rows = table[table["split"] == split]
    if split not in kinds:
        return {"name": split, "kind": "", "sentences": ["No variant has a result on this split."], "statements": []}
    tiles = results.tile_scores[results.tile_scores["split"] == split]
    by_block = kinds[split] != "random" and "block" in tiles
    units = tiles["block" if by_block else "tile_id"].nunique()
    sentences = [
        wording.best_sentence(rows),
        paired_scores.verdict_sentence(paired, rows, split),
        paired_scores.caution_sentence(paired.of(split), units, by_block),
        wording.paper_sentence(rows) if with_paper else "",
    ]
    lost = int((rows["seeds"] == 0).sum())
    if lost:
        sentences.append(f"{lost} of {len(rows)} variants {'has' if lost == 1 else 'have'} no result: marked below.")
    return {
        "name": split,
        "kind": KIND_WORDS[kinds[split]],
        "sentences": [sentence for sentence in sentences if sentence],
        "statements": paired_scores.statements(paired, rows, split),
        "notes": paired.notes.get(split, ()),
        "not_compared": [name for name in paired.not_compared.get(split, ()) if name != paired.baseline],
    }


def _card(table: pd.DataFrame, split: str, kind: str) -> dict[str, str]:
    """The highest F1 of a split with radar alone at test, to be read at a glance."""
    rows = table[(table["split"] == split) & (table["role"] != "ceiling") & table["f1"].notna()]
    head = f"{split.capitalize()} split, {'highest F1' if len(rows) > 1 else 'F1'} with radar alone"
    if rows.empty:
        words = "F1 is not defined" if (table.loc[table["split"] == split, "seeds"] > 0).any() else "no result"
        return {"kind": kind, "head": head, "number": wording.NONE, "bounds": "", "words": words}
    best = rows.loc[rows["f1"].idxmax()]
    bounds = wording.bounds(best)
    return {"kind": kind, "head": head, "number": wording.number(best["f1"]), "bounds": bounds, "words": best["title"]}


def _gap_cards(gaps: pd.DataFrame) -> list[dict[str, str]]:
    cards = []
    for (random, spatial), rows in gaps.groupby(["random_split", "spatial_split"], sort=False):
        low, high = (wording.signed(value) for value in (rows["gap"].min(), rows["gap"].max()))
        some = f"{len(rows)} variants" if len(rows) > 1 else str(rows["title"].iloc[0])
        number = low if low == high else f"{low} to {high}"
        head = f"Leakage gap: {random} minus {spatial} F1"
        cards.append({"kind": "leak", "head": head, "number": number, "bounds": "", "words": f"of {some}"})
    return cards


def _score_drawing(
    results: Results, table: pd.DataFrame, paired: Paired, paper_splits: tuple[str, ...], folder: Path
) -> Drawing:
    others = table[table["role"] != "candidate"].sort_values("f1", ascending=False, kind="stable")
    keep = (paired.baseline, *others.drop_duplicates(["split", "role"])["variant"].unique())
    caption = (
        "SpaceNet F1 of each variant (the higher, the better), with its 95 % interval over test tiles or blocks of "
        "ground."
    )
    if (table["role"] != "candidate").any():
        caption += " Open grey dots: floor (never sees EO) and ceiling (EO at test too)."
    if (table["seeds"] > 1).any():
        caption += " Dot: mean over seeds; ticks: single seeds."
    if paper_splits:
        caption += " Orange diamonds: the paper's F1 (its own random split)."
    if (table.groupby("split").size() > score_figures.MAX_ROWS).any():
        caption += (
            f" Of many variants {score_figures.MAX_ROWS}: the baseline, the best floor and ceiling, and those with the "
            "highest F1; Table 1 has all."
        )
    return saved_drawing(
        folder,
        "f1_by_variant",
        functools.partial(score_figures.f1_figure, table, results.runs, paper_splits=paper_splits, keep=keep),
        table,
        "Dot plot: SpaceNet F1 of each variant with its 95 % interval, one panel for each split. "
        + _spoken_f1(table, keep),
        caption,
    )


def _gap_drawing(gaps: pd.DataFrame, folder: Path) -> Drawing | None:
    if gaps.empty:
        return None
    spoken = score_figures.gaps_drawn(gaps)
    names = score_figures.gap_names(spoken)
    return saved_drawing(
        folder,
        "leak_gap",
        functools.partial(score_figures.gap_figure, gaps),
        gaps,
        "Dumbbell chart: F1 on the random and on the spatial split of each variant trained on both. "
        + "; ".join(f"{name}: gap {wording.signed(gap)}" for name, gap in zip(names, spoken["gap"], strict=True))
        + ".",
        "The leakage gap: F1 of the same variant on both splits, with 95 % intervals; bold: random minus spatial."
        + (f" The {score_figures.MAX_ROWS} largest." if len(gaps) > score_figures.MAX_ROWS else ""),
    )


def _spoken_f1(table: pd.DataFrame, keep: tuple[str, ...]) -> str:
    parts = []
    for split, rows in table.groupby("split", sort=False):
        drawn = score_figures.rows_drawn(rows, keep)
        named = "; ".join(f"{row['title']} {row['remark'] or wording.number(row['f1'])}" for _, row in drawn.iterrows())
        parts.append(f"{split} split: {named}.")
    return " ".join(parts)
