"""One job of Slurm's, looked at for as long as it takes: nothing here gives up because the scheduler is away."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime

from sspipe.log import say, warn
from sspipe.slurm import (
    WAITING,
    Queue,
    SlurmAwayError,
    SlurmJob,
    call,
    parse_sacct,
    parse_squeue,
    sacct_command,
    squeue_command,
)
from sspipe.train.submission import Submission

# A submission that was begun and is in no list may still be on its way from a process that was killed.
_ON_ITS_WAY_S = 60
# Neither the queue nor the accounting knows the job: believed after so long.
_FORGOTTEN_S = 600
# The accounting hears of an end a little later than the queue.
_LOOKS_FOR_A_REASON = 3


class Watch:
    """Looks at the jobs of one run, says what has changed, and waits for Slurm where that does not answer.

    Args:
        queue: that all launchers share.
        poll_s: between two looks.
        results_are_there: whether the run has all that it is to write.
    """

    def __init__(self, queue: Queue, poll_s: float, results_are_there: Callable[[], bool]) -> None:
        self._queue, self._poll_s, self._results_are_there = queue, poll_s, results_are_there
        self._said: str | None = None
        self._silent_since: float | None = None

    def tell(self, what: str) -> None:
        """Says how it is when that has changed."""
        if what != self._said:
            say(what)
            self._said = what

    def find(self, submission: Submission) -> SlurmJob | None:
        """Looks for a job by its name, where a launcher died before it could write down its number."""
        begun = datetime.fromisoformat(submission.begun)
        while True:
            try:
                found = parse_squeue(call(squeue_command(submission.name)))
                if not found:
                    try:
                        found = parse_sacct(call(sacct_command(name=submission.name)))
                    except SlurmAwayError as problem:  # a site without accounting
                        warn(f"{problem}; only the queue was searched for {submission.name}")
                if found:
                    say(f"Slurm job {found[0].id} was submitted by a launcher that died; going on with it")
                    return found[0]
                if (datetime.now(UTC) - begun).total_seconds() > _ON_ITS_WAY_S:
                    return None
            except SlurmAwayError as problem:
                self.tell(f"Slurm does not answer ({problem}); waiting for it")
            time.sleep(self._poll_s)

    def look(self, job_id: str) -> SlurmJob | None:
        """The job's state, waiting for Slurm as long as it takes; None if nobody knows it any more."""
        unknown_since: float | None = None
        while True:
            try:
                jobs = self._queue.jobs()
                self._silent_since = None
                if job_id in jobs:
                    return jobs[job_id]
                problem = "the queue does not know it"
                ended = self._queue.ended(job_id)
                if ended is not None and ended.final:
                    return ended
                problem = "neither the queue nor the accounting knows it as ended"
                unknown_since = unknown_since or time.monotonic()
            except SlurmAwayError as error:
                if "squeue" in str(error):
                    unknown_since = None
                    if self._silent_since is None:
                        self._silent_since = time.monotonic()
                        say(f"Slurm does not answer; the job goes on meanwhile ({error})")
                else:
                    unknown_since = unknown_since or time.monotonic()
                    if self._results_are_there():
                        return None
                    self.tell(f"Slurm job {job_id}: not in the queue, and {error}")
            if unknown_since is not None and time.monotonic() - unknown_since > _FORGOTTEN_S:
                warn(f"Slurm job {job_id}: {problem} for {_FORGOTTEN_S} s; taken for ended")
                return None
            time.sleep(self._poll_s)

    def wait_for_end(self, job_id: str, meanwhile: Callable[[], None]) -> SlurmJob | None:
        """Follows a job; returns how it ended, or None if Slurm has forgotten it.

        Args:
            job_id: Slurm's number of it.
            meanwhile: called after each look.
        """
        final: SlurmJob | None = None
        while True:
            job = self.look(job_id)
            meanwhile()
            if job is None:
                return None
            where = f" on {job.node}" if job.node else ""
            why = f" ({job.reason})" if job.reason and job.state in WAITING else ""
            self.tell(f"Slurm job {job.id}: {job.state.lower()}{where}{why}")
            if job.state == "COMPLETED":
                return job
            # Between an end and a requeue Slurm shows the end for a moment: believed when seen twice.
            if job.final and final is not None and final.state == job.state:
                return job
            final = job if job.final else None
            time.sleep(self._poll_s)

    def reason(self, ended: SlurmJob | None) -> str:
        """How a job ended; the queue does not say by whom it was cancelled, the accounting does, if there is one."""
        if ended is None or ended.reason:
            return "" if ended is None else ended.reason
        for _ in range(_LOOKS_FOR_A_REASON):
            try:
                known = parse_sacct(call(sacct_command([ended.id])))
            except SlurmAwayError:
                return ""
            for job in known:
                if job.state == ended.state:
                    return job.reason
            time.sleep(self._poll_s)
        return ""
