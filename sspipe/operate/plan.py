"""The stage `plan`: what would run and why, how long it takes and how much disk, before anything is queued."""

from __future__ import annotations

import heapq
import json
import math
import os
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sspipe.config import Config
from sspipe.operate import disk, work
from sspipe.operate.dry_run import PlannedJob, dry_run, jobs_per_rule
from sspipe.operate.gpus import gpus_of
from sspipe.operate.profile import Profile, minutes, read_config, read_profile, with_options
from sspipe.operate.text import columns, gigabytes, hours

_PREDICTING = {"predict_tiles": "test", "predict_validation": "validation"}


@dataclass(frozen=True)
class TrainingJob:
    """One training that would run.

    Attributes:
        run: split, variant and seed.
        gpus: that it gets; 0 trains on the CPU.
        hours: that it is expected to take from where it is.
        walltime_hours: after which Slurm ends it, to be requeued; None: none.
    """

    run: tuple[str, str, int]
    gpus: int
    hours: float
    walltime_hours: float | None


def plan(
    *,
    profile: Path | None,
    configfile: Sequence[Path],
    targets: Sequence[str],
    as_json: bool,
    night_hours: float | None,
    config_values: Sequence[str] = (),
) -> int:
    """Prints what would run: the stage `plan`.

    Args:
        profile: as Snakemake's `--profile`.
        configfile: as Snakemake's `--configfile`.
        targets: as Snakemake's, with further options of it.
        as_json: prints JSON.
        night_hours: in place of the configuration's.
        config_values: as Snakemake's `--config`.

    Returns:
        0; 1 if something that the plan needs is not there, such as disk.

    Raises:
        UserError: profile or configuration cannot be used, or Snakemake refuses them.
    """
    # Options of Snakemake may come in either place.
    chosen, overlays, values = with_options(read_profile(profile), targets)
    config = read_config(chosen, overlays or configfile, values or config_values)
    jobs = dry_run(profile, configfile, config_values, targets)
    made = make_plan(config, chosen, jobs, night_hours or config.plan.night_hours)
    print(json.dumps(made, indent=2) if as_json else render(made), flush=True)
    return 1 if made["problems"] else 0


def make_plan(config: Config, profile: Profile, jobs: Sequence[PlannedJob], night_hours: float) -> dict[str, Any]:
    """All that is told, as plain values."""
    training_jobs = [job for job in jobs if job.rule == "train"]
    on_gpu = any(gpus_of(job.resources) for job in jobs)
    rate = work.measured_rate(config, on_gpu) or work.configured_rate(config, on_gpu)
    allowed = concurrency(training_jobs[0], profile, os.cpu_count() or 1) if training_jobs else 0
    at_once = min(allowed, len(training_jobs))
    trainings = sorted((_training(job, config, rate.tflops) for job in training_jobs), key=_place_in(config))
    wall_hours = makespan([each.hours for each in trainings], at_once)
    predicting = {
        rule: sum(_prediction_hours(job, config, rate.tflops) for job in jobs if job.rule == rule)
        for rule in _PREDICTING
        if any(job.rule == rule for job in jobs)
    }
    runs = [
        (split, variant, seed)
        for split in config.splits
        for variant in config.variants_of(split)
        for seed in config.seeds
    ]
    spaces = disk.space(config, runs, at_once) if jobs else []
    free = shutil.disk_usage(disk.existing_folder(config.folder)).free
    needed = sum(line.bytes for line in spaces if not line.there)
    gpu_hours = sum(each.gpus * each.hours for each in trainings)
    made: dict[str, Any] = {
        "experiment": config.experiment,
        "profile": profile.name,
        "jobs": [
            {"rule": rule, "jobs": count, "reasons": reasons} for rule, count, reasons in jobs_per_rule(jobs) if rule
        ],
        "seconds_per_job": work.measured_seconds(config.folder, sorted({job.rule for job in jobs})),
        "rate": asdict(rate),
        "trainings": [asdict(each) for each in trainings],
        "prediction_hours": predicting,
        "at_once": at_once,
        "gpu_hours": gpu_hours + (sum(predicting.values()) if on_gpu else 0),
        "on_gpu": on_gpu,
        "training_wall_hours": wall_hours,
        "night_hours": night_hours,
        "nights": math.ceil(wall_hours / night_hours - 1e-9),
        "disk": [asdict(line) for line in spaces],
        "disk_needed": needed,
        "disk_free": free,
        "disk_of": str(config.folder),
    }
    made["problems"], made["notes"] = _judged(config, profile, trainings, made)
    return made


def concurrency(job: PlannedJob, profile: Profile, cpus: int) -> int:
    """How many jobs like this one the profile lets run at a time: by its `resources`, `jobs` and `cores`."""
    bounds = []
    for name, limit in profile.limits.items():
        amount = _whole(job.resources.get(name))
        if amount and _whole(limit) is not None:
            bounds.append(int(limit) // amount)
    if not profile.on_slurm or job.local:
        cores = profile.values.get("cores", 1 if profile.path is None else 5)
        bounds.append((cpus if cores == "all" else int(cores)) // max(1, job.threads))
    elif _whole(profile.values.get("jobs")):
        bounds.append(int(profile.values["jobs"]))
    return max(1, min(bounds, default=1))


def makespan(durations: Sequence[float], slots: int) -> float:
    """When the last job ends if they are taken in this order, each by the first slot that is free."""
    ends = [0.0] * max(1, slots)
    for duration in durations:
        heapq.heapreplace(ends, ends[0] + duration)
    return max(ends)


def render(made: Mapping[str, Any]) -> str:
    """The plan as text."""
    if not made["jobs"]:
        return f"{made['experiment']} with {made['profile']}: nothing to be done."
    seconds = made["seconds_per_job"]
    rows = [
        (
            line["rule"],
            line["jobs"],
            hours(seconds[line["rule"]]) if line["rule"] in seconds else None,
            "; ".join(line["reasons"]),
        )
        for line in made["jobs"]
    ]
    total = sum(line["jobs"] for line in made["jobs"])
    parts = [
        f"{made['experiment']} with {made['profile']}: {total} jobs",
        columns(("rule", "jobs", "each, so far", "why"), rows),
    ]
    if made["trainings"]:
        parts += ["", _trainings_text(made)]
    parts += ["", f"Disk of {made['disk_of']}"]
    parts.append(
        columns(
            ("what", "size", "", "formula"),
            [
                (line["what"], gigabytes(line["bytes"]), "there" if line["there"] else "", line["formula"])
                for line in made["disk"]
            ],
        )
    )
    parts.append(f"  needed {gigabytes(made['disk_needed'])}, free {gigabytes(made['disk_free'])}")
    parts += ["", *(f"note: {line}" for line in made["notes"]), *(f"PROBLEM: {line}" for line in made["problems"])]
    return "\n".join(parts).rstrip()


def _trainings_text(made: Mapping[str, Any]) -> str:
    groups: dict[tuple[Any, ...], int] = {}
    for each in made["trainings"]:
        split, variant, _ = each["run"]
        key = (split, variant, each["gpus"], float(f"{each['hours']:.3g}"))
        groups[key] = groups.get(key, 0) + 1
    rows = [
        (split, variant, runs, gpus, hours(3600 * long), hours(3600 * runs * max(1, gpus) * long))
        for (split, variant, gpus, long), runs in groups.items()
    ]
    unit = "GPU time" if made["on_gpu"] else "in all"
    rate = made["rate"]
    predicting = sum(made["prediction_hours"].values())
    return "\n".join(
        [
            f"Trainings, {made['at_once']} at once",
            columns(("split", "variant", "runs", "GPUs", "each", unit), rows),
            f"  at {rate['tflops']:.3g} TFLOP/s per {'GPU' if made['on_gpu'] else 'job'} ({rate['source']})",
            f"  {made['gpu_hours']:,.1f} GPU-hours, {predicting:,.1f} of them for predicting"
            if made["on_gpu"]
            else f"  {hours(3600 * predicting)} of predicting",
            f"  {hours(3600 * made['training_wall_hours'])} from the first training's start to the last one's end: "
            f"{made['nights']} night{'s' if made['nights'] != 1 else ''} of {made['night_hours']:g} h, the queue's "
            "waiting not counted",
        ]
    )


def _judged(
    config: Config, profile: Profile, trainings: Sequence[TrainingJob], made: Mapping[str, Any]
) -> tuple[list[str], list[str]]:
    """What stands in the way, and what is worth knowing."""
    problems, notes = [], []
    if made["disk_needed"] > made["disk_free"]:
        problems.append(
            f"{made['disk_of']}: {gigabytes(made['disk_needed'])} are needed and {gigabytes(made['disk_free'])} free; "
            "free some space, or set `results` in config.yaml to a larger disk"
        )
    for job in trainings[:1] if all(each.walltime_hours == trainings[0].walltime_hours for each in trainings) else []:
        longest = max(trainings, key=lambda each: each.hours)
        if job.walltime_hours is not None and longest.hours > job.walltime_hours:
            stops = math.ceil(longest.hours / job.walltime_hours) - 1
            notes.append(
                f"{profile.key('train', 'runtime')} is {job.walltime_hours:g} h and the longest training "
                f"({'/'.join(map(str, longest.run))}) takes {longest.hours:.1f} h: it is requeued about {stops} "
                f"time{'s' if stops > 1 else ''}, and goes on from its checkpoint each time"
            )
        if job.walltime_hours is not None and config.training.checkpoint_minutes / 60 >= job.walltime_hours:
            problems.append(
                f"training.checkpoint_minutes is {config.training.checkpoint_minutes:g}, not less than the walltime "
                f"({profile.key('train', 'runtime')}): a job that dies without a signal would begin again each time; "
                "set it lower"
            )
    if made["nights"] > 1:
        notes.append(
            f"{made['nights']} nights at {made['at_once']} trainings at once ({profile.name}: resources); the same "
            "command goes on where it was"
        )
    if trainings and not made["rate"]["measured"]:
        key = "gpu_tflops" if made["on_gpu"] else "cpu_tflops"
        notes.append(f"the rate was not measured here: set plan.{key} in config.yaml, or plan again after one training")
    return problems, notes


def _place_in(config: Config) -> Callable[[TrainingJob], tuple[int, ...]]:
    """Sorts trainings as the configuration lists them."""
    splits, variants = list(config.splits), list(config.variants)
    return lambda job: (splits.index(job.run[0]), variants.index(job.run[1]), job.run[2])


def _training(job: PlannedJob, config: Config, tflops: float) -> TrainingJob:
    split, variant, seed = job.wildcards["split"], job.wildcards["variant"], int(job.wildcards["seed"])
    gpus = gpus_of(job.resources)
    tiles = work.tiles_of(config, split)
    total = work.training_tflop(config.variants[variant], tiles, config.tiles.padded_px, work.bands_of(config))
    left = 1 - _share_done(config.folder / "train" / split / variant / f"seed{seed}")
    scaling = config.plan.gpu_scaling if gpus > 1 else 1.0
    walltime = minutes(job.resources["runtime"]) if "runtime" in job.resources else None
    return TrainingJob(
        (split, variant, seed),
        gpus,
        total * left / (tflops * max(1, gpus) * scaling) / 3600,
        None if walltime is None else walltime / 60,
    )


def _share_done(run: Path) -> float:
    """Of the epochs of a run that was interrupted; 0 if there is nothing to go on from."""
    progress = run / "progress.json"
    if not progress.exists() or not any((run / "checkpoints").glob("checkpoint-*.pt")):
        return 0.0
    try:
        live = json.loads(progress.read_text())
        return float((live["epoch"] - 1) / live["epochs"])
    except (OSError, ValueError, TypeError, KeyError, ZeroDivisionError):  # damaged: the whole is counted
        return 0.0


def _prediction_hours(job: PlannedJob, config: Config, tflops: float) -> float:
    split, variant = job.wildcards["split"], job.wildcards["variant"]
    tiles = work.tiles_of(config, split)
    alone = work.Tiles(0, *((tiles.validation, 0) if _PREDICTING[job.rule] == "validation" else (0, tiles.test)))
    return (
        work.prediction_tflop(config.variants[variant], alone, config.tiles.padded_px, work.bands_of(config))
        / tflops
        / 3600
    )


def _whole(value: Any) -> int | None:
    return int(value) if re.fullmatch(r"\d+", str(value)) else None
