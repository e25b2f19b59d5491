"""How much disk an experiment takes: one formula for each thing that is kept."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from sspipe.config import Config
from sspipe.data import spacenet6
from sspipe.operate import work

# A gzipped archive over what its products have unpacked: SpaceNet 6's 41.87 GB over 3401 tiles' 85 GB.
_ARCHIVED_SHARE = 0.49
_BYTES = {"float32": 4, "uint16": 2, "uint8": 1}
_PROBABILITY_BYTES_PER_PX = 2 * 2  # interior and border in float16
_WEIGHT_BYTES = 4
_SETS_IN_CHECKPOINT = 4  # the network, Adam's two moments, and the best epoch's weights
_CHECKPOINTS = 3  # two are kept, and a third is there while it is written


@dataclass(frozen=True)
class Space:
    """One line of what is needed.

    Attributes:
        what: for people.
        bytes: in all.
        formula: how it comes about.
        there: whether it is on the disk already, so that it takes no more.
    """

    what: str
    bytes: int
    formula: str
    there: bool


def space(config: Config, runs: Iterable[tuple[str, str, int]], at_once: int) -> list[Space]:
    """What the experiment takes on the disk of `results`. Not counted: maps, footprints, report, logs (small).

    Args:
        config: of the experiment.
        runs: split, variant and seed of each.
        at_once: how many train at a time.
    """
    folder, size, padded = config.folder, config.tiles.size_px, config.tiles.padded_px
    tiles = work.tile_count(config)
    # SAR in float16, EO in uint16, two masks.
    packed_bytes_per_px = 2 * len(config.tiles.sar_bands) + 2 * len(config.tiles.eo_bands) + 2
    lines = [
        *_source(config, tiles),
        Space(
            "pack",
            tiles * packed_bytes_per_px * padded**2,
            f"{tiles} tiles x {packed_bytes_per_px} B x {padded}² px",
            all((folder / f"pack/{shard}/manifest.json").exists() for shard in range(config.pack.shards)),
        ),
    ]
    probabilities = weights = checkpoints = 0
    predicted = trained = True
    for split, variant, seed in runs:
        run = f"{split}/{variant}/seed{seed}"
        probabilities += work.tiles_of(config, split).test * _PROBABILITY_BYTES_PER_PX * size**2
        predicted &= (folder / "predict" / run / "probabilities.npy").exists()
        one = work.parameters(config.variants[variant], work.bands_of(config)) * _WEIGHT_BYTES
        weights += 2 * one  # model.safetensors, and finished.pt from which results can be written anew
        checkpoints = max(checkpoints, one * _SETS_IN_CHECKPOINT * _CHECKPOINTS)
        trained &= (folder / "train" / run / "train.json").exists()
    validation = max((work.tiles_of(config, split).validation for split in config.splits), default=0)
    at_once = max(1, at_once)
    return [
        *lines,
        Space("predictions", probabilities, f"test tiles x 2 bands x 2 B x {size}² px, of every run", predicted),
        Space(
            "validation predictions",
            at_once * validation * _PROBABILITY_BYTES_PER_PX * size**2,
            f"the same of {validation} validation tiles, {at_once} runs at once, then removed",
            predicted,
        ),
        Space("weights", weights, "2 x 4 B x parameters, of every run", trained),
        Space(
            "checkpoints",
            at_once * checkpoints,
            f"{_CHECKPOINTS} x 4 x 4 B x parameters (network, Adam's two moments, best), {at_once} runs at once",
            trained,
        ),
    ]


def existing_folder(path: Path) -> Path:
    """The nearest folder above that is there: whose disk a new one will be on."""
    path = path.resolve()
    while not path.is_dir():
        path = path.parent
    return path


def _source(config: Config, tiles: int) -> list[Space]:
    """The archive and what is unpacked of it; images of one's own are used where they lie."""
    if config.archive.source == "table":
        return []
    raw = Space(
        "raw",
        tiles * _tile_bytes(config, (spacenet6.SAR, spacenet6.EO)),
        f"{tiles} tiles x (4 bands x 4 B + 4 bands x 2 B) x {config.tiles.size_px}² px",
        (config.folder / "raw.json").exists(),
    )
    return [_archive(config, tiles), raw]


def _archive(config: Config, tiles: int) -> Space:
    path = config.folder / "archive.tar.gz"
    if path.exists():
        return Space("archive", path.stat().st_size, "as it is", True)
    if config.archive.source == "file":
        return Space("archive", 0, f"a link to {config.archive.path}", False)
    if config.archive.size_bytes is not None and config.archive.source != "synthetic":
        return Space("archive", config.archive.size_bytes, "archive.size_bytes", False)
    size = math.ceil(_ARCHIVED_SHARE * tiles * _tile_bytes(config, spacenet6.PRODUCTS.values()))
    return Space(
        "archive", size, f"{_ARCHIVED_SHARE} x all products of {tiles} tiles, as gzip leaves of SpaceNet 6", False
    )


def _tile_bytes(config: Config, products: Iterable[spacenet6.Product]) -> int:
    px = config.tiles.size_px**2
    return sum(
        math.ceil(product.bands * _BYTES[product.dtype] * px / product.pixel_ratio**2)
        for product in products
        if product.bands
    )
