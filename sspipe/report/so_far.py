"""The stage `report-so-far`: the comparison report of the runs that have finished, while others run or have failed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from sspipe.config import Config
from sspipe.data.spacenet6 import TRUTH_FILE
from sspipe.errors import UserError
from sspipe.files import whole_file, write_json
from sspipe.log import say
from sspipe.operate.efficiency import as_csv, measured
from sspipe.operate.profile import read_config, read_profile
from sspipe.operate.runs import DONE, FAILED, last_error, run_state, runs_of
from sspipe.operate.status import slurm_jobs
from sspipe.report.absence import Unfinished
from sspipe.report.page import compare_variants
from sspipe.report.run_files import RunFiles
from sspipe.report.tables import collect_scores
from sspipe.score.comparison import compare_scores

Run = tuple[str, str, int]
# Between a training and its scores.
AFTER_TRAINING = ("predict_validation", "tune_polygons", "predict_tiles", "extract_polygons", "score_polygons")


def report_so_far(*, profile: Path | None, configfile: Sequence[Path], config_values: Sequence[str] = ()) -> None:
    """Writes `report/so_far/index.html` of an experiment: finished runs in full, the others as marked gaps.

    The workflow writes its report when all runs have scores; after a failure this one can be had at once. It changes
    nothing that the workflow has made, and may be written while it works.

    Args:
        profile: as Snakemake's `--profile`, for the configurations that it names.
        configfile: as Snakemake's `--configfile`.
        config_values: as Snakemake's `--config`.

    Raises:
        UserError: profile or configuration cannot be used, or no run has scores yet.
    """
    config = read_config(read_profile(profile), configfile, config_values)
    folder, out = config.folder, config.folder / "report" / "so_far"
    done = [run for run in runs_of(config) if _is_done(RunFiles(folder, [_name(run)]))]
    if not done:
        raise UserError(
            f"{folder}: no run of this experiment has scores yet, so there is nothing to report; "
            "`python -m sspipe status` says where each is"
        )
    files = RunFiles(folder, [_name(run) for run in done])
    tables = {name: out / f"{name}.csv" for name in ("scores", "comparisons", "seeds", "efficiency")}
    collect_scores(scores=files.scores, trains=files.trains, out=tables["scores"])
    compare_scores(
        scores=files.scores,
        baseline=config.score.baseline,
        bootstrap_samples=config.score.bootstrap_samples,
        out_comparisons=tables["comparisons"],
        out_seeds=tables["seeds"],
        out_statements=tables["comparisons"].with_suffix(".json"),
    )
    with whole_file(tables["efficiency"]) as partial:
        partial.write_text(as_csv(measured(folder)))
    settings = out / "experiment.json"
    write_json(settings, config.model_dump(mode="json"))
    splits = [split for split in config.splits if (folder / "splits" / f"{split}.leakage.json").exists()]
    compare_variants(
        root=folder,
        runs=files.names,
        scores_csv=tables["scores"],
        comparisons=tables["comparisons"].with_suffix(".json"),
        leakages=[folder / "splits" / f"{split}.leakage.json" for split in splits],
        splits=[folder / "splits" / f"{split}.parquet" for split in splits],
        catalog=folder / "catalog.parquet",
        catalog_report=folder / "catalog.json",
        raw=folder / "raw",
        manifest=folder / "raw.json",
        truth=folder / "raw" / TRUTH_FILE,
        maps=config.maps.with_all,
        efficiency=tables["efficiency"],
        settings=settings,
        title=config.report.title,
        panels=config.report.panels,
        synthetic=config.archive.source == "synthetic",
        out=out / "index.html",
        out_figures=out / "figures",
        unfinished=Unfinished(f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC", _states(config, set(done))),
    )
    say(f"{len(done)} of {len(runs_of(config))} runs have scores; the page marks the others")


def _name(run: Run) -> str:
    split, variant, seed = run
    return f"{split}/{variant}/seed{seed}"


def _is_done(files: RunFiles) -> bool:
    """Whether a run has written what the page needs of it."""
    return all(path.exists() for path in (*files.trains, *files.scores, *files.polygons))


def _states(config: Config, done: set[Run]) -> dict[Run, tuple[str, str, Path | None]]:
    """State, reason and log of every run without scores."""
    jobs, _ = slurm_jobs(config)
    states: dict[Run, tuple[str, str, Path | None]] = {}
    for run in runs_of(config):
        if run in done:
            continue
        found = run_state(config, *run, jobs)
        log = Path(found.log)
        states[run] = (found.state, found.detail, log if log.exists() else None)
        if found.state == DONE:
            states[run] = _after_training(config.folder, run)
    return states


def _after_training(folder: Path, run: Run) -> tuple[str, str, Path | None]:
    """Where a trained run without scores is: the last of the rules between that has left a log tells."""
    split, variant, seed = run
    logs = {rule: folder / "logs" / rule / split / variant / f"seed{seed}.log" for rule in AFTER_TRAINING}
    for rule, log in reversed(logs.items()):
        if log.exists():
            error = last_error(log)
            return (FAILED, f"{rule}: {error}", log) if error else ("trained, not scored yet", "", log)
    return "trained, not scored yet", "", None
