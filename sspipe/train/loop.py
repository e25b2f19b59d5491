"""The training loop: stages, epochs, steps; and what happens between two steps."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sspipe.errors import UserError
from sspipe.log import warn
from sspipe.models.build import build_network, input_bands
from sspipe.train import provenance
from sspipe.train.checkpoint import Checkpoints
from sspipe.train.dataset import PackedTiles
from sspipe.train.distributed import Place, Ranks, device_of
from sspipe.train.draws import EpochDraws
from sspipe.train.keeper import Keeper
from sspipe.train.loader import BatchLoader
from sspipe.train.loss_table import LossTable
from sspipe.train.options import Options
from sspipe.train.precision import choose_precision, device_facts
from sspipe.train.progress import peak_memory
from sspipe.train.signals import StoppedError, StopRequest
from sspipe.train.state import Epoch, State, generator_states, restore_generators, seed_generators
from sspipe.train.steps import Stepper, refuse_impossible
from sspipe.train.telling import Teller
from sspipe.train.transforms import Standardiser
from sspipe.train.validation import Validator
from sspipe.variants import Stage, Variant


class Training:
    """A network and the data it is trained on; `run` takes it through its stages.

    Args:
        name: of the run, for messages.
        variant: model, stages and the rest.
        seed: of initialisation, order, flips and skip draws.
        train_tiles: by the split.
        validation_tiles: by the split.
        statistics: content of `statistics/{split}.json`.
        options: how it runs; None takes the defaults.
        ranks: those that share each batch; None trains alone.
        stop: whether a signal asked to stop.
        checkpoints: where they are written; None writes none.
        identity: what the training is of, for its checkpoints.
        events: TensorBoard's folder; None writes none.
        live: progress.json; None writes none.

    Raises:
        UserError: the settings do not go together, or with the hardware.
    """

    def __init__(
        self,
        *,
        name: str,
        variant: Variant,
        seed: int,
        train_tiles: PackedTiles,
        validation_tiles: PackedTiles,
        statistics: dict[str, Any],
        options: Options | None = None,
        ranks: Ranks | None = None,
        stop: StopRequest | None = None,
        checkpoints: Checkpoints | None = None,
        identity: dict[str, Any] | None = None,
        events: Path | None = None,
        live: Path | None = None,
    ) -> None:
        options = options or Options()
        self.name, self.variant, self.seed, self.options = name, variant, seed, options
        self.train_tiles, self.validation_tiles = train_tiles, validation_tiles
        self.ranks = ranks or Ranks(Place(), device_of(Place()))
        self.device = self.ranks.device
        self.precision = choose_precision(options.precision, device_facts(self.device))
        refuse_impossible(variant, self.ranks, options.micro_batch_size, len(train_tiles))
        self._stop = stop or StopRequest()
        self._keeper = Keeper(checkpoints, identity or {}, options.checkpoint_minutes, self.ranks)
        self._teller = Teller(
            name, variant, len(train_tiles), self.ranks, options.log_seconds, events=events, live=live
        )
        seed_generators(seed)
        self._standardise = Standardiser(statistics, self.device)
        network = build_network(variant.model, seed, input_bands(variant, statistics)).to(self.device)
        if variant.model.norm == "batch" and self.ranks.count > 1:
            network = torch.nn.SyncBatchNorm.convert_sync_batchnorm(network)
        # Channels last: about twice as fast on CPUs, and what tensor cores want.
        self.network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload] # not in the stubs
        self.state = State(started=provenance.now())
        self._losses = LossTable(len(train_tiles), self.ranks)
        self._accounted = time.monotonic()
        self._stepper = self._new_stepper()

    def run(self) -> list[Epoch]:
        """Runs all stages, from where it is, and leaves the network with the chosen weights.

        Each stage begins with the weights that the stage before it kept, and with a new optimiser.

        Returns:
            What every epoch measured, in order.

        Raises:
            UserError: a loss is not finite, or the pack is damaged.
            StoppedError: a signal asked for it; a checkpoint was written.
        """
        self._teller.begin(self.state, len(self.validation_tiles), self.precision.name)
        self._accounted = time.monotonic()
        self._keeper.begin()
        # All at once: a rank that ended there and then would leave the others in a step without it.
        self.ranks.meet()
        self._stop.steps_answer = True
        with self._teller:
            while not self.done:
                self._run_stage()
        self._account()
        return self.state.epochs

    def restore(self, path: Path, content: dict[str, Any]) -> None:
        """Takes over a checkpoint's content: the training is then where it was when that was written."""
        self.state = State.from_plain(content["state"])
        self.state.restarts += 1
        self.network.load_state_dict(content["network"])
        self._stepper = self._new_stepper()
        self._stepper.restore(content["stepper"])
        self._losses.restore(content["losses"])
        restore_generators(content["generators"], self.device)
        self._keeper.last_good = path
        if content["ranks"] != self.ranks.count and self.ranks.first:
            count = self.ranks.count
            warn(f"{path}: {content['ranks']} ranks before, {count} now: the result is the same but for rounding")
        if content["precision"] != self.precision.name and self.ranks.first:
            warn(
                f"{path} was trained in {content['precision']}, and goes on in {self.precision.name}, which this "
                "hardware does (training.precision: auto): the result is valid, but not one that either gives alone"
            )

    @property
    def done(self) -> bool:
        """Whether all stages are."""
        return self.state.stage > len(self.variant.stages)

    @property
    def stage(self) -> Stage:
        """The stage that the training is in."""
        return self.variant.stages[self.state.stage - 1]

    @property
    def chosen(self) -> Epoch:
        """The epoch whose weights the network has, once all stages are done."""
        assert self.state.chosen is not None, "no epoch has ended"
        return self.state.chosen

    def weights(self) -> dict[str, Tensor]:
        """A copy of the network's weights, on the CPU."""
        return {name: tensor.detach().cpu().contiguous().clone() for name, tensor in self.network.state_dict().items()}

    def train_epoch(self) -> None:
        """Takes the steps of the epoch that are not done yet.

        Raises:
            UserError: a loss is not finite, or the pack is damaged.
            StoppedError: a signal asked for it.
        """
        self.network.train()
        draws = EpochDraws(self.variant, self.seed, self.state.stage, self.state.epoch)
        order = draws.order(self.train_tiles.shard_of, self.options.shuffle_shards)
        loader = BatchLoader(
            self.train_tiles,
            (*self.stage.views, "masks"),
            device=self.device,
            batch_size=self.variant.batch_size,
            rank=self.ranks.rank,
            ranks=self.ranks.count,
            workers=self.options.workers,
        )
        with loader:
            for batch in loader.epoch(order, draws, first_step=self.state.step):
                losses_B3 = self._stepper.step(batch)
                self._losses.put(batch.step * self.variant.batch_size + batch.share.start, losses_B3)
                self.state.step += 1
                self._teller.took(len(batch.samples) * len(self.stage.views))
                self._between_steps()

    def validate(self) -> tuple[float, float]:
        """Mean loss and mean per-tile pixel IoU on the validation tiles, on the view that the stage serves.

        Raises:
            UserError: the loss is not finite.
            StoppedError: a signal asked for it.
        """
        self.network.eval()
        validator = Validator(
            tiles=self.validation_tiles,
            view=self.stage.validation_view,
            standardise=self._standardise,
            weights=self.variant.loss,
            ranks=self.ranks,
            precision=self.precision,
            batch_size=min(self.variant.batch_size, self.options.micro_batch_size or self.variant.batch_size),
            workers=self.options.workers,
        )

        def after_each(number: int) -> None:
            self._teller.validation(self.state, number, validator.rounds)
            self._stop_if_asked()

        loss, iou = validator.measure(self.network, after_each)
        if not math.isfinite(loss):
            raise self._not_finite("validation: the loss is not finite")
        return loss, iou

    def _run_stage(self) -> None:
        while self.state.epoch <= self.stage.epochs:
            self.train_epoch()
            losses = [math.fsum(column) / len(self.train_tiles) for column in self.losses_so_far().T.tolist()]
            self._end_epoch(losses, *self.validate())
            self._between_steps()
        self.network.load_state_dict(self.state.kept)
        self.state.kept = {}
        self.state.stage, self.state.epoch = self.state.stage + 1, 1
        if not self.done:
            self._stepper = self._new_stepper()
            self._between_steps()

    def _end_epoch(self, losses: Sequence[float], validation_loss: float, validation_iou: float) -> None:
        self._account()
        state = self.state
        measured = Epoch(
            stage=state.stage,
            stages=len(self.variant.stages),
            view=self.stage.validation_view,
            views=self.stage.views,
            epoch=state.epoch,
            epochs=self.stage.epochs,
            train_loss=losses[0],
            train_dice=losses[1],
            train_bce=losses[2],
            validation_loss=validation_loss,
            validation_iou=validation_iou,
            learning_rate=self._stepper.learning_rate,
            seconds=round(state.epoch_seconds, 2),
        )
        best = state.chosen.validation_iou if state.chosen and state.chosen.stage == state.stage else -1.0
        if self.variant.select == "last" or validation_iou > best:
            state.chosen, state.kept = measured, self.weights()
        state.epochs.append(measured)
        self._teller.epoch(state, measured)
        state.epoch, state.step, state.epoch_seconds = state.epoch + 1, 0, 0.0
        self._losses.clear()

    def _between_steps(self) -> None:
        """Logs, saves or stops, all ranks alike."""
        log, save, stop = self.ranks.most([self._teller.due(), self._keeper.due(), self._stop.number])
        if log and self.state.step:  # of an epoch's end there was a line
            self._teller.steps(self.state, self.losses_so_far())
        if stop:
            self._save_and_stop(stop)
        if save:
            problem = self._save()
            if problem is not None and self.ranks.first:
                warn(f"{self.name}: no checkpoint could be written ({problem}); training goes on")

    def _stop_if_asked(self) -> None:
        (stop,) = self.ranks.most([self._stop.number])
        if stop:
            self._save_and_stop(stop)

    def _save_and_stop(self, stop: int) -> None:
        problem = self._save()
        if problem is not None:
            raise UserError(
                f"{self.name}: stopped as asked, but no checkpoint could be written ({problem}); "
                f"the last good one is {self._keeper.last_good or 'none'}; make room, and run the same command again"
            )
        raise StoppedError(stop)

    def _save(self) -> str | None:
        """Writes a checkpoint; returns why it could not, on all ranks.

        Raises:
            UserError: something in it is not finite.
        """
        losses = self.losses_so_far()
        self._account()
        return self._keeper.save(
            {
                "precision": self.precision.name,
                "state": self.state.plain(),
                "losses": losses,
                "network": self.network.state_dict(),
                "stepper": self._stepper.state(),
                "generators": generator_states(self.device),
            }
        )

    def losses_so_far(self) -> Tensor:
        """`(n, 3)` float64 on the CPU: loss, Dice and BCE of the epoch's images so far, of all ranks.

        This is where the device is waited for.

        Raises:
            UserError: one of them is not finite, or a weight.
        """
        taken = min(self.state.step * self.variant.batch_size, len(self.train_tiles))
        losses = self._losses.total(taken)
        bad = torch.isfinite(losses).all(dim=1).logical_not().nonzero()
        if len(bad):
            raise self._not_finite(f"step {int(bad[0]) // self.variant.batch_size + 1}: the loss is not finite")
        if not self._stepper.all_finite():
            raise self._not_finite(f"step {self.state.step}: the weights are not finite")
        if self._stepper.scale_collapsed():
            raise self._not_finite(f"step {self.state.step}: the gradients overflow fp16 in every step")
        return losses

    def _not_finite(self, what: str) -> UserError:
        folder = "" if self._keeper.folder is None else f", delete {self._keeper.folder}"
        return UserError(
            f"{self._teller.where(self.state)} {what}; learning_rate is {self._stepper.learning_rate}; "
            f"the last good checkpoint is {self._keeper.last_good or 'none'}. "
            f"Lower learning_rate in the variant's configuration{folder} and run again"
        )

    def _account(self) -> None:
        """Adds the time since the last call to the state."""
        now = time.monotonic()
        elapsed, self._accounted = now - self._accounted, now
        self.state.seconds += elapsed
        self.state.epoch_seconds += elapsed
        if self.device.type == "cuda":
            self.state.gpu_seconds += elapsed * self.ranks.count
        self.state.peak_memory = max(self.state.peak_memory, peak_memory(self.device))

    def _new_stepper(self) -> Stepper:
        return Stepper(
            self.network,
            self.variant,
            self.stage,
            self._standardise,
            ranks=self.ranks,
            precision=self.precision,
            micro_batch_size=self.options.micro_batch_size,
            compiled=self.options.compile,
        )
