"""Which pixels of a tile were imaged: a strip ends within many tiles, and beyond its edge there are no data."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sspipe.pack.orientation import restore
from sspipe.train.dataset import PackedTiles

TILES_MAPPED = 64


def imaged_pixels(packs: Sequence[Path], tile_ids: Sequence[str], view: str) -> Iterator[NDArray[np.bool_]]:
    """Reads which pixels of each tile have data in some band.

    Args:
        packs: `manifest.json` of every packed shard.
        tile_ids: of the tiles.
        view: `sar` or `eo`, whose data are meant.

    Yields:
        (S, S) bool for each tile, in its own grid (neither turned nor padded).

    Raises:
        UserError: a tile is in no shard, or a shard is damaged.
    """
    for first in range(0, len(tile_ids), TILES_MAPPED):
        # Opened anew for some tiles at a time: pages of a map that stays open count as the process's memory.
        tiles = PackedTiles(packs, tile_ids[first : first + TILES_MAPPED])
        for sample in range(len(tiles)):
            image = tiles.row(sample, "eo" if view == "eo" else "sar")
            upright = restore(image, tiles.orientation(sample), tiles.orientation_rule, tiles.size_px)
            found = upright[0] != 0
            if not found.all():  # the other bands are read only where the first leaves a doubt
                found = (upright != 0).any(axis=0)
            yield found
