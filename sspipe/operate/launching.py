"""What a profile's resources of the rule `train` mean for the launcher: its flags. rules/common.smk calls this."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from sspipe.errors import UserError
from sspipe.operate.gpus import gpus_of

DEFAULT_SIGNAL_S = 90  # submitit's own
# Each flag, the resource that it is from, and what it is without one.
_NUMBERS = (
    ("runtime-min", "runtime", None),
    ("signal-delay-s", "signal_delay_s", DEFAULT_SIGNAL_S),
    ("cpus-per-task", "cpus_per_task", 1),
    ("mem-mb", "mem_mb", ""),
    ("poll-s", "poll_s", ""),
)
_TEXTS = (
    ("partition", "slurm_partition"),
    ("account", "slurm_account"),
    ("qos", "qos"),
    ("constraint", "constraint"),
    ("python", "node_python"),
)


def is_launched(resources: Mapping[str, Any]) -> bool:
    """Whether a training is submitted, rather than run where Snakemake runs."""
    return resources.get("launcher", "local") != "local"


def launch_flags(resources: Mapping[str, Any]) -> list[str]:
    """The flags of `sspipe launch` that say what it asks of Slurm; one task a GPU.

    Args:
        resources: of the rule, by Snakemake's names, those of its Slurm executor, and our own.

    Raises:
        UserError: one is missing or cannot be used; the message names its key.
    """
    flags = ["--tasks", str(gpus_of(resources) or 1)]
    if gres := gres_of(resources):
        flags += ["--gres", gres]
    resources = {**resources, **_memory(resources)}
    for flag, name, default in _NUMBERS:
        value = resources.get(name, default)
        if value is None:
            raise UserError(f"train.{name} is not set in the profile: how long one attempt may take, in minutes")
        if value != "":
            flags += [f"--{flag}", _number(name, value)]
    for flag, name in _TEXTS:
        if resources.get(name):
            flags += [f"--{flag}", str(resources[name])]
    for word in extra_words(resources):
        if not word.startswith("--"):
            raise UserError(f"train.slurm_extra in the profile: write `{word}` as --option or --option=value")
    # With `=`, as they may begin with dashes.
    return (
        flags
        + [f"--setup={line}" for line in setup_lines(resources)]
        + [f"--extra={w}" for w in extra_words(resources)]
    )


def gres_of(resources: Mapping[str, Any]) -> str:
    """The GPUs in Slurm's words, from both spellings that Snakemake's executor knows; empty without.

    Examples:
        gres: gpu:v100:4 -> gpu:v100:4;  gpu: 4, gpu_model: v100 -> gpu:v100:4;  gpu: 4 -> gpu:4
    """
    if resources.get("gres"):
        return str(resources["gres"])
    model = f"{resources['gpu_model']}:" if resources.get("gpu_model") else ""
    return f"gpu:{model}{gpus_of(resources)}" if gpus_of(resources) else ""


def setup_lines(resources: Mapping[str, Any]) -> list[str]:
    """`slurm_setup`: shell lines that a job begins with."""
    return [line.strip() for line in str(resources.get("slurm_setup") or "").split(";") if line.strip()]


def extra_words(resources: Mapping[str, Any]) -> list[str]:
    """`slurm_extra`: further options of sbatch, quoted as in a shell.

    Raises:
        UserError: a quote is not closed.
    """
    try:
        return shlex.split(str(resources.get("slurm_extra") or ""))
    except ValueError as error:
        raise UserError(f"train.slurm_extra in the profile: `{resources['slurm_extra']}`: {error}") from None


def _memory(resources: Mapping[str, Any]) -> dict[str, int]:
    """`mem_mb_per_cpu`, which Snakemake's executor prefers to `mem_mb`, as the whole job's memory."""
    if not resources.get("mem_mb_per_cpu"):
        return {}
    cores = (gpus_of(resources) or 1) * int(_number("cpus_per_task", resources.get("cpus_per_task", 1)))
    return {"mem_mb": cores * int(_number("mem_mb_per_cpu", resources["mem_mb_per_cpu"]))}


def _number(name: str, value: Any) -> str:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = -1.0
    if number <= 0 or (name != "poll_s" and number != int(number)):
        kind = "number" if name == "poll_s" else "whole number"
        raise UserError(f"train.{name} in the profile: `{value}` must be a {kind} above 0")
    return f"{number:g}" if name == "poll_s" else str(int(number))
