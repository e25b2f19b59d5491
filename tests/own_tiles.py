"""A small place that is not SpaceNet's: its tiles have names, CRS, bands and sizes of their own, and a table."""

from __future__ import annotations

import csv
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import rasterio
import shapely
from rasterio.features import rasterize
from rasterio.transform import from_origin

from sspipe.data.own_data import COLUMNS

EPSG = 32633
SIZE_PX, PIXEL_M = 64, 1.0
SIDE_M = SIZE_PX * PIXEL_M
WEST, NORTH = 388_000.0, 5_820_000.0
ROWS = 2
SAR_BANDS, EO_BANDS = ["VV", "VH"], ["red", "green", "blue"]
WITHOUT_EO = "plot-003"


@dataclass
class OwnTiles:
    """Tiles on disk and their table; `write_table` writes it anew after `rows` were changed."""

    folder: Path
    rows: list[dict[str, str]] = field(default_factory=list)

    @property
    def table(self) -> Path:
        return self.folder / "lists" / "my tiles.csv"

    def write_table(self, columns: tuple[str, ...] = COLUMNS) -> Path:
        self.table.parent.mkdir(exist_ok=True)
        with self.table.open("w", newline="") as handle:
            writer = csv.DictWriter(handle, columns, extrasaction="ignore")
            writer.writeheader()
            writer.writerows(self.rows)
        return self.table

    def row(self, tile_id: str) -> dict[str, str]:
        return next(row for row in self.rows if row["tile_id"] == tile_id)

    def path(self, tile_id: str, column: str) -> Path:
        """The file that a row names."""
        return self.table.parent / self.row(tile_id)[column]


def write_own_tiles(folder: Path, tiles: int = 20) -> OwnTiles:
    """Writes tiles in two rows, from west to east, side by side.

    Western tiles share one GeoPackage of footprints, some of which reach across the tiles' edges; each eastern tile has
    a GeoJSON. There are no heights and no ids. One tile has no EO image, and one has no buildings.
    """
    own = OwnTiles(folder)
    for name in ("lists", "radar", "optical", "houses"):
        (folder / name).mkdir(parents=True)
    random = np.random.default_rng(0)
    for number in range(tiles):
        tile_id = f"plot-{number:03d}"
        corner = WEST + (number // ROWS) * SIDE_M, NORTH - (number % ROWS) * SIDE_M
        own.rows.append(
            {
                "tile_id": tile_id,
                "sar_path": f"../radar/s1 {number}.tiff",
                "eo_path": "" if tile_id == WITHOUT_EO else f"../optical/{number}.tif",
                "footprint_path": "../houses/west.gpkg" if number < tiles // 2 else f"../houses/{number}.geojson",
                "strip": f"pass {number % ROWS}",
                "orientation": str(number % ROWS),
            }
        )
        houses = _houses(corner, random, none=number == tiles - 1)
        table = geopandas.GeoDataFrame(geometry=houses, crs=EPSG)
        if number >= tiles // 2:
            table.to_file(folder / "houses" / f"{number}.geojson", engine="pyogrio")
        own.rows[-1]["houses"] = table  # type: ignore[assignment]
    west = geopandas.pd.concat([row["houses"] for row in own.rows[: tiles // 2]])
    west.to_file(folder / "houses" / "west.gpkg", engine="pyogrio")
    everything = [shape for row in own.rows for shape in row.pop("houses").geometry]  # type: ignore[attr-defined]
    for number, row in enumerate(own.rows):
        corner = WEST + (number // ROWS) * SIDE_M, NORTH - (number % ROWS) * SIDE_M
        sar, eo = _images(everything, corner, random)
        write_image(own.table.parent / row["sar_path"], sar, corner)
        if row["eo_path"]:
            write_image(own.table.parent / row["eo_path"], eo, corner)
    own.write_table()
    return own


def write_image(path: Path, pixels: np.ndarray, corner: tuple[float, float], **form: Any) -> None:
    """Writes (B, H, W) as a GeoTIFF; `form` changes what these tiles have otherwise."""
    bands, rows, columns = pixels.shape
    settings = {"crs": f"EPSG:{EPSG}", "transform": from_origin(*corner, PIXEL_M, PIXEL_M), **form}
    with rasterio.open(
        path, "w", driver="GTiff", count=bands, height=rows, width=columns, dtype=pixels.dtype, **settings
    ) as image:
        image.write(pixels)


def _houses(corner: tuple[float, float], random: np.random.Generator, none: bool) -> list[shapely.Polygon]:
    """One building inside the tile, and one across its eastern edge."""
    if none:
        return []
    west, north = corner
    x, y = random.integers(8, 26, 2)
    inside = shapely.box(west + x, north - y - 16, west + x + 18, north - y)
    return [inside, shapely.box(west + 56, north - 60, west + 72, north - 46)]


def _images(
    houses: list[shapely.Polygon], corner: tuple[float, float], random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Two bands of radar in dB, bright where buildings are, with a strip of no-data; three bands of 8 bit optics."""
    grid = from_origin(*corner, PIXEL_M, PIXEL_M)
    building = rasterize(houses, (SIZE_PX, SIZE_PX), transform=grid, dtype="uint8").astype(np.float32)
    sar = (random.normal(-14, 2, (2, SIZE_PX, SIZE_PX)) + 9 * building).astype(np.float32)
    sar[:, :3] = 0
    eo = (random.normal(90, 12, (3, SIZE_PX, SIZE_PX)) + 90 * building).clip(1, 255).astype(np.uint8)
    return sar, eo
