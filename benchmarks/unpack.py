"""Unpacking the products in use: ours against `gzip -dc | tar`, and against Python's tarfile in its gzip mode.

The archive is made here, in SpaceNet 6's own form: every product, its folders and names, SAR tiles of 900 x 900 float32
speckle and optical tiles of 11 bit, through the same gzip at its default level. All sides write the same members to the
same disk, remove what the round before wrote, and end when the files are on the disk.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path, PurePosixPath

import numpy as np
from isal import igzip_threaded

from benchmarks.side_by_side import in_turns, ratio, result, table
from sspipe.data import archive, spacenet6
from sspipe.data.byte_progress import MIB, human_bytes

STRIP = "20190804111224_20190804111453"
SIDE_PX = 900


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tiles", type=int, default=32, help="of 25 MB each, all products together")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="where to work, on the disk that is to be measured")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="unpack-", dir=options.folder) as folder:
        compare(Path(folder), options.tiles, options.rounds)


def compare(folder: Path, tiles: int, rounds: int) -> None:
    packed = folder / "archive.tar.gz"
    tar_bytes = write_archive(packed, tiles)
    size = packed.stat().st_size
    print(f"archive: {tiles} tiles, {human_bytes(size)}, {tar_bytes / size:.2f} times as large unpacked\n", flush=True)
    sides = {
        "sspipe": lambda: archive.unpack_archive(archive=packed, out=folder / "sspipe", manifest=folder / "raw.json"),
        "gzip | tar": lambda: gzip_and_tar(packed, folder / "tar"),
        "tarfile": lambda: python_tarfile(packed, folder / "tarfile"),
        "inflate alone": lambda: inflate(packed),
    }
    seconds = in_turns(sides, rounds)
    ours, tars, pythons = (content(folder / name) for name in ("sspipe", "tar", "tarfile"))
    assert ours == tars == pythons and len(ours) == 3 * tiles + 2, "the sides wrote different files"
    written = sum(path.stat().st_size for path in (folder / "sspipe").rglob("*.*"))
    best = {name: min(times) for name, times in seconds.items()}
    rows = [(name, f"{s:.2f}", f"{size / s / MIB:.0f}", f"{written / s / MIB:.0f}") for name, s in best.items()]
    print()
    table(rows, ("side", "best, s", "read, MiB/s", "written, MiB/s"))
    result(
        "unpack",
        ratio=ratio(seconds["gzip | tar"], seconds["sspipe"]),
        target=2,
        against="gzip -dc | tar",
        ratio_to_tarfile=round(ratio(seconds["tarfile"], seconds["sspipe"]), 3),
        archive_bytes=size,
        written_bytes=written,
        compression=round(tar_bytes / size, 3),
        seconds={name: round(s, 2) for name, s in best.items()},
        inflate_share=round(best["inflate alone"] / best["sspipe"], 2),  # the rest waits for the disk, or for a core
    )


def write_archive(path: Path, tiles: int) -> int:
    """Writes an archive of all products, members in the order of their folders; returns the bytes of its members."""
    random = np.random.default_rng(0)
    tile_ids = [spacenet6.tile_id_of(STRIP, number) for number in range(1, tiles + 1)]
    files: dict[PurePosixPath, bytes] = {
        spacenet6.ORIENTATION_FILE: f"{STRIP} 1\n".encode(),
        spacenet6.TRUTH_FILE: b"ImageId,TileBuildingId,PolygonWKT_Pix\n" * 1000,
    }
    total = 0
    with path.open("wb") as packed, subprocess.Popen(["gzip"], stdin=subprocess.PIPE, stdout=packed) as gzip:
        assert gzip.stdin is not None
        with tarfile.open(fileobj=gzip.stdin, mode="w|", format=tarfile.GNU_FORMAT) as members:
            for product in spacenet6.PRODUCTS.values():
                pixels = image(product, random)
                for number, tile_id in enumerate(tile_ids):  # the same noise, elsewhere: gzip does not see that far
                    total += add(
                        members, spacenet6.file_path(product, tile_id), np.roll(pixels, 7919 * number).tobytes()
                    )
            for name, text in files.items():
                total += add(members, name, text)
    assert gzip.returncode == 0
    return total


def image(product: spacenet6.Product, random: np.random.Generator) -> np.ndarray:
    """Pixels about as hard to compress as real ones: no two floats alike, and optical noise in the lower bits."""
    if product is spacenet6.LABELS:
        return random.integers(48, 58, 60_000, dtype=np.uint8)  # digits, as most of a label file is
    side = SIDE_PX // 2 if product is spacenet6.RGBNIR else SIDE_PX
    shape = (product.bands, side, side)
    if product.dtype == "float32":
        pixels = 20 * np.log10(random.gamma(4, 8, shape)).astype(np.float32)
        pixels[:, :, : SIDE_PX // 7] = 0  # no-data, as much as there is
        return pixels
    return random.normal(90, 12, shape).astype(product.dtype)


def add(members: tarfile.TarFile, path: PurePosixPath, text: bytes) -> int:
    member = tarfile.TarInfo(f"./{path}")
    member.size = len(text)
    members.addfile(member, io.BytesIO(text))
    return len(text)


def wanted_names() -> list[str]:
    """The folders and tables that ours takes, with `./` before them as in the archive."""
    folders = [product for product in archive.WANTED if product in spacenet6.PRODUCTS]
    tables = (spacenet6.ORIENTATION_FILE, spacenet6.TRUTH_FILE)
    return [f"./{spacenet6.FOLDER}/{folder}/" for folder in folders] + [f"./{path}" for path in tables]


def gzip_and_tar(packed: Path, out: Path) -> None:
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    command = 'gzip -dc "$0" | tar -x -f - -C "$1" --wildcards "${@:2}" && sync -f "$1"'
    patterns = [f"{name}*" for name in wanted_names()]
    subprocess.run(["bash", "-o", "pipefail", "-c", command, str(packed), str(out), *patterns], check=True)


def python_tarfile(packed: Path, out: Path) -> None:
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    names = tuple(wanted_names())
    with tarfile.open(packed, "r|gz") as members:
        for member in members:
            if member.name.startswith(names):
                members.extract(member, out, filter="data")
    subprocess.run(["sync", "-f", str(out)], check=True)


def inflate(packed: Path) -> None:
    """Reads the stream and keeps nothing: what unpacking takes if the disk takes no time."""
    with igzip_threaded.open(packed, "rb", block_size=archive.BLOCK) as stream:
        while stream.read1(archive.COPIED):
            pass


def content(folder: Path) -> dict[str, str]:
    """Every file below a folder, with its checksum."""
    found = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        with path.open("rb") as handle:
            found[str(path.relative_to(folder))] = hashlib.file_digest(handle, "sha256").hexdigest()
    return found


if __name__ == "__main__":
    main()
