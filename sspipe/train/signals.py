"""Ending early on request: a signal is remembered, and the training loop answers it between two steps."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

# Exit status of a run that was asked to stop, saved, and can go on: the system's EX_TEMPFAIL, "try again later".
STOPPED_STATUS = 75
# Slurm's and Snakemake's end, Ctrl-C, and the two that schedulers send ahead of a time limit (submitit: USR2).
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2)


class StoppedError(Exception):
    """The run was asked to stop, and has saved what there was to save."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


class StopRequest:
    """Whether this process was asked to stop.

    Before training there is nothing to save, and a signal ends it there and then; once `steps_answer` is set, it is
    remembered for the end of the step.

    Attributes:
        number: of the last signal that asked; 0 if none did.
        steps_answer: whether somebody looks at `number` often.
    """

    def __init__(self) -> None:
        self.number = 0
        self.steps_answer = False

    @contextmanager
    def listening(self) -> Iterator[StopRequest]:
        """Answers `SIGNALS` while the block runs; they may have been blocked before.

        Raises:
            StoppedError: a signal came while there was nothing to save.
        """
        before = {number: signal.signal(number, self._remember) for number in SIGNALS}
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _remember(self, number: int, frame: FrameType | None) -> None:
        self.number = number
        if not self.steps_answer:
            raise StoppedError(number)
