"""Mean and standard deviation of each band over the training tiles, no-data left out. Needs no raster library."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sspipe.errors import UserError
from sspipe.files import read_json, read_table, write_json
from sspipe.log import progress, say

VIEWS = ("sar", "eo")


class Moments(NamedTuple):
    """Number of valid pixels, and mean and sum of squared deviations of each band; float64, (bands,)."""

    pixels: int
    mean: NDArray[np.float64]
    squares: NDArray[np.float64]

    @property
    def std(self) -> NDArray[np.float64]:
        """(bands,) population standard deviation."""
        return np.sqrt(self.squares / self.pixels)


def compute_statistics(*, split: str, split_table: Path, packs: list[Path], out: Path) -> None:
    """Writes the statistics of a split's training tiles.

    Args:
        split: its name.
        split_table: tile_id and subset.
        packs: `manifest.json` of every shard.
        out: JSON.

    Raises:
        UserError: a training tile is in no shard, a shard is incomplete or damaged, or a band has no spread.
    """
    refuse_damaged([Path(pack) for pack in packs])
    subsets = read_table(split_table, columns=["tile_id", "subset"])
    train = set(subsets.loc[subsets["subset"] == "train", "tile_id"])
    rows = _rows_of(train, [Path(pack).parent for pack in packs])
    _refuse_missing(split_table, train, rows)
    views = {}
    for view in VIEWS:
        what = f"compute_statistics {split} {view}"
        moments = over_images(progress(_images(view, rows), what, total=len(train)))
        _refuse_flat(split, view, moments)
        views[view] = {
            "mean": moments.mean.tolist(),
            "std": moments.std.tolist(),
            "valid_pixels": moments.pixels,
        }
    write_json(out, {"split": split, "subset": "train", "tiles": len(train), "views": views})
    say(f"compute_statistics: split {split}, {len(train)} training tiles")


def over_images(images: Iterable[NDArray[Any]]) -> Moments:
    """Merges the moments of images one by one, which loses no digits where a running sum of squares would.

    Args:
        images: each (bands, H, W); pixels that are 0 in all bands are no-data and left out.

    Returns:
        moments of all valid pixels; 0 pixels if there is none.
    """
    total: Moments | None = None
    for image in images:
        one = of_image(image)
        total = one if total is None else merged(total, one)
    return total if total is not None else Moments(0, np.zeros(0), np.zeros(0))


def of_image(image: NDArray[Any]) -> Moments:
    """Moments of one image, (bands, H, W), by two passes over it in float64."""
    valid = image.any(axis=0)
    values = image[:, valid].astype(np.float64)
    count = values.shape[1]
    if not count:
        return Moments(0, np.zeros(len(image)), np.zeros(len(image)))
    mean = values.mean(axis=1)
    values -= mean[:, None]
    return Moments(count, mean, np.einsum("bp,bp->b", values, values))


def merged(first: Moments, second: Moments) -> Moments:
    """Moments of two sets of pixels together (the pairwise update of Chan, Golub and LeVeque, 1979)."""
    count = first.pixels + second.pixels
    if not count:
        return first
    share = second.pixels / count
    step = second.mean - first.mean
    return Moments(count, first.mean + step * share, first.squares + second.squares + step**2 * first.pixels * share)


def refuse_damaged(manifests: Sequence[Path]) -> None:
    """Compares every packed file with its checksum: once, before anything is computed from it.

    Raises:
        UserError: a file is missing or is not what was packed.
    """
    for manifest in progress(manifests, "compute_statistics: shards verified"):
        files = read_json(manifest).get("files")
        if not files:
            raise UserError(f"{manifest}: lists no files; delete the shard's folder and run the target `data` again")
        for name, about in files.items():
            path = manifest.parent / name
            try:
                with path.open("rb") as handle:
                    digest = hashlib.file_digest(handle, "sha256").hexdigest()
            except FileNotFoundError:
                digest = "missing"
            if digest != about["sha256"]:
                raise UserError(
                    f"{path}: sha256 {digest}, not {about['sha256']} as its manifest says; "
                    "delete the shard's folder and run the target `data` again"
                )


def _rows_of(train: set[str], shards: list[Path]) -> list[tuple[Path, pd.DataFrame]]:
    """The rows of training tiles in each shard's arrays, in order."""
    rows = []
    for shard in shards:
        manifest = read_json(shard / "manifest.json")
        table = read_table(shard / "tiles.parquet")
        if len(table) != manifest["tiles"]:
            raise UserError(
                f"{shard}: tiles.parquet has {len(table)} rows, and manifest.json has {manifest['tiles']} tiles; "
                "delete the shard's folder and pack it again"
            )
        rows.append((shard, table.loc[table["tile_id"].isin(train), ["tile_id", "row"]]))
    return [(shard, table) for shard, table in rows if len(table)]


def _images(view: str, rows: list[tuple[Path, pd.DataFrame]]) -> Iterator[NDArray[Any]]:
    for shard, table in rows:
        path = shard / f"{view}.npy"
        try:
            array = np.load(path, mmap_mode="r")
        except (OSError, ValueError) as error:
            raise UserError(f"{path}: cannot be read ({error}); delete the shard's folder and pack it again") from None
        for row in table["row"]:
            yield array[row]


def _refuse_missing(split_table: Path, train: set[str], rows: list[tuple[Path, pd.DataFrame]]) -> None:
    if not train:
        raise UserError(f"{split_table}: has no training tiles; check the split's fractions or line")
    packed = {tile_id for _, table in rows for tile_id in table["tile_id"]}
    missing = sorted(train - packed)
    if missing:
        raise UserError(
            f"{split_table}: {len(missing)} of its {len(train)} training tiles are in none of the shards, such as "
            f"{missing[0]}; pack all shards of the same catalog again"
        )


def _refuse_flat(split: str, view: str, moments: Moments) -> None:
    if not moments.pixels:
        raise UserError(f"split `{split}`: every {view} pixel of its training tiles is no-data (0); check the archive")
    flat = [band for band, std in enumerate(moments.std) if not std > 0]
    if flat:
        raise UserError(
            f"split `{split}`: {view} band {flat[0] + 1} is {moments.mean[flat[0]]:g} in all of its training tiles, "
            "so it cannot be standardised; check the archive"
        )
