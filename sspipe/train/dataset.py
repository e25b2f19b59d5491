"""Packed tiles as samples: rows of memory maps. No raster library is needed here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import DTypeLike, NDArray

from sspipe.errors import UserError
from sspipe.files import read_json, read_table

Array = Literal["sar", "eo", "masks"]
# Types of the packed arrays, each `(tiles, C, P, P)`; masks are interior and border.
DTYPES: dict[Array, DTypeLike] = {"sar": np.float16, "eo": np.uint16, "masks": np.uint8}
_REMEDY = "delete the shard's folder and run the target `data` again"


class PackedTiles:
    """Chosen tiles of the packed shards, in the order of `tile_ids`.

    Args:
        manifests: `pack/{shard}/manifest.json` of every shard.
        tile_ids: the tiles wanted.
        staged: for a shard's folder, the folder of its copied arrays (`sspipe.train.staging`).

    Raises:
        UserError: a wanted tile is in no shard.
    """

    def __init__(
        self, manifests: Sequence[Path], tile_ids: Sequence[str], staged: Mapping[Path, Path] | None = None
    ) -> None:
        wanted = set(tile_ids)
        place: dict[str, tuple[int, int, int]] = {}
        self._folders: list[Path] = []
        self._rows: list[int] = []
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
            self._folders.append((staged or {}).get(folder, folder))
            self._rows.append(len(table))
        missing = [tile_id for tile_id in tile_ids if tile_id not in place]
        if missing:
            raise UserError(
                f"{len(missing)} tiles of the split are in no packed shard, the first is {missing[0]}; "
                "the pack and the split come from different catalogs: run the target `data` again"
            )
        self.tile_ids = tuple(tile_ids)
        self._place = [place[tile_id] for tile_id in tile_ids]
        self._maps: dict[tuple[int, Array], tuple[NDArray[Any], Path, int]] = {}
        self._channels: dict[Array, int] = {"masks": 2}

    def __len__(self) -> int:
        return len(self.tile_ids)

    def orientation(self, sample: int) -> int:
        """Flight orientation of a tile, 0 or 1."""
        return self._place[sample][2]

    @property
    def shard_of(self) -> NDArray[np.int64]:
        """`(N,)`: the number of the shard that holds each tile."""
        return np.array([shard for shard, _, _ in self._place], dtype=np.int64)

    def row(self, sample: int, name: Array) -> NDArray[Any]:
        """One tile's array as it is packed, `(C, P, P)`, see `DTYPES`; no-data and padding are 0.

        Raises:
            UserError: the shard's file is damaged.
        """
        shard, row, _ = self._place[sample]
        array, path, size = self._map(shard, name)
        # Reading a mapped file that was cut since would end the process by SIGBUS, without a word.
        if _size(path) != size:
            raise UserError(f"{path}: was changed or removed while it was in use; {_REMEDY}")
        return np.asarray(array[row])

    def copy(self, samples: Sequence[int], name: Array, out: NDArray[Any]) -> None:
        """Copies tiles as they are packed to `out`, `(B, C, P, P)` of the same type.

        Raises:
            UserError: a shard's file is damaged.
        """
        for position, sample in enumerate(samples):
            np.copyto(out[position], self.row(sample, name), casting="no")

    def channels(self, name: Array) -> int:
        """Bands of a view, or 2 for the masks.

        Raises:
            UserError: the file of the first tile's shard is damaged.
        """
        self._map(self._place[0][0], name)
        return self._channels[name]

    def open_all(self, names: Sequence[Array]) -> None:
        """Opens the files that the tiles are in, so that a damaged one is found at once.

        Raises:
            UserError: a shard's file is damaged.
        """
        for shard in sorted({shard for shard, _, _ in self._place}):
            for name in names:
                self._map(shard, name)

    def _map(self, shard: int, name: Array) -> tuple[NDArray[Any], Path, int]:
        if (shard, name) not in self._maps:
            self._maps[shard, name] = self._opened(shard, name)
        return self._maps[shard, name]

    def _opened(self, shard: int, name: Array) -> tuple[NDArray[Any], Path, int]:
        path = self._folders[shard] / f"{name}.npy"
        try:
            size = path.stat().st_size
            array = np.load(path, mmap_mode="r")
        except (OSError, ValueError, EOFError) as error:  # numpy refuses a file that is shorter than its header says
            raise UserError(f"{path}: cannot be read ({error}); {_REMEDY}") from None
        dtype = DTYPES[name]
        # All shards have as many bands as the one that was opened first.
        bands = self._channels.setdefault(name, array.shape[1] if array.ndim == 4 else 0)
        expected = (bands, self.padded_px, self.padded_px)
        if array.dtype != dtype or array.shape[1:] != expected:
            found = f"{array.dtype} of shape {array.shape}"
            raise UserError(f"{path}: {found}, expected {np.dtype(dtype)} of shape (tiles, {expected}); {_REMEDY}")
        if array.shape[0] != self._rows[shard]:
            raise UserError(f"{path}: has {array.shape[0]} tiles, and tiles.parquet {self._rows[shard]}; {_REMEDY}")
        return array, path, size


def read_subset(split_table: Path, subset: str, with_eo: bool = False) -> list[str]:
    """Ids of the tiles of one subset of a split, sorted.

    Args:
        split_table: tile_id and subset; and has_eo, if some tiles may have no EO image.
        subset: which.
        with_eo: leaves those without an EO image out.

    Raises:
        UserError: the subset is empty, or has no tile with an EO image.
    """
    table = read_table(split_table)
    lacking = [name for name in ("tile_id", "subset") if name not in table]
    if lacking:
        raise UserError(
            f"{split_table}: not the table of a split, as it has no column {' and no '.join(lacking)}; "
            "name splits/{split}.parquet, as the target `data` writes it"
        )
    chosen = table[table["subset"] == subset]
    without = ~chosen["has_eo"].to_numpy(bool) if with_eo and "has_eo" in chosen else np.zeros(len(chosen), bool)
    tile_ids = sorted(chosen.loc[~without, "tile_id"])
    if without.any() and not tile_ids:
        raise UserError(
            f"{split_table}: none of its {len(chosen)} {subset} tiles has an EO image, which the variant needs; "
            "give some (eo_path in the table of tiles), or leave the variant out of the split (splits: variants)"
        )
    if not tile_ids:
        raise UserError(f"{split_table}: no {subset} tiles; change the split's fractions or line in the configuration")
    return tile_ids


def read_statistics(path: Path) -> dict[str, Any]:
    """Reads the statistics of a split.

    Returns:
        Among the rest `views`: of each its bands' `mean` and `std`.

    Raises:
        UserError: the file cannot be read, or is something else.
    """
    content: dict[str, Any] = read_json(path)
    try:
        for about in content["views"].values():
            if len(about["mean"]) != len(about["std"]) or not np.isfinite([about["mean"], about["std"]]).all():
                raise ValueError("mean and std are not numbers, one of each a band")
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise UserError(
            f"{path}: not the statistics of a split ({error!r}); delete the file and run the target `data` again"
        ) from None
    return content


def _read_manifest(path: Path) -> dict[str, Any]:
    """Reads a shard's manifest and compares the sizes of its files; their checksums are measure_tiles's matter."""
    content = read_json(path)
    try:
        for name, about in content["files"].items():
            file = path.parent / name
            size = _size(file)
            if size != about["bytes"]:
                found = "is missing" if size is None else f"has {size} bytes"
                raise UserError(f"{file}: {found}, expected {about['bytes']}; {_REMEDY}")
        wanted = {name: content[name] for name in ("size_px", "padded_px", "orientation")}
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path}: not a shard's manifest ({error!r}); {_REMEDY}") from None
    return wanted


def _size(path: Path) -> int | None:
    """Bytes of a file; None if there is none."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return None
