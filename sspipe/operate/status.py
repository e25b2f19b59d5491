"""The stage `status`: one screen that says where every run is."""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sspipe.config import Config
from sspipe.log import duration
from sspipe.operate.freshness import Stale, stale_results
from sspipe.operate.profile import read_config, read_profile
from sspipe.operate.runs import QUEUED, STATES, TRAINING, run_states, runs_of, slurm_job_id
from sspipe.operate.text import columns
from sspipe.session import read_sessions
from sspipe.slurm import Queue, SlurmAwayError, SlurmJob

_HEADER = ("run", "state", "job", "node", "epoch", "loss", "val. IoU", "left", "restarts", "log")
# Columns of a terminal from which each is shown.
_FROM_WIDTH = {"node": 100, "restarts": 100, "loss": 80, "val. IoU": 70, "job": 60}
_COLOURS = {"done": "green", "training": "cyan", "queued": "yellow", "failed": "red", "cancelled": "red"}


def status(
    *,
    profile: Path | None,
    configfile: Sequence[Path],
    as_json: bool,
    watch: bool,
    every_seconds: float,
    config_values: Sequence[str] = (),
) -> int:
    """Prints where every run is: the stage `status`.

    Args:
        profile: as Snakemake's `--profile`, for the configurations that it names.
        configfile: as Snakemake's `--configfile`.
        as_json: prints JSON.
        watch: prints it again and again, until Ctrl-C.
        every_seconds: between two of them; Slurm is asked every 30 s at most, whoever watches.
        config_values: as Snakemake's `--config`.

    Returns:
        0.

    Raises:
        UserError: profile or configuration cannot be used.
    """
    config = read_config(read_profile(profile), configfile, config_values)
    try:
        if watch and not as_json and sys.stdout.isatty():
            _live(config, every_seconds)
            return 0
        while True:
            looked = look(config)
            print(json.dumps(looked, indent=2) if as_json else as_text(looked), flush=True)
            if not watch:
                return 0
            time.sleep(every_seconds)
    except KeyboardInterrupt:
        return 0


def look(config: Config) -> dict[str, Any]:
    """Where everything is, as plain values."""
    jobs, problem = slurm_jobs(config)
    states = run_states(config, jobs)
    asked = Queue(config.folder / "slurm").asked()
    return {
        "experiment": config.experiment,
        "folder": str(config.folder),
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "counts": {state: count for state in STATES if (count := sum(run.state == state for run in states))},
        "slurm": problem,
        "slurm_asked": None if asked is None else datetime.fromtimestamp(asked, UTC).isoformat(timespec="seconds"),
        "other_jobs": dict(Counter(f"{rule_of(job)} {job.state.lower()}" for job in snakemakes_own(config, jobs))),
        "runs": [asdict(run) for run in states],
        "stale": [asdict(stale) for stale in stale_results(config.folder)],
    }


def slurm_jobs(config: Config) -> tuple[dict[str, SlurmJob], str | None]:
    """What Slurm knows of this experiment's jobs, by number, and what it did not answer.

    An experiment that never used Slurm asks nothing.
    """
    ids = {job for run in runs_of(config) if (job := slurm_job_id(_folder(config, run)))}
    if not ids and not (config.folder / "slurm").exists():
        return {}, None
    queue = Queue(config.folder / "slurm")
    try:
        jobs = queue.jobs()
    except SlurmAwayError as error:
        return {}, f"Slurm does not answer ({error}): states are from files alone"
    forgotten = sorted(ids - jobs.keys())
    unfinished = [job for job in forgotten if not _is_done(config, job)]
    try:
        for job in unfinished:
            ended = queue.ended(job)
            if ended is not None:
                jobs[job] = ended
    except SlurmAwayError as error:
        return jobs, f"the accounting does not answer ({error}): how some jobs ended is not known"
    return jobs, None


def snakemakes_own(config: Config, jobs: Mapping[str, SlurmJob]) -> list[SlurmJob]:
    """Jobs that Snakemake's executor has submitted for this experiment and that have not ended.

    They bear the name of the Snakemake process, which `sspipe.session` remembers.
    """
    names = set(read_sessions(config.folder / "slurm")["runs"])
    return [job for job in jobs.values() if job.name in names and not job.final]


def rule_of(job: SlurmJob) -> str:
    """The rule of a job that Snakemake's executor submitted, by the comment that it gives it."""
    return job.comment.removeprefix("rule_").partition("_wildcards_")[0] or "a rule"


def as_text(looked: Mapping[str, Any]) -> str:
    """The screen as plain text."""
    rows = [row_of(run) for run in looked["runs"]]
    return "\n".join([headline(looked), columns(_HEADER, rows), *remarks(looked)])


def row_of(run: Mapping[str, Any]) -> tuple[str, ...]:
    """One run's cells."""

    def number(value: float | None, digits: int) -> str:
        return "-" if value is None else f"{value:.{digits}f}"

    return (
        f"{run['split']}/{run['variant']}/seed{run['seed']}",
        run["state"],
        run["job"] or "-",
        run["node"] or "-",
        "-" if run["epoch"] is None else f"{run['epoch']}/{run['epochs']}",
        number(run["loss"], 3),
        number(run["validation_iou"], 3),
        "-" if run["seconds_left"] is None else duration(run["seconds_left"]),
        "-" if run["restarts"] is None else str(run["restarts"]),
        run["log"],
    )


def headline(looked: Mapping[str, Any]) -> str:
    """Experiment, time, and how many runs are in which state."""
    counts = ", ".join(f"{count} {state}" for state, count in looked["counts"].items())
    return f"{looked['experiment']} ({looked['folder']}), {looked['time'][:16].replace('T', ' ')} UTC: {counts}"


def remarks(looked: Mapping[str, Any]) -> list[str]:
    """What stands below the table: why runs wait or failed, what else runs, and what is older than the code."""
    lines = [
        f"{run['split']}/{run['variant']}/seed{run['seed']} {run['state']}: {run['detail']}"
        for run in looked["runs"]
        if run["detail"]
    ]
    lines += [f"{count} x {what}" for what, count in looked["other_jobs"].items()]
    if looked["slurm_asked"]:
        asked = datetime.fromisoformat(looked["slurm_asked"]).astimezone()
        lines.append(f"Slurm's queue as of {asked:%H:%M:%S}; it is asked once in 30 s at most, and files are as of now")
    lines += [looked["slurm"]] if looked["slurm"] else []
    return lines + [stale_line(Stale(**stale)) for stale in looked["stale"]]


def stale_line(stale: Stale) -> str:
    """One kind of results that is older than its code."""
    counted = "" if stale.of == 1 else f"{stale.count} of {stale.of} "
    return f"older than the code: {counted}{stale.name} ({stale.first}); to make anew: {stale.remedy}"


def _live(config: Config, every_seconds: float) -> None:
    from rich.live import Live

    with Live(refresh_per_second=1, screen=True) as live:
        while True:
            live.update(screen(look(config), live.console.width), refresh=True)
            time.sleep(every_seconds)


def screen(looked: Mapping[str, Any], width: int) -> Any:
    """The screen for a terminal of so many columns; where they are few, those go of which least depends."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    # The log's path is guessed from the run's name: the screen has no room for both.
    dropped = {"log", *(name for name, least in _FROM_WIDTH.items() if width < least)}
    shown = [number for number, name in enumerate(_HEADER) if name not in dropped]
    table = Table(box=None, padding=(0, 2, 0, 0))
    for number in shown:
        # A run's name is whole in any case: cut short, all runs of a split look alike.
        table.add_column(_HEADER[number], overflow="fold", no_wrap=number > 1)
    order = {TRAINING: 0, QUEUED: 1}
    for run in sorted(looked["runs"], key=lambda run: order.get(run["state"], 2)):
        cells = [*map(Text, row_of(run))]
        cells[1].style = _COLOURS.get(run["state"], "")
        table.add_row(*(cells[number] for number in shown))
    logs = f"logs: {looked['folder']}/train/RUN/train.log; Ctrl-C ends this screen and nothing else"
    # A screen that is too low cuts what is lowest: runs that are done or have not begun.
    above = [Text(headline(looked), style="bold"), *(Text(line) for line in remarks(looked)), Text(logs, style="dim")]
    return Group(*above, table)


def _is_done(config: Config, job: str) -> bool:
    """Whether the run that this job trained has its result, so that nothing need be asked of it."""
    return any(
        (_folder(config, run) / "train.json").exists()
        for run in runs_of(config)
        if slurm_job_id(_folder(config, run)) == job
    )


def _folder(config: Config, run: tuple[str, str, int]) -> Path:
    split, variant, seed = run
    return config.folder / "train" / split / variant / f"seed{seed}"
