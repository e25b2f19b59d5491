"""Slurm, as a login node sees it: commands built and answers read by pure functions, and one shared, gentle look.

However many launchers and status screens watch one experiment, they share one snapshot of the queue in its folder: at
most one `squeue` and one `sacct` every `every_s` seconds between them, so with the default of 30 s

    4 calls a minute for watching, whatever the number of jobs,

plus one `sbatch` a submission and one `scontrol requeue` a job that Slurm ended and did not queue again. Snakemake's
executor looks for itself at its own jobs: with profiles/slurm first after 20 s, then ever more seldom, which makes at
most 3 calls a minute more. (Where the file system has no locks each process looks for itself.) Nothing here gives up
because the scheduler does not answer: controllers are restarted and accounting goes away, and jobs go on meanwhile.
"""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from sspipe.errors import UserError
from sspipe.files import write_json

CALL_LIMIT_S = 60
# A finished job is known to squeue for MinJobAge (300 s unless a site says otherwise); sacct is asked for older ones.
_SQUEUE_FIELDS = "%i|%j|%T|%r|%N|%M|%l|%S|%V|%k|%Z"
_SACCT_FIELDS = "JobIDRaw,JobName,State,ExitCode,NodeList,Elapsed,Timelimit,Start,Submit"

WAITING = ("PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "SPECIAL_EXIT", "RESV_DEL_HOLD")
RUNNING = ("RUNNING", "COMPLETING", "STAGE_OUT", "SIGNALING", "SUSPENDED", "STOPPED", "RESIZING")
# Ended by Slurm, and not by what ran: the same job may go on.
INTERRUPTED = ("TIMEOUT", "PREEMPTED", "NODE_FAIL", "BOOT_FAIL", "REVOKED")
FINAL = ("COMPLETED", "FAILED", "CANCELLED", "OUT_OF_MEMORY", "DEADLINE", *INTERRUPTED)


class SlurmAwayError(Exception):
    """The scheduler, or its accounting, did not answer."""


@dataclass(frozen=True)
class SlurmJob:
    """A job as Slurm tells of it.

    Attributes:
        id: its number.
        name: of the job.
        state: long form, such as RUNNING; what follows the first word ("CANCELLED by 0") is in `reason`.
        reason: why it waits, or how it ended.
        node: where it runs or ran; empty before.
        elapsed: of this attempt, as Slurm writes it.
        limit: walltime, as Slurm writes it.
        started: local time, ISO 8601; empty before it has started.
        submitted: local time, ISO 8601.
        comment: empty from sacct.
        folder: working directory; empty from sacct.
    """

    id: str
    name: str
    state: str
    reason: str
    node: str
    elapsed: str
    limit: str
    started: str
    submitted: str
    comment: str = ""
    folder: str = ""

    @property
    def final(self) -> bool:
        """Whether it has ended, and Slurm will not queue it again by itself."""
        return self.state in FINAL


def squeue_command(name: str | None = None) -> list[str]:
    """Lists one's own jobs, those that ended a few minutes ago too; only those of one name if given."""
    command = ["squeue", "--me", "--noheader", "--states=all", f"--format={_SQUEUE_FIELDS}"]
    return command if name is None else [*command, f"--name={name}"]


def parse_squeue(text: str) -> list[SlurmJob]:
    """Reads what `squeue_command` prints; parts of job arrays are left out, as nothing here submits any."""
    jobs = []
    for line in text.splitlines():
        fields = [_known(field) for field in line.split("|")]
        if len(fields) < 11 or not fields[0].isdigit():
            continue
        id, name, state, reason, node, elapsed, limit, started, submitted, *rest = fields
        # The comment is anybody's text, and may have bars.
        comment, folder = "|".join(rest[:-1]), rest[-1]
        jobs.append(SlurmJob(id, name, state, reason, node, elapsed, limit, started, submitted, comment, folder))
    return jobs


def sacct_command(ids: Sequence[str] = (), name: str | None = None) -> list[str]:
    """Asks the accounting for the last attempt of some jobs, or of those of one name since a month ago."""
    command = ["sacct", "--allocations", "--parsable2", "--noheader", f"--format={_SACCT_FIELDS}"]
    if name is not None:
        return [*command, "--starttime=now-30days", f"--name={name}"]
    return [*command, f"--jobs={','.join(ids)}"]


def parse_sacct(text: str) -> list[SlurmJob]:
    """Reads what `sacct_command` prints."""
    jobs = []
    for line in text.splitlines():
        fields = [_known(field) for field in line.split("|")]
        if len(fields) != 9 or not fields[0].isdigit():
            continue
        id, name, state, code, node, elapsed, limit, started, submitted = fields
        word, _, how = state.partition(" ")
        reason = " ".join(part for part in (how, "" if code == "0:0" else f"exit code {code}") if part)
        jobs.append(SlurmJob(id, name, word, reason, node, elapsed, limit, started, submitted))
    return jobs


def requeue_command(job_id: str) -> list[str]:
    """Queues a running or ended job again under its own number."""
    return ["scontrol", "requeue", job_id]


def cancel_command(ids: Sequence[str]) -> list[str]:
    """Ends jobs for good."""
    return ["scancel", *ids]


def absent(environment: Mapping[str, str]) -> str:
    """Why one of Slurm's programs may not be there, and what to do.

    Args:
        environment: of this process.
    """
    image = environment.get("APPTAINER_CONTAINER") or environment.get("SINGULARITY_CONTAINER")
    if image:
        return (
            f"not found in the container {image}: start Snakemake outside of it, and have trainings alone run in it by "
            "train.node_python of the profile (docs/operating.md), or bind the site's Slurm programs into it"
        )
    return "not found, so there is no Slurm on this machine; run this on a login node, or use profiles/local"


def call(command: Sequence[str]) -> str:
    """Runs one of Slurm's programs.

    Raises:
        SlurmAwayError: it is not there, failed or did not answer in time; the message is its own.
    """
    # C: so that nothing depends on the user's language or date format.
    environment = {**os.environ, "LC_ALL": "C", "SLURM_TIME_FORMAT": "standard"}
    try:
        # Other jobs' names and folders are in what it says, in whatever encoding their owners had.
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=CALL_LIMIT_S, env=environment
        )
    except subprocess.TimeoutExpired:
        raise SlurmAwayError(f"{command[0]}: no answer within {CALL_LIMIT_S} s") from None
    except FileNotFoundError:
        raise SlurmAwayError(f"{command[0]}: {absent(os.environ)}") from None
    except OSError as error:
        raise SlurmAwayError(f"{command[0]}: {error.strerror}") from None
    if done.returncode:
        raise SlurmAwayError(f"{' '.join(command[:2])}: {done.stderr.strip() or f'status {done.returncode}'}")
    return done.stdout


class Queue:
    """The state of one's jobs, from a snapshot that all who watch an experiment share.

    Args:
        folder: of the snapshot, `results/{experiment}/slurm`.
        every_s: the least seconds between two looks.
    """

    def __init__(self, folder: Path, every_s: float = 30) -> None:
        self._folder, self._every_s = folder, every_s
        self._unshared: dict[str, dict] = {}  # looks that could not be written to the folder

    def jobs(self) -> dict[str, SlurmJob]:
        """One's own jobs in the queue, and those that ended minutes ago, by number.

        Raises:
            SlurmAwayError: the controller did not answer when it was last asked.
        """
        return {job.id: job for job in self._look("squeue", ())}

    def asked(self) -> float | None:
        """When the controller was last asked, in seconds since 1970; None: never."""
        return _read(self._folder / "squeue.json").get("taken")

    def ended(self, job_id: str) -> SlurmJob | None:
        """A job that the queue has forgotten, from the accounting; None if that does not know it (yet).

        Raises:
            SlurmAwayError: the accounting did not answer when it was last asked.
        """
        return {job.id: job for job in self._look("sacct", (job_id,))}.get(job_id)

    def _look(self, program: str, wanted: tuple[str, ...]) -> list[SlurmJob]:
        path = self._folder / f"{program}.json"
        with _locked(self._folder / f"{program}.lock"):
            seen = self._unshared.get(program) or _read(path)
            asked = sorted({*seen.get("asked", ()), *wanted})
            # A clock that was set back must not stop the looking.
            if not 0 <= time.time() - seen.get("taken", 0) < self._every_s:
                seen = {"asked": asked}
                try:
                    if program == "squeue":
                        jobs = parse_squeue(call(squeue_command()))
                    else:
                        jobs = parse_sacct(call(sacct_command(asked)))
                    seen["jobs"] = [asdict(job) for job in jobs]
                except SlurmAwayError as error:
                    seen["problem"] = str(error)
                seen["taken"] = time.time()  # after the answer, which may take long
                self._share(path, seen)
            elif asked != seen.get("asked", []):
                self._share(path, {**seen, "asked": asked})  # for the next look
        if "problem" in seen:
            raise SlurmAwayError(seen["problem"])
        return [SlurmJob(**job) for job in seen["jobs"]]

    def _share(self, path: Path, seen: dict) -> None:
        """Writes a look down for the others; on a disk that is full, or another's folder, it is this process's own."""
        self._unshared.pop(path.stem, None)
        try:
            write_json(path, seen)
        except (OSError, UserError):
            self._unshared[path.stem] = seen


def _read(path: Path) -> dict:
    """A look that was written down; nothing if it is not there yet, is damaged, or is another version's: look anew."""
    try:
        content = json.loads(path.read_text())
        _ = [SlurmJob(**job) for job in content.get("jobs", ())], float(content["taken"]), sorted(content["asked"])
    except (OSError, ValueError, TypeError, AttributeError, KeyError):
        return {}
    return content if "jobs" in content or "problem" in content else {}


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Holds a lock; where none can be made or held (another's folder, no locks there), each looks for itself."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError:
        yield
        return
    try:
        with suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _known(field: str) -> str:
    """Slurm's words for "nothing" as the empty string."""
    field = field.strip()
    return "" if field in ("(null)", "N/A", "Unknown", "None", "None assigned") else field
