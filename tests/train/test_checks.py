"""The checks before hours of training, and what they tell."""

import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from sspipe.errors import UserError
from sspipe.files import read_json, write_json
from sspipe.train.checks import (
    early_checks,
    refuse_batch_that_does_not_fit,
    refuse_missing_compiler,
    refuse_unsupported_gpu,
)
from sspipe.train.dataset import PackedTiles, read_subset
from sspipe.train.precision import Precision
from sspipe.train.trial import Trial
from sspipe.variants import Variant
from tests.packed_tiles import file_entries

GPU, CPU = torch.device("cuda"), torch.device("cpu")
# As torch.cuda.get_arch_list() of the wheels says: CUDA 13's default build, and the CUDA 12.6 build.
CU130 = ["sm_75", "sm_80", "sm_86", "sm_90", "sm_100", "sm_120", "compute_120"]
CU126 = ["sm_50", "sm_60", "sm_70", "sm_75", "sm_80", "sm_86", "sm_90"]
SMALL = Variant.model_validate(
    {
        "model": {"width": 0.0625, "skips": {"shared": "random", "private": "none"}},
        "stages": [{"views": ["sar", "eo"], "epochs": 1}],
    }
)


@pytest.fixture()
def gpu(monkeypatch):
    """A pretended GPU: what torch.cuda says of it can be set."""
    about = SimpleNamespace(name="Tesla V100-SXM2-32GB", capability=(7, 0), built=CU130, memory=32 * 2**30, peak=0)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: about.name)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: about.capability)
    monkeypatch.setattr(torch.cuda, "get_arch_list", lambda: about.built)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(total_memory=about.memory))
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: about.peak)
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda device: None)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    return about


def test_a_v100_and_a_build_without_volta_kernels_names_what_to_install(gpu):
    with pytest.raises(UserError) as error:
        refuse_unsupported_gpu(GPU)
    told = str(error.value)
    assert "Tesla V100-SXM2-32GB has compute capability 7.0" in told
    assert "has no kernels for it (it has sm_75, sm_80" in told
    assert "pip install -r envs/v100.txt" in told


@pytest.mark.parametrize(
    ("capability", "built", "runs"),
    [
        ((7, 0), CU126, True),
        ((7, 5), CU130, True),
        ((8, 9), ["sm_80"], True),  # machine code runs on later minor versions
        ((8, 0), ["sm_86"], False),  # and not on earlier ones
        ((9, 0), ["sm_80", "sm_86"], False),  # nor on another major version
        ((9, 0), ["sm_80", "compute_80"], True),  # PTX is compiled for any newer GPU
        ((8, 0), ["compute_90"], False),
        ((9, 0), ["sm_90a"], True),
        ((12, 0), CU130, True),
        ((13, 0), CU130, True),
        ((10, 3), ["sm_100a"], False),
        ((6, 1), [], False),
    ],
)
def test_a_gpu_is_refused_exactly_if_the_build_has_no_code_for_it(gpu, capability, built, runs):
    gpu.name, gpu.capability, gpu.built = "Some GPU", capability, built
    if runs:
        refuse_unsupported_gpu(GPU)
    else:
        with pytest.raises(UserError, match="Some GPU has compute capability"):
            refuse_unsupported_gpu(GPU)


def test_only_a_volta_is_sent_to_the_volta_build(gpu):
    gpu.name, gpu.capability = "Tesla P100", (6, 0)
    with pytest.raises(UserError, match=r"install a build of torch that has them \(pytorch.org"):
        refuse_unsupported_gpu(GPU)


def fits_up_to(monkeypatch, most):
    tried = []

    def step(self, images):
        tried.append(images)
        if images > most:
            raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(Trial, "step", step)
    return tried


def check_batch(images):
    refuse_batch_that_does_not_fit(Trial(SMALL, 1024, Precision("fp16", "cuda"), GPU, statistics={}), images)


def test_a_batch_that_does_not_fit_names_the_setting_and_a_value_that_was_seen_to_fit(gpu, monkeypatch):
    tried = fits_up_to(monkeypatch, 3)
    with pytest.raises(UserError) as error:
        check_batch(8)
    told = str(error.value)
    assert "8 images of 1024 px at once do not fit in the 32.0 GiB of Tesla V100-SXM2-32GB in fp16" in told
    assert "set training.micro_batch_size to 2, which fits" in told
    assert tried == [8, 4, 2]


def test_where_not_even_one_image_fits_no_setting_of_the_batch_is_suggested(gpu, monkeypatch):
    fits_up_to(monkeypatch, 0)
    with pytest.raises(UserError, match=r"not even one fits: .*model\.width"):
        check_batch(2)


def test_a_batch_that_fits_is_tried_once_and_its_memory_told(gpu, monkeypatch, capsys):
    tried = fits_up_to(monkeypatch, 8)
    gpu.peak = 20 * 2**30
    check_batch(8)
    assert tried == [8]
    assert "8 images of 1024 px takes 20.0 of the GPU's 32.0 GiB" in capsys.readouterr().out


def test_other_errors_of_the_step_are_not_taken_for_a_lack_of_memory(gpu, monkeypatch):
    def step(*_):
        raise RuntimeError("an illegal memory access was encountered")

    monkeypatch.setattr(Trial, "step", step)
    with pytest.raises(RuntimeError, match="illegal"):
        check_batch(8)


@pytest.mark.parametrize("name", ["fp32", "bf16"])
@pytest.mark.parametrize("kind", ["shared_space", "unet16"])
def test_the_step_that_is_tried_is_one_that_works(name, kind):
    variant = SMALL
    if kind == "unet16":
        variant = Variant.model_validate(
            {"model": {"kind": kind, "width": 0.0625, "norm": "batch"}, "stages": [{"views": ["sar"], "epochs": 1}]}
        )
    statistics = {"views": {"sar": {"mean": [1.0] * 2, "std": [1.0] * 2}, "eo": {"mean": [1.0] * 3, "std": [1.0] * 3}}}
    Trial(variant, 32, Precision(name, "cpu"), CPU, statistics).step(2)


@pytest.mark.parametrize(("device", "variable", "usual"), [(CPU, "CXX", "g\\+\\+"), (GPU, "CC", "gcc or clang")])
def test_compiling_without_a_compiler_is_told_before_training(tmp_path, monkeypatch, device, variable, usual):
    monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match=rf"training\.compile is true, .*no compiler \({usual}; .*install one .*false"):
        refuse_missing_compiler(device)
    (tmp_path / "mine").write_text("#!/bin/sh\n")
    (tmp_path / "mine").chmod(0o755)
    monkeypatch.setenv(variable, "mine")
    refuse_missing_compiler(device)


def check(packed, manifests=None, **changes):
    manifests = packed.manifests if manifests is None else manifests
    arguments = {
        "device": CPU,
        "variant": SMALL,
        "precision": Precision("fp32", "cpu"),
        "images": 8,
        "manifests": manifests,
        "statistics": packed.statistics,
        "split": "spatial",
        "train_tiles": PackedTiles(packed.manifests, read_subset(packed.split, "train")),
    }
    early_checks(**{**arguments, **changes})


@pytest.fixture()
def copied(packed, tmp_path):
    """A pack that may be damaged."""
    shutil.copytree(packed.root / "pack", tmp_path / "pack")
    return [tmp_path / "pack" / str(shard) / "manifest.json" for shard in range(2)]


def test_a_whole_pack_with_its_statistics_passes(packed):
    check(packed)


def test_a_missing_shard_is_named(packed):
    with pytest.raises(UserError, match="shard 1 is missing of 2"):
        check(packed, packed.manifests[:1])


def test_shards_of_two_packings_are_refused(packed, copied):
    write_json(copied[1], {**read_json(copied[1]), "orientation": "flipud"})
    with pytest.raises(UserError, match=r"1/manifest\.json: orientation is flipud.*not of one packing"):
        check(packed, copied)


def test_an_array_of_another_shape_is_found_though_its_manifest_agrees(packed, copied):
    np.save(copied[1].parent / "eo.npy", np.zeros((8, 4, 32, 32), np.uint16))
    write_json(copied[1], {**read_json(copied[1]), "files": file_entries(copied[1].parent)})
    with pytest.raises(UserError, match=r"1/eo\.npy: uint16 of shape \(8, 4, 32, 32\), expected"):
        check(packed, copied, train_tiles=PackedTiles(copied, read_subset(packed.split, "train")))


@pytest.mark.parametrize(("key", "value"), [("split", "random"), ("tiles", 11), ("pack", "0" * 16)])
def test_statistics_of_another_split_or_pack_are_refused(packed, tmp_path, key, value):
    write_json(tmp_path / "other.json", {**read_json(packed.statistics), key: value})
    with pytest.raises(UserError, match=rf"other\.json: {key} is {value}, and this run's is .*delete the file"):
        check(packed, statistics=tmp_path / "other.json")
