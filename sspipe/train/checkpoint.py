"""Checkpoints: files that are whole or not there, that tell when they are damaged, and of which two are kept."""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import re
from pathlib import Path
from typing import Any

import torch

from sspipe.errors import UserError
from sspipe.files import whole_file
from sspipe.log import warn

_NAME = re.compile(r"checkpoint-(\d{6})\.pt")
_HEADER = re.compile(rb"sspipe checkpoint 1 sha256 ([0-9a-f]{64}) bytes (\d{15})\n")
_HEADER_BYTES = 114
_FINISHED = "finished.pt"
_KEPT = 2


class DamagedError(Exception):
    """A file that is not what was written: cut, or with other bits."""


class Checkpoints:
    """The folder of one run's checkpoints. One process at a time writes there.

    Args:
        folder: made when something is saved.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)

    def save(self, content: dict[str, Any]) -> Path:
        """Writes the next checkpoint and removes all but the last two.

        Args:
            content: tensors, numbers, text, lists and dictionaries of them: what `torch.load` reads safely.

        Returns:
            The file.

        Raises:
            OSError: it could not be written, for want of space for example; the earlier ones stay.
        """
        paths = self.paths()
        number = _number(paths[-1]) + 1 if paths else 1
        path = self.folder / f"checkpoint-{number:06d}.pt"
        _write(path, content)
        for old in self.paths()[:-_KEPT]:
            old.unlink(missing_ok=True)
        return path

    def latest(self) -> tuple[Path, dict[str, Any]] | None:
        """Reads the newest checkpoint that is whole; a damaged newer one is removed, with a warning.

        Returns:
            The file and its content; None if there is none.

        Raises:
            UserError: there are checkpoints, and all are damaged.
        """
        paths = self.paths()
        damaged = []
        for path in reversed(paths):
            try:
                content = _read(path)
            except DamagedError as error:
                damaged.append((path, error))
                continue
            for bad, why in damaged:
                warn(f"{bad}: damaged ({why}); going on from {path.name}, the one before, and removing it")
                bad.unlink()
            return path, content
        if damaged:
            told = "; ".join(f"{bad.name}: {why}" for bad, why in damaged)
            raise UserError(f"{self.folder}: every checkpoint is damaged ({told}); delete the folder to train anew")
        return None

    def read(self, path: Path) -> dict[str, Any]:
        """Reads a checkpoint that was just seen to be whole.

        Raises:
            UserError: it is not.
        """
        try:
            return _read(path)
        except DamagedError as error:
            raise UserError(f"{path}: damaged ({error}); run the same command again") from None

    def finish(self, content: dict[str, Any]) -> None:
        """Writes what a finished run gave, and removes its checkpoints.

        Raises:
            OSError: it could not be written.
        """
        _write(self.folder / _FINISHED, content)
        self.discard()

    def finished(self) -> dict[str, Any] | None:
        """Reads what a finished run gave; None if none has finished here.

        Raises:
            UserError: the file is damaged.
        """
        path = self.folder / _FINISHED
        if not path.exists():
            return None
        try:
            return _read(path)
        except DamagedError as error:
            raise UserError(f"{path}: damaged ({error}); delete it to train this run anew") from None

    def discard(self) -> None:
        """Removes the checkpoints; what a finished run gave stays."""
        for path in self.paths():
            path.unlink(missing_ok=True)

    def clean(self) -> None:
        """Removes what killed runs left half-written, whichever machine they were on: only the lock's holder may."""
        for path in self.folder.glob(".partial-*"):
            path.unlink(missing_ok=True)

    def paths(self) -> list[Path]:
        """The checkpoints that are there, oldest first."""
        return sorted(path for path in self.folder.glob("checkpoint-*.pt") if _NAME.fullmatch(path.name))


def _number(path: Path) -> int:
    match = _NAME.fullmatch(path.name)
    assert match is not None  # `paths` has seen to it
    return int(match[1])


def _write(path: Path, content: dict[str, Any]) -> None:
    # In memory first, so that a full disk meets plain writing and not torch's archive in the middle of a record.
    buffer = io.BytesIO()
    torch.save(content, buffer)
    payload = buffer.getbuffer()
    header = f"sspipe checkpoint 1 sha256 {hashlib.sha256(payload).hexdigest()} bytes {len(payload):015d}\n".encode()
    assert len(header) == _HEADER_BYTES
    with whole_file(path) as partial, partial.open("wb") as file:
        file.write(header)
        file.write(payload)
    # The renaming too must be on the disk before an older checkpoint goes.
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _read(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            header, payload = file.read(_HEADER_BYTES), file.read()
    except OSError as error:
        raise DamagedError(f"cannot be read: {error.strerror}") from None
    match = _HEADER.fullmatch(header)
    if match is None:
        raise DamagedError("its first line is not a checkpoint's")
    if len(payload) != int(match[2]):
        raise DamagedError(f"{len(payload)} bytes of {int(match[2])}")
    if hashlib.sha256(payload).hexdigest() != match[1].decode():
        raise DamagedError("its checksum does not fit")
    try:
        content: dict[str, Any] = torch.load(io.BytesIO(payload), map_location="cpu", weights_only=True)
    except (RuntimeError, pickle.UnpicklingError) as error:
        raise DamagedError(f"torch cannot read it: {error}") from None
    return content
