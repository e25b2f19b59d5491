"""Packing tiles: ours against reading, padding and saving each tile with rasterio and numpy in a plain loop.

The tiles are the embedded city's at SpaceNet 6's own size and form: 900 x 900 px, SAR of four float32 bands and EO of
four uint16 bands, neither compressed nor tiled, strips of rows one band after another (the real PS-RGB tile that was
looked at has the same layout). Both sides run on one core and end when their files are on the disk. The plain loop
writes the same arrays, a file per tile and product; it makes no checksums. Without masks it does less than what
training needs, and is there to be strict.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pandas as pd
import rasterio
import shapely
import xxhash
from rasterio.features import rasterize
from rasterio.transform import Affine

from benchmarks.side_by_side import in_turns, ratio, result, table
from sspipe.files import read_json
from sspipe.pack.halves import sar_to_float16
from sspipe.pack.images import DECODING, read_image
from sspipe.pack.masks import tile_masks
from sspipe.pack.orientation import orient
from sspipe.pack.tiles import DTYPES, pack_tiles

SIZE_PX, PADDED_PX, PIXEL_M, BORDER_PX = 900, 1024, 0.5, 3
STEPS = ("read and decode", "SAR to float16", "EO into its place", "masks", "checksum", "write")
TURN = "rotate180"
FULL_TILES, FULL_SHARDS = 3401, 32
MEMORY_LIMIT_GIB = 1.5
OURS, PLAIN, MASKLESS = "sspipe", "plain loop", "plain loop, no masks"


class Scene:
    """The indexed city: where it lies, the rows of its catalog, and each tile's footprints."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        footprints = geopandas.read_parquet(folder / "footprints.parquet")
        outlines = {tile_id: list(group) for tile_id, group in footprints.groupby("tile_id")["geometry"]}
        self.tiles = list(pd.read_parquet(folder / "catalog.parquet").itertuples(index=False))
        self.outlines = [outlines.get(tile.tile_id, []) for tile in self.tiles]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tiles", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="where to work, on the disk that is to be measured")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="pack-", dir=options.folder) as folder:
        scene = make_scene(Path(folder), options.tiles)
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
        compare(scene, options.rounds)


def compare(scene: Scene, rounds: int) -> None:
    count = len(scene.tiles)
    sides = {name: Side(scene, name) for name in (PLAIN, MASKLESS, OURS)}
    in_turns(dict(sides), rounds)
    assert_equal(scene)
    rows = [
        (name, f"{count / statistics.median(side.cpu_s):.1f}", f"{count / statistics.median(side.wall_s):.1f}",
         f"{ratio(side.cpu_s, sides[OURS].cpu_s):.2f}", f"{ratio(side.wall_s, sides[OURS].wall_s):.2f}")
        for name, side in sides.items()
    ]  # fmt: skip
    head = ("side", "tiles/s of CPU time", "tiles/s, disk and all", "ours faster by (CPU)", "ours faster by (all)")
    print(f"\n{count} tiles of {SIZE_PX} px on one core, median of {rounds} rounds")
    table(rows, head)
    steps = breakdown(scene)
    whole = sum(steps.values())
    print("\nwhat a tile costs, ms of CPU time")
    table(
        [(name, f"{1e3 * seconds:.1f}", f"{seconds / whole:.0%}") for name, seconds in steps.items()],
        ("step", "ms", ""),
    )
    full = full_size(scene)
    result(
        "pack", ratio=ratio(sides[PLAIN].cpu_s, sides[OURS].cpu_s), target=1.5, against=PLAIN,
        ratio_with_disk=round(ratio(sides[PLAIN].wall_s, sides[OURS].wall_s), 3),
        ratio_to_loop_without_masks=round(ratio(sides[MASKLESS].cpu_s, sides[OURS].cpu_s), 3),
        tiles_per_second_per_core=round(count / statistics.median(sides[OURS].cpu_s), 1),
        bound_by=max(steps, key=steps.__getitem__), **full,
    )  # fmt: skip


class Side:
    """Packs the scene in one of the ways, and keeps the seconds of each time it did."""

    def __init__(self, scene: Scene, name: str) -> None:
        self._out = scene.folder / {OURS: "pack", PLAIN: "plain", MASKLESS: "maskless"}[name]
        self._images = [scene.folder / "raw" / path for tile in scene.tiles for path in (tile.sar_path, tile.eo_path)]
        self._run: Callable[[], None] = {
            OURS: lambda: pack(scene),
            PLAIN: lambda: plain_loop(scene, self._out, masks=True),
            MASKLESS: lambda: plain_loop(scene, self._out, masks=False),
        }[name]
        self.cpu_s: list[float] = []
        self.wall_s: list[float] = []
        self._warm = False

    def __call__(self) -> None:
        # Equal terms: nothing is left to be written from the side before, the images are in memory, and so is room for
        # the output (memory that a virtual machine has not used before is slow to get).
        os.sync()
        for path in self._images:
            path.read_bytes()
        shutil.rmtree(self._out, ignore_errors=True)
        wall, cpu = time.perf_counter(), time.process_time()
        self._run()
        os.sync()
        if self._warm:
            self.wall_s.append(time.perf_counter() - wall)
            self.cpu_s.append(time.process_time() - cpu)
        self._warm = True


def pack(scene: Scene) -> None:
    where = scene.folder
    pack_tiles(
        catalog=where / "catalog.parquet", footprints=where / "footprints.parquet", raw=where / "raw", shard=0,
        shards=1, size_px=SIZE_PX, padded_px=PADDED_PX, orientation=TURN, border_px=BORDER_PX, out=where / "pack" / "0",
    )  # fmt: skip


def plain_loop(scene: Scene, out: Path, masks: bool) -> None:
    """What one would write for the purpose: a file per tile and product."""
    out.mkdir()
    for tile, outlines in zip(scene.tiles, scene.outlines, strict=True):
        with rasterio.open(scene.folder / "raw" / tile.sar_path) as image:
            sar = image.read().astype(np.float16)
        with rasterio.open(scene.folder / "raw" / tile.eo_path) as image:
            eo = image.read()
        images = {"sar": sar, "eo": eo}
        if masks:
            images["masks"] = plain_masks(tile, outlines)
        for name, image in images.items():
            if tile.orientation == 1:
                image = np.rot90(image, 2, axes=(1, 2))
            padding = PADDED_PX - SIZE_PX
            np.save(out / f"{name}_{tile.tile_id}.npy", np.pad(image, ((0, 0), (0, padding), (0, padding))))


def plain_masks(tile: Any, outlines: list[Any]) -> np.ndarray:
    """GDAL burns the footprints, and what GEOS makes of their outlines; corners are polygons of 64 sides."""
    masks = np.zeros((2, SIZE_PX, SIZE_PX), np.uint8)
    if outlines:
        grid = Affine(tile.pixel_m, 0, tile.easting_m, 0, -tile.pixel_m, tile.northing_m)
        bands = shapely.buffer(shapely.boundary(outlines), BORDER_PX * tile.pixel_m, quad_segs=16)
        for channel, shapes in enumerate((outlines, bands)):
            masks[channel] = rasterize(shapes, out_shape=(SIZE_PX, SIZE_PX), transform=grid)
    return masks


def assert_equal(scene: Scene) -> None:
    """Every array of both sides; the border may differ where a corner's 64 sides leave out a sliver of the disc."""
    plain, ours = scene.folder / "plain", scene.folder / "pack" / "0"
    packed = {name: np.load(ours / f"{name}.npy", mmap_mode="r") for name in DTYPES}
    slivers = border = 0
    for row, (tile, outlines) in enumerate(zip(scene.tiles, scene.outlines, strict=True)):
        saved = {name: np.load(plain / f"{name}_{tile.tile_id}.npy") for name in DTYPES}
        assert all((saved[name] == packed[name][row]).all() for name in ("sar", "eo"))
        assert (saved["masks"][0] == packed["masks"][row, 0]).all()
        mine = orient(packed["masks"][row, 1, :SIZE_PX, :SIZE_PX], tile.orientation, TURN)
        other = orient(saved["masks"][1, :SIZE_PX, :SIZE_PX], tile.orientation, TURN)
        rows, columns = np.nonzero(mine != other)
        border += int(mine.sum())
        slivers += len(rows)
        if len(rows):
            east = tile.easting_m + (columns + 0.5) * tile.pixel_m
            north = tile.northing_m - (rows + 0.5) * tile.pixel_m
            away_px = (
                shapely.distance(shapely.points(east, north), shapely.union_all(shapely.boundary(outlines)))
                / tile.pixel_m
            )
            assert (np.abs(away_px - BORDER_PX) < 0.01).all()
    print("\nequal: all SAR, EO and interior pixels; of the border's, which are", border, "in all,", slivers, "differ:")
    print("they lie within 0.01 px of the edge of the band, and the loop's corners of 64 sides leave them out")


def breakdown(scene: Scene) -> dict[str, float]:
    """Seconds of CPU time that each step of packing one tile takes, in the order in which they come."""
    seconds = dict.fromkeys(
        ("read and decode", "SAR to float16", "EO into its place", "masks", "checksum", "write"), 0.0
    )
    sar, eo = (np.empty((4, SIZE_PX, SIZE_PX), dtype) for dtype in (np.float32, np.uint16))
    channels = {"sar": 4, "eo": 4, "masks": 2}
    rows = {name: np.zeros((channels[name], PADDED_PX, PADDED_PX), dtype) for name, dtype in DTYPES.items()}

    def timed(step: str, work: Callable[..., Any], *arguments: Any, **more: Any) -> Any:
        begun = time.process_time()
        done = work(*arguments, **more)
        seconds[step] += time.process_time() - begun
        return done

    with (scene.folder / "row.bin").open("wb") as file, rasterio.Env(**DECODING):
        for tile, outlines in zip(scene.tiles, scene.outlines, strict=True):
            corner_m = (tile.easting_m, tile.northing_m)
            grids = {name: orient(row[:, :SIZE_PX, :SIZE_PX], tile.orientation, TURN) for name, row in rows.items()}
            raw = scene.folder / "raw"
            timed("read and decode", read_image, raw / tile.sar_path, sar, corner_m, PIXEL_M)
            timed("read and decode", read_image, raw / tile.eo_path, eo, corner_m, PIXEL_M)
            timed("SAR to float16", sar_to_float16, sar, out=grids["sar"])
            timed("EO into its place", np.copyto, grids["eo"], eo)
            timed("masks", tile_masks, outlines, *corner_m, PIXEL_M, SIZE_PX, BORDER_PX, out=grids["masks"])
            for row in rows.values():
                timed("checksum", xxhash.xxh3_128, row.data.cast("B"))
                timed("write", file.write, row.data.cast("B"))
    return {step: spent / len(scene.tiles) for step, spent in seconds.items()}


def full_size(scene: Scene) -> dict[str, Any]:
    """Packs one shard of a catalog of 3401 tiles in a process of its own, measures it, and says what all would take.

    The catalog repeats the scene's tiles and footprints under other ids.
    """
    where = scene.folder
    tiles = pd.read_parquet(where / "catalog.parquet")
    footprints = geopandas.read_parquet(where / "footprints.parquet")
    times = -(-FULL_TILES // len(tiles))
    catalog = pd.concat([tiles.assign(tile_id=tiles["tile_id"] + f"_{again}") for again in range(times)])[:FULL_TILES]
    repeated = [footprints.assign(tile_id=footprints["tile_id"] + f"_{again}") for again in range(times)]
    catalog.to_parquet(where / "full.parquet", index=False)
    pd.concat(repeated, ignore_index=True).to_parquet(where / "full_footprints.parquet", index=False)
    shard = where / "full" / "0"
    pack_s, pack_gib = run_stage(
        "pack-tiles", "--catalog", where / "full.parquet", "--footprints", where / "full_footprints.parquet",
        "--raw", where / "raw", "--shard", 0, "--shards", FULL_SHARDS, "--size-px", SIZE_PX, "--padded-px", PADDED_PX,
        "--orientation", TURN, "--border-px", BORDER_PX, "--out", shard,
    )  # fmt: skip
    about = read_json(shard / "manifest.json")
    # Measuring wants all shards of a pack: the scene's own is one of one.
    measure_s, measure_gib = run_stage(
        "measure-tiles", "--packs", where / "pack" / "0" / "manifest.json", "--processes", 1,
        "--out", where / "moments.parquet",
    )  # fmt: skip
    shard_bytes = sum(entry["bytes"] for entry in about["files"].values())
    pack_all_s = pack_s * FULL_TILES / about["tiles"]
    measure_all_s = measure_s * FULL_TILES / len(tiles)
    all_bytes = shard_bytes * FULL_TILES / about["tiles"]
    read_bytes = sum((where / "raw" / path).stat().st_size for path in (*tiles["sar_path"], *tiles["eo_path"]))
    read_all = read_bytes * FULL_TILES / len(tiles)
    peak = max(pack_gib, measure_gib)
    footprints_in_all = times * len(footprints)
    print(f"\none shard of {FULL_SHARDS} at full size ({about['tiles']} tiles; {footprints_in_all} footprints in all):")
    print(f"{pack_s:.1f} s on one core, {shard_bytes / 2**30:.2f} GiB")
    table(
        [
            ("pack-tiles", f"{pack_gib:.2f}"),
            ("measure-tiles", f"{measure_gib:.2f}"),
            ("allowed", f"{MEMORY_LIMIT_GIB}"),
        ],
        ("peak memory of a worker", "GiB"),
    )
    assert peak < MEMORY_LIMIT_GIB, f"a worker took {peak:.2f} GiB"
    print(f"\nprojected to {FULL_TILES} tiles, if the disk keeps up")
    table(
        [("read", f"{read_all / 2**30:.1f} GiB"), ("written", f"{all_bytes / 2**30:.1f} GiB in {FULL_SHARDS} shards"),
         ("pack-tiles", f"{pack_all_s:.0f} s of one core; {pack_all_s / 8:.0f} s on 8"),
         ("measure-tiles", f"{measure_all_s:.0f} s of one core; {measure_all_s / 8:.0f} s on 8")],
        ("", ""),
    )  # fmt: skip
    return {
        "peak_gib": round(peak, 3), "projected_gib": round(all_bytes / 2**30, 1),
        "projected_core_s": round(pack_all_s), "projected_measuring_core_s": round(measure_all_s),
    }  # fmt: skip


# A parent so small that what the stage takes is not lost in it: a process begins with its parent's memory.
MEASURED = (
    "import resource, subprocess, sys; status = subprocess.call(sys.argv[1:], stdout=subprocess.DEVNULL); "
    "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss); sys.exit(status)"
)


def run_stage(stage: str, *flags: Any) -> tuple[float, float]:
    """Runs a stage as a rule does; seconds, and its greatest resident memory in GiB."""
    begun = time.perf_counter()
    command = [sys.executable, "-c", MEASURED, sys.executable, "-m", "sspipe", stage, *map(str, flags)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return time.perf_counter() - begun, int(done.stdout) / 2**20


def make_scene(folder: Path, tiles: int) -> Scene:
    """Synthesises, unpacks and indexes a city of at least so many tiles."""
    strips, processes = 8, len(os.sched_getaffinity(0))
    stages = {
        "synthesize-archive": ["--tile-size", SIZE_PX, "--pixel-m", PIXEL_M, "--strips", strips,
                               "--tiles-per-strip", max(2, -(-tiles // strips)), "--seed", 0,
                               "--out", folder / "archive.tar.gz"],
        "unpack-archive": ["--archive", folder / "archive.tar.gz", "--out", folder / "raw",
                           "--manifest", folder / "raw.json"],
        "index-tiles": ["--raw", folder / "raw", "--size-px", SIZE_PX, "--pixel-m", PIXEL_M, "--max-left-out", 0,
                        "--processes", processes, "--out-catalog", folder / "catalog.parquet",
                        "--out-footprints", folder / "footprints.parquet", "--out-report", folder / "catalog.json"],
    }  # fmt: skip
    for stage, flags in stages.items():
        seconds, _ = run_stage(stage, *flags)
        print(f"{stage}: {seconds:.0f} s", flush=True)
    (folder / "archive.tar.gz").unlink()
    return Scene(folder)


if __name__ == "__main__":
    main()
