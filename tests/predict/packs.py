"""One packed shard with radar alone, for the stages that ask it which pixels were imaged."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from sspipe.files import write_json
from sspipe.pack.orientation import orient
from tests.packed_tiles import file_entries


def write_sar_pack(folder: Path, imaged: dict[str, np.ndarray], padded_px: int) -> Path:
    """Writes a shard of turned and padded tiles, every second one seen from the south.

    Args:
        folder: to make.
        imaged: (S, S) bool of each tile, the pixels that have data.
        padded_px: P.

    Returns:
        Its manifest.json.
    """
    folder.mkdir()
    orientation = [number % 2 for number in range(len(imaged))]
    sar = np.zeros((len(imaged), 4, padded_px, padded_px), np.float16)
    for number, with_data in enumerate(imaged.values()):
        size = len(with_data)
        image = np.where(with_data, np.float16(30), np.float16(0)) * np.ones((4, 1, 1), np.float16)
        image[0] = 0  # one band without a value is no hole in the data
        sar[number, :, :size, :size] = orient(image, orientation[number], "rotate180")
    np.save(folder / "sar.npy", sar)
    rows = {"tile_id": list(imaged), "row": range(len(imaged)), "orientation": orientation}
    pd.DataFrame(rows).to_parquet(folder / "tiles.parquet")
    about = {"size_px": size, "padded_px": padded_px, "orientation": "rotate180", "files": file_entries(folder)}
    write_json(folder / "manifest.json", {"shard": 0, "shards": 1, "tiles": len(imaged), **about})
    return folder / "manifest.json"
