"""The stage `cancel`: ends the Slurm jobs of an experiment's trainings, and of Snakemake's own if asked."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sspipe.config import Config
from sspipe.errors import UserError
from sspipe.files import read_json
from sspipe.log import warn
from sspipe.operate.profile import read_config, read_profile
from sspipe.operate.runs import is_locked, runs_of
from sspipe.operate.status import rule_of, snakemakes_own
from sspipe.slurm import SlurmAwayError, SlurmJob, call, cancel_command, parse_squeue, squeue_command
from sspipe.validation import nearest

_LOOKS, _PAUSE_S = 5, 1.0


@dataclass(frozen=True)
class Victim:
    """A job that would be ended."""

    what: str
    job: SlurmJob


def cancel(
    *,
    profile: Path | None,
    configfile: Sequence[Path],
    runs: Sequence[str],
    all_runs: bool,
    yes: bool,
    config_values: Sequence[str] = (),
) -> int:
    """Ends Slurm jobs, after asking: the stage `cancel`.

    Args:
        profile: as Snakemake's `--profile`, for the configurations that it names.
        configfile: as Snakemake's `--configfile`.
        runs: which: `split/variant/seedN`, or any part of that.
        all_runs: every training, and the jobs that Snakemake's executor submitted for this experiment.
        yes: does not ask.
        config_values: as Snakemake's `--config`.

    Returns:
        0; 1 if nobody said yes.

    Raises:
        UserError: no such run, nothing named, or Slurm does not answer.
    """
    config = read_config(read_profile(profile), configfile, config_values)
    chosen = chosen_runs(config, runs, all_runs)
    jobs = _queue()
    victims = [victim for run in chosen for victim in _training(config, run, jobs)]
    if all_runs:
        victims += [Victim(f"rule {rule_of(job)}", job) for job in snakemakes_own(config, jobs)]
    for line in _local(config, chosen):
        print(line)
    if not victims:
        print(f"{config.experiment}: none of these runs has a job in Slurm's queue; nothing was cancelled")
        return 0
    for victim in victims:
        print(f"  {victim.job.id}  {victim.job.state.lower():10} {victim.what}")
    if not yes and not _agreed(len(victims)):
        print("nothing was cancelled")
        return 1
    return _end(victims)


def chosen_runs(config: Config, wanted: Sequence[str], all_runs: bool) -> list[tuple[str, str, int]]:
    """The runs that are meant.

    Raises:
        UserError: none is named, or a name fits none.
    """
    runs = runs_of(config)
    if all_runs:
        return runs
    if not wanted:
        raise UserError("name the runs to cancel (split/variant/seedN, or a part of it such as a variant), or --all")
    chosen = []
    for word in wanted:
        parts = [part for part in word.strip("/").split("/") if part]
        fitting = [run for run in runs if set(parts) <= {run[0], run[1], f"seed{run[2]}"}]
        if not fitting:
            known = dict.fromkeys(part for run in runs for part in (f"{run[0]}/{run[1]}/seed{run[2]}", run[1], run[0]))
            raise UserError(f"no run `{word}` in {config.experiment}{nearest(word, known)}")
        chosen += [run for run in fitting if run not in chosen]
    return chosen


def _training(config: Config, run: tuple[str, str, int], jobs: Mapping[str, SlurmJob]) -> list[Victim]:
    """The run's job, if it is in the queue; one whose number was not written down in time is found by its name."""
    split, variant, seed = run
    path = config.folder / "train" / split / variant / f"seed{seed}" / "slurm" / "job.json"
    if not path.exists():
        return []
    try:
        known = read_json(path)
        number, name = known.get("job_id"), known.get("name")
    except (UserError, AttributeError):
        warn(f"{path}: damaged; a job of that run, if it has one, is not cancelled: squeue --me, and scancel")
        return []
    fitting = [job for job in jobs.values() if job.id == number or job.name == name]
    return [Victim(f"{split}/{variant}/seed{seed}", job) for job in fitting if not job.final]


def _local(config: Config, chosen: Sequence[tuple[str, str, int]]) -> list[str]:
    """What is said of runs that train without Slurm: they are not ours to end from here."""
    lines = []
    for split, variant, seed in chosen:
        folder = config.folder / "train" / split / variant / f"seed{seed}"
        if not (folder / "slurm" / "job.json").exists() and is_locked(folder / "checkpoints"):
            holder = (folder / "checkpoints" / "lock").read_text() or "a process"
            lines.append(
                f"{split}/{variant}/seed{seed} trains without Slurm, as {holder}: end it there with kill PROCESS; it "
                "saves first"
            )
    return lines


def _agreed(count: int) -> bool:
    if not sys.stdin.isatty():
        raise UserError(f"{count} job{'s' if count > 1 else ''} would be cancelled; add --yes")
    return input(f"cancel {'these ' + str(count) + ' jobs' if count > 1 else 'this job'}? [y/N] ").lower() in (
        "y",
        "yes",
    )


def _end(victims: Sequence[Victim]) -> int:
    ids = [victim.job.id for victim in victims]
    try:
        call(cancel_command(ids))
    except SlurmAwayError as error:
        raise UserError(f"{error}; nothing may have been cancelled: look with squeue --me, and try again") from None
    left = set(ids)
    for _ in range(_LOOKS):
        time.sleep(_PAUSE_S)
        now = _queue()
        left = {id for id in left if id in now and not now[id].final}
        if not left:
            break
    for victim in victims:
        ending = "is being ended by Slurm (it may take a minute)" if victim.job.id in left else "cancelled"
        print(f"{victim.job.id} ({victim.what}): {ending}")
    print("checkpoints stay: the same snakemake command goes on from them")
    # Slurm gives processes KillWait seconds to end: that they are on their way is no failure.
    return 0


def _queue() -> dict[str, SlurmJob]:
    """The queue of this moment: a shared snapshot may be half a minute old."""
    try:
        return {job.id: job for job in parse_squeue(call(squeue_command()))}
    except SlurmAwayError as error:
        raise UserError(
            f"Slurm does not answer ({error}); nothing was cancelled. On a machine without Slurm, end the training's "
            "process: it saves first"
        ) from None
