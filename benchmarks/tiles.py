"""Tiles for the benchmarks, made up as they go: GeoTIFFs like SpaceNet 6's, and the same tiles packed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from sspipe import checksum
from sspipe.files import write_json
from sspipe.pack.identity import pack_digest
from sspipe.pack.orientation import orient
from sspipe.train.dataset import DTYPES, Array, PackedTiles

CHANNELS = {"sar": 4, "eo": 4, "masks": 2}
STATISTICS = {"views": {"sar": {"mean": [30.0] * 4, "std": [8.4] * 4}, "eo": {"mean": [420.0] * 4, "std": [260.0] * 4}}}


@dataclass(frozen=True)
class Pack:
    """Where a made-up pack lies."""

    manifests: list[Path]
    statistics: Path
    split: Path
    tile_ids: list[str]

    def tiles(self) -> PackedTiles:
        return PackedTiles(self.manifests, self.tile_ids)


def images(number: int, size_px: int) -> dict[Array, np.ndarray]:
    """One tile in its own grid, with a no-data wedge: SAR float32, EO uint16, masks uint8 with some blocks."""
    random = np.random.default_rng(number)
    masks = np.zeros((2, size_px, size_px), np.uint8)
    side = size_px // 12
    for row, column in random.integers(side // 2, size_px - 2 * side, (12, 2)):
        masks[0, row : row + side, column : column + side] = 1
        masks[1, row - 3 : row + side + 3, column - 3 : column + side + 3] = 1
        masks[1, row + 3 : row + side - 3, column + 3 : column + side - 3] = 0
    building = masks[0].astype(np.float32)
    sar = random.normal(26 + 12 * building, 8, (4, size_px, size_px)).clip(0.1, 93).astype(np.float32)
    eo = random.normal(300 + 500 * building, 60, (4, size_px, size_px)).clip(1, 2047).astype(np.uint16)
    for image in (sar, eo, masks):
        image[:, :, : size_px // 20] = 0
    return {"sar": sar, "eo": eo, "masks": masks}


def write_pack(
    folder: Path, *, tiles: int, size_px: int, padded_px: int, shards: int = 1, subset: str = "train"
) -> Pack:
    """Packs made-up tiles, all of one subset; tile k goes to shard k % shards."""
    tile_ids = [f"20190804111224_20190804111453_tile_{number}" for number in range(tiles)]
    manifests = []
    for shard in range(shards):
        mine = list(range(shard, tiles, shards))
        place = folder / "pack" / str(shard)
        place.mkdir(parents=True)
        arrays = {
            name: np.lib.format.open_memmap(
                place / f"{name}.npy", "w+", dtype, (len(mine), CHANNELS[name], padded_px, padded_px)
            )
            for name, dtype in DTYPES.items()
        }
        for row, number in enumerate(mine):
            for name, image in images(number, size_px).items():
                arrays[name][row, :, :size_px, :size_px] = orient(image, number % 2, "rotate180")
        for array in arrays.values():
            array.flush()
        ids = [tile_ids[number] for number in mine]
        orientation = [number % 2 for number in mine]
        pd.DataFrame({"tile_id": ids, "row": range(len(mine)), "orientation": orientation}).to_parquet(
            place / "tiles.parquet"
        )
        files = {path.name: _entry(path) for path in sorted(place.glob("*.npy"))}
        about = {"size_px": size_px, "padded_px": padded_px, "orientation": "rotate180", "border_px": 3, "files": files}
        manifests.append(place / "manifest.json")
        write_json(manifests[-1], {"shard": shard, "shards": shards, "tiles": len(mine), **about})
    split = folder / "made_up.parquet"
    pd.DataFrame({"tile_id": tile_ids, "subset": subset}).to_parquet(split)
    statistics = folder / "made_up.json"
    about = {"split": "made_up", "subset": "train", "tiles": tiles, "pack": pack_digest(manifests)}
    write_json(statistics, {**about, **STATISTICS})
    return Pack(manifests, statistics, split, tile_ids)


def write_geotiffs(folder: Path, *, tiles: int, size_px: int) -> None:
    """Writes `{view}_{number}.tif` as SpaceNet 6's are: uncompressed strips of rows, one band after another."""
    import rasterio
    from rasterio.transform import Affine

    folder.mkdir(parents=True)
    for number in range(tiles):
        for view, image in images(number, size_px).items():
            if view == "masks":
                continue
            with rasterio.open(
                folder / f"{view}_{number}.tif", "w", driver="GTiff", count=4, height=size_px, width=size_px,
                dtype=image.dtype, crs="EPSG:32631", transform=Affine(0.5, 0, 592000, 0, -0.5, 5749000), nodata=0,
                interleave="band",
            ) as raster:  # fmt: skip
                raster.write(image)


def _entry(path: Path) -> dict:
    return {"bytes": path.stat().st_size, checksum.NAME: checksum.of_file(path)}
