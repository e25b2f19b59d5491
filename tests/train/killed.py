"""`python -m tests.train.killed POINT:N STAGE …`: the command line, which kills itself at the Nth passing of a point.

With SIGKILL, which nothing in the process can answer: what is on the disk then is all that is left of the run.
"""

import os
import signal
import sys
from contextlib import contextmanager

import torch

from sspipe.cli import main
from sspipe.train import checkpoint, run
from sspipe.train.loop import Training
from sspipe.train.validation import Validator


def before_the(count, function):
    """`function`, whose `count`th call is never made."""
    calls = iter(range(1, 10**9))

    def counted(*given, **named):
        if next(calls) == count:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*given, **named)

    return counted


def half_written(count):
    """`whole_file` for checkpoints, of which one is left in the middle of its writing."""
    reach = before_the(count, lambda: None)
    original = checkpoint.whole_file

    @contextmanager
    def whole_file(path):
        with original(path) as partial:
            partial.write_bytes(b"sspipe checkpoint 1 sha256 and then nothing")
            reach()
            yield partial

    return whole_file


def arm(point, count):
    if point == "step":  # gradients are there, and Adam has not begun
        torch.optim.Adam.step = before_the(count, torch.optim.Adam.step)
    elif point == "save":
        checkpoint.whole_file = half_written(count)
    elif point == "saved":  # the new checkpoint has its name, and the oldest is not removed yet
        os.fsync = before_the(2 * count, os.fsync)  # the file's, then the folder's
    elif point == "validation":
        Validator._measured = before_the(count, Validator._measured)
    elif point == "stage":  # the first stage's weights are chosen, and the second has no optimiser yet
        Training._new_stepper = before_the(count, Training._new_stepper)
    elif point == "results":
        run._write_results = before_the(count, run._write_results)
    else:
        raise ValueError(point)


if __name__ == "__main__":
    point, count = sys.argv[1].split(":")
    arm(point, int(count))
    sys.exit(main(sys.argv[2:]))
