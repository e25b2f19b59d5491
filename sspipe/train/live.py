"""progress.json: how far a training is, for `sspipe status`; gone once train.json is there."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

from sspipe.errors import UserError
from sspipe.files import write_json
from sspipe.log import warn
from sspipe.train import provenance


class LiveFile:
    """Writes how far a training is, where others can read it.

    Args:
        path: progress.json; None writes nothing.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._failed = False

    def write(self, content: dict[str, Any]) -> None:
        """Writes the file anew. A full disk is told once, and stops no training: nothing is made from this file."""
        if self._path is None:
            return
        where = {"host": socket.gethostname(), "process": os.getpid(), "updated": provenance.now()}
        try:
            write_json(self._path, {**content, **where})
        except (OSError, UserError) as error:
            if not self._failed:
                warn(f"{self._path}: cannot be written ({error}); training goes on, and `sspipe status` knows less")
            self._failed = True

    def remove(self) -> None:
        """Removes it: the run has finished."""
        if self._path is not None:
            self._path.unlink(missing_ok=True)
