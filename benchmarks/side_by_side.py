"""What every benchmark shares: running two sides in turns, and saying which was faster.

A benchmark is `python -m benchmarks.NAME`. It runs both sides in one process or in turns, asserts that they give the
same result, prints a table for people and, as its last line, one JSON object for machines.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import platform
import statistics
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any


def in_turns(
    sides: dict[str, Callable[[], Any]],
    rounds: int,
    warm_up: int = 1,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, list[float]]:
    """Times the sides one after the other, round by round, so that a change of the machine's speed meets them all.

    Args:
        sides: what to run, by name.
        rounds: how often each is timed.
        warm_up: rounds before those.
        clock: `time.process_time` for sides that compute in this process alone: waiting for other users of the
            machine is not counted then.

    Returns:
        seconds of each round of each side.
    """
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(-warm_up, rounds):
        for name, side in sides.items():
            begun = clock()
            side()
            if number >= 0:
                seconds[name].append(clock() - begun)
    return seconds


class OwnProcess:
    """A side that runs in a process of its own, where sides set up their process differently.

    Args:
        make: a function of a module, called there with `arguments`; returns what is run at each call.
        arguments: for `make`, picklable.
    """

    def __init__(self, make: Callable[..., Callable[[], Any]], *arguments: Any) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, there = context.Pipe()
        context.Process(target=_serve, args=(there, make, arguments), daemon=True).start()
        there.close()

    def __call__(self) -> Any:
        """Runs the side once and returns what it returns."""
        self._pipe.send(None)
        return self._pipe.recv()


def _serve(pipe: Any, make: Callable[..., Callable[[], Any]], arguments: tuple[Any, ...]) -> None:
    side = make(*arguments)
    with suppress(EOFError):  # the end: the process that asks is gone
        while True:
            pipe.recv()
            pipe.send(side())


def ratio(slower: list[float], faster: list[float]) -> float:
    """How many times faster the second side was: the median over rounds, each round's sides taken together."""
    return statistics.median(a / b for a, b in zip(slower, faster, strict=True))


def table(rows: list[tuple[Any, ...]], head: tuple[str, ...]) -> None:
    """Prints rows under a head, in columns."""
    text = [[str(cell) for cell in row] for row in (head, *rows)]
    widths = [max(len(row[column]) for row in text) for column in range(len(head))]
    for row in text:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def result(benchmark: str, *, ratio: float, target: float, against: str, **figures: Any) -> None:
    """Prints the last line: what was measured, where and when."""
    met = "met" if ratio >= target else "missed"
    print(f"\n{benchmark}: {ratio:.2f} times {against} (target {target:g}: {met})")
    figures |= {"met": ratio >= target, "machine": machine(), "date": datetime.now(UTC).date().isoformat()}
    line = {"benchmark": benchmark, "ratio": round(ratio, 3), "target": target, "against": against, **figures}
    print(json.dumps(line), flush=True)


def machine() -> str:
    """The processor, how many of its cores may be used, and how busy they were."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{names[0] if names else platform.machine()}, {cores} cores, load {os.getloadavg()[0]:.1f}"
