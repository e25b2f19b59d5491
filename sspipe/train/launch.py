"""The stage `launch`: one training as one Slurm job, followed from a login node until Slurm says that it has ended.

A thin process that may die at any moment: the job goes on, and the same command finds it again. It submits only what
is not in the queue, passes on what the job prints, and has Slurm queue again what Slurm itself ended.
"""

from __future__ import annotations

import signal
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from sspipe.errors import UserError
from sspipe.log import say
from sspipe.slurm import Queue
from sspipe.train.follower import ENDING, Follower, Run, how_to_end
from sspipe.train.lock import sole_trainer
from sspipe.train.options import Options
from sspipe.train.signals import StopRequest
from sspipe.train.submission import Request, Submission, digest


class DetachedError(Exception):
    """A signal told this process to end; the job goes on."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


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
        name=f"{options['split']}/{options['variant']}/seed{options['seed']}",
        command=tuple(command),
        options=options,
        settings=_settings(options),
        request=request,
    )
    for number in ENDING:
        signal.signal(number, _detach)
    try:
        with sole_trainer(folder, StopRequest()):
            Follower(run, Queue(queue, poll_s), poll_s).run()
    except DetachedError as detached:
        known = Submission.read(folder)
        if known is not None and known.job_id is not None and known.ended is None:
            say(
                f"{detached}: this launcher ends, and the training goes on as Slurm job {known.job_id}; the same "
                f"command attaches to it again. To end it: {how_to_end(run.name, known.job_id)}"
            )
        return 128 + detached.number
    return 0


def _detach(number: int, frame: FrameType | None) -> None:
    for each in ENDING:  # a second one, as Ctrl-C and a closed terminal send, must not cut the good-bye short
        signal.signal(each, lambda *_: None)
    raise DetachedError(number)


def _settings(options: dict[str, Any]) -> str:
    files = (options["settings"], options["split_table"], options["statistics"], *options["packs"])
    deciding = {name: options[name] for name in ("split", "variant", "seed", *Options().deciding)}
    return digest(files, **deciding)
