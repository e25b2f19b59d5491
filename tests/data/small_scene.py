"""A few small tiles on disk in SpaceNet 6's own form, for the tests of reading and packing."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import rasterio
from rasterio.transform import Affine

from sspipe.data import spacenet6
from sspipe.data.spacenet6 import Product

SIZE_PX = 64
PIXEL_M = 0.5
ORIGIN_M = (592000.25, 5749000.75)
STRIPS = {"20190804111224_20190804111453": 1, "20190804111851_20190804112030": 0}
TILE_IDS = [f"{strip}_tile_{number}" for strip in STRIPS for number in (1, 2, 13)]

BUILDING_PX = "POLYGON ((10 24, 34 24, 34 40, 10 40, 10 24))"  # what write_scene puts in each tile, in its pixels


def write_scene(raw: Path, tile_ids: list[str] | None = None) -> Path:
    """Writes tiles from west to east, three quarters of a tile apart, with one building each; returns raw/."""
    tile_ids = TILE_IDS if tile_ids is None else tile_ids
    for index, tile_id in enumerate(tile_ids):
        easting, northing = origin_of(index)
        rng = np.random.default_rng(index)
        write_image(raw, spacenet6.SAR, tile_id, sar_pixels(rng), (easting, northing))
        write_image(raw, spacenet6.EO, tile_id, eo_pixels(rng), (easting, northing))
        write_labels(raw, tile_id, [feature(100 + index, easting + 5, northing - 20, 12, 8)])
    write_orientations(raw, "".join(f"{strip} {orientation}\n" for strip, orientation in STRIPS.items()))
    write_truth(raw, {tile_id: [BUILDING_PX] for tile_id in tile_ids})
    return raw


def origin_of(index: int) -> tuple[float, float]:
    return ORIGIN_M[0] + index * 0.75 * SIZE_PX * PIXEL_M, ORIGIN_M[1]


def sar_pixels(rng: np.random.Generator) -> np.ndarray:
    """(4, S, S) float32 with a no-data wedge on the left."""
    pixels = rng.normal(30, 8, (4, SIZE_PX, SIZE_PX)).clip(1e-5, 93).astype(np.float32)
    pixels[:, :, :8] = 0
    return pixels


def eo_pixels(rng: np.random.Generator) -> np.ndarray:
    """(4, S, S) uint16, 11 bit, with no-data at the top."""
    pixels = rng.integers(1, 2048, (4, SIZE_PX, SIZE_PX), dtype=np.uint16)
    pixels[:, :4] = 0
    return pixels


def write_image(
    raw: Path,
    product: Product,
    tile_id: str,
    pixels: np.ndarray,
    origin_m: tuple[float, float],
    *,
    epsg: int = spacenet6.EPSG,
    pixel_m: float = PIXEL_M,
) -> Path:
    path = raw / spacenet6.file_path(product, tile_id)
    path.parent.mkdir(parents=True, exist_ok=True)
    side = spacenet6.pixel_size_m(product, pixel_m)
    grid = Affine(side, 0, origin_m[0], 0, -side, origin_m[1])
    bands, rows, columns = pixels.shape
    with rasterio.open(
        path, "w", driver="GTiff", count=bands, height=rows, width=columns, dtype=pixels.dtype,
        crs=f"EPSG:{epsg}", transform=grid, nodata=0,
    ) as image:  # fmt: skip
        image.write(pixels)
    return path


def feature(building_id: int, west: float, south: float, width: float, height: float) -> dict:
    ring = [(west, south), (west + width, south), (west + width, south + height), (west, south + height), (west, south)]
    return footprint(building_id, {"type": "Polygon", "coordinates": [[[x, y, 0.0] for x, y in ring]]})


def footprint(building_id: int | None, geometry: dict | None) -> dict:
    properties = {"Building_ID": building_id, "origarea": 96.0, "roof_075mean": 9.5, "roof_075stdev": 0.0}
    return {"type": "Feature", "properties": properties, "geometry": geometry}


def write_labels(raw: Path, tile_id: str, features: list[dict], crs: str = "urn:ogc:def:crs:EPSG::32631") -> Path:
    path = raw / spacenet6.file_path(spacenet6.LABELS, tile_id)
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {"type": "FeatureCollection", "crs": {"type": "name", "properties": {"name": crs}}, "features": features}
    path.write_text(json.dumps(content))
    return path


def write_truth(raw: Path, outlines: dict[str, list[str]], newline: str = "\n", mark: str = "") -> Path:
    """Writes the challenge's table: WKT of each tile's buildings, in pixels; `POLYGON EMPTY` where there is none."""
    lines = ["ImageId,TileBuildingId,PolygonWKT_Pix,Mean_Building_Height,Median_Building_Height,StdDev_Building_Height"]
    for tile_id, polygons in outlines.items():
        lines += [f'{tile_id},{number},"{polygon}",9.5,9.5,0' for number, polygon in enumerate(polygons)]
        lines += [] if polygons else [f"{tile_id},-1,POLYGON EMPTY,,,"]
    path = raw / spacenet6.TRUTH_FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes((mark + "".join(line + newline for line in lines)).encode())
    return path


def write_orientations(raw: Path, text: str) -> None:
    path = raw / spacenet6.ORIENTATION_FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def pack_archive(raw: Path, archive: Path, extra: list[tuple[tarfile.TarInfo, bytes]] | None = None) -> Path:
    """Makes a `.tar.gz` of raw/ with `./train/…` members, and `extra` members in their midst."""
    with tarfile.open(archive, "w:gz") as members:
        members.add(raw / "train", "./train", recursive=False)
        files = sorted(path for path in raw.rglob("*") if path.is_file())
        for index, path in enumerate(files):
            members.add(path, f"./{path.relative_to(raw)}")
            if index == len(files) // 2:
                for info, content in extra or []:
                    info.size = len(content)
                    members.addfile(info, io.BytesIO(content))
    return archive
