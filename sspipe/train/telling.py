"""How people are told of a training: the log or the bar, progress.json, and TensorBoard."""

from __future__ import annotations

import math
from pathlib import Path
from types import TracebackType

from torch import Tensor

from sspipe.log import say
from sspipe.train import provenance
from sspipe.train.distributed import Ranks
from sspipe.train.events import EventFiles
from sspipe.train.live import LiveFile
from sspipe.train.progress import Reporter
from sspipe.train.state import Epoch, State
from sspipe.variants import Variant


class Teller:
    """Tells how it goes, on the first rank; the others hold one that is silent. Use it in a `with` block.

    Args:
        name: of the run.
        variant: that is trained.
        tiles: of an epoch.
        ranks: those that train.
        log_seconds: between lines.
        events: TensorBoard's folder; None writes none.
        live: progress.json; None writes none.
    """

    def __init__(
        self,
        name: str,
        variant: Variant,
        tiles: int,
        ranks: Ranks,
        log_seconds: float,
        *,
        events: Path | None,
        live: Path | None,
    ) -> None:
        self._name, self._variant, self._tiles, self._ranks = name, variant, tiles, ranks
        self._log_seconds = log_seconds
        self._steps = math.ceil(tiles / variant.batch_size)
        self._device = provenance.device_name(ranks.device)
        self._live = LiveFile(live if ranks.first else None)
        self._events_folder = events if ranks.first else None
        self._events: EventFiles | None = None
        self._reporter = self._reporter_from(0)

    def __enter__(self) -> Teller:
        self._reporter.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._reporter.__exit__(kind, error, trace)

    def where(self, state: State) -> str:
        """Names the run and its place for a log line."""
        stages = self._variant.stages
        stage = stages[state.stage - 1]
        views = "+".join(view.upper() for view in stage.views)
        return f"{self._name}: stage {state.stage}/{len(stages)} ({views}) epoch {state.epoch}/{stage.epochs}"

    def begin(self, state: State, validation_tiles: int, precision: str) -> None:
        """Says what begins, or goes on, and counts time from here."""
        if self._ranks.first:
            ranks = f"{self._ranks.count} ranks, " if self._ranks.count > 1 else ""
            say(
                f"{self._name}: {self._tiles} training and {validation_tiles} validation tiles, "
                f"{ranks}{precision}, {self._device}"
            )
        self._write(state, None)
        if self._events_folder is not None:
            self._events = EventFiles(self._events_folder, state.epochs)
        self._reporter = self._reporter_from(
            state.images_taken(self._variant.stages, self._tiles, self._variant.batch_size)
        )

    def due(self) -> bool:
        """Whether it is time for the next line."""
        return self._reporter.due()

    def took(self, images: int) -> None:
        """Counts views of tiles that were taken."""
        self._reporter.took(images)

    def steps(self, state: State, losses: Tensor) -> None:
        """Tells how far the epoch is.

        Args:
            state: of the training.
            losses: `(n, 3)` of the epoch's images so far; their mean is told.
        """
        loss = losses[:, 0].mean().item() if len(losses) else None
        self._reporter.tell(f"{self.where(state)} step {state.step}/{self._steps}", loss)
        self._write(state, loss)

    def validation(self, state: State, number: int, rounds: int) -> None:
        """Tells how far validation is, if it is time."""
        if self._reporter.due():
            self._reporter.tell(f"{self.where(state)} validation {number}/{rounds}", None)

    def epoch(self, state: State, measured: Epoch) -> None:
        """Tells what an epoch measured; the state is still in it."""
        if self._events is not None:
            self._events.add(measured)
        if self._ranks.first:
            say(
                f"{self.where(state)}: loss {measured.train_loss:.3f}, validation loss {measured.validation_loss:.3f}, "
                f"validation IoU {measured.validation_iou:.3f}, {self._reporter.time_left()}"
            )
        self._write(state, measured.train_loss)

    def _write(self, state: State, loss: float | None) -> None:
        """Writes progress.json."""
        stages = self._variant.stages
        stage = stages[state.stage - 1]
        before = sum(earlier.epochs for earlier in stages[: state.stage - 1])
        last = state.epochs[-1] if state.epochs else None
        self._live.write(
            {
                "name": self._name,
                "stage": state.stage,
                "stages": len(stages),
                "views": list(stage.views),
                # A stage that goes on from its end has counted its last epoch up already.
                "epoch": before + min(state.epoch, stage.epochs),
                "epochs": sum(each.epochs for each in stages),
                "step": state.step,
                "steps": self._steps,
                "loss": last.train_loss if loss is None and last else loss,
                "validation_iou": last.validation_iou if last else None,
                "seconds": round(state.seconds, 1),
                "seconds_left": self._reporter.seconds_left(),
                "restarts": state.restarts,
                "ranks": self._ranks.count,
                "device": self._device,
            }
        )

    def _reporter_from(self, done: int) -> Reporter:
        images = sum(self._tiles * len(stage.views) * stage.epochs for stage in self._variant.stages)
        return Reporter(images, done, self._log_seconds, self._ranks.device, silent=not self._ranks.first)
