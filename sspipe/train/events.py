"""TensorBoard event files of a training, for those who have the package."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Sequence
from pathlib import Path

from sspipe.errors import UserError
from sspipe.log import warn
from sspipe.train.state import Epoch

_SCALARS = ("train_loss", "train_dice", "train_bce", "validation_loss", "validation_iou", "learning_rate")


def require_tensorboard() -> None:
    """Checks for the package, before anything is trained.

    Raises:
        UserError: it is not installed.
    """
    if importlib.util.find_spec("tensorboard") is None:
        raise UserError(
            "training.tensorboard is true, and the package tensorboard is not installed; "
            "install it (pip install tensorboard), or set training.tensorboard to false"
        )


class EventFiles:
    """Writes each epoch's measurements; the horizontal axis counts epochs over all stages.

    A full disk is told once, and stops no training: nothing is made from these files.

    Args:
        folder: written anew, so that an epoch that an interrupted run repeats stands there once.
        epochs: those measured before.
    """

    def __init__(self, folder: Path, epochs: Sequence[Epoch]) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._folder, self._count, self._failed = folder, 0, False
        try:
            shutil.rmtree(folder, ignore_errors=True)
            self._writer = SummaryWriter(str(folder))
        except OSError as error:
            self._tell(error)
        for epoch in epochs:
            self.add(epoch)

    def add(self, epoch: Epoch) -> None:
        """Writes one epoch."""
        if self._failed:
            return
        self._count += 1
        try:
            for name in _SCALARS:
                self._writer.add_scalar(name, getattr(epoch, name), self._count)
            self._writer.flush()
        except OSError as error:
            self._tell(error)

    def _tell(self, error: OSError) -> None:
        warn(f"{self._folder}: TensorBoard's files cannot be written ({error}); training goes on without them")
        self._failed = True
