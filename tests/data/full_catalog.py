"""SpaceNet 6's data stage as it lies on disk at full size: real tile origins, and nothing of the images."""

from __future__ import annotations

import os
from pathlib import Path

import pandas as pd

from sspipe.data import spacenet6

GEOMETRY = Path(__file__).with_name("tile_geometry.csv.gz")


def full_catalog(tiles: int = 3401) -> pd.DataFrame:
    """The first `tiles` rows of a catalog of the real tiles, sorted by tile id; what only images tell is left out."""
    real = pd.read_csv(GEOMETRY).rename(columns={"image_id": "tile_id"}).sort_values("tile_id", ignore_index=True)
    table = real.head(tiles).assign(size_px=900, pixel_m=0.5)
    table["strip"] = [spacenet6.strip_of(tile_id) for tile_id in table["tile_id"]]
    table["tile_number"] = [spacenet6.number_of(tile_id) for tile_id in table["tile_id"]]
    for name, product in (("sar", spacenet6.SAR), ("eo", spacenet6.EO), ("label", spacenet6.LABELS)):
        table[f"{name}_path"] = [str(spacenet6.file_path(product, tile_id)) for tile_id in table["tile_id"]]
    return table


def lay_out(root: Path, tiles: int = 3401) -> None:
    """Writes what fetching, unpacking and indexing leave in an experiment's folder, one after the other.

    Only the catalog has content: the others are what Snakemake looks at, whether they are there and when they came.
    """
    root.mkdir(parents=True)
    full_catalog(tiles).to_parquet(root / "catalog.parquet", index=False)
    names = ("archive.tar.gz", "raw.json", "footprints.parquet", "catalog.json", "catalog.parquet")
    for age, name in enumerate(reversed(names)):
        (root / name).touch()
        then = (root / name).stat().st_mtime - 60 * (age + 1)
        os.utime(root / name, (then, then))
