"""Tables and pages."""

from __future__ import annotations

from sspipe.commands.flags import Parser, StageAdder, experiment_flags, number, path, paths


def add(stage: StageAdder) -> None:
    """Adds the sub-commands."""
    sub = stage("collect-scores", "report.tables:collect_scores", "one table of all runs' scores")
    paths(sub, "--scores", "scores.json of every run")
    paths(sub, "--trains", "train.json of every run")
    path(sub, "--out", "scores.csv to write")

    sub = stage("describe-tiles", "report.data_page:describe_tiles", "the data report")
    path(sub, "--catalog", "catalog.parquet")
    path(sub, "--catalog-report", "catalog.json")
    path(sub, "--footprints", "footprints.parquet")
    path(sub, "--manifest", "raw.json")
    sub.add_argument("--title", required=True)
    number(sub, "--min-area-px", "smaller buildings are not scored, px")
    sub.add_argument("--source", required=True, help="archive.source: whose the data are")
    path(sub, "--out", "catalog.html to write")

    sub = stage("describe-models", "report.describe:describe_models", "a model card and a STAC item of every model")
    run_names(sub, "README.md and model.stac.json are written beside each train.json")
    for flag, what in (
        ("--leakages", "leakage audit of every split"),
        ("--splits", "table of every split"),
        ("--statistics", "statistics of every split"),
    ):
        paths(sub, flag, what)
    path(sub, "--catalog", "catalog.parquet")
    path(sub, "--settings", "experiment.json: the whole resolved configuration")

    sub = stage("compare-variants", "report.page:compare_variants", "the comparison report")
    path(sub, "--scores-csv", "table of all runs' scores")
    run_names(sub, "its train.json, scores.json, polygons.parquet and what lies beside them are read")
    paths(sub, "--leakages", "leakage audit of every split")
    paths(sub, "--splits", "table of every split")
    path(sub, "--comparisons", "comparisons.json, with comparisons.csv beside it")
    sub.add_argument("--maps", action="store_true", help="maps are part of the experiment: F1 of one look against all")
    path(sub, "--efficiency", "efficiency.csv: what jobs asked for and used", required=False)
    path(sub, "--catalog", "catalog.parquet")
    path(sub, "--catalog-report", "catalog.json")
    path(sub, "--raw", "unpacked folder")
    path(sub, "--manifest", "raw.json: what the archive held")
    path(sub, "--truth", "CSV of true buildings")
    path(sub, "--settings", "experiment.json: the whole resolved configuration")
    sub.add_argument("--title", required=True)
    number(sub, "--panels", "test tiles shown of every split", int)
    sub.add_argument("--synthetic", action="store_true", help="the data are synthetic: not comparable with the paper")
    path(sub, "--out", "index.html to write")
    path(sub, "--out-figures", "folder of figures and their data to write")

    sub = stage("report-so-far", "report.so_far:report_so_far", "the comparison report of the runs that have finished")
    experiment_flags(sub)


def run_names(parser: Parser, what: str) -> None:
    """Adds the flags that say which runs are meant, and where their files lie."""
    path(parser, "--root", "results/{experiment}")
    parser.add_argument(
        "--runs", nargs="+", required=True, help=f"{{split}}/{{variant}}/seed{{seed}} of every run; {what}"
    )
