"""The comparison report: one HTML page that needs nothing else, and the folder of its figures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from sspipe.files import whole_folder
from sspipe.log import say, warn
from sspipe.report import comparison, wording
from sspipe.report.answer_section import answer_section
from sspipe.report.credit import credit
from sspipe.report.html import TEMPLATES, write_page
from sspipe.report.leakage_section import leakage_section
from sspipe.report.learning_section import learning_section
from sspipe.report.look_section import look_section
from sspipe.report.looks_section import looks_section
from sspipe.report.making_section import making_section
from sspipe.report.results import read_results
from sspipe.report.table_section import table_section

MAX_PAGE_BYTES = 15_000_000
STYLES = [name for name in ("page.css", "viewer.css") if (TEMPLATES / name).is_file()]
SCRIPTS = [name for name in ("table.js", "viewer.js") if (TEMPLATES / name).is_file()]
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
        sections = [
            answer_section(results, table, gaps, kinds, synthetic, folder),
            table_section(results, table, synthetic),
            leakage_section(results, gaps, folder),
            look_section(results, kinds, probabilities, raw, footprints, panels, interior_threshold, folder),
            learning_section(results, folder),
            looks_section(results, looks),
            making_section(results, efficiency, tunings),
        ]
        context = {
            "title": title,
            "synthetic": synthetic,
            "credit": credit("synthetic" if synthetic else results.config.archive.source).sentence,
            "sections": [section for section in sections if section is not None],
            "tile_count": results.data["tiles"],
            "variant_count": table["variant"].nunique(),
            "split_count": len(results.splits),
        }
        size = write_page("page.html.jinja", context, FILTERS, out, STYLES, SCRIPTS)
        if size > MAX_PAGE_BYTES:
            warn(f"the page has {size / 1e6:.1f} MB, more than {MAX_PAGE_BYTES / 1e6:.0f}; set report.panels lower")
    say(f"report of {len(results.runs)} runs: {out} ({size / 1e6:.1f} MB)")
