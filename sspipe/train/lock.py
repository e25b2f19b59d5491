"""One process at a time trains a run: a second one waits."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sspipe.errors import UserError
from sspipe.log import say, warn
from sspipe.train.signals import StoppedError, StopRequest

_POLL_S = 0.5
_UNSUPPORTED = (errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK)


@contextmanager
def sole_trainer(folder: Path, stop: StopRequest) -> Iterator[None]:
    """Holds the folder's lock for the block; it goes with the process, however that ends.

    When Snakemake is killed, the training that it started lives on. The next one with the same command waits for it
    here, and then finds the run finished.

    Raises:
        UserError: the folder cannot be made.
        StoppedError: a signal came while waiting.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise UserError(f"{folder}: cannot be written to ({error.strerror}); name another --checkpoints") from None
    try:
        _wait(handle, folder, stop)
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"process {os.getpid()} on {socket.gethostname()}".encode(), 0)
        yield
    finally:
        os.close(handle)


def _wait(handle: int, folder: Path, stop: StopRequest) -> None:
    told = False
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if not told:
                holder = os.pread(handle, 200, 0).decode(errors="replace")
                say(f"{folder}: {holder or 'another process'} trains this run; waiting for its end (or end it)")
                told = True
        except OSError as error:
            if error.errno not in _UNSUPPORTED:
                raise
            warn(f"{folder}: this file system has no locks; see that no other process trains the same run")
            return
        if stop.number:
            raise StoppedError(stop.number)
        time.sleep(_POLL_S)
