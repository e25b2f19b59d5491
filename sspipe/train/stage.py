"""The stage `train`: one variant on one split with one seed, by as many ranks as the machine has GPUs.

Nothing heavy is imported here, so that a signal is answered from the first moment on.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any, Literal

from sspipe.log import say
from sspipe.train.lock import sole_trainer
from sspipe.train.signals import STOPPED_STATUS, StoppedError, StopRequest

if TYPE_CHECKING:
    from sspipe.train.run import Job


def train(*, ranks: Literal["auto"] | int, stop: StopRequest | None = None, **flags: Any) -> int:
    """Trains one variant on one split with one seed: the stage `train`.

    A run that was interrupted goes on from its last checkpoint; one that has finished is not trained again, and its
    results are written anew. A process that was started as one of several (torchrun, submitit) is one rank; otherwise
    this one starts as many as `ranks` says.

    Args:
        ranks: see `sspipe.config.Training`.
        stop: tells the caller which signal it was.
        **flags: what the run is, for `job_of`.

    Returns:
        0, or `STOPPED_STATUS` after a signal: then a checkpoint was written, and the same command goes on from it.

    Raises:
        UserError: unusable input, settings that differ from the checkpoint's, or a loss that is not finite.
    """
    stop = stop or StopRequest()
    try:
        with stop.listening():
            _train(job_of(flags), ranks, stop)
    except StoppedError as stopped:
        say(
            f"{flags['split']}/{flags['variant']} seed {flags['seed']}: stopped by {stopped}; what was done is kept in "
            f"{flags['checkpoints']}, and the same command goes on (status {STOPPED_STATUS})"
        )
        return STOPPED_STATUS
    return 0


def job_of(flags: Mapping[str, Any]) -> Job:
    """What the engine is given, from the flags of `sspipe train` under their names in Python.

    Args:
        flags: `split`, `variant`, `seed` (of initialisation, order, flips and skip draws), `settings` (the resolved
            variant, JSON), `split_table`, `statistics`, `packs` (`manifest.json` of every shard), `threads` (of torch
            on the CPU, over all ranks that are started here), `checkpoints` (one run's own folder), `out_model`,
            `out_metrics`, `out_record`, `scratch`, `tensorboard`, and each of `sspipe.train.options.Options`; others
            are left alone.
    """
    from sspipe.train.options import Options
    from sspipe.train.run import Job

    options = Options(**{each.name: flags[each.name] for each in fields(Options)})
    plain = {each.name: flags[each.name] for each in fields(Job) if each.name not in ("packs", "options")}
    return Job(**plain, packs=tuple(flags["packs"]), options=options)


def _train(job: Job, ranks: Literal["auto"] | int, stop: StopRequest) -> None:
    from sspipe.train.distributed import place_from_environment
    from sspipe.train.run import train_rank

    place = place_from_environment()
    # Of several ranks, the process that starts them holds the lock, or the first if somebody else started them.
    holds_lock = place is None or place.rank == 0
    with sole_trainer(job.checkpoints, stop) if holds_lock else nullcontext():
        if place is not None:
            train_rank(job, place, stop)
        else:
            _train_here(job, ranks, stop)


def _train_here(job: Job, ranks: Literal["auto"] | int, stop: StopRequest) -> None:
    from sspipe.train.distributed import Place
    from sspipe.train.local_ranks import run_local_ranks
    from sspipe.train.run import ranks_here, train_rank

    count = ranks_here(ranks, job)
    if count == 1:
        train_rank(job, Place(), stop)
    else:
        run_local_ranks(replace(job, threads=max(1, job.threads // count)), count, stop)
