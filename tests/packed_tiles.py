"""A learnable set of packed tiles: bright squares are buildings, in both views."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from sspipe import checksum
from sspipe.files import write_json
from sspipe.pack.identity import pack_digest

SIZE, PADDED = 60, 64


def file_entries(folder):
    """What a manifest says of a shard's files."""
    return {
        path.name: {"bytes": path.stat().st_size, checksum.NAME: checksum.of_file(path)}
        for path in sorted(folder.iterdir())
        if path.name != "manifest.json"
    }


@pytest.fixture(scope="session")
def packed(tmp_path_factory):
    """Two shards of eight tiles with a split of 10 train, 3 validation and 3 test tiles, and statistics."""
    root = tmp_path_factory.mktemp("packed")
    random = np.random.default_rng(0)
    tile_ids = [f"20190804111224_20190804111453_tile_{number:03d}" for number in range(16)]
    manifests = []
    for shard in range(2):
        folder = root / "pack" / str(shard)
        folder.mkdir(parents=True)
        masks = np.zeros((8, 2, PADDED, PADDED), np.uint8)
        sar = np.zeros((8, 4, PADDED, PADDED), np.float16)
        eo = np.zeros((8, 4, PADDED, PADDED), np.uint16)
        for tile in range(8):
            row, column = random.integers(5, 35, 2)
            masks[tile, 0, row : row + 16, column : column + 16] = 1
            masks[tile, 1, row - 1 : row + 17, column - 1 : column + 17] = 1
            masks[tile, 1, row + 1 : row + 15, column + 1 : column + 15] = 0
            building = masks[tile, 0, :SIZE, :SIZE].astype(float)
            sar[tile, :, :SIZE, :SIZE] = 25 + 12 * building + random.normal(0, 3, (4, SIZE, SIZE))
            eo[tile, :, :SIZE, :SIZE] = 300 + 500 * building + random.normal(0, 30, (4, SIZE, SIZE))
            sar[tile, :, :4] = 0
            eo[tile, :, :4] = 0
            masks[tile, :, :4] = 0
        np.save(folder / "sar.npy", sar)
        np.save(folder / "eo.npy", eo)
        np.save(folder / "masks.npy", masks)
        pd.DataFrame(
            {"tile_id": tile_ids[shard * 8 : shard * 8 + 8], "row": range(8), "orientation": [0, 1] * 4}
        ).to_parquet(folder / "tiles.parquet")
        manifest = folder / "manifest.json"
        about = {"size_px": SIZE, "padded_px": PADDED, "orientation": "rotate180", "files": file_entries(folder)}
        write_json(manifest, {"shard": shard, "shards": 2, "tiles": 8, **about})
        manifests.append(manifest)
    split = root / "spatial.parquet"
    subsets = ["train"] * 10 + ["validation"] * 3 + ["test"] * 3
    pd.DataFrame({"tile_id": tile_ids, "subset": subsets}).to_parquet(split)
    statistics = root / "spatial.json"
    write_json(
        statistics,
        {
            "split": "spatial",
            "subset": "train",
            "tiles": 10,
            "pack": pack_digest(manifests),
            "views": {"sar": {"mean": [26] * 4, "std": [5] * 4}, "eo": {"mean": [330] * 4, "std": [130] * 4}},
        },
    )
    return SimpleNamespace(root=root, manifests=manifests, split=split, statistics=statistics, tile_ids=tile_ids)
