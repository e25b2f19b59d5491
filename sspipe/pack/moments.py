"""One pass over the packed shards: every file held against its checksum, every tile's moments taken."""

from __future__ import annotations

from io import BufferedReader
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.lib import format as npy

from sspipe import checksum
from sspipe.errors import UserError
from sspipe.files import read_json, read_table, whole_file
from sspipe.log import counted, progress, say
from sspipe.pack.identity import pack_digest
from sspipe.pack.statistics import MOMENTS, VIEWS, Moments, of_image
from sspipe.workers import in_parallel

AGAIN = "delete the shard's folder and run the target `data` again"
FILES = ("eo.npy", "masks.npy", "sar.npy", "tiles.parquet")  # of a shard, besides its manifest
SETTINGS = ("shards", "size_px", "padded_px", "orientation", "border_px")


def measure_tiles(*, packs: list[Path], processes: int, out: Path) -> None:
    """Writes the moments of every packed tile, and with them that all shards are whole and belong together.

    Splits choose among these, so the shards are read once however many splits there are, and each file is hashed on
    the way. A process holds one tile at a time.

    Args:
        packs: `manifest.json` of every shard.
        processes: shards read at the same time.
        out: Parquet; one row per tile, view and band with the number of valid pixels, their mean, the sum of their
            squared deviations from it, and the digest of the pack.

    Raises:
        UserError: a shard is missing, incomplete, damaged, or was packed with other settings than the others.
    """
    packs = [Path(pack) for pack in packs]
    _refuse_mixed({pack: _read_manifest(pack) for pack in packs})
    measured = in_parallel(_measure_shard, packs, processes, "shards")
    table = pd.concat(list(progress(measured, "measure_tiles: shards", total=len(packs))), ignore_index=True)
    _refuse_twice(table)
    table["pack"] = pack_digest(packs)
    with whole_file(out) as path:
        table.to_parquet(path, index=False)
    tiles = counted(table["tile_id"].nunique(), "tile")
    say(f"measure_tiles: {tiles} in {counted(len(packs), 'shard')}, all as their manifests say")


def _measure_shard(manifest: Path) -> pd.DataFrame:
    """The rows of one shard's tiles."""
    about = _read_manifest(manifest)
    measured = {name: _read_verified(manifest.parent / name, entry) for name, entry in about["files"].items()}
    table = read_table(manifest.parent / "tiles.parquet", columns=["tile_id", "row"])
    counts = {len(table), *(len(measured[f"{view}.npy"]) for view in VIEWS)}
    if counts != {about["tiles"]} or table["row"].tolist() != list(range(len(table))):
        raise UserError(
            f"{manifest.parent}: tiles.parquet has {len(table)} rows, the arrays have "
            f"{', '.join(str(len(measured[f'{view}.npy'])) for view in VIEWS)}, and manifest.json has "
            f"{about['tiles']} tiles; {AGAIN}"
        )
    rows = [
        (tile_id, view, band, moments.pixels, moments.mean[band], moments.squares[band])
        for view in VIEWS
        for tile_id, moments in zip(table["tile_id"], measured[f"{view}.npy"], strict=True)
        for band in range(len(moments.mean))
    ]
    return pd.DataFrame(rows, columns=list(MOMENTS[:-1]))


def _read_manifest(path: Path) -> dict[str, Any]:
    """A shard's manifest, which says of each of its files what it must be.

    Raises:
        UserError: it is missing or damaged.
    """
    about = read_json(path)
    files = about.get("files") if isinstance(about, dict) else None
    if not isinstance(files, dict):
        raise UserError(f"{path}: lists no files; {AGAIN}")
    if sorted(files) != sorted(FILES):
        raise UserError(f"{path}: lists {', '.join(sorted(files)) or 'no files'}, expected {', '.join(FILES)}; {AGAIN}")
    wrong = [name for name, entry in files.items() if not (isinstance(entry, dict) and checksum.NAME in entry)]
    if wrong:
        raise UserError(f"{path}: has no {checksum.NAME} of {', '.join(wrong)}; {AGAIN}")
    numbers = ("tiles", "shard", "shards")
    if not all(isinstance(about.get(key), int) for key in numbers):
        raise UserError(f"{path}: {', '.join(numbers)} are not whole numbers, all of them; {AGAIN}")
    return about


def _read_verified(path: Path, entry: dict[str, Any]) -> list[Moments]:
    """Hashes a file, and takes the moments of each of its rows on the way if it is the array of a view.

    Raises:
        UserError: the file is missing or is not what was packed.
    """
    digest = checksum.new()
    moments: list[Moments] = []
    try:
        with path.open("rb") as file:
            if path.stem in VIEWS:
                moments = _moments_of_rows(file, digest)
            while chunk := file.read(2**20):  # the whole of other files; behind an array there should be nothing
                digest.update(chunk)
        found = digest.hexdigest()
    except FileNotFoundError:
        found = "missing"
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read ({error}); {AGAIN}") from None
    if found != entry[checksum.NAME]:
        raise UserError(f"{path}: {checksum.NAME} {found}, not {entry[checksum.NAME]} as its manifest says; {AGAIN}")
    return moments


def _moments_of_rows(file: BufferedReader, digest: Any) -> list[Moments]:
    """Reads an `.npy` file of images one by one."""
    version = npy.read_magic(file)
    if version != (1, 0):
        raise ValueError(f"version {version} of the format")
    shape, _, dtype = npy.read_array_header_1_0(file)
    end = file.tell()
    file.seek(0)
    digest.update(file.read(end))
    if len(shape) != 4 or dtype not in (np.float16, np.uint16):
        raise ValueError(f"{dtype} of shape {shape}, expected 16 bits and tiles, bands, rows and columns")
    image = np.empty(shape[1:], dtype)
    content = image.reshape(-1).view(np.uint8).data
    moments = []
    for _ in range(shape[0]):
        if file.readinto(content) != len(content):
            raise ValueError("ends too early")
        digest.update(content)
        moments.append(of_image(image))
    return moments


def _refuse_mixed(manifests: dict[Path, Any]) -> None:
    """Shards of another configuration, or one of them twice, would make a pack of tiles that do not fit together."""
    (first, expected), *others = manifests.items()
    for path, about in others:
        for key in SETTINGS:
            if about.get(key) != expected.get(key):
                raise UserError(
                    f"{path}: was packed with {key} {about.get(key)}, and {first} with {expected.get(key)}; "
                    "delete the folder of the older one and run the target `data` again"
                )
    shards = sorted(about["shard"] for about in manifests.values())
    if shards != list(range(expected["shards"])):
        raise UserError(f"{first} and others: shards {shards} of {expected['shards']}; give the manifest of each")


def _refuse_twice(table: pd.DataFrame) -> None:
    again = table.loc[table.duplicated(["tile_id", "view", "band"]), "tile_id"]
    if len(again):
        raise UserError(
            f"tile {again.iloc[0]} is in two shards: they come from different catalogs; "
            "delete the folder `pack` and run the target `data` again"
        )
