"""The comparison report: one HTML page that needs nothing else, and the folder of its figures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from sspipe.files import whole_folder
from sspipe.log import say, warn
from sspipe.report import comparison, figures, making, panel_section, plot_sections, wording
from sspipe.report.html import write_page
from sspipe.report.looks_section import looks_section
from sspipe.report.results import Results, read_results

MAX_PAGE_BYTES = 15_000_000
SECTIONS = (
    ("answer", "The answer"),
    ("table-1", "Table 1"),
    ("leakage", "Leakage"),
    ("learning", "Learning"),
    ("looks", "Many looks"),
    ("panels", "Test tiles"),
    ("made", "How it was made"),
)
FILTERS = {
    "millions": wording.millions,
    "number": wording.number,
    "percent": wording.percent,
    "time": wording.time,
    "spread": lambda sd: "" if pd.isna(sd) else f"± {sd:.3f}",
    "bounds": lambda row: f"[{wording.number(row['f1_low'])}, {wording.number(row['f1_high'])}]",
}


def compare_variants(
    *,
    scores_csv: Path,
    trains: Sequence[Path],
    scores: Sequence[Path],
    leakages: Sequence[Path],
    splits: Sequence[Path],
    catalog: Path,
    catalog_report: Path,
    raw: Path,
    footprints: Path,
    probabilities: Sequence[Path],
    looks: Sequence[Path] = (),
    tunings: Sequence[Path] = (),
    efficiency: Path | None = None,
    settings: str,
    title: str,
    panels: int,
    synthetic: bool,
    interior_threshold: float,
    out: Path,
    out_figures: Path,
) -> None:
    """Writes the comparison report of an experiment.

    Args:
        scores_csv: the table of all runs.
        trains: train.json of each run; metrics.jsonl lies beside each.
        scores: scores.json of each run; tiles.parquet lies beside each.
        leakages: the audit of each split.
        splits: subset of each tile, one file a split, named after it.
        catalog: one row per tile.
        catalog_report: catalog.json, counts and problems.
        raw: folder that the catalog's paths are relative to.
        footprints: all footprints, EPSG:32631.
        probabilities: probabilities.npy of each run; its JSON lies beside it.
        looks: looks.json of each run's map; none where the maps were left out.
        tunings: polygons.json of each run: how its footprints are made.
        efficiency: efficiency.csv: what jobs asked for and used; None leaves it out.
        settings: the whole resolved configuration as JSON text.
        title: heading of the page.
        panels: how many test tiles of the spatial split are shown.
        synthetic: whether the data are generated; the page then says that nothing compares with the paper.
        interior_threshold: probability of interior from which a pixel is building.
        out: the page.
        out_figures: folder of the figures, each with its data beside it.

    Raises:
        UserError: an input is missing, or inputs do not belong together.
    """
    results = read_results(
        scores_csv=scores_csv,
        trains=trains,
        scores=scores,
        leakages=leakages,
        splits=splits,
        catalog=catalog,
        catalog_report=catalog_report,
        settings=settings,
    )
    table = comparison.table_one(results.runs)
    kinds = {split: results.kind(split) for split in results.splits}
    gaps = comparison.leak_gaps(table, kinds)
    with whole_folder(Path(out_figures)) as folder:
        table.to_csv(folder / "table_1.csv", index=False, lineterminator="\n")
        say("drawing figures")
        context = {
            "title": title,
            "synthetic": synthetic,
            "sections": [(anchor, words) for anchor, words in SECTIONS if anchor != "looks" or looks],
            "data": results.data,
            "variant_count": table["variant"].nunique(),
            "splits": [_split_part(results, table, split, synthetic) for split in results.splits],
            "gap_sentence": wording.gap_sentence(gaps, results.leakage),
            "parameter_note": making.parameter_note(results.variants),
            "many_seeds": bool((table["seeds"] > 1).any()),
            "iou_threshold": results.config.score.iou_threshold,
            "drawings": plot_sections.score_drawings(results, table, gaps, kinds, synthetic, folder),
            "leakage": results.leakage.to_dict("records"),
            "counts": figures.subset_counts(results.tiles).to_dict("records"),
            "subsets": list(figures.SUBSET_WORDS),
            "subset_words": figures.SUBSET_WORDS,
            **plot_sections.learning_section(results, folder),
            **panel_section.panel_section(
                results, kinds, probabilities, raw, footprints, panels, interior_threshold, folder
            ),
            **looks_section(results, looks, tunings),
            **making.making_section(results, efficiency),
        }
        size = write_page("page.html.jinja", context, FILTERS, out)
        if size > MAX_PAGE_BYTES:
            warn(f"the page has {size / 1e6:.1f} MB, more than {MAX_PAGE_BYTES / 1e6:.0f}; set report.panels lower")
    say(f"report of {len(results.runs)} runs: {out} ({size / 1e6:.1f} MB)")


def _split_part(results: Results, table: pd.DataFrame, split: str, synthetic: bool) -> dict[str, Any]:
    rows = table[table["split"] == split]
    radar = rows[(rows["role"] != "ceiling") & rows["f1"].notna()]
    best = radar["f1"].idxmax() if len(radar) else None
    if synthetic:
        note = "The paper's numbers are from SpaceNet 6 and stand here only to show the form of its Table 1."
    elif results.kind(split) == "random":
        note = "The paper's numbers are from a random split as well (other tiles, one run)."
    else:
        note = "The paper's numbers are from a random split, so they do not compare with these."
    return {
        "name": split,
        "sentence": wording.best_sentence(rows),
        "paper_note": note,
        "rows": [
            {**row, "best": index == best} for index, row in rows.astype(object).where(rows.notna(), None).iterrows()
        ],
    }
