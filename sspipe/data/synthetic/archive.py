"""Writes the city's tiles as one archive of SpaceNet 6's form."""

from __future__ import annotations

import gzip
import io
import math
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import numpy as np
import shapely
from affine import Affine
from rasterio.crs import CRS
from rasterio.io import MemoryFile

from sspipe.data import spacenet6
from sspipe.data.spacenet6 import EO, LABELS, PAN, PRODUCTS, PS_RGB, RGBNIR, SAR, Product
from sspipe.data.synthetic.labels import LabelCutter, csv_rows, csv_text, geojson_text
from sspipe.data.synthetic.layout import StripPlan, bounds_of, plan_strips
from sspipe.data.synthetic.optical import render_optical
from sspipe.data.synthetic.radar import render_radar
from sspipe.data.synthetic.relief import Rasterizer, Textures, Window
from sspipe.data.synthetic.scene import Scene, draw_scene
from sspipe.errors import UserError
from sspipe.files import whole_file
from sspipe.log import progress, say

# Heights and shadows of what lies outside a window reach into it: 18 m of building lay over by 23 m.
MARGIN_ROWS_M, MARGIN_COLUMNS_M = 32.0, 12.0
CHUNK_PIXELS = 2_500_000  # rendered at once; bounds memory at 900 px tiles
COMPRESSION = 1  # of gzip: noise hardly compresses, so more effort only costs time
MODIFIED = 1_577_836_800  # 2020-01-01: a fixed time makes equal settings give equal bytes
SMALLEST_TILE_PX = 32


def synthesize_archive(
    *, out: Path, tile_size_px: int, pixel_m: float, strips: int, tiles_per_strip: int, seed: int
) -> None:
    """Writes the embedded city as a `.tar.gz` with SpaceNet 6's folders, names, products, tables and labels.

    Equal arguments give equal bytes.

    Args:
        out: the archive.
        tile_size_px: rows and columns of a SAR tile.
        pixel_m: nominal ground size of a SAR pixel, m.
        strips: flight strips, half of them from the north and half from the south.
        tiles_per_strip: tiles of each strip.
        seed: the city, the flights and the noise follow from it.

    Raises:
        UserError: a size or count is too small to make a city of, or the seed is negative.
    """
    _check(tile_size_px, pixel_m, strips, tiles_per_strip, seed)
    tile_m = tile_size_px * pixel_m
    plans = plan_strips(tile_m=tile_m, strips=strips, tiles_per_strip=tiles_per_strip, seed=seed)
    scene = draw_scene(bounds=bounds_of(plans, tile_m), tile_m=tile_m, seed=seed)
    say(f"city of {len(scene.footprints)} buildings and {len(scene.trees)} trees, seen by {strips} strips")
    rasterizer, textures, cutter = Rasterizer(scene), Textures(seed, pixel_m), LabelCutter(scene)
    rows = []
    with whole_file(Path(out)) as partial, _open_archive(partial) as archive:
        for index, plan in enumerate(progress(plans, "strips written")):
            images = _render_strip(plan, index, scene, rasterizer, textures, tile_size_px, pixel_m, seed)
            for tile_number, sar, eo in images:
                tile = plan.tiles[tile_number]
                corner = (tile.easting_m, tile.northing_m)
                for product, image in _products(sar, eo).items():
                    content = _geotiff(image, product, corner, pixel_m)
                    _add(archive, str(spacenet6.file_path(product, tile.tile_id)), content)
                labels = cutter.cut(*corner, tile_m, plan.swath)
                name = Path(spacenet6.file_name(LABELS, tile.tile_id)).stem
                _add(archive, str(spacenet6.file_path(LABELS, tile.tile_id)), geojson_text(name, labels).encode())
                rows += csv_rows(tile.tile_id, labels, *corner, pixel_m)
        orientations = "".join(f"{plan.name} {plan.orientation}\n" for plan in plans)
        _add(archive, str(spacenet6.ORIENTATION_FILE), orientations.encode())
        _add(archive, str(spacenet6.TRUTH_FILE), csv_text(rows).encode())
    say(f"{out}: {sum(len(plan.tiles) for plan in plans)} tiles, {Path(out).stat().st_size / 1e6:.0f} MB")


def _check(tile_size_px: int, pixel_m: float, strips: int, tiles_per_strip: int, seed: int) -> None:
    if tile_size_px < SMALLEST_TILE_PX:
        raise UserError(f"tiles.size_px is {tile_size_px}; the embedded city needs at least {SMALLEST_TILE_PX}")
    if not 0 < pixel_m < math.inf:  # NaN fails the comparison
        raise UserError(
            f"tiles.pixel_m is {pixel_m}; expected a finite size above 0 m; set a pixel's side, such as 0.5"
        )
    if seed < 0:
        raise UserError(f"archive.synthetic.seed is {seed}; expected 0 or more; choose another seed")
    for key, value in (("strips", strips), ("tiles_per_strip", tiles_per_strip)):
        if value < 2:
            raise UserError(f"archive.synthetic.{key} is {value}; the embedded city needs at least 2")


def _render_strip(
    plan: StripPlan,
    index: int,
    scene: Scene,
    rasterizer: Rasterizer,
    textures: Textures,
    size_px: int,
    pixel_m: float,
    seed: int,
) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Renders a strip a few columns of tiles at a time, so that memory does not grow with its length.

    Yields:
        index of the tile in the plan, SAR (4, S, S) float32, EO (4, S, S) uint16, no-data 0.
    """
    height_px = plan.rows * size_px
    across = max(1, CHUNK_PIXELS // (height_px * size_px))
    margin_rows, margin_columns = (int(np.ceil(side / pixel_m)) for side in (MARGIN_ROWS_M, MARGIN_COLUMNS_M))
    for first in range(0, plan.columns, across):
        columns = min(across, plan.columns - first)
        east = plan.easting_m + first * size_px * pixel_m
        window = Window(east, plan.northing_m, pixel_m, height_px, columns * size_px)
        wide = window.grown(margin_rows, margin_columns)
        inner = (slice(None), slice(margin_rows, -margin_rows), slice(margin_columns, -margin_columns))
        relief = rasterizer.draw(wide)
        rng = np.random.default_rng([seed, 4, index, first])
        sar = render_radar(relief, scene, wide, textures, plan.orientation, rng)[inner]
        eo = render_optical(relief, scene, wide, textures)[inner]
        valid = _inside(plan.swath, window)
        sar, eo = np.where(valid, _rounded(sar), np.float32(0)), np.where(valid, eo, np.uint16(0))
        for number, tile in enumerate(plan.tiles):
            if first <= tile.column < first + columns:
                top, left = tile.row * size_px, (tile.column - first) * size_px
                cut = (slice(None), slice(top, top + size_px), slice(left, left + size_px))
                yield number, sar[cut], eo[cut]


def _inside(swath: shapely.Polygon, window: Window) -> np.ndarray:
    """Which pixel centres lie in a convex swath, (rows, columns) bool."""
    east = window.easting_m + (np.arange(window.columns) + 0.5) * window.pixel_m
    north = window.northing_m - (np.arange(window.rows) + 0.5) * window.pixel_m
    corners = np.asarray(shapely.geometry.polygon.orient(swath).exterior.coords)
    inside = np.ones((window.rows, window.columns), bool)
    for (x0, y0), (x1, y1) in pairwise(corners):
        inside &= (x1 - x0) * (north[:, None] - y0) - (y1 - y0) * (east[None, :] - x0) >= 0
    return inside


def _rounded(sar: np.ndarray) -> np.ndarray:
    """Keeps 13 bits of the fraction (1 in 8000): far below the speckle, and makes the archive much smaller."""
    return (sar.view(np.uint32) & np.uint32(0xFFFFFC00)).view(np.float32)


def _products(sar: np.ndarray, eo: np.ndarray) -> dict[Product, np.ndarray]:
    """Every raster product of a tile; those of the optical satellite all come from the sharpened four bands."""
    valid = eo.any(axis=0)
    rgb = np.where(valid, np.clip(eo[:3] // 4, 1, 255), 0).astype(np.uint8)
    pan = np.where(valid, np.rint(eo.mean(axis=0)), 0).astype(np.uint16)[None]
    odd = eo.shape[1] % 2
    even = np.pad(eo, ((0, 0), (0, odd), (0, odd)), mode="edge")
    blocks = even.reshape(4, even.shape[1] // 2, 2, even.shape[2] // 2, 2)
    coarse = np.rint(blocks.mean(axis=(2, 4))) * blocks.all(axis=(0, 2, 4))
    return {SAR: sar, EO: eo, PS_RGB: rgb, PAN: pan, RGBNIR: coarse.astype(np.uint16)}


def _geotiff(image: np.ndarray, product: Product, corner: tuple[float, float], pixel_m: float) -> bytes:
    """One raster (bands, rows, columns) as the bytes of a GeoTIFF: plain strips of rows, one band after another."""
    size = spacenet6.pixel_size_m(product, pixel_m)
    with MemoryFile() as memory:
        with memory.open(
            driver="GTiff",
            dtype=product.dtype,
            count=product.bands,
            height=image.shape[1],
            width=image.shape[2],
            crs=_CRS,
            transform=Affine(size, 0, corner[0], 0, -size, corner[1]),
            nodata=0,
            interleave="band",
        ) as raster:
            raster.write(image)
        return memory.read()


_CRS = CRS.from_epsg(spacenet6.EPSG)


@contextmanager
def _open_archive(path: Path) -> Iterator[tarfile.TarFile]:
    """A gzipped tar, written from front to end: folders first, and no times or names of this machine."""
    with (
        path.open("wb") as raw,
        gzip.GzipFile(filename="", mode="wb", fileobj=raw, compresslevel=COMPRESSION, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w|", format=tarfile.GNU_FORMAT) as archive,
    ):
        folders = [spacenet6.FOLDER.parent, spacenet6.FOLDER, *(spacenet6.FOLDER / name for name in sorted(PRODUCTS))]
        for folder in [*folders, spacenet6.SUMMARY_FOLDER]:
            member = tarfile.TarInfo(f"./{folder}")
            member.type, member.mode, member.mtime = tarfile.DIRTYPE, 0o755, MODIFIED
            archive.addfile(member)
        yield archive


def _add(archive: tarfile.TarFile, path: str, content: bytes) -> None:
    member = tarfile.TarInfo(f"./{path}")
    member.size, member.mode, member.mtime = len(content), 0o644, MODIFIED
    archive.addfile(member, io.BytesIO(content))
