"""What Snakemake itself leaves open for an unattended night on Slurm; rules/common.smk calls this.

* A `--set-resources` on the command line takes the place of all that the profile sets, not of the one value.
* After `kill -9` Snakemake's lock stays, and its next run submits again what its executor's jobs are still working on.
  Here a lock lives as long as the process does, and the next run cancels the jobs that the dead one left before it
  submits its own. (Their work is lost, though nothing half-made is left. Trainings are not the executor's: they go on.)
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import time
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from sspipe.errors import UserError
from sspipe.files import read_json, write_json
from sspipe.log import say, warn
from sspipe.slurm import SlurmAwayError, call, cancel_command, parse_squeue, squeue_command
from sspipe.train.submission import Submission

_UNSUPPORTED = (errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK)
_LEAVING_S = 120
_POLL_S = 5


def keep_set_resources(overwritten: dict[str, Any], set_resources: Mapping[str, Mapping[str, Any]]) -> None:
    """Adds what a profile's `set-resources` gives to what the command line gave in its place.

    Args:
        overwritten: Snakemake's resources by rule, which are added to.
        set_resources: of the profile.
    """
    from snakemake.cli import parse_set_resources  # type: ignore[import-untyped]

    entries = [f"{rule}:{name}={value}" for rule, values in set_resources.items() for name, value in values.items()]
    for rule, resources in parse_set_resources(entries).items():
        kept = overwritten.setdefault(rule, resources)
        given = {_plain(name) for name in kept}
        for name, resource in resources.items():
            if _plain(name) not in given:
                kept[name] = resource


def _plain(name: str) -> str:
    """Without the unit: `mem`, `mem_mb` and `mem_mib` are one resource."""
    return name.removesuffix("_mb").removesuffix("_mib")


def going_on(results: Path, profile: Path | None) -> list[str]:
    """What is said when Snakemake ends, by Ctrl-C for one, while trainings go on in Slurm: which, and how to end them.

    Args:
        results: `results/{experiment}`.
        profile: folder that `--profile` named.
    """
    jobs = {}
    for path in sorted(results.glob("train/*/*/seed*/slurm/job.json")):
        try:
            known = Submission.read(path.parent)
        except UserError as error:
            warn(str(error))
            continue
        if known is not None and known.job_id is not None and known.ended is None:
            jobs[str(path.parents[1].relative_to(results / "train"))] = known.job_id
    if not jobs:
        return []
    command = "python -m sspipe cancel" + (f" --profile {profile}" if profile else "")
    return [
        "Trainings go on in Slurm, and the same command attaches to them:",
        *(f"  {job}  {run}" for run, job in jobs.items()),
        f"To end them: {command} --all, or {command} {next(iter(jobs))} for one",
    ]


def read_sessions(folder: Path) -> dict[str, Any]:
    """What `snakemake.json` says: `runs`, names of jobs that may be left, and `sessions`, when each of all began.

    Args:
        folder: `results/{experiment}/slurm`.

    Raises:
        UserError: it cannot be read.
    """
    path = folder / "snakemake.json"
    if not path.exists():
        return {"runs": [], "sessions": {}}
    known = read_json(path)
    try:
        return {"runs": list(known["runs"]), "sessions": dict(known.get("sessions", {}))}
    except (TypeError, KeyError, ValueError, AttributeError):
        raise UserError(
            f"{path}: not what this version writes; see with `squeue --me` that no Snakemake's jobs are left, and "
            "delete it"
        ) from None


class Session:
    """One Snakemake at work on one experiment under Slurm; it holds the experiment's lock until the process ends.

    Args:
        folder: `results/{experiment}/slurm`.
        run_id: name of every job that Snakemake's executor will submit.

    Raises:
        UserError: another Snakemake is at work on the experiment, or the jobs of a dead one do not end.
    """

    def __init__(self, folder: Path, run_id: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._handle = os.open(folder / "snakemake.lock", os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(self._handle, 200, 0).decode(errors="replace")
            raise UserError(
                f"{folder.parent}: {holder or 'another Snakemake'} is at work on this experiment; wait for its end, "
                "or end it"
            ) from None
        except OSError as error:
            if error.errno not in _UNSUPPORTED:
                raise
            warn(f"{folder}: this file system has no locks; see that no other Snakemake runs the same experiment")
        os.ftruncate(self._handle, 0)
        os.pwrite(self._handle, f"Snakemake, process {os.getpid()} on {socket.gethostname()},".encode(), 0)
        record, known = folder / "snakemake.json", read_sessions(folder)
        # The accounting is asked for the jobs of all of them; it knows local time alone.
        sessions = {**known["sessions"], run_id: datetime.now().isoformat(timespec="seconds")}
        # First: should this process be killed while it cleans up.
        write_json(record, {"runs": [*known["runs"], run_id], "sessions": sessions})
        for run in known["runs"]:
            _end_jobs_of(run)
        write_json(record, {"runs": [run_id], "sessions": sessions})


def _end_jobs_of(run_id: str) -> None:
    limit = time.monotonic() + _LEAVING_S
    told = False
    while True:
        try:
            left = [job for job in parse_squeue(call(squeue_command(run_id))) if not job.final]
            if not left:
                return
            if not told:
                what = ", ".join(f"{job.id} ({job.comment})" for job in left)
                say(f"cancelling the jobs that a Snakemake which was killed has left: {what}")
                told = True
            call(cancel_command([job.id for job in left]))
            problem = f"{', '.join(job.id for job in left)} do not end; scancel them"
        except SlurmAwayError as error:
            problem = f"Slurm does not answer ({error}); wait for it"
        if time.monotonic() > limit:
            raise UserError(f"the jobs that the last Snakemake left cannot be ended: {problem}, and run the same again")
        time.sleep(_POLL_S)
