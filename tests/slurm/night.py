"""A checkout in which Snakemake works on the tests' cluster, as somebody's does overnight."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import yaml

from sspipe.files import read_json
from tests.slurm.configuration import ACCOUNT
from tests.workflow.conftest import Checkout, copy_workflow

RANKS = 2
# For a machine that is much slower than any seen: no test waits so long unless something is wrong.
LIMIT_S, WAIT_S = 900, 300


def prepare(folder: Path) -> "Night":
    """A miniature experiment, with a profile edited as for a new site: partition, account, GPUs, less of everything."""
    night = Night(copy_workflow(folder).folder)
    night.edit(
        lambda content: content.update(
            {
                "splits": {"random": {"variants": ["unet16_sar"]}, "spatial": {"variants": ["unet16_sar", "ss_rsc"]}},
                # checkpoint_minutes 0: after every step, so that no test waits for one
                "training": {"ranks": RANKS, "workers": 0, "checkpoint_minutes": 0, "log_seconds": 5},
            }
        )
    )
    night.edit(lambda content: content["splits"]["spatial"].update(test_line_m=None))
    night.edit(lambda content: content["defaults"]["model"].update(norm="none"))  # which several CPU ranks can do

    def site(profile):
        profile["default-resources"] = {
            "slurm_account": ACCOUNT, "slurm_partition": "gpu", "runtime": 10, "mem_mb": 500,
        }  # fmt: skip
        for resources in profile["set-resources"].values():
            resources.update(mem_mb=500, runtime=10, slurm_partition="gpu")
        profile["set-resources"]["train"].update(
            gres=f"gpu:v100:{RANKS}", cpus_per_task=1, signal_delay_s=20, poll_s=2
        )  # fmt: skip
        profile["set-threads"] = dict.fromkeys(profile["set-threads"], 1)
        profile.update({"slurm-init-seconds-before-status-checks": 2, "latency-wait": 20})

    night.edit_profile(site)
    return night


class Night(Checkout):
    """The checkout, and what runs in it."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)

    def edit_profile(self, change) -> None:
        path = self.folder / "profiles/slurm/config.yaml"
        content = yaml.safe_load(path.read_text())
        change(content)
        path.write_text(yaml.safe_dump(content))

    def longer(self, variant: str, epochs: int) -> None:
        """Gives a variant more epochs."""
        stages = {"stages": [{"views": ["sar"], "epochs": epochs}]}
        self.edit(
            lambda content: content["variants"].update({variant: {**content["variants"].get(variant, {}), **stages}})
        )

    def start(self, *arguments: str, **environment: str) -> "subprocess.Popen[bytes]":
        """Starts Snakemake with the cluster's profile, in a process group of its own, as a shell does."""
        command = (sys.executable, "-m", "snakemake", "--profile", "profiles/slurm", "--configfile", "tiny.yaml")
        with (self.folder / "night.log").open("ab") as log:
            return subprocess.Popen(
                (*command, "--", *arguments) if "--" not in arguments else (*command, *arguments),
                cwd=self.folder,
                stdout=log,
                stderr=log,
                env={**os.environ, **environment},
                start_new_session=True,
            )

    def finish(self, process, status: int = 0) -> str:
        """Waits for Snakemake's end; returns what it said."""
        try:
            code = process.wait(LIMIT_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            code = "none: it did not end"
        text = (self.folder / "night.log").read_text()
        assert code == status, f"status {code}\n{text[-5000:]}\n{self.logs()}"
        return text

    def logs(self) -> str:
        return "".join(f"\n== {log}\n{log.read_text()[-3000:]}" for log in self.results.rglob("train.log"))

    def run_of(self, variant: str, split: str = "spatial") -> "TrainingRun":
        return TrainingRun(self, split, variant)


class TrainingRun:
    """One training, as its files show it."""

    def __init__(self, night: Night, split: str, variant: str) -> None:
        self.name = f"{split}/{variant}/seed0"
        self.folder = night.results / "train" / self.name
        self.log = self.folder / "train.log"
        self.target = str((self.folder / "model.safetensors").relative_to(night.folder))
        self._night = night

    @property
    def job(self) -> str | None:
        """Its Slurm job, once there is one."""
        path = self.folder / "slurm/job.json"
        with contextlib.suppress(FileNotFoundError, json.JSONDecodeError):
            return json.loads(path.read_text())["job_id"]
        return None

    @property
    def newest_checkpoint(self) -> str:
        return max((path.name for path in (self.folder / "checkpoints").glob("checkpoint-*.pt")), default="")

    def said(self) -> str:
        """What rank 0 has printed in all attempts: the job's own log."""
        log = self.folder / f"slurm/jobs/{self.job}_0_log.out"
        return log.read_text() if log.exists() else ""

    def attempts(self) -> int:
        """How often it has begun, by the first line that each attempt writes."""
        return len(re.findall(r"Slurm job \d+, attempt \d+", self.said()))

    def weights(self) -> bytes:
        return (self.folder / "model.safetensors").read_bytes()

    def record(self) -> dict:
        return read_json(self.folder / "train.json")

    def ranks(self) -> list[int]:
        """Process ids of the attempt that runs now, one a rank."""
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):  # gone meanwhile
                words = (process / "cmdline").read_bytes().split(b"\0")
                here = (process / "cwd").resolve() == self._night.folder.resolve()
                environment = (process / "environ").read_bytes().split(b"\0")
                ours = f"SLURM_JOB_ID={self.job}".encode() in environment
                if here and ours and words[1:4] == [b"-u", b"-m", b"submitit.core._submit"]:
                    found.append(int(process.name))
        return found

    @contextlib.contextmanager
    def held(self, process=None):
        """Its ranks stand still for the block: whatever the machine's speed, the training is not over meanwhile.

        Yields:
            Whether Slurm has told all of them to end: it wakes those that it sends a signal to.
        """
        wait_until(lambda: len(self.ranks()) == RANKS, "all ranks", self._night, process)
        held = self.ranks()
        for rank in held:
            os.kill(rank, signal.SIGSTOP)
        # Not at once: a process stops as it leaves the kernel.
        wait_until(lambda: all(map(_stands_still, held)), "the ranks to stand still", self._night, process)
        try:
            yield lambda: not any(_stands_still(rank) for rank in held)
        finally:
            for rank in held:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(rank, signal.SIGCONT)

    def wait_for_a_step(self, process=None) -> None:
        """Waits until another checkpoint has been written."""
        before = self.newest_checkpoint
        # Seldom looked, a fast machine would be done with the training before it is held.
        wait_until(lambda: self.newest_checkpoint > before, "another checkpoint", self._night, process, pause_s=0.02)


def _stands_still(process: int) -> bool:
    try:
        return "State:\tT" in Path(f"/proc/{process}/status").read_text()
    except OSError:  # gone
        return False


def wait_until(ready, what: str, night: Night, process=None, pause_s: float = 0.2) -> None:
    """Waits; if `process` is given it must be alive meanwhile."""
    limit = time.monotonic() + WAIT_S
    while not ready():
        ended = process is not None and process.poll() is not None
        if ended or time.monotonic() > limit:
            log = (night.folder / "night.log").read_text()[-3000:]
            raise AssertionError(f"waited in vain for {what} ({ended=})\n{log}\n{night.logs()}")
        time.sleep(pause_s)
