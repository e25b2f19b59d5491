"""One rank's part of a run: read the inputs, begin or go on, train, and write what came out."""

from __future__ import annotations

import json
import os
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors.torch import save_file

from sspipe.errors import UserError
from sspipe.files import whole_file, write_json
from sspipe.log import duration, say, warn
from sspipe.models.build import count_parameters
from sspipe.train import provenance
from sspipe.train.checkpoint import Checkpoints
from sspipe.train.checks import early_checks
from sspipe.train.dataset import Array, PackedTiles, read_statistics, read_subset
from sspipe.train.device import prepare
from sspipe.train.distributed import Place, Ranks, connected, device_of
from sspipe.train.events import require_tensorboard
from sspipe.train.identity import differences, digest_of, identity_of
from sspipe.train.live import LiveFile
from sspipe.train.loop import Training
from sspipe.train.options import Options
from sspipe.train.precision import choose_precision, device_facts
from sspipe.train.progress import peak_memory
from sspipe.train.signals import StopRequest
from sspipe.train.staging import scratch_folder, staged
from sspipe.variants import Variant, read_variant

_GIB = 2**30
# A checkpoint of another version of these goes on, with a warning.
_WATCHED = ("sspipe", "torch")


@dataclass(frozen=True)
class Job:
    """All that a run needs to know; see `sspipe.train.stage.train`."""

    split: str
    variant: str
    seed: int
    settings: Path
    split_table: Path
    statistics: Path
    packs: tuple[Path, ...]
    threads: int
    checkpoints: Path
    out_model: Path
    out_metrics: Path
    out_record: Path
    scratch: str | None
    tensorboard: bool
    options: Options

    @property
    def name(self) -> str:
        """For messages."""
        return f"{self.split}/{self.variant} seed {self.seed}"


def ranks_here(setting: Literal["auto"] | int, job: Job) -> int:
    """How many ranks to start on this machine; `auto` is one per visible GPU, but none without an image."""
    if setting != "auto":
        return setting
    return max(1, min(torch.cuda.device_count(), read_variant(job.settings).batch_size))


def train_rank(job: Job, place: Place, stop: StopRequest) -> None:
    """Takes part in a run as one of its ranks; the first also writes the results.

    Raises:
        UserError: unusable input, settings that differ from the checkpoint's, or a loss that is not finite.
        StoppedError: a signal asked for it; a checkpoint was written.
    """
    torch.set_num_threads(job.threads)
    if job.tensorboard:
        require_tensorboard()
    variant = read_variant(job.settings)
    device = device_of(place)
    prepare(device)
    checkpoints = Checkpoints(job.checkpoints)
    with connected(place, device) as ranks, ExitStack() as open_until_done:
        train_tiles, validation_tiles = _open_tiles(job, variant)
        identity = _identity(job, variant, train_tiles, validation_tiles)
        if ranks.first:
            say(f"{job.name}: {provenance.attempt(digest_of(identity), device, ranks.count)}")
        beginning, problem = ranks.from_first(_beginning(job, checkpoints, identity) if ranks.first else None)
        if problem is not None:
            raise UserError(problem)
        if beginning == _FINISHED:
            if ranks.first:
                _write_results(job, variant, checkpoints)
            ranks.meet()
            return

        left_out = len(read_subset(job.split_table, "train")) - len(train_tiles)
        if left_out and ranks.first:
            say(f"{job.name}: {left_out} training tiles have no EO image, and this variant learns without them")
        _check_early(job, variant, ranks, train_tiles, left_out)
        scratch = scratch_folder(job.scratch, os.environ)
        if scratch is not None:
            used: set[Array] = {view for stage in variant.stages for view in stage.views}
            places = open_until_done.enter_context(staged(job.packs, sorted({*used, "masks"}), scratch))
            train_tiles, validation_tiles = _open_tiles(job, variant, places)
        training = Training(
            name=job.name,
            variant=variant,
            seed=job.seed,
            train_tiles=train_tiles,
            validation_tiles=validation_tiles,
            statistics=read_statistics(job.statistics),
            options=job.options,
            ranks=ranks,
            stop=stop,
            checkpoints=checkpoints,
            identity=identity,
            events=job.checkpoints.parent / "tensorboard" if job.tensorboard else None,
            live=_live_file(job),
        )
        if beginning is not None:
            training.restore(beginning, checkpoints.read(beginning))
        training.run()
        training.state.peak_memory = max(training.state.peak_memory, *ranks.most([peak_memory(device)]))
        if ranks.first:
            _finish(training, job, checkpoints, identity)
            _write_results(job, variant, checkpoints)
        # None leaves before: one that crashes while its process is taken down would have Slurm end the first one too.
        ranks.meet()


def _live_file(job: Job) -> Path:
    return job.checkpoints.parent / "progress.json"


def write_if_finished(job: Job) -> bool:
    """Writes the results of a run that has finished under these very settings; trains nothing.

    Returns:
        Whether it has.

    Raises:
        UserError: unusable input, or what was kept is damaged.
    """
    checkpoints = Checkpoints(job.checkpoints)
    finished = checkpoints.finished()
    if finished is None:
        return False
    variant = read_variant(job.settings)
    train_tiles, validation_tiles = _open_tiles(job, variant)
    if differences(finished["identity"], _identity(job, variant, train_tiles, validation_tiles)):
        return False
    _write_results(job, variant, checkpoints)
    return True


_FINISHED = Path("finished")


def _identity(job: Job, variant: Variant, train_tiles: PackedTiles, validation_tiles: PackedTiles) -> dict[str, Any]:
    return identity_of(
        variant,
        job.seed,
        engine=job.options.deciding,
        train_tiles=train_tiles,
        validation_tiles=validation_tiles,
        statistics=job.statistics,
        packs=job.packs,
    )


def _beginning(job: Job, checkpoints: Checkpoints, identity: dict[str, Any]) -> tuple[Path | None, str | None]:
    """Decides where to begin, on the first rank.

    Returns:
        `_FINISHED`, a checkpoint, or None for the beginning; and a problem that stops the run on all ranks.
    """
    try:
        return _where_to_begin(job, checkpoints, identity), None
    except UserError as error:
        return None, str(error)


def _where_to_begin(job: Job, checkpoints: Checkpoints, identity: dict[str, Any]) -> Path | None:
    checkpoints.clean()
    finished = checkpoints.finished()
    if finished is not None and not differences(finished["identity"], identity):
        say(f"{job.name}: finished before, so it is not trained again; writing its results")
        checkpoints.discard()  # a run that was killed while it finished may have left some
        return _FINISHED
    latest = checkpoints.latest()
    if finished is not None and latest is not None and latest[1]["identity"] == finished["identity"]:
        checkpoints.discard()
        latest = None
    if latest is None:
        if finished is not None:
            told = "; ".join(differences(finished["identity"], identity))
            say(f"{job.name}: finished before under other settings, so it is trained anew ({told})")
        else:
            say(f"{job.name}: beginning, as there is no checkpoint in {checkpoints.folder}")
        return None
    path, content = latest
    told = "".join(f"\n  {line}" for line in differences(content["identity"], identity))
    if told:
        raise UserError(
            f"{path}: this run began under other settings, and going on under new ones would make a result of "
            f"neither:{told}\nput them back to finish it, or delete {checkpoints.folder} to train anew"
        )
    _warn_of_changes(path, content, job)
    return path


def _warn_of_changes(path: Path, content: dict[str, Any], job: Job) -> None:
    now = provenance.versions()
    for package in _WATCHED:
        then, here = content["versions"].get(package), now.get(package)
        if then != here:
            warn(f"{path} was written with {package} {then}, and goes on with {here}: results may differ slightly")
    state = content["state"]
    say(f"{job.name}: going on from {path.name}: stage {state['stage']} epoch {state['epoch']} step {state['step']}")


def _open_tiles(job: Job, variant: Variant, places: dict[Path, Path] | None = None) -> tuple[PackedTiles, PackedTiles]:
    """The training and the validation tiles; a variant that learns from EO has those with an EO image."""
    with_eo = any("eo" in stage.views for stage in variant.stages)
    train, validation = (
        PackedTiles(job.packs, read_subset(job.split_table, subset, with_eo), places)
        for subset in ("train", "validation")
    )
    return train, validation


def _check_early(job: Job, variant: Variant, ranks: Ranks, train_tiles: PackedTiles, left_out: int) -> None:
    share = -(-variant.batch_size // ranks.count)
    early_checks(
        device=ranks.device,
        variant=variant,
        precision=choose_precision(job.options.precision, device_facts(ranks.device)),
        images=min(share, job.options.micro_batch_size or share),
        manifests=job.packs,
        statistics=job.statistics,
        split=job.split,
        train_tiles=train_tiles,
        left_out=left_out,
        compiled=job.options.compile,
    )


def _finish(training: Training, job: Job, checkpoints: Checkpoints, identity: dict[str, Any]) -> None:
    """Keeps what came out, small and for good, and removes the checkpoints."""
    unique, paper_style = count_parameters(training.network)
    chosen, state = training.chosen, training.state
    device = provenance.device_name(training.device)
    record = {
        "parameters_unique": unique,
        "parameters_paper_style": paper_style,
        "tiles": {"train": len(training.train_tiles), "validation": len(training.validation_tiles)},
        "best": {"stage": chosen.stage, "epoch": chosen.epoch, "validation_iou": chosen.validation_iou},
        "seconds": round(state.seconds, 1),
        "gpu_seconds": round(state.gpu_seconds, 1),
        "restarts": state.restarts,
        "ranks": training.ranks.count,
        "precision": training.precision.name,
        "peak_memory_gib": round(state.peak_memory / _GIB, 2),
        "device": device if training.ranks.count == 1 else f"{training.ranks.count} x {device}",
        "versions": provenance.versions(),
        "commit": provenance.commit(),
        "started": state.started,
        "finished": provenance.now(),
    }
    try:
        checkpoints.finish(
            {
                "identity": identity,
                "weights": training.weights(),
                "epochs": [asdict(epoch) for epoch in state.epochs],
                "record": record,
            }
        )
    except (OSError, UserError) as error:
        raise UserError(
            f"{checkpoints.folder}: the run is done, but its result could not be kept ({error}); "
            "the same command goes on from the last checkpoint"
        ) from None


def _write_results(job: Job, variant: Variant, checkpoints: Checkpoints) -> None:
    result = checkpoints.finished()
    assert result is not None  # it was written or found just now
    names = {"split": job.split, "variant": job.variant, "seed": job.seed}
    # One key: the order of several differs from file to file, and equal weights shall be equal files.
    metadata = {"run": json.dumps(names)}
    with whole_file(job.out_metrics) as partial:
        partial.write_text("".join(json.dumps(epoch, allow_nan=False) + "\n" for epoch in result["epochs"]))
    with whole_file(job.out_model) as partial:
        save_file(result["weights"], partial, metadata=metadata)
    record = result["record"]
    write_json(job.out_record, {**names, "settings": variant.model_dump(mode="json"), **record})
    LiveFile(_live_file(job)).remove()
    best = record["best"]
    say(
        f"{job.name}: kept epoch {best['epoch']} of stage {best['stage']}, "
        f"validation IoU {best['validation_iou']:.3f}, {duration(record['seconds'])} in all"
    )
