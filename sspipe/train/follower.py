"""One training followed as a Slurm job: attached to or submitted, passed on, and queued again until it is done."""

from __future__ import annotations

import signal
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sspipe.errors import UserError
from sspipe.log import say
from sspipe.slurm import INTERRUPTED, Queue, SlurmAwayError, SlurmJob, call, requeue_command
from sspipe.train.endings import why_it_ended
from sspipe.train.submission import Request, Submission, jobs_folder, mend, new_submission, submit, succeeded
from sspipe.train.watch import Watch

# These end a launcher and leave the job alone.
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# sbatch's words for a controller that is away, rather than one that refuses.
_AWAY = ("unable to contact", "timed out", "connection refused", "communication", "temporarily")
# Ended by Slurm so often in turn without a newer checkpoint: more of the same will not help.
_FRUITLESS = 3
# NFS looks again for a file that was not there a minute ago, at the latest.
_ON_THEIR_WAY_S, _LOOK_FOR_RESULTS_S = 90, 5


@dataclass(frozen=True)
class Run:
    """What is launched.

    Attributes:
        folder: of what is remembered of its job; see `sspipe.train.submission`.
        name: `{split}/{variant}/seed{seed}`.
        command: `train` and its arguments.
        options: the same, read.
        settings: digest of what decides the result.
        request: of Slurm.
    """

    folder: Path
    name: str
    command: tuple[str, ...]
    options: dict[str, Any]
    settings: str
    request: Request

    @property
    def outputs(self) -> tuple[Path, ...]:
        """What the training writes in the end."""
        return tuple(self.options[name] for name in ("out_model", "out_metrics", "out_record"))

    def progress(self) -> str:
        """The newest checkpoint, or what shows that the training has finished."""
        return max((path.name for path in self.options["checkpoints"].glob("*.pt")), default="")


class Follower:
    """Has Slurm train one run, whatever becomes of jobs and of earlier launchers.

    Args:
        run: that is trained.
        queue: that all launchers share.
        poll_s: between two looks at it.
    """

    def __init__(self, run: Run, queue: Queue, poll_s: float) -> None:
        self._run, self._poll_s = run, poll_s
        self._watch = Watch(queue, poll_s, self._results_are_there)
        self._fruitless, self._progress = 0, run.progress()

    def run(self) -> None:
        """Returns when the results are there.

        Raises:
            UserError: Slurm refused the job, somebody cancelled it, or the training failed.
        """
        submission = self._attach()
        if submission is None:
            if self._finished_before():
                return
            submission = self._submit()
        while True:
            ended = self._wait_for_end(submission)
            self._pass_on()
            submission = Submission.read(self._run.folder) or submission
            if self._results_have_come(ended) and self._is_done(submission, ended):
                replace(submission, ended="COMPLETED").write(self._run.folder)
                return
            submission = self._go_on(submission, ended)

    def _attach(self) -> Submission | None:
        """The job of an earlier launcher, if it is still of use."""
        submission = Submission.read(self._run.folder)
        if submission is None or submission.ended is not None:
            return None
        if submission.job_id is None:
            job = self._watch.find(submission)
            if job is None:
                return None
            submission = submission.as_submitted(self._run.folder, job.id).write(self._run.folder)
            if mend(submission, self._run.folder) and job.state == "FAILED":
                call(requeue_command(job.id))
        assert submission.job_id is not None
        job = self._watch.look(submission.job_id)
        if submission.settings != self._run.settings:
            if job is None or job.final:
                return None
            raise UserError(
                f"Slurm job {submission.job_id} ({job.state.lower()}) trains this run under other settings or data; "
                f"wait for its end, or end it: {how_to_end(self._run.name, submission.job_id)}"
            )
        if job is None or (job.final and job.state not in (*INTERRUPTED, "COMPLETED")):
            what = "is in no list of Slurm's any more" if job is None else f"ended as {job.state} {job.reason}".rstrip()
            say(f"Slurm job {submission.job_id} {what} while nobody watched; what it has saved is gone on from")
            self._pass_on()
            return None
        if job.state == "COMPLETED" and not self._results_are_there() and not self._finished_before():
            return None  # somebody removed all that it had made
        say(f"attached to Slurm job {submission.job_id}, submitted {submission.submitted}")
        return submission

    def _results_are_there(self) -> bool:
        return all(path.exists() for path in self._run.outputs)

    def _results_have_come(self, ended: SlurmJob | None) -> bool:
        """The same, once a job has ended: what a node wrote is seen here a little later on a network's file system."""
        if ended is not None and ended.state == "COMPLETED":
            limit = time.monotonic() + _ON_THEIR_WAY_S
            while not self._results_are_there() and time.monotonic() < limit:
                self._watch.tell(f"Slurm job {ended.id} has completed; its results are waited for")
                time.sleep(min(self._poll_s, _LOOK_FOR_RESULTS_S))
        return self._results_are_there()

    def _finished_before(self) -> bool:
        """Whether the training has finished, so that its results only need to be written; no job is needed for that."""
        if not any(self._run.options["checkpoints"].glob("finished*")):
            return False
        from sspipe.train.run import write_if_finished
        from sspipe.train.stage import job_of

        return write_if_finished(job_of(self._run.options))

    def _submit(self) -> Submission:
        """Submits the job, as often as it takes for the controller to answer; never twice."""
        run = self._run
        jobs_folder(run.folder).mkdir(parents=True, exist_ok=True)
        while True:
            submission = new_submission(run.name.replace("/", "-"), run.settings, run.command, run.request).write(
                run.folder
            )
            # A signal that came between Slurm's answer and its writing down would cost a search by name.
            signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
            try:
                submission = submission.as_submitted(run.folder, submit(submission, run.request, run.folder))
                submission.write(run.folder)
                say(f"submitted as Slurm job {submission.job_id} ({submission.name}); its own log is {submission.log}")
                return submission
            except UserError as error:
                if not any(words in str(error).lower() for words in _AWAY):
                    replace(submission, ended="REFUSED").write(run.folder)
                    raise
                self._watch.tell(f"Slurm does not answer; trying again ({error})")
            finally:
                signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)
            time.sleep(self._poll_s)
            job = self._watch.find(submission)  # it may have taken the job, and only its answer was lost
            if job is not None:
                submission = submission.as_submitted(run.folder, job.id).write(run.folder)
                mend(submission, run.folder)
                return submission

    def _wait_for_end(self, submission: Submission) -> SlurmJob | None:
        assert submission.job_id is not None
        return self._watch.wait_for_end(submission.job_id, self._pass_on)

    def _is_done(self, submission: Submission, ended: SlurmJob | None) -> bool:
        """Whether the results that are there are this job's last word; says so."""
        job = f"Slurm job {submission.job_id}"
        if ended is None or ended.state == "COMPLETED":
            say(f"{job} has ended: the results are there")
        elif succeeded(submission, self._run.folder):
            # As where a driver crashes while the process is taken down.
            reason = self._watch.reason(ended)
            say(f"{job} ended as {ended.state} ({reason}) after every rank had finished: the results are there")
        else:
            return False
        return True

    def _go_on(self, submission: Submission, ended: SlurmJob | None) -> Submission:
        """What follows an end without results: again, if it was Slurm's doing.

        Raises:
            UserError: it was not.
        """
        run = self._run
        state = "UNKNOWN" if ended is None else ended.state
        if state not in (*INTERRUPTED, "UNKNOWN"):
            submission = replace(submission, ended=state).write(run.folder)
            reason = self._watch.reason(ended)
            raise UserError(why_it_ended(submission, run.folder, run.outputs, state, reason))
        progress = run.progress()
        self._fruitless = 0 if progress != self._progress else self._fruitless + 1
        self._progress = progress
        if self._fruitless >= _FRUITLESS:
            replace(submission, ended=state).write(run.folder)
            raise UserError(
                f"Slurm job {submission.job_id}: ended {self._fruitless} times in turn ({state}) with no newer "
                "checkpoint; lengthen train.runtime or train.signal_delay_s in the profile, or shorten "
                "training.checkpoint_minutes"
            )
        say(f"Slurm job {submission.job_id} ended as {state}: going on from {progress or 'the beginning'}")
        if ended is not None:
            try:
                call(requeue_command(ended.id))
            except SlurmAwayError as problem:
                say(f"Slurm does not queue it again ({problem}): submitting it anew")
            else:
                return replace(submission, requeued=submission.requeued + 1).write(run.folder)
        replace(submission, ended=state).write(run.folder)
        return self._submit()

    def _pass_on(self) -> None:
        """Prints what the job has printed since the last time, so that the rule's log has all of it."""
        submission = Submission.read(self._run.folder)
        if submission is None or submission.log is None:
            return
        try:
            with Path(submission.log).open("rb") as log:
                log.seek(submission.told)
                new = log.read()
        except OSError:  # not there yet
            return
        end = new.rfind(b"\n") + 1  # a half-written line waits
        if end:
            sys.stdout.write(new[:end].decode(errors="replace"))
            sys.stdout.flush()
            replace(submission, told=submission.told + end).write(self._run.folder)


def how_to_end(name: str, job_id: str) -> str:
    """What a person types to end a training's job."""
    return f"python -m sspipe cancel {name} (with the night's --profile), or scancel {job_id}"
