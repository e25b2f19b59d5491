"""Keeps a training's checkpoints: when one is due, and what is told when it cannot be written."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from sspipe.errors import UserError
from sspipe.train import provenance
from sspipe.train.checkpoint import Checkpoints
from sspipe.train.distributed import Ranks


class Keeper:
    """Writes checkpoints on the first rank, and tells all of them what came of it.

    Args:
        checkpoints: the folder; None keeps nothing.
        identity: what the training is of.
        minutes: between checkpoints.
        ranks: those that train.

    Attributes:
        last_good: the last one that was written or gone on from.
    """

    def __init__(self, checkpoints: Checkpoints | None, identity: dict[str, Any], minutes: float, ranks: Ranks) -> None:
        self._checkpoints, self._identity, self._minutes, self._ranks = checkpoints, identity, minutes, ranks
        self._saved = time.monotonic()
        self.last_good: Path | None = None

    @property
    def folder(self) -> Path | None:
        """Where they are."""
        return None if self._checkpoints is None else self._checkpoints.folder

    def begin(self) -> None:
        """Starts the time to the next one."""
        self._saved = time.monotonic()

    def due(self) -> bool:
        """Whether it is time, by the first rank's clock."""
        return self._ranks.first and time.monotonic() - self._saved >= 60 * self._minutes

    def save(self, content: dict[str, Any]) -> str | None:
        """Writes a checkpoint.

        Args:
            content: position, weights and the rest; what the training is of is added.

        Returns:
            Why it could not be written, on all ranks; None if it was.
        """
        problem = None
        if self._ranks.first and self._checkpoints is not None:
            about = {"identity": self._identity, "versions": provenance.versions(), "ranks": self._ranks.count}
            try:
                self.last_good = self._checkpoints.save({**about, **content})
            except (OSError, UserError) as error:
                problem = str(error)
        self.begin()
        problem, self.last_good = self._ranks.from_first((problem, self.last_good))
        return problem
