"""Many tasks on several processes: results in order, and no hanging when a process dies."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait
from typing import TypeVar

from sspipe.errors import UserError

Task = TypeVar("Task")
Result = TypeVar("Result")


def in_parallel(
    function: Callable[[Task], Result], tasks: Sequence[Task], processes: int, what: str
) -> Iterator[Result]:
    """Yields `function(task)` for each task, in the order of the tasks.

    Args:
        function: importable by name; tasks and results are pickled.
        tasks: one call each.
        processes: how many at the same time; 1 works in this process.
        what: what the tasks are, for the message: "tiles".

    Raises:
        UserError: a process was killed, most likely for want of memory.
    """
    if processes <= 1:
        yield from map(function, tasks)
        return
    done = 0
    # Spawned, not forked: forking a process whose libraries run threads can lock it up.
    context = multiprocessing.get_context("spawn")
    executor = ProcessPoolExecutor(min(processes, max(1, len(tasks))), mp_context=context, initializer=_begin)
    try:
        for result in executor.map(function, tasks):
            done += 1
            yield result
    except BrokenProcessPool:
        raise UserError(
            f"a process was killed after {done} of {len(tasks)} {what}, most likely because the memory ran out with "
            f"{processes} at work; give the job more memory, or fewer processes"
        ) from None
    finally:
        # What has not begun is dropped; what has is not waited for longer than it takes to finish.
        executor.shutdown(cancel_futures=True)


def _begin() -> None:
    """Readies a worker: Ctrl-C is its parent's to answer, and it ends when its parent does, however that ended."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None  # only workers come here
    wait([parent.sentinel])
    os._exit(1)
