"""Starts the ranks of one machine, passes signals on to them, and tells how they ended."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import TYPE_CHECKING

from sspipe.errors import UserError
from sspipe.train.signals import SIGNALS, STOPPED_STATUS, StoppedError, StopRequest

if TYPE_CHECKING:
    from sspipe.train.run import Job

_POLL_S = 0.2
# A rank that lost another one soon fails too, with an error that says less: who failed first is looked for this long.
_GATHER_S = 3.0
_USER, _OTHER = "user", "other"


@dataclass
class _Rank:
    process: BaseProcess
    messages: Connection
    told: tuple[float, str, str] | None = None  # when, of which kind, and what it says of its failure

    def listen(self) -> None:
        try:
            if self.told is None and self.messages.poll():
                self.told = self.messages.recv()
        except EOFError:  # it ended without a word
            pass


def run_local_ranks(job: Job, count: int, stop: StopRequest) -> None:
    """Runs a job in `count` processes on this machine, one for each GPU or share of the CPUs.

    Signals are passed on. When a rank fails the others are ended, and the first failure is told, once.

    Raises:
        UserError: a rank's own, or a rank was killed.
        RuntimeError: a rank failed otherwise; its traceback is the message.
        StoppedError: a signal asked for it; a checkpoint was written.
    """
    from torch.distributed import TCPStore

    stop.steps_answer = True  # here by passing it on
    # The meeting point is this process: a port that the system gives, with no moment in which another could take it.
    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    ranks = _start(job, count, store.port)
    try:
        _follow(ranks, stop)
        ended = [rank.process.exitcode for rank in ranks]  # None: still there, because another one failed
    finally:
        for rank in ranks:
            rank.process.kill()
            rank.process.join()
    _raise_failure(ranks, ended, stop)
    if STOPPED_STATUS in ended:
        raise StoppedError(stop.number or signal.SIGTERM)


def _start(job: Job, count: int, port: int) -> list[_Rank]:
    context = multiprocessing.get_context("spawn")
    ranks = []
    resource_tracker.ensure_running()  # it would lift the block below
    # Blocked until a rank listens: a signal that comes meanwhile waits, and ends no rank unheard.
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        for number in range(count):
            receive, send = context.Pipe(duplex=False)
            process = context.Process(target=_rank, args=(job, number, count, port, send), name=f"rank {number}")
            process.start()
            send.close()
            ranks.append(_Rank(process, receive))
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    return ranks


def _follow(ranks: Sequence[_Rank], stop: StopRequest) -> None:
    """Waits until all ranks have ended, or one has failed and the others had a moment to say why."""
    passed_on = 0
    failed_at: float | None = None
    while alive := [rank for rank in ranks if rank.process.exitcode is None]:
        wait([rank.process.sentinel for rank in alive], timeout=_POLL_S)
        for rank in ranks:
            rank.listen()
        if stop.number and stop.number != passed_on:
            passed_on = stop.number
            for rank in ranks:
                if rank.process.exitcode is None and rank.process.pid is not None:
                    os.kill(rank.process.pid, passed_on)  # not yet waited for, so the id is still its own
        if any(rank.process.exitcode not in (None, 0, STOPPED_STATUS) for rank in ranks):
            failed_at = failed_at or time.monotonic()
            if time.monotonic() - failed_at > _GATHER_S:
                return


def _raise_failure(ranks: Sequence[_Rank], ended: Sequence[int | None], stop: StopRequest) -> None:
    """Tells the failure that the others followed from: a user's mistake, a killed rank, or the first traceback."""
    for rank in ranks:
        rank.listen()
    told = sorted(rank.told for rank in ranks if rank.told is not None)
    users = [what for _, kind, what in told if kind == _USER]
    if users:
        raise UserError(users[0])
    if stop.number and STOPPED_STATUS in ended:
        return  # what others say is that this rank has left them
    for number, code in enumerate(ended):
        if code is not None and code < 0:
            raise UserError(
                f"rank {number} of {len(ranks)} was ended by {signal.Signals(-code).name} (for want of memory, unless "
                "somebody did it), so the others were ended too; the same command goes on from the last checkpoint"
            )
    if told:
        raise RuntimeError(told[0][2])
    for number, code in enumerate(ended):
        if code not in (0, STOPPED_STATUS):
            raise RuntimeError(f"rank {number} of {len(ranks)} ended with status {code} and said nothing")


def _rank(job: Job, number: int, count: int, port: int, messages: Connection) -> None:
    """A rank's process, from its first line to its last."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        _train(job, number, count, port)
    except StoppedError:
        sys.exit(STOPPED_STATUS)
    except UserError as error:
        messages.send((time.time(), _USER, str(error)))
        sys.exit(1)
    except Exception:
        messages.send((time.time(), _OTHER, f"rank {number} of {count} failed:\n{traceback.format_exc()}"))
        sys.exit(1)


def _train(job: Job, number: int, count: int, port: int) -> None:
    stop = StopRequest()
    with stop.listening():
        os.environ.update(
            RANK=str(number),
            WORLD_SIZE=str(count),
            LOCAL_RANK=str(number),
            MASTER_ADDR="127.0.0.1",
            MASTER_PORT=str(port),
            TORCHELASTIC_USE_AGENT_STORE="True",  # torch's word for: the meeting point is kept by the parent
        )
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")  # whatever this machine's name leads to
        from sspipe.train.distributed import place_from_environment
        from sspipe.train.run import train_rank

        place = place_from_environment()
        assert place is not None  # set above
        train_rank(job, place, stop)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None  # only ranks come here
    wait([parent.sentinel])
    os._exit(1)
