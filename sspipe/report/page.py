"""The comparison report: one HTML page that needs nothing else, and the folder of its figures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from sspipe.files import whole_folder
from sspipe.log import say, warn
from sspipe.report import comparison, links, wording
from sspipe.report.absence import Unfinished, absent_runs
from sspipe.report.answer_section import answer_section
from sspipe.report.credit import credit
from sspipe.report.failures_section import failures_section
from sspipe.report.html import write_page
from sspipe.report.leakage_section import leakage_section
from sspipe.report.learning_section import learning_section
from sspipe.report.look_section import look_section
from sspipe.report.looks_section import looks_section
from sspipe.report.making_section import making_section
from sspipe.report.paired import read_paired
from sspipe.report.results import ordered_splits, read_results, sorter
from sspipe.report.run_files import RunFiles
from sspipe.report.table_section import table_section

MAX_PAGE_BYTES = 15_000_000
STYLES = ("page.css", "viewer.css")
SCRIPTS = ("table.js", "viewer.js")
FILTERS = {
    "millions": wording.millions,
    "number": wording.number,
    "percent": wording.percent,
    "time": wording.time,
    "hours": lambda hours: wording.number(hours, digits=2),
    "spread": lambda sd: "" if pd.isna(sd) else f"± {sd:.3f}",
    "bounds": wording.bounds,
    "counted": wording.counted,
}


def compare_variants(
    *,
    root: Path,
    runs: Sequence[str],
    scores_csv: Path,
    comparisons: Path,
    leakages: Sequence[Path],
    splits: Sequence[Path],
    catalog: Path,
    catalog_report: Path,
    raw: Path,
    manifest: Path,
    truth: Path,
    maps: bool = False,
    efficiency: Path | None = None,
    settings: Path,
    title: str,
    panels: int,
    synthetic: bool,
    out: Path,
    out_figures: Path,
    unfinished: Unfinished | None = None,
) -> None:
    """Writes the comparison report of an experiment.

    A run that the configuration asks for and that has no scores leaves a marked gap.

    Args:
        root: `results/{experiment}`; `sspipe.report.run_files` says which files of each run are read.
        runs: `{split}/{variant}/seed{seed}` of each run with scores.
        scores_csv: the table of all runs.
        comparisons: comparisons.json, paired comparisons with the baseline; comparisons.csv lies beside it.
        leakages: the audit of each split.
        splits: subset of each tile, one file a split, named after it.
        catalog: one row per tile.
        catalog_report: catalog.json, counts and problems.
        raw: folder that the catalog's paths are relative to.
        manifest: raw.json, what the archive held.
        truth: the buildings that scores count, in the challenge's CSV form.
        maps: whether maps are part of the experiment; a run that has none yet is left out of what is said of them.
        efficiency: efficiency.csv: what jobs asked for and used; None leaves it out.
        settings: experiment.json, the whole resolved configuration.
        title: heading of the page.
        panels: how many test tiles of each split are shown, if they fit into the page.
        synthetic: whether the data are generated; the page then says that nothing compares with the paper.
        out: the page.
        out_figures: folder of the figures, each with its data beside it.
        unfinished: what is known of runs without scores, for a page that says at its top that it is not the last.

    Raises:
        UserError: an input is missing, or inputs do not belong together.
    """
    of_runs = RunFiles(root, runs)
    trains, scores, polygons = of_runs.trains, of_runs.scores, of_runs.polygons
    looks = [path for path in of_runs.looks if path.exists()] if maps else []
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
    absent = absent_runs(results, unfinished, out)
    names = [*results.config.variants, *results.variants]
    table = sorter(ordered_splits(results.config), names)(comparison.table_one(results.runs, absent))
    kinds = {split: results.kind(split) for split in results.splits}
    gaps = comparison.leak_gaps(table[table["seeds"] > 0], kinds)
    files = links.run_links(out, trains, scores, polygons, looks)
    source = "synthetic" if synthetic else results.config.archive.source
    with whole_folder(Path(out_figures)) as folder:
        table.to_csv(folder / "table_1.csv", index=False, lineterminator="\n")
        say("drawing figures")
        sections = [
            answer_section(results, table, gaps, kinds, read_paired(comparisons), synthetic, out, folder),
            table_section(results, table, absent, files, synthetic),
            look_section(results, kinds, scores, polygons, truth, raw, panels, folder),
            learning_section(results, folder),
            failures_section(results, table, scores, folder),
            looks_section(results, looks),
            leakage_section(results, folder),
            making_section(
                results,
                trains=trains,
                scores=scores,
                manifest=manifest,
                efficiency=efficiency,
                tunings=of_runs.tunings,
                source=source,
                page=out,
                absent=absent,
            ),
        ]
        context = {
            "title": title,
            "synthetic": synthetic,
            "credit": credit(source).sentence,
            "sections": [section for section in sections if section is not None],
            "tile_count": results.data["tiles"],
            "variant_count": table["variant"].nunique(),
            "split_count": table["split"].nunique(),
            "run_count": len(results.runs),
            "absent_count": len(absent),
            "as_of": unfinished.as_of if unfinished else "",
        }
        size = write_page("page.html.jinja", context, FILTERS, out, STYLES, SCRIPTS)
        if size > MAX_PAGE_BYTES:
            warn(f"the page has {size / 1e6:.1f} MB, more than {MAX_PAGE_BYTES / 1e6:.0f}; set report.panels lower")
    say(f"report of {len(results.runs)} runs: {out} ({size / 1e6:.1f} MB)")
