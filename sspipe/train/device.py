"""Settings of the whole process that make a device compute faster, for training and inference alike."""

from __future__ import annotations

import ctypes

import torch

# glibc's mallopt, malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4


def prepare(device: torch.device) -> None:
    """Prepares this process for one network on one device.

    GPU: cuDNN tries its algorithms on each shape and keeps the fastest; shapes hardly ever change here. And `fp32` is
    float32: torch begins with convolutions that round their input to the ten bits of TF32.
    CPU: memory of a step's activations is kept for the next step. glibc would hand large blocks back to the system
    when they are freed, and the system clears every page again when they are asked for: a quarter of a step's time.
    """
    if device.type == "cuda":
        torch.backends.cudnn.benchmark = True
        torch.backends.cudnn.allow_tf32 = False
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:  # other C libraries have no such setting
        mallopt(_M_MMAP_MAX, 0)
        mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
