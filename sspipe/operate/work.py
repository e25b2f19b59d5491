"""How much computing a run takes, and how fast it goes: what GPU-hours are estimated from.

Work is counted in floating-point operations of the network's own layers, so that a rate that was measured on one
variant prices the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from statistics import median
from typing import Any

from sspipe.config import SIDE_MULTIPLE, Config, Split
from sspipe.data import own_data
from sspipe.files import read_table
from sspipe.log import warn
from sspipe.operate.runs import read_record
from sspipe.variants import Model, Variant, View

# A step computes forward once, and backward about twice that: gradients of activations and of weights.
_STEP = 3

Bands = tuple[tuple[str, int], ...]  # of the images of each view; hashable, as each network is counted once
_SPACENET6: Bands = (("sar", 4), ("eo", 4))


@dataclass(frozen=True)
class Tiles:
    """How many tiles a split gives each subset."""

    train: int
    validation: int
    test: int


@dataclass(frozen=True)
class Rate:
    """How fast a network is computed.

    Attributes:
        tflops: 10^12 operations a second that a training reaches, reading and validating included, of one GPU, or of
            one job without GPUs.
        source: where the number is from, for people.
        measured: whether it was measured here.
    """

    tflops: float
    source: str
    measured: bool


def bands_of(config: Config) -> Bands:
    """How many bands each view has."""
    return (("sar", len(config.tiles.sar_bands)), ("eo", len(config.tiles.eo_bands)))


def training_tflop(variant: Variant, tiles: Tiles, size_px: int, bands: Bands = _SPACENET6) -> float:
    """All that a run computes: its stages' epochs over training tiles, and validation after each; 10^12 operations."""
    total = 0.0
    for stage in variant.stages:
        step = _STEP * forward_tflop(variant.model, stage.views, size_px, _taken(variant, bands))
        look = forward_tflop(variant.model, (stage.validation_view,), size_px, _taken(variant, bands))
        total += stage.epochs * (tiles.train * step + tiles.validation * look)
    return total


def prediction_tflop(variant: Variant, tiles: Tiles, size_px: int, bands: Bands = _SPACENET6) -> float:
    """What predicting the test and validation tiles computes, in 10^12 operations."""
    look = forward_tflop(variant.model, (variant.test_view,), size_px, _taken(variant, bands))
    return (tiles.test + tiles.validation) * look


@cache
def forward_tflop(model: Model, views: tuple[View, ...], size_px: int, bands: Bands = _SPACENET6) -> float:
    """One forward pass of one tile with these views, in 10^12 operations (a multiplication and an addition are two).

    Counted on a small image, and on shapes alone: all layers work alike at every pixel, so all grows with the area.
    """
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from sspipe.models.unet16 import LEVELS

    network, channels = _network(model, bands), dict(bands)
    with torch.device("meta"), torch.no_grad(), FlopCounterMode(display=False) as counter:
        images = {view: torch.zeros(1, channels[view], SIDE_MULTIPLE, SIDE_MULTIPLE) for view in views}
        if model.kind == "shared_space" and len(views) == 2:
            network(images, torch.ones((2, 1, LEVELS), dtype=torch.bool))
        else:
            network(images)
    return counter.get_total_flops() * (size_px / SIDE_MULTIPLE) ** 2 / 1e12


@cache
def parameters(variant: Variant, bands: Bands = _SPACENET6) -> int:
    """Unique parameters of a variant's network."""
    from sspipe.models.build import count_parameters

    return count_parameters(_network(variant.model, _taken(variant, bands)))[0]


def tiles_of(config: Config, split: str) -> Tiles:
    """How many tiles a split has: of its table if that is there, else as many as the configuration leads to expect."""
    table = config.folder / "splits" / f"{split}.parquet"
    if table.exists():
        counts = read_table(table, ["subset"])["subset"].value_counts()
        return Tiles(*(int(counts.get(subset, 0)) for subset in ("train", "validation", "test")))
    return _expected(config.splits[split], tile_count(config))


def tile_count(config: Config) -> int:
    """All tiles: of the catalog if it is there, else of the embedded city, of one's own table, or of SpaceNet 6."""
    catalog = config.folder / "catalog.parquet"
    if catalog.exists():
        return len(read_table(catalog, ["tile_id"]))
    if config.archive.source == "synthetic":
        return config.archive.synthetic.strips * config.archive.synthetic.tiles_per_strip
    if config.archive.source == "table":
        assert config.archive.path is not None  # the config saw to it
        return own_data.count_tiles(config.archive.path)
    return 3401


def _expected(split: Split, tiles: int) -> Tiles:
    test = round(split.test_fraction * tiles)
    validation = round(split.validation_fraction * (tiles - test))
    return Tiles(tiles - test - validation, validation, test)


def measured_rate(config: Config, on_gpu: bool) -> Rate | None:
    """The median rate of this experiment's finished trainings, of one GPU alone or of a job without; None if none fits.

    What several GPUs lose by sharing a batch is in the time of those that did; it is put back by `plan.gpu_scaling`,
    which the plan takes off again for as many as the next training gets.
    """
    rates, devices = [], set()
    for path in sorted(config.folder.glob("train/*/*/seed*/train.json")):
        record = read_record(path)
        if record is None:
            continue
        try:
            rate = rate_of(record, config.tiles.padded_px, on_gpu, bands_of(config))
        except (KeyError, TypeError, ValueError):
            warn(f"{path}: not what this version writes; its rate is not counted")
            continue
        if rate is not None:
            rates.append(rate / (config.plan.gpu_scaling if on_gpu and record.get("ranks", 1) > 1 else 1))
            devices.add(str(record["device"]))
    if not rates:
        return None
    counted = f"{len(rates)} finished training{'s' if len(rates) > 1 else ''}"
    return Rate(median(rates), f"median of {counted} in {config.folder} ({', '.join(sorted(devices))})", True)


def rate_of(record: dict[str, Any], size_px: int, on_gpu: bool, bands: Bands = _SPACENET6) -> float | None:
    """The rate of one train.json in 10^12 operations a second; None if it ran on other hardware than is asked for."""
    gpu_seconds = record.get("gpu_seconds", 0.0)
    seconds = gpu_seconds if on_gpu else record["seconds"]
    if seconds <= 0 or on_gpu != (gpu_seconds > 0):
        return None
    variant = Variant.model_validate(record["settings"])
    return training_tflop(variant, Tiles(**record["tiles"], test=0), size_px, bands) / seconds


def configured_rate(config: Config, on_gpu: bool) -> Rate:
    """What the configuration says, for as long as nothing was measured."""
    key = "gpu_tflops" if on_gpu else "cpu_tflops"
    value = getattr(config.plan, key)
    return Rate(value, f"configured, plan.{key}: nothing was measured in {config.folder} yet", False)


def measured_seconds(folder: Path, rules: Sequence[str]) -> dict[str, float]:
    """The median time of each rule's jobs so far, s, from Snakemake's benchmark files; rules without any are absent."""
    found = {}
    for rule in rules:
        paths = [folder / "benchmarks" / f"{rule}.tsv", *(folder / "benchmarks" / rule).rglob("*.tsv")]
        seconds = [row[0] for path in paths if path.is_file() for row in [_first_row(path)] if row]
        if seconds:
            found[rule] = median(seconds)
    return found


def _first_row(path: Path) -> tuple[float, ...]:
    lines = path.read_text().splitlines()
    try:
        return (float(lines[1].split("\t")[0]),)
    except (IndexError, ValueError):  # a job that is still running
        return ()


def _taken(variant: Variant, bands: Bands) -> Bands:
    from sspipe.models.build import variant_bands

    return tuple(variant_bands(variant, dict(bands)).items())


@cache
def _network(model: Model, bands: Bands) -> Any:
    import torch

    from sspipe.models.build import build_network

    # Shapes alone, without memory. VGG16's weights change no count, and their file may not be there yet.
    with torch.device("meta"):
        return build_network(model.model_copy(update={"vgg16_weights": None}), seed=0, bands=dict(bands)).eval()
