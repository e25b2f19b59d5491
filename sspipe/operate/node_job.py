"""Looks at a compute node: a job of a minute, and what it finds there."""

from __future__ import annotations

import os
import secrets
import shlex
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from shutil import disk_usage
from typing import Any

from sspipe.config import Config
from sspipe.errors import UserError
from sspipe.files import make_parent, read_json, write_json
from sspipe.log import say
from sspipe.operate import disk
from sspipe.operate.gpus import gpus_of
from sspipe.operate.launching import extra_words, gres_of, setup_lines
from sspipe.operate.profile import Profile
from sspipe.operate.site import ask
from sspipe.operate.text import gigabytes
from sspipe.slurm import absent
from sspipe.train.submission import node_python

Told = tuple[str, str]  # level and text of a finding


def check_on_node(config: Config, profile: Profile, wait_minutes: float) -> list[Told]:
    """Submits a job that looks at a node as a training would find it, waits for it, and reads what it says.

    Args:
        config: of the experiment.
        profile: whose partition, account and GPUs of `train` it takes.
        wait_minutes: how long it may take, queue included; then it is cancelled.

    Raises:
        UserError: it cannot be submitted, or failed.
    """
    folder = config.folder / "preflight"
    name = f"node-{secrets.token_hex(4)}"
    found, log = folder / f"{name}.json", folder / f"{name}.log"
    make_parent(found)
    token = secrets.token_hex(8)
    (folder / f"{name}.token").write_text(token)
    command = ["-m", "sspipe", "check-node", "--token-file", str(folder / f"{name}.token"), "--token", token]
    command += ["--gpus", str(gpus_of(profile.resources("train"))), "--out", str(found)]
    command += ["--pack-bytes", str(next(line.bytes for line in disk.space(config, [], 1) if line.what == "pack"))]
    if config.training.scratch is not None:
        command += ["--scratch", str(config.training.scratch)]
    try:
        words = submission(profile, log, f"sspipe-preflight-{config.experiment}")
        job = _submit(words, script(profile.resources("train"), command))
        say(f"job {job} looks at a node (for {wait_minutes:g} min at most; its log: {log})")
        _wait(job, wait_minutes, log)
        if not found.exists():
            tail = log.read_text().strip()[-600:] if log.exists() else ""
            return [("PROBLEM", f"job {job} ended without a word; {log} has: {tail or 'nothing'}")]
        return [(level, text) for level, text in read_json(found)]
    finally:
        (folder / f"{name}.token").unlink(missing_ok=True)


def submission(profile: Profile, log: Path, name: str) -> list[str]:
    """The `sbatch` that gives a job of one minute the same kind of node as a training."""
    resources = profile.resources("train")
    words = ["sbatch", "--parsable", f"--job-name={name}", "--time=1", "--nodes=1", "--ntasks=1", f"--output={log}"]
    for flag, resource in (("partition", "slurm_partition"), ("account", "slurm_account"), ("qos", "qos")):
        if resources.get(resource):
            words.append(f"--{flag}={resources[resource]}")
    if gres := gres_of(resources):
        words.append(f"--gres={gres}")
    words += extra_words(resources)
    return words


def check_node(*, token_file: Path, token: str, gpus: int, scratch: str | None, pack_bytes: int, out: Path) -> None:
    """Looks at this machine as a training finds it, and writes what it sees: the stage `check-node`.

    Args:
        token_file: written on the login node: whether this node sees the same disk.
        token: what is in it.
        gpus: that the job asked for.
        scratch: `training.scratch`.
        pack_bytes: that would be copied there.
        out: JSON to write, a list of level and text.
    """
    host = socket.gethostname()
    told: list[Told] = [("ok", f"on {host}: results can be written to")]
    shared = token_file.exists() and token_file.read_text() == token
    if not shared:
        told.append(
            ("PROBLEM", f"on {host}: {token_file} is not what the login node wrote: results is on no shared disk")
        )
    told += _gpus(host, gpus) + _scratch(host, scratch, pack_bytes) + _engine_without_network(host)
    write_json(out, told)


def _gpus(host: str, gpus: int) -> list[Told]:
    import torch

    from sspipe.train.checks import refuse_unsupported_gpu

    seen = torch.cuda.device_count()
    if seen < gpus:
        return [
            (
                "PROBLEM",
                f"on {host}: torch {torch.__version__} sees {seen} of {gpus} GPUs; see the node's driver (nvidia-smi), "
                "and that torch is a build with CUDA (envs/README.md)",
            )
        ]
    told: list[Told] = []
    for number in range(seen):
        device = torch.device("cuda", number)
        try:
            refuse_unsupported_gpu(device)
            torch.ones(64, 64, device=device).matmul(torch.ones(64, 64, device=device)).sum().item()
        except (UserError, RuntimeError) as error:
            told.append(("PROBLEM", f"on {host}: GPU {number}: {error}"))
    named = (
        f": {seen} x {torch.cuda.get_device_name(0)}, and torch {torch.__version__} computes on them" if seen else ""
    )
    return told or [("ok", f"on {host}{named or ': no GPU is asked for'}")]


def _scratch(host: str, scratch: str | None, pack_bytes: int) -> list[Told]:
    if scratch is None:
        return []
    folder = Path(os.environ.get("TMPDIR", tempfile.gettempdir())) if scratch == "auto" else Path(scratch)
    try:
        with tempfile.NamedTemporaryFile(dir=folder):
            free = disk_usage(folder).free
    except OSError as error:
        return [
            ("PROBLEM", f"config.yaml: training.scratch: on {host}, {folder} cannot be written to ({error.strerror})")
        ]
    text = f"on {host}: scratch {folder} has {gigabytes(free)} free, and the pack takes {gigabytes(pack_bytes)}"
    if free < pack_bytes:
        return [("PROBLEM", f"config.yaml: training.scratch: {text}; name another folder, or null")]
    return [("ok", text)]


def _engine_without_network(host: str) -> list[Told]:
    try:
        with no_network():
            import torch

            import sspipe.predict.inference
            import sspipe.train.run  # noqa: F401
            from sspipe.models.build import build_network
            from sspipe.variants import Model

            build_network(Model(width=0.0625), seed=0)({"sar": torch.zeros(1, 4, 32, 32)})
    except (ImportError, OSError, RuntimeError) as error:
        return [
            ("PROBLEM", f"on {host}: the engine does not run ({error}); is this Python ({sys.executable}) whole there?")
        ]
    return [("ok", f"on {host}: the engine is there, and needs no internet")]


@contextmanager
def no_network() -> Iterator[None]:
    """Refuses connections to other machines for the block, as a node without internet does."""
    connect = socket.socket.connect

    def refuse(self: socket.socket, address: Any) -> None:
        if self.family in (socket.AF_INET, socket.AF_INET6) and not str(address[0]).startswith(("127.", "::1")):
            raise OSError(f"it wants to reach {address[0]}")
        connect(self, address)

    socket.socket.connect = refuse  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        socket.socket.connect = connect  # type: ignore[method-assign]


def script(resources: Mapping[str, Any], command: Sequence[str]) -> str:
    """What the job runs: the same Python, set up alike, as a training's.

    Args:
        resources: of the rule `train`.
        command: arguments of that Python.
    """
    python = node_python(resources.get("node_python"), sys.executable, os.environ)
    return "; ".join([*setup_lines(resources), f"{python} {shlex.join(command)}"])


def _submit(words: list[str], wrapped: str) -> str:
    # What an outer job left in the environment would decide this one's shape.
    environment = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("SLURM_", "SBATCH_")) or key == "SLURM_CONF"
    }
    try:
        done = subprocess.run(
            [*words, f"--chdir={Path.cwd()}", f"--wrap={wrapped}"], capture_output=True, text=True, env=environment
        )
    except FileNotFoundError:
        raise UserError(f"sbatch: {absent(os.environ)}") from None
    if done.returncode:
        raise UserError(f"sbatch refuses the job that looks at a node: {done.stderr.strip()}\n  {shlex.join(words)}")
    return done.stdout.strip().split(";")[0]


def _wait(job: str, minutes: float, log: Path) -> None:
    """Waits for the job's end, asking every few seconds; cancels it when it takes too long."""
    end = time.monotonic() + 60 * minutes
    pause = 2.0
    while True:
        state = ask("squeue", "-h", "-j", job, "-t", "all", "-o", "%T|%r").strip()
        if not state or state.split("|")[0] not in ("PENDING", "RUNNING", "CONFIGURING", "COMPLETING"):
            return
        if time.monotonic() > end:
            subprocess.run(["scancel", job], check=False)
            raise UserError(
                f"job {job} is still {state.replace('|', ': ')} after {minutes:g} min, and was cancelled; the queue is "
                "full, or the profile asks for what no node has; --node-minutes waits longer"
            )
        time.sleep(pause)
        pause = min(1.5 * pause, 15.0)
