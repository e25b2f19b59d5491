"""Precision by hardware, over a table of pretended devices."""

import pytest
import torch

from sspipe.errors import UserError
from sspipe.train import precision
from sspipe.train.precision import Device, Precision, choose_precision, device_facts

CPU = Device("the CPU", None)
BF16_CPU = Device("the CPU with AVX512-BF16", None, multiplies_bf16=True)
P100 = Device("Tesla P100", (6, 0))
V100 = Device("Tesla V100-SXM2-32GB", (7, 0))
T4 = Device("Tesla T4", (7, 5))
A100 = Device("NVIDIA A100", (8, 0))
RTX = Device("NVIDIA RTX 4090", (8, 9))
H200 = Device("NVIDIA H200", (9, 0))
B200 = Device("NVIDIA B200", (10, 0))

ABLE = {
    CPU: {"fp32"},
    BF16_CPU: {"fp32", "bf16"},
    P100: {"fp32"},
    V100: {"fp32", "fp16"},
    T4: {"fp32", "fp16"},
    A100: {"fp32", "fp16", "bf16"},
    RTX: {"fp32", "fp16", "bf16"},
    H200: {"fp32", "fp16", "bf16"},
    B200: {"fp32", "fp16", "bf16"},
}
AUTO = dict.fromkeys((CPU, BF16_CPU, P100), "fp32")
AUTO |= {V100: "fp16", T4: "fp16", A100: "bf16", RTX: "bf16", H200: "bf16", B200: "bf16"}


@pytest.mark.parametrize("device", ABLE, ids=lambda device: device.name)
def test_auto_takes_bf16_where_there_is_such_hardware_fp16_on_volta_and_turing_else_fp32(device):
    assert choose_precision("auto", device).name == AUTO[device]


@pytest.mark.parametrize("setting", ["fp32", "fp16", "bf16"])
@pytest.mark.parametrize("device", ABLE, ids=lambda device: device.name)
def test_an_explicit_setting_is_taken_or_refused_but_never_replaced(device, setting):
    if setting in ABLE[device]:
        assert choose_precision(setting, device).name == setting
    else:
        with pytest.raises(UserError, match=rf"training\.precision is {setting}.*{device.name}.*set it to auto"):
            choose_precision(setting, device)


def test_only_fp16_scales_gradients_and_fp32_casts_nothing():
    choices = {name: Precision(name, "cuda") for name in ("fp32", "bf16", "fp16")}
    assert [name for name, choice in choices.items() if choice.uses_scaler] == ["fp16"]
    assert {name: choice.dtype for name, choice in choices.items()} == {
        "fp32": None,
        "bf16": torch.bfloat16,
        "fp16": torch.float16,
    }


def test_autocast_computes_in_the_chosen_type_alone():
    weight = torch.ones(2, 2)
    for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        with Precision(name, "cpu").autocast():
            assert (weight @ weight).dtype == dtype


@pytest.mark.parametrize("flags", ["fpu avx2", "fpu avx512_bf16", "amx_bf16 fpu"])
def test_a_cpu_has_no_capability_and_bf16_if_its_flags_say_so(flags, monkeypatch):
    monkeypatch.setattr(precision, "_cpu_flags", lambda: set(flags.split()))
    assert device_facts(torch.device("cpu")) == Device("the CPU", None, "bf16" in flags)
