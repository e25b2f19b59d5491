"""What is checked before hours of training: the GPU, the pack, and whether a batch fits; with what to do about it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from sspipe.errors import UserError
from sspipe.files import read_json
from sspipe.log import say
from sspipe.pack.identity import pack_digest
from sspipe.train.dataset import Array, PackedTiles, read_statistics
from sspipe.train.precision import Precision
from sspipe.train.trial import Trial
from sspipe.variants import Variant

_AGREEING = ("shards", "size_px", "padded_px", "orientation", "border_px")


def early_checks(
    *,
    device: torch.device,
    variant: Variant,
    precision: Precision,
    images: int,
    manifests: Sequence[Path],
    statistics: Path,
    split: str,
    train_tiles: PackedTiles,
    left_out: int = 0,
    compiled: bool = False,
) -> None:
    """Makes all checks of this module; a training calls it first, before it puts anything on its device.

    Args:
        device: this rank's.
        variant: that is trained.
        precision: that it is trained in.
        images: of one view that the device takes at once: the rank's share of a batch, or the micro-batch.
        manifests: `pack/{shard}/manifest.json` of every shard.
        statistics: `statistics/{split}.json`.
        split: its name.
        train_tiles: of the split.
        left_out: further training tiles of the split, which lack a view that the variant learns from.
        compiled: whether torch.compile is to make the network's code.

    Raises:
        UserError: what is wrong, and the remedy.
    """
    refuse_unsupported_gpu(device)
    arrays: set[Array] = {view for stage in variant.stages for view in stage.views}
    refuse_incomplete_pack(manifests, sorted({*arrays, "masks"}), statistics, split, train_tiles, left_out)
    if compiled:
        refuse_missing_compiler(device)
    trial = Trial(variant, train_tiles.padded_px, precision, device, read_statistics(statistics))
    refuse_batch_that_does_not_fit(trial, images)


def refuse_unsupported_gpu(device: torch.device) -> None:
    """Checks that this build of torch has kernels for the GPU; on a CPU there is nothing to check.

    A build holds machine code for some architectures (sm_80 also runs on 8.6, its own major version) and PTX for some
    (compute_90), which the driver compiles for any newer GPU.

    Raises:
        UserError: there are none, and what to install.
    """
    if device.type != "cuda":
        return
    major, minor = torch.cuda.get_device_capability(device)
    built = torch.cuda.get_arch_list()
    if any(runs_on(architecture, major, minor) for architecture in built):
        return
    name = torch.cuda.get_device_name(device)
    remedy = (
        "install the build that has them: pip install -r envs/v100.txt"
        if major == 7
        else "install a build of torch that has them (pytorch.org lists builds by CUDA version)"
    )
    raise UserError(
        f"{name} has compute capability {major}.{minor}, and torch {torch.__version__} has no kernels for it "
        f"(it has {', '.join(built) or 'none for any GPU'}); {remedy}"
    )


def runs_on(architecture: str, major: int, minor: int) -> bool:
    """Whether code that torch was built with (`sm_80`, `compute_90`) runs on a GPU of this compute capability."""
    kind, _, number = architecture.partition("_")
    digits = number.rstrip("af")  # sm_90a and sm_100f are for one architecture or family alone
    if not digits.isdigit():
        return False
    built = int(digits[:-1]), int(digits[-1])
    if kind == "compute":
        return built <= (major, minor)
    if number.endswith("a"):
        return built == (major, minor)
    return built[0] == major and built[1] <= minor


def refuse_incomplete_pack(
    manifests: Sequence[Path],
    arrays: Sequence[Array],
    statistics: Path,
    split: str,
    train_tiles: PackedTiles,
    left_out: int = 0,
) -> None:
    """Checks that all shards are there, of one packing and of the right form, and that the statistics are theirs.

    Sizes and headers are read, and no pixels: checksums were compared when the statistics were computed.

    Args:
        manifests: `pack/{shard}/manifest.json` of every shard.
        arrays: those that the run reads.
        statistics: `statistics/{split}.json`.
        split: its name.
        train_tiles: of the split.
        left_out: further training tiles of the split, of which the statistics are all the same.

    Raises:
        UserError: names the file, and what to do.
    """
    first: dict[str, Any] = read_json(manifests[0])
    numbers = []
    for manifest in manifests:
        content = read_json(manifest)
        for key in _AGREEING:
            if content.get(key) != first.get(key):
                raise UserError(
                    f"{manifest}: {key} is {content.get(key)}, and {manifests[0]} has {first.get(key)}: the shards "
                    "are not of one packing; delete the folder pack and run the target `data` again"
                )
        numbers.append(content.get("shard"))
    missing = sorted(set(range(first.get("shards", len(manifests)))) - set(numbers))
    if missing or len(numbers) != len(set(numbers)):
        what = f"shard {missing[0]} is missing" if missing else "a shard is given twice"
        raise UserError(f"{manifests[0].parent.parent}: {what} of {first['shards']}; run the target `data` again")
    train_tiles.open_all(arrays)

    about = read_statistics(statistics)
    expected = {"split": split, "tiles": len(train_tiles) + left_out, "pack": pack_digest(manifests)}
    for key, value in expected.items():
        if about.get(key) != value:
            raise UserError(
                f"{statistics}: {key} is {about.get(key)}, and this run's is {value}: these are not the statistics of "
                "this pack and split; delete the file and run the target `data` again"
            )


def refuse_missing_compiler(device: torch.device) -> None:
    """Checks that torch.compile will find a compiler, as it and Triton look for one.

    Raises:
        UserError: there is none.
    """
    variable, usual = ("CXX", ("g++",)) if device.type == "cpu" else ("CC", ("gcc", "clang"))
    named = os.environ.get(variable)
    if not any(shutil.which(name) for name in ([named] if named else usual)):
        raise UserError(
            f"training.compile is true, and torch.compile finds no compiler ({named or ' or '.join(usual)}; the "
            f"environment variable {variable} may name another); install one (Debian: apt-get install g++), or set "
            "training.compile to false"
        )


def refuse_batch_that_does_not_fit(trial: Trial, images: int) -> None:
    """Tries one of the engine's steps at full size; on a CPU nothing is tried.

    Args:
        trial: of the run.
        images: of one view, that the device takes at once.

    Raises:
        UserError: they do not fit, and how many do.
    """
    device = trial.device
    if device.type != "cuda":
        return
    fitting = images
    while fitting and not trial.fits(fitting):
        fitting //= 2
    total = torch.cuda.get_device_properties(device).total_memory / 2**30
    if fitting == images:
        peak = torch.cuda.max_memory_allocated(device) / 2**30
        torch.cuda.reset_peak_memory_stats(device)
        say(f"a step with {images} images of {trial.size_px} px takes {peak:.1f} of the GPU's {total:.1f} GiB")
        return
    remedy = (
        f"set training.micro_batch_size to {fitting}, which fits (gradients are added up: the result stays the same)"
        if fitting
        else "not even one fits: use a GPU with more memory, or a smaller model.width or tiles.padded_px"
    )
    raise UserError(
        f"{images} images of {trial.size_px} px at once do not fit in the {total:.1f} GiB of "
        f"{torch.cuda.get_device_name(device)} in {trial.precision.name}; {remedy}"
    )
