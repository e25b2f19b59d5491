"""What a result was made with: versions, commit, device, time."""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

import torch

import sspipe

_PACKAGES = ("torch", "numpy", "pandas", "safetensors", "snakemake", "rasterio", "geopandas", "shapely", "scikit-image")


def versions() -> dict[str, str]:
    """Versions of Python, sspipe and the packages that results depend on; those not installed are left out."""
    found = {"python": platform.python_version(), "sspipe": sspipe.__version__}
    for package in _PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:  # a bare GPU image trains without the raster packages
            continue
    return found


def commit() -> str:
    """The code's git commit, with `+changes` if the work tree differs from it; `unknown` outside a repository."""
    folder = Path(sspipe.__file__).resolve().parent

    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=True, timeout=30
        ).stdout.strip()

    try:
        changes = git("status", "--porcelain", "--untracked-files=no", "--", ".")
        return git("rev-parse", "HEAD") + ("+changes" if changes else "")
    except (OSError, subprocess.SubprocessError):
        return "unknown"


def attempt(settings: str, device: torch.device, ranks: int) -> str:
    """One line on what runs where: the first of every attempt in a log.

    Args:
        settings: digest of what decides the result.
        device: of this rank.
        ranks: that train together.
    """
    job = os.environ.get("SLURM_JOB_ID")
    times = f"{ranks} x " if ranks > 1 else ""
    parts = [
        f"sspipe {sspipe.__version__}, commit {commit()}, settings {settings}",
        f"Slurm job {job}, attempt {int(os.environ.get('SLURM_RESTART_COUNT') or 0) + 1}" if job else "no Slurm job",
        f"{times}{device_name(device)} on {os.environ.get('SLURMD_NODENAME') or platform.node()}",
    ]
    return "; ".join(parts)


def device_name(device: torch.device) -> str:
    """The GPU's name, or the processor's."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    threads = torch.get_num_threads()
    return f"CPU: {names[0] if names else platform.machine()}, {threads} thread{'s' if threads > 1 else ''}"


def now() -> str:
    """The time now, UTC, ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")
