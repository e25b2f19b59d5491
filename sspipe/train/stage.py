"""The stage `train`: one variant on one split with one seed, by as many ranks as the machine has GPUs.

Nothing heavy is imported here, so that a signal is answered from the first moment on.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from sspipe.log import say
from sspipe.train.lock import sole_trainer
from sspipe.train.signals import STOPPED_STATUS, StoppedError, StopRequest

if TYPE_CHECKING:
    from sspipe.train.run import Job


def train(
    *,
    split: str,
    variant: str,
    seed: int,
    settings: Path,
    split_table: Path,
    statistics: Path,
    packs: Sequence[Path],
    threads: int,
    checkpoints: Path,
    out_model: Path,
    out_metrics: Path,
    out_record: Path,
    precision: Literal["auto", "fp32", "bf16", "fp16"],
    compile: bool,
    shuffle_shards: int,
    micro_batch_size: int | None,
    ranks: Literal["auto"] | int,
    workers: int,
    scratch: str | None,
    checkpoint_minutes: float,
    log_seconds: float,
    tensorboard: bool,
    stop: StopRequest | None = None,
) -> int:
    """Trains one variant on one split with one seed: the stage `train`.

    A run that was interrupted goes on from its last checkpoint; one that has finished is not trained again, and its
    results are written anew. A process that was started as one of several (torchrun, submitit) is one rank; otherwise
    this one starts as many as `ranks` says.

    Args:
        split: name of the split, for the record.
        variant: name of the variant, for the record.
        seed: of initialisation, order, flips and skip draws.
        settings: the resolved variant, JSON.
        split_table: `splits/{split}.parquet`.
        statistics: `statistics/{split}.json`.
        packs: `manifest.json` of every packed shard.
        threads: CPU threads of torch, over all ranks that are started here.
        checkpoints: folder for what an interrupted run goes on from; one run's own.
        out_model: weights, safetensors.
        out_metrics: one JSON line an epoch.
        out_record: train.json: settings, counts, versions, seconds.
        precision: see `sspipe.config.Training`, as the rest.
        compile: see there.
        shuffle_shards: see there.
        micro_batch_size: see there.
        ranks: see there.
        workers: see there.
        scratch: see there.
        checkpoint_minutes: see there.
        log_seconds: see there.
        tensorboard: see there.
        stop: tells the caller which signal it was.

    Returns:
        0, or `STOPPED_STATUS` after a signal: then a checkpoint was written, and the same command goes on from it.

    Raises:
        UserError: unusable input, settings that differ from the checkpoint's, or a loss that is not finite.
    """
    stop = stop or StopRequest()
    try:
        with stop.listening():
            from sspipe.train.options import Options
            from sspipe.train.run import Job

            options = Options(
                precision=precision,
                compile=compile,
                shuffle_shards=shuffle_shards,
                micro_batch_size=micro_batch_size,
                workers=workers,
                checkpoint_minutes=checkpoint_minutes,
                log_seconds=log_seconds,
            )
            job = Job(
                split=split,
                variant=variant,
                seed=seed,
                settings=settings,
                split_table=split_table,
                statistics=statistics,
                packs=tuple(packs),
                threads=threads,
                checkpoints=checkpoints,
                out_model=out_model,
                out_metrics=out_metrics,
                out_record=out_record,
                scratch=scratch,
                tensorboard=tensorboard,
                options=options,
            )
            _train(job, ranks, stop)
    except StoppedError as stopped:
        say(
            f"{split}/{variant} seed {seed}: stopped by {stopped}; what was done is kept in {checkpoints}, "
            f"and the same command goes on (status {STOPPED_STATUS})"
        )
        return STOPPED_STATUS
    return 0


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
