"""Settings of the process for its device."""

import pytest
import torch

from sspipe.train.device import prepare


@pytest.fixture()
def flags(monkeypatch):
    """Those of cuDNN, as they were before."""
    for name in ("benchmark", "allow_tf32"):
        monkeypatch.setattr(torch.backends.cudnn, name, getattr(torch.backends.cudnn, name))
    return torch.backends.cudnn


def test_on_a_gpu_float32_is_not_rounded_to_tf32(flags):
    flags.allow_tf32 = True  # as torch begins
    prepare(torch.device("cuda"))  # sets flags alone, which needs no GPU
    assert not flags.allow_tf32 and flags.benchmark
