"""Packed tiles as training samples: memory maps in, batches out. No raster library is needed here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sspipe.errors import UserError
from sspipe.files import read_json, read_table
from sspipe.variants import View


class PackedTiles:
    """Chosen tiles of the packed shards, in the order of `tile_ids`.

    Args:
        manifests: `pack/{shard}/manifest.json` of every shard.
        tile_ids: the tiles wanted.

    Raises:
        UserError: a wanted tile is in no shard.
    """

    def __init__(self, manifests: Sequence[Path], tile_ids: Sequence[str]) -> None:
        wanted = set(tile_ids)
        place: dict[str, tuple[int, int, int]] = {}
        self._folders: list[Path] = []
        for manifest in manifests:
            folder = manifest.parent
            content = _read_manifest(manifest)
            self.size_px: int = content["size_px"]
            self.padded_px: int = content["padded_px"]
            self.orientation_rule: str = content["orientation"]
            table = read_table(folder / "tiles.parquet", columns=["tile_id", "row", "orientation"])
            for tile_id, row, orientation in zip(table["tile_id"], table["row"], table["orientation"], strict=True):
                if tile_id in wanted:
                    place[tile_id] = (len(self._folders), int(row), int(orientation))
            self._folders.append(folder)
        missing = [tile_id for tile_id in tile_ids if tile_id not in place]
        if missing:
            raise UserError(
                f"{len(missing)} tiles of the split are in no packed shard, the first is {missing[0]}; "
                "the pack and the split come from different catalogs: run the target `data` again"
            )
        self.tile_ids = tuple(tile_ids)
        self._place = [place[tile_id] for tile_id in tile_ids]
        self._maps: dict[tuple[int, str], np.ndarray] = {}

    def __len__(self) -> int:
        return len(self.tile_ids)

    def orientation(self, sample: int) -> int:
        """Flight orientation of a tile, 0 or 1."""
        return self._place[sample][2]

    def image(self, sample: int, view: View) -> np.ndarray:
        """One tile's view as it is packed: `(4, P, P)`, SAR float16, EO uint16; no-data and padding are 0."""
        return self._row(sample, view)

    def masks(self, sample: int) -> np.ndarray:
        """One tile's targets, `(2, P, P)` uint8: interior and border."""
        return self._row(sample, "masks")

    def batch(self, samples: Sequence[int], views: Sequence[View]) -> dict[str, Tensor]:
        """Stacks samples: each view `(B, 4, P, P)` float32, not yet standardised, and `masks` `(B, 2, P, P)` uint8."""
        stacked: dict[str, Tensor] = {
            view: torch.from_numpy(np.stack([self.image(sample, view).astype(np.float32) for sample in samples]))
            for view in views
        }
        stacked["masks"] = torch.from_numpy(np.stack([self.masks(sample) for sample in samples]))
        return stacked

    def _row(self, sample: int, name: str) -> np.ndarray:
        shard, row, _ = self._place[sample]
        if (shard, name) not in self._maps:
            path = self._folders[shard] / f"{name}.npy"
            try:
                self._maps[shard, name] = np.load(path, mmap_mode="r")
            except (OSError, ValueError) as error:
                raise UserError(f"{path}: cannot be read ({error}); delete the shard's folder and run again") from None
        return np.asarray(self._maps[shard, name][row])


class Standardiser:
    """Per-band standardisation that leaves no-data and padding at exactly 0 (section 4.2).

    Args:
        statistics: content of `statistics/{split}.json`.
        device: where batches are standardised.
    """

    def __init__(self, statistics: dict[str, Any], device: torch.device) -> None:
        def bands(view: str, what: str) -> Tensor:
            values = np.asarray(statistics["views"][view][what], dtype=np.float32)
            return torch.from_numpy(values).to(device)[:, None, None]

        self._mean = {view: bands(view, "mean") for view in statistics["views"]}
        self._std = {view: bands(view, "std").clamp_min(1e-6) for view in statistics["views"]}

    def __call__(self, image_BCHW: Tensor, view: str) -> Tensor:
        """Standardises `(B, 4, H, W)` float32; a pixel that is 0 in all bands is no-data and stays 0."""
        valid = (image_BCHW != 0).any(dim=1, keepdim=True)
        return ((image_BCHW - self._mean[view]) / self._std[view]).mul_(valid)


def read_subset(split_table: Path, subset: str) -> list[str]:
    """Ids of the tiles of one subset of a split, sorted.

    Raises:
        UserError: the subset is empty.
    """
    table = read_table(split_table, columns=["tile_id", "subset"])
    tile_ids = sorted(table.loc[table["subset"] == subset, "tile_id"])
    if not tile_ids:
        raise UserError(f"{split_table}: no {subset} tiles; change the split's fractions or line in the configuration")
    return tile_ids


def epoch_batches(count: int, batch_size: int, key: Sequence[int]) -> Iterator[list[int]]:
    """Yields the sample numbers of each step of one epoch, in an order that follows from `key` alone."""
    order = np.random.default_rng(list(key)).permutation(count)
    for start in range(0, count, batch_size):
        yield order[start : start + batch_size].tolist()


def draw_flips(key: Sequence[int], samples: Sequence[int]) -> np.ndarray:
    """Draws for each sample whether it is flipped left-right: `(B,)` bool, from a stream of the sample's own."""
    return np.array([np.random.default_rng([*key, int(sample)]).random() < 0.5 for sample in samples])


def flip_left_right(batch: dict[str, Tensor], flipped: np.ndarray) -> dict[str, Tensor]:
    """Flips the chosen samples of every tensor of a batch along columns.

    Columns run along the flight direction once tiles are oriented, so a flip keeps the radar's geometry; rows do not.
    """
    chosen = torch.from_numpy(flipped)
    return {
        name: torch.where(chosen.to(tensor.device)[:, None, None, None], tensor.flip(-1), tensor)
        for name, tensor in batch.items()
    }


def _read_manifest(path: Path) -> dict[str, Any]:
    """Reads a shard's manifest and compares the sizes of its files; their checksums are compute_statistics's matter."""
    content = read_json(path)
    try:
        for name, about in content["files"].items():
            file = path.parent / name
            size = file.stat().st_size if file.is_file() else None
            if size != about["bytes"]:
                found = "is missing" if size is None else f"has {size} bytes"
                raise UserError(
                    f"{file}: {found}, expected {about['bytes']}; delete the shard's folder and run the target `data`"
                )
        wanted = {name: content[name] for name in ("size_px", "padded_px", "orientation")}
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{path}: not a shard's manifest ({error!r}); delete the shard's folder and run `data`"
        ) from None
    return wanted
