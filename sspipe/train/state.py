"""Where a training is, and what it has measured: all that is not weights, as a checkpoint keeps it."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sspipe.variants import Stage


@dataclass
class Epoch:
    """One line of metrics.jsonl."""

    stage: int
    stages: int
    view: str
    views: tuple[str, ...]
    epoch: int
    epochs: int
    train_loss: float
    train_dice: float
    train_bce: float
    validation_loss: float
    validation_iou: float
    learning_rate: float
    seconds: float


@dataclass
class State:
    """The position of a training, and what it has measured so far.

    Attributes:
        stage: the one it is in, from 1; one more than there are when all are done.
        epoch: within the stage, from 1.
        step: steps of the epoch that are done; when all are, validation comes next.
        epochs: those measured so far, of all stages.
        chosen: the epoch that `select` has chosen in this stage so far.
        kept: its weights.
        seconds: of training, over all sessions.
        epoch_seconds: of the current epoch.
        gpu_seconds: seconds times GPUs.
        peak_memory: bytes, of the rank that took most.
        restarts: how often it went on after it was interrupted.
        started: when it was begun, UTC.
    """

    started: str
    stage: int = 1
    epoch: int = 1
    step: int = 0
    epochs: list[Epoch] = field(default_factory=list)
    chosen: Epoch | None = None
    kept: dict[str, Tensor] = field(default_factory=dict)
    seconds: float = 0.0
    epoch_seconds: float = 0.0
    gpu_seconds: float = 0.0
    peak_memory: int = 0
    restarts: int = 0

    def images_taken(self, stages: Sequence[Stage], tiles: int, batch_size: int) -> int:
        """Views of training tiles that were taken up to here, over all stages and epochs."""
        taken = sum(tiles * len(stage.views) * stage.epochs for stage in stages[: self.stage - 1])
        if self.stage <= len(stages):
            in_epoch = min(self.step * batch_size, tiles)
            taken += ((self.epoch - 1) * tiles + in_epoch) * len(stages[self.stage - 1].views)
        return taken

    def plain(self) -> dict[str, Any]:
        """Numbers, text and tensors alone."""
        content = {name: value for name, value in vars(self).items() if name not in ("epochs", "chosen")}
        return {
            **content,
            "epochs": [asdict(epoch) for epoch in self.epochs],
            "chosen": None if self.chosen is None else asdict(self.chosen),
        }

    @classmethod
    def from_plain(cls, content: dict[str, Any]) -> State:
        """What `plain` gave, back again."""
        chosen = content["chosen"]
        return cls(
            **{
                **content,
                "epochs": [Epoch(**epoch) for epoch in content["epochs"]],
                "chosen": None if chosen is None else Epoch(**chosen),
            }
        )


def seed_generators(seed: int) -> None:
    """Seeds every global generator.

    Order, flips and skip draws come from streams of their own and initial weights too; this is for whatever else might
    draw, now or later.
    """
    torch.manual_seed(seed)  # of every device
    np.random.seed(seed % 2**32)
    random.seed(seed)


def generator_states(device: torch.device) -> dict[str, Any]:
    """The states of every global generator."""
    numpy_state: dict[str, Any] = dict(np.random.get_state(legacy=False))
    key = numpy_state.pop("state")
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state(device) if device.type == "cuda" else None,
        "numpy": {**numpy_state, "key": key["key"].tolist(), "pos": int(key["pos"])},
        "python": random.getstate(),
    }


def restore_generators(states: dict[str, Any], device: torch.device) -> None:
    """Sets every global generator to what `generator_states` gave; a GPU's only where there is one in both."""
    torch.set_rng_state(states["torch"])
    if device.type == "cuda" and states["cuda"] is not None:
        torch.cuda.set_rng_state(states["cuda"], device)
    numpy_state = dict(states["numpy"])
    key = {"key": np.array(numpy_state.pop("key"), dtype=np.uint32), "pos": numpy_state.pop("pos")}
    np.random.set_state({**numpy_state, "state": key})
    random.setstate(states["python"])
