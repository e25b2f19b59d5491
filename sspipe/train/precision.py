"""Which numbers a network computes in: by what the GPU has circuits for, or as the configuration says."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import torch

from sspipe.errors import UserError

Setting = Literal["auto", "fp32", "bf16", "fp16"]
_DTYPES = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}
# Compute capabilities from which tensor cores multiply these: Ampere for bf16, Volta (V100) for fp16.
_BF16_SINCE, _FP16_SINCE = (8, 0), (7, 0)
_BF16_FLAGS = {"avx512_bf16", "amx_bf16"}


@dataclass(frozen=True)
class Device:
    """What the choice depends on.

    Attributes:
        name: as the user knows it.
        capability: of a GPU (major, minor); None for a CPU.
        multiplies_bf16: of a CPU: whether it has instructions for that.
    """

    name: str
    capability: tuple[int, int] | None
    multiplies_bf16: bool = False


@dataclass(frozen=True)
class Precision:
    """How a step computes.

    Attributes:
        name: `fp32`, `bf16` or `fp16`.
        device_type: `cuda` or `cpu`, as torch's autocast wants it.
    """

    name: Literal["fp32", "bf16", "fp16"]
    device_type: Literal["cuda", "cpu"]

    @property
    def dtype(self) -> torch.dtype | None:
        """Autocast's type; None computes in float32 throughout."""
        return _DTYPES[self.name]

    @property
    def uses_scaler(self) -> bool:
        """Whether gradients are scaled: those of fp16 would vanish below 6e-8, bf16 has float32's range."""
        return self.name == "fp16"

    def autocast(self) -> torch.autocast:
        """A context in which the network's forward pass and loss run; it does nothing for fp32."""
        return torch.autocast(self.device_type, dtype=self.dtype, enabled=self.dtype is not None)


def device_facts(device: torch.device) -> Device:
    """Reads what `choose_precision` needs to know of a device."""
    if device.type == "cuda":
        return Device(torch.cuda.get_device_name(device), torch.cuda.get_device_capability(device))
    return Device("the CPU", None, not _BF16_FLAGS.isdisjoint(_cpu_flags()))


def _cpu_flags() -> set[str]:
    """What the processor can do, in Linux's words; nothing where there are none."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return set()
    return {flag for line in lines if line.startswith("flags") for flag in line.split(":", 1)[1].split()}


def choose_precision(setting: Setting, device: Device) -> Precision:
    """Chooses by hardware, or takes an explicit setting if the device can do it.

    `auto` is bf16 from compute capability 8.0, fp16 with gradient scaling on 7.0 and 7.5 (V100, T4), and fp32 on
    older GPUs and on CPUs: results there are for comparison. A CPU with instructions for bf16 takes it when told to. A
    device that merely emulates bf16 is not taken to support it.

    Raises:
        UserError: the device cannot compute in the precision that is asked for.
    """
    assert setting in get_args(Setting), setting
    capability = device.capability
    able: list[Literal["fp32", "bf16", "fp16"]] = ["fp32"]
    if capability is not None and capability >= _FP16_SINCE:
        able.append("fp16")
    if capability is not None and capability >= _BF16_SINCE:
        able.append("bf16")
    if capability is None and device.multiplies_bf16:
        able.append("bf16")
    device_type: Literal["cuda", "cpu"] = "cpu" if capability is None else "cuda"
    if setting == "auto":
        return Precision("fp32" if capability is None else able[-1], device_type)
    if setting not in able:
        what = (
            device.name
            if capability is None
            else f"{device.name} (compute capability {'.'.join(map(str, capability))})"
        )
        needs = {
            "bf16": "a GPU of compute capability 8.0 or more, or a CPU with AVX512-BF16 or AMX",
            "fp16": "a GPU of compute capability 7.0 or more",
        }
        raise UserError(
            f"training.precision is {setting}, which needs {needs[setting]}, and this is {what}; "
            f"set it to auto or to {' or '.join(able)}"
        )
    return Precision(setting, device_type)
