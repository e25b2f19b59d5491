"""The stage `launch`: one training as one Slurm job, followed from a login node until Slurm says that it has ended.

A thin process that may die at any moment: the job goes on, and the same command finds it again. It submits only what
is not in the queue, passes on what the job prints, and has Slurm queue again what Slurm itself ended.
"""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any

from sspipe.errors import UserError
from sspipe.log import say, warn
from sspipe.slurm import (
    INTERRUPTED,
    WAITING,
    Queue,
    SlurmAwayError,
    SlurmJob,
    call,
    parse_sacct,
    parse_squeue,
    requeue_command,
    sacct_command,
    squeue_command,
)
from sspipe.train.lock import sole_trainer
from sspipe.train.options import Options
from sspipe.train.signals import StopRequest
from sspipe.train.submission import (
    Request,
    Submission,
    digest,
    failures,
    jobs_folder,
    mend,
    new_submission,
    submit,
)

_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# sbatch's words for a controller that is away, rather than one that refuses.
_AWAY = ("unable to contact", "timed out", "connection refused", "communication", "temporarily")
# A submission that was begun and is in no list may still be on its way from a process that was killed.
_ON_ITS_WAY_S = 60
# Neither the queue nor the accounting knows the job: believed after so long.
_FORGOTTEN_S = 600
# Ended by Slurm so often in turn without a newer checkpoint: more of the same will not help.
_FRUITLESS = 3


class DetachedError(Exception):
    """A signal told this process to end; the job goes on."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


@dataclass(frozen=True)
class Run:
    """What is launched."""

    folder: Path
    label: str
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


def launch(
    *,
    folder: Path,
    queue: Path,
    tasks: int,
    cpus_per_task: int,
    runtime_min: int,
    signal_delay_s: int,
    partition: str | None,
    account: str | None,
    gres: str | None,
    mem_mb: int | None,
    qos: str | None,
    constraint: str | None,
    extra: Sequence[str],
    python: str | None,
    setup: Sequence[str],
    poll_s: float,
    command: Sequence[str],
) -> int:
    """Trains as a Slurm job, and follows it.

    Args:
        folder: `train/{split}/{variant}/seed{seed}/slurm`; see `sspipe.train.submission`.
        queue: `results/{experiment}/slurm`; see `sspipe.slurm`.
        tasks: ranks, one a GPU, all on one node.
        cpus_per_task: cores of each.
        runtime_min: walltime of one attempt.
        signal_delay_s: how long before its end the training is told to save.
        partition: Slurm's; None for the default.
        account: Slurm's; None for the default.
        gres: the GPUs, in Slurm's words.
        mem_mb: of the whole job; None for the partition's own.
        qos: Slurm's.
        constraint: Slurm's.
        extra: further options of sbatch.
        python: starts Python on the node; None for this one.
        setup: shell lines that the job begins with.
        poll_s: between two looks at the queue.
        command: `train` and its arguments.

    Returns:
        0 if the results are there; 128 and the signal's number if it was told to end before.

    Raises:
        UserError: Slurm refused the job, somebody cancelled it, or the training failed; the job's own words come first.
    """
    from sspipe.cli import parsed

    function, options, _, _ = parsed(command)
    if not function.endswith("train.stage:train"):
        raise UserError(f"launch: what follows `--` must be the stage train, not {command[0]}")
    request = Request(
        partition=partition,
        account=account,
        gres=gres,
        tasks=tasks,
        cpus_per_task=cpus_per_task,
        mem_mb=mem_mb,
        runtime_min=runtime_min,
        signal_delay_s=signal_delay_s,
        qos=qos,
        constraint=constraint,
        extra=tuple(extra),
        python=python,
        setup=tuple(setup),
    )
    run = Run(
        folder=folder,
        label=f"{options['split']}-{options['variant']}-seed{options['seed']}",
        command=tuple(command),
        options=options,
        settings=_settings(options),
        request=request,
    )
    for number in _ENDING:
        signal.signal(number, _detach)
    try:
        with sole_trainer(folder, StopRequest()):
            _Follower(run, Queue(queue, poll_s), poll_s).run()
    except DetachedError as detached:
        known = Submission.read(folder)
        if known is not None and known.job_id is not None and known.ended is None:
            say(
                f"{detached}: this launcher ends, and the training goes on as Slurm job {known.job_id}; the same "
                f"command attaches to it again. To end it: python -m sspipe cancel, or scancel {known.job_id}"
            )
        return 128 + detached.number
    return 0


def _detach(number: int, frame: FrameType | None) -> None:
    raise DetachedError(number)


def _settings(options: dict[str, Any]) -> str:
    files = (options["settings"], options["split_table"], options["statistics"], *options["packs"])
    deciding = {name: options[name] for name in ("split", "variant", "seed", *Options().deciding)}
    return digest(files, **deciding)


class _Follower:
    def __init__(self, run: Run, queue: Queue, poll_s: float) -> None:
        self._run, self._queue, self._poll_s = run, queue, poll_s
        self._said: str | None = None
        self._silent_since: float | None = None
        self._fruitless, self._progress = 0, run.progress()

    def run(self) -> None:
        submission = self._attach()
        if submission is None:
            if self._finished_before():
                return
            submission = self._submit()
        while True:
            ended = self._wait_for_end(submission)
            submission = self._pass_on(Submission.read(self._run.folder) or submission)
            if self._results_are_there() and (ended is None or ended.state == "COMPLETED"):
                submission = replace(submission, ended="COMPLETED").write(self._run.folder)
                say(f"Slurm job {submission.job_id} has ended: the results are there")
                return
            submission = self._go_on(submission, ended)

    def _attach(self) -> Submission | None:
        """The job of an earlier launcher, if it is still of use."""
        submission = Submission.read(self._run.folder)
        if submission is None or submission.ended is not None:
            return None
        if submission.job_id is None:
            job = self._find(submission)
            if job is None:
                return None
            submission = submission.as_submitted(self._run.folder, job.id).write(self._run.folder)
            if mend(submission, self._run.folder) and job.state == "FAILED":
                call(requeue_command(job.id))
        if submission.settings != self._run.settings:
            job = self._look(submission)
            if job is None or job.final:
                return None
            raise UserError(
                f"Slurm job {submission.job_id} ({job.state.lower()}) trains this run under other settings or data; "
                f"wait for its end, or end it: python -m sspipe cancel, or scancel {submission.job_id}"
            )
        job = self._look(submission)
        if job is None or (job.final and job.state not in (*INTERRUPTED, "COMPLETED")):
            what = "is in no list of Slurm's any more" if job is None else f"ended as {job.state} {job.reason}".rstrip()
            say(f"Slurm job {submission.job_id} {what} while nobody watched; what it has saved is gone on from")
            self._pass_on(submission)
            return None
        if job.state == "COMPLETED" and not self._results_are_there() and not self._finished_before():
            return None  # somebody removed all that it had made
        say(f"attached to Slurm job {submission.job_id}, submitted {submission.submitted}")
        return submission

    def _find(self, submission: Submission) -> SlurmJob | None:
        """Looks for a job by its name: a launcher died before it could write down the number."""
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
                self._tell(f"Slurm does not answer ({problem}); waiting for it")
            time.sleep(self._poll_s)

    def _results_are_there(self) -> bool:
        return all(path.exists() for path in self._run.outputs)

    def _finished_before(self) -> bool:
        """Whether the training has finished, so that its results only need to be written; no job is needed for that."""
        if not any(self._run.options["checkpoints"].glob("finished*")):
            return False
        from sspipe.train.run import Job, write_if_finished

        given = dict(self._run.options)
        engine = {each.name: given[each.name] for each in fields(Options)}
        plain = {each.name: given[each.name] for each in fields(Job) if each.name in given}
        return write_if_finished(Job(**{**plain, "packs": tuple(given["packs"]), "options": Options(**engine)}))

    def _submit(self) -> Submission:
        """Submits the job, as often as it takes for the controller to answer; never twice."""
        run = self._run
        jobs_folder(run.folder).mkdir(parents=True, exist_ok=True)
        while True:
            submission = new_submission(run.label, run.settings, run.command, run.request).write(run.folder)
            # A signal that came between Slurm's answer and its writing down would cost a search by name.
            signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)
            try:
                submission = submission.as_submitted(run.folder, submit(submission, run.request, run.folder))
                submission.write(run.folder)
                say(f"submitted as Slurm job {submission.job_id} ({submission.name}); its own log is {submission.log}")
                return submission
            except UserError as error:
                if not any(words in str(error).lower() for words in _AWAY):
                    replace(submission, ended="REFUSED").write(run.folder)
                    raise
                self._tell(f"Slurm does not answer; trying again ({error})")
            finally:
                signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDING)
            time.sleep(self._poll_s)
            job = self._find(submission)  # it may have taken the job, and only its answer was lost
            if job is not None:
                submission = submission.as_submitted(run.folder, job.id).write(run.folder)
                mend(submission, run.folder)
                return submission

    def _wait_for_end(self, submission: Submission) -> SlurmJob | None:
        """Follows the job; returns how it ended, or None if Slurm has forgotten it."""
        final: SlurmJob | None = None
        while True:
            job = self._look(submission)
            submission = self._pass_on(submission)
            if job is None:
                return None
            where = f" on {job.node}" if job.node else ""
            why = f" ({job.reason})" if job.reason and job.state in WAITING else ""
            self._tell(f"Slurm job {job.id}: {job.state.lower()}{where}{why}")
            if job.state == "COMPLETED":
                return job
            # Between an end and a requeue Slurm shows the end for a moment: believed when seen twice.
            if job.final and final is not None and final.state == job.state:
                return job
            final = job if job.final else None
            time.sleep(self._poll_s)

    def _look(self, submission: Submission) -> SlurmJob | None:
        """The job's state, waiting for Slurm as long as it takes; None if nobody knows it any more."""
        assert submission.job_id is not None
        unknown_since: float | None = None
        while True:
            try:
                jobs = self._queue.jobs()
                self._silent_since = None
                if submission.job_id in jobs:
                    return jobs[submission.job_id]
                problem = "the queue does not know it"
                ended = self._queue.ended(submission.job_id)
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
                    self._tell(f"Slurm job {submission.job_id}: not in the queue, and {error}")
            if unknown_since is not None and time.monotonic() - unknown_since > _FORGOTTEN_S:
                warn(f"Slurm job {submission.job_id}: {problem} for {_FORGOTTEN_S} s; taken for ended")
                return None
            time.sleep(self._poll_s)

    def _go_on(self, submission: Submission, ended: SlurmJob | None) -> Submission:
        """What follows an end without results: again, if it was Slurm's doing.

        Raises:
            UserError: it was not.
        """
        run = self._run
        state = "UNKNOWN" if ended is None else ended.state
        if state not in (*INTERRUPTED, "UNKNOWN"):
            submission = replace(submission, ended=state).write(run.folder)
            raise UserError(self._why(submission, state, self._reason(ended)))
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

    def _reason(self, ended: SlurmJob | None) -> str:
        """How it ended; the queue does not say by whom, the accounting does."""
        if ended is None:
            return ""
        if not ended.reason:
            try:
                known = parse_sacct(call(sacct_command([ended.id])))
            except SlurmAwayError:
                return ""
            return next((job.reason for job in known if job.state == ended.state), "")
        return ended.reason

    def _why(self, submission: Submission, state: str, reason: str) -> str:
        job = f"Slurm job {submission.job_id}"
        again = "the same command goes on from the last checkpoint"
        if state == "CANCELLED":
            return f"{job} was cancelled ({reason or 'by whom is not known'}); {again}"
        if state == "OUT_OF_MEMORY":
            return f"{job} ran out of memory: raise train.mem_mb in the profile (it asked for {self._memory}); {again}"
        if state == "COMPLETED":
            return (
                f"{job} completed, but {', '.join(str(path) for path in self._run.outputs)} are not all there; {again}"
            )
        told = failures(submission, self._run.folder)
        if not told:
            return f"{job} ended as {state} ({reason}) and left no word; its log: {submission.log}"
        rank, what = told[0]
        return f"{job} failed on rank {rank}:\n{what.rstrip()}\nall it said: {submission.log}"

    @property
    def _memory(self) -> str:
        return f"{self._run.request.mem_mb} MB" if self._run.request.mem_mb else "the partition's own"

    def _pass_on(self, submission: Submission) -> Submission:
        """Prints what the job has printed since the last time, so that the rule's log has all of it."""
        try:
            with Path(submission.log or "").open("rb") as log:
                log.seek(submission.told)
                new = log.read()
        except OSError:  # not there yet
            return submission
        end = new.rfind(b"\n") + 1  # a half-written line waits
        if not end:
            return submission
        sys.stdout.write(new[:end].decode(errors="replace"))
        sys.stdout.flush()
        return replace(submission, told=submission.told + end).write(self._run.folder)

    def _tell(self, what: str) -> None:
        """Says how it is when that has changed."""
        if what != self._said:
            say(what)
            self._said = what
