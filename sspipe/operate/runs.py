"""Where every training run of an experiment is: from its folder, its lock, its log, and Slurm's queue."""

from __future__ import annotations

import fcntl
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sspipe.config import Config
from sspipe.errors import UserError
from sspipe.files import read_json
from sspipe.log import warn
from sspipe.slurm import INTERRUPTED as ENDED_BY_SLURM
from sspipe.slurm import RUNNING, WAITING, SlurmJob

DONE, TRAINING, QUEUED = "done", "training", "queued"
INTERRUPTED, FAILED, CANCELLED, WAITING_STATE = "interrupted", "failed", "cancelled", "not begun"
STATES = (TRAINING, QUEUED, INTERRUPTED, FAILED, CANCELLED, DONE, WAITING_STATE)
_LOG_TAIL_BYTES = 8192
# Attempts are appended to a log: what an earlier one ended with is not told of this one.
_BEGINS = re.compile(r"\d\d:\d\d:\d\d (train begins|submitted as Slurm job|attached to Slurm job)")


@dataclass(frozen=True)
class RunState:
    """One run.

    Attributes:
        split: of the run.
        variant: of the run.
        seed: of the run.
        state: one of `STATES`.
        detail: why, where there is something to say.
        job: Slurm's number of it; None without.
        node: where it trains or trained.
        epoch: that it is in, counted over all stages from 1; None before it began.
        epochs: of all stages.
        loss: of the epoch so far, or of the last one.
        validation_iou: of the last epoch, or of the kept one if the run is done.
        seconds_left: at the pace of this session.
        restarts: how often it went on.
        updated: when this was written, UTC; None before.
        log: of the run.
    """

    split: str
    variant: str
    seed: int
    state: str
    detail: str
    job: str | None
    node: str | None
    epoch: int | None
    epochs: int
    loss: float | None
    validation_iou: float | None
    seconds_left: float | None
    restarts: int | None
    updated: str | None
    log: str

    @property
    def name(self) -> str:
        """As folders have it."""
        return f"{self.split}/{self.variant}/seed{self.seed}"


def runs_of(config: Config) -> list[tuple[str, str, int]]:
    """Split, variant and seed of every run that the configuration asks for."""
    return [
        (split, variant, seed)
        for split in config.splits
        for variant in config.variants_of(split)
        for seed in config.seeds
    ]


def run_states(config: Config, jobs: Mapping[str, SlurmJob]) -> list[RunState]:
    """Looks at every run.

    Args:
        config: of the experiment.
        jobs: what Slurm told, by number; empty without Slurm.
    """
    return [run_state(config, *run, jobs) for run in runs_of(config)]


def run_state(config: Config, split: str, variant: str, seed: int, jobs: Mapping[str, SlurmJob]) -> RunState:
    """Looks at one run."""
    name = f"{split}/{variant}/seed{seed}"
    folder = config.folder / "train" / name
    # All attempts are in train.log; the rule's own log has the last one, also of what was started in another way.
    every = folder / "train.log"
    log = every if every.exists() else config.folder / "logs" / "train" / f"{name}.log"
    record, live = _json(folder / "train.json"), _json(folder / "progress.json")
    job_id = slurm_job_id(folder)
    job = jobs.get(job_id) if job_id else None
    state, detail = _state(config, variant, folder, log, record, live, job)
    about = record if state == DONE and record else live
    epochs = sum(stage.epochs for stage in config.variants[variant].stages)
    best = (record or {}).get("best", {})
    return RunState(
        split,
        variant,
        seed,
        state,
        detail,
        job=job_id,
        node=(job.node if job and job.node else None) or (live or {}).get("host"),
        epoch=epochs if state == DONE else (live or {}).get("epoch"),
        epochs=epochs,
        loss=None if state == DONE else (live or {}).get("loss"),
        validation_iou=best.get("validation_iou") if state == DONE else (live or {}).get("validation_iou"),
        seconds_left=(live or {}).get("seconds_left") if state == TRAINING else None,
        restarts=(about or {}).get("restarts"),
        updated=(record or {}).get("finished") if state == DONE else (live or {}).get("updated"),
        log=str(log),
    )


def read_record(path: Path) -> dict[str, Any] | None:
    """A run's `train.json`; None if it is not there, or is damaged, which is told and stops no table of the others."""
    try:
        record = read_json(path) if path.exists() else {}
    except (UserError, UnicodeDecodeError):
        record = None
    if not isinstance(record, dict):
        warn(f"{path}: damaged, and left out; delete it, and the same snakemake command writes it anew")
        return None
    return record or None


def slurm_job_id(folder: Path) -> str | None:
    """The number of the Slurm job that trains or trained in a run's folder; None if there was none."""
    content = _json(folder / "slurm" / "job.json")
    found = (content or {}).get("id", (content or {}).get("job_id"))
    return None if found is None else str(found)


def is_locked(checkpoints: Path) -> bool:
    """Whether a process trains into this folder now, here or on any machine that shares the file system's locks."""
    try:
        handle = os.open(checkpoints / "lock", os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)  # let go at once: a training that begins looks again
        return False
    except BlockingIOError:
        return True
    except OSError:  # no locks on this file system: nothing can be told
        return False
    finally:
        os.close(handle)


def last_error(log: Path) -> str | None:
    """The error that a log ends with, in one line; None if it does not end with one."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - _LOG_TAIL_BYTES))
            lines = file.read().decode(errors="replace").splitlines()
    except OSError:
        return None
    for number in range(len(lines) - 1, -1, -1):
        line = lines[number]
        if ": error: " in line and line.startswith("sspipe "):
            return line.partition(": error: ")[2]
        if line.startswith("Traceback (most recent call last)"):
            # What was raised is the first line after it that is not indented.
            return next((after for after in lines[number + 1 :] if after and not after.startswith(" ")), line)
        if _BEGINS.match(line):
            return None
    return None


def _state(
    config: Config,
    variant: str,
    folder: Path,
    log: Path,
    record: dict[str, Any] | None,
    live: dict[str, Any] | None,
    job: SlurmJob | None,
) -> tuple[str, str]:
    if job is not None and job.state in RUNNING:
        return TRAINING, "" if job.state == "RUNNING" else job.state.lower()
    if job is not None and job.state in WAITING:
        return QUEUED, job.reason
    if is_locked(folder / "checkpoints"):
        return TRAINING, ""
    if record is not None:
        return DONE, _outdated(config, variant, record)
    if (folder / "train.json").exists():
        return FAILED, "its train.json is damaged: delete it, and the same command writes it anew"
    begun = live is not None or any((folder / "checkpoints").glob("checkpoint-*.pt"))
    if job is not None and job.state == "CANCELLED":
        return CANCELLED, "the same command goes on from its checkpoint" if begun else "the same command submits it"
    error = last_error(log)
    if error is not None:
        return FAILED, error
    if job is not None and job.state in ENDED_BY_SLURM:
        return INTERRUPTED, f"{job.state}; the same command goes on" + (" from its checkpoint" if begun else "")
    if job is not None and job.state not in ("COMPLETED",):
        return FAILED, " ".join(part for part in (job.state, job.reason) if part)
    if begun:
        return INTERRUPTED, "the same command goes on from its checkpoint"
    return WAITING_STATE, ""


def _outdated(config: Config, variant: str, record: Mapping[str, Any]) -> str:
    """Whether a finished run has the variant's settings of now."""
    names = {"title", "paper_row"}
    now = config.variants[variant].model_dump(mode="json", exclude=names)
    then = {key: value for key, value in record.get("settings", {}).items() if key not in names}
    return "" if now == then else "other settings than configured now"


def _json(path: Path) -> dict[str, Any] | None:
    """The content of a file that may not be there, or is of a version that cannot be read."""
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None
