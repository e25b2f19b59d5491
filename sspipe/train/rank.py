"""What each rank's process runs on a node, as submitit starts it there."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sspipe.errors import UserError
from sspipe.files import read_json, write_json
from sspipe.train.signals import SIGNALS, STOPPED_STATUS, StopRequest

# After SIGTERM whoever sent it decides first what becomes of the job: one whose processes ended by themselves would be
# a failed one, which Slurm does not queue again.
_PATIENCE_AFTER_TERM_S = 900
_MEETING_S = 300


class Rank:
    """What each rank's process runs: the stage `train`, as by hand. It keeps no state; checkpoints do.

    Args:
        command: arguments of `python -m sspipe`.
    """

    def __init__(self, command: Sequence[str]) -> None:
        self.command = tuple(command)

    def __call__(self) -> int:
        """Runs the stage; after a signal it has saved, and submitit has Slurm queue the job again.

        Raises:
            RuntimeError: the stage refused its input; its message is the stage's.
        """
        from submitit import JobEnvironment
        from submitit.helpers import TorchDistributedEnvironment

        from sspipe.cli import parsed
        from sspipe.train.stage import train

        job = JobEnvironment()
        job.paths.result_pickle.unlink(missing_ok=True)  # an earlier attempt's
        TorchDistributedEnvironment().export(set_cuda_visible_devices=False, overwrite=True)
        # The step's own: whoever starts it again, starts another.
        words = (job.raw_job_id, os.environ.get("SLURM_RESTART_COUNT", "0"), os.environ.get("SLURM_STEP_ID", "0"))
        port = job.paths.folder / f"{'_'.join(words)}.port"
        os.environ.update(meeting_point(port, job.global_rank))
        if len(os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")) == 1 < job.num_tasks:
            os.environ["LOCAL_RANK"] = "0"  # this site shows each task its own GPU alone

        stop = StopRequest()
        requeue = signal.getsignal(signal.SIGUSR2)
        try:
            status = train(**parsed(self.command)[1], stop=stop)
        except UserError as error:
            raise RuntimeError(str(error)) from None
        if status == STOPPED_STATUS:
            _after_a_stop(stop.number or signal.SIGTERM, job.global_rank, requeue)
        # A warning of the walltime that comes while this process ends would fail a job whose training is done. Python
        # restores the default of a handler as it ends, but leaves an ignored signal ignored.
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        return status

    def checkpoint(self) -> Any:
        """What submitit queues again: the same, afresh."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(Rank(self.command))


def meeting_point(file: Path, rank: int) -> dict[str, str]:
    """Where the ranks of a job meet: on their node's own loopback, whatever the node's name leads to.

    Args:
        file: by which rank 0 tells the others the port that it found free; one attempt's own.
        rank: of this process.

    Raises:
        RuntimeError: rank 0 has told nothing for some minutes.
    """
    if rank == 0:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            write_json(file, free.getsockname()[1])
    limit = time.monotonic() + _MEETING_S
    while not file.exists():
        if time.monotonic() > limit:
            raise RuntimeError(f"rank {rank} has waited {_MEETING_S} s for rank 0, which has not written {file}")
        time.sleep(0.1)
    return {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(read_json(file)), "GLOO_SOCKET_IFNAME": "lo"}


def _after_a_stop(number: int, rank: int, requeue: Any) -> None:
    """The training is saved: what now depends on who asked."""
    if number != signal.SIGUSR2:
        # Preempted, cancelled, requeued or out of time without a warning: Slurm's next signal ends it.
        print(f"saved after {signal.Signals(number).name}; waiting for Slurm to end or requeue this job", flush=True)
        time.sleep(_PATIENCE_AFTER_TERM_S)
    # A partition may give whom it preempts longer than that: not to wait any longer is not to fail.
    if number in (signal.SIGUSR2, signal.SIGTERM) and callable(requeue):
        if rank == 0:
            try:
                requeue(number, None)  # submitit's handler: has Slurm queue the job again, and exits
            except (OSError, subprocess.SubprocessError) as problem:
                # An image without Slurm's programs, or a controller that is away.
                print(
                    f"this job cannot queue itself again ({problem}); its launcher does, once it has ended", flush=True
                )
        while True:  # Slurm ends them all: with the requeue, at the end of the grace, or at the time limit
            time.sleep(_PATIENCE_AFTER_TERM_S)
    sys.exit(STOPPED_STATUS)
