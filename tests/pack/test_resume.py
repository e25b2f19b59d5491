"""A shard whose job is killed is packed again alone, and nothing of the killed one stays."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from tests.data.small_scene import SIZE_PX
from tests.pack.test_tiles import PADDED_PX, pack


def arguments(scene: Path, shard: int, out: Path) -> list[str]:
    """The command line of one job, as the rule has it."""
    flags = {
        "catalog": scene / "catalog.parquet",
        "footprints": scene / "footprints.parquet",
        "raw": scene / "raw",
        "shard": shard,
        "shards": 2,
        "size-px": SIZE_PX,
        "padded-px": PADDED_PX,
        "orientation": "rotate180",
        "border-px": 3,
        "out": out,
    }
    words = [word for flag, value in flags.items() for word in (f"--{flag}", str(value))]
    return [sys.executable, "-m", "sspipe", "pack-tiles", *words]


def contents(folder: Path) -> dict[str, tuple[int, str]]:
    """Time and checksum of every file below a folder."""
    return {
        str(path.relative_to(folder)): (path.stat().st_mtime_ns, hashlib.sha256(path.read_bytes()).hexdigest())
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture
def stuck(indexed, tmp_path):
    """A scene in which the last tile of shard 1 never comes: reading it waits for ever, with the others written."""
    scene = tmp_path / "scene"
    subprocess.run(["cp", "-r", indexed, scene], check=True)
    image = scene / "raw" / pd.read_parquet(scene / "catalog.parquet")["sar_path"].iloc[5]
    image.rename(image.with_suffix(".aside"))
    os.mkfifo(image)
    return scene, image


def wait_for(condition, what: str) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, f"no {what} after a minute"
        time.sleep(0.05)


def test_a_killed_shard_is_packed_again_alone_and_leaves_nothing(stuck, tmp_path):
    scene, image = stuck
    folder = tmp_path / "pack"
    subprocess.run(arguments(scene, 0, folder / "0"), check=True, capture_output=True)
    first = contents(folder / "0")
    job = subprocess.Popen(arguments(scene, 1, folder / "1"), stdout=subprocess.DEVNULL)
    try:
        tile_bytes = 4 * PADDED_PX**2 * 2  # of SAR; the third of the shard's tiles is the one that never comes
        wait_for(lambda: any(file.stat().st_size >= tile_bytes for file in folder.glob(".partial-*/sar.npy")), "tile")
        job.send_signal(signal.SIGKILL)
    finally:
        job.kill()
        job.wait()
    assert not (folder / "1").exists()
    assert list(folder.glob(".partial-*"))

    image.unlink()
    image.with_suffix(".aside").rename(image)
    subprocess.run(arguments(scene, 1, folder / "1"), check=True, capture_output=True)
    assert sorted(path.name for path in folder.iterdir()) == ["0", "1"]
    assert contents(folder / "0") == first
    pack(scene, tmp_path / "whole", shard=1, shards=2)
    expected = {name: digest for name, (_, digest) in contents(tmp_path / "whole").items()}
    assert {name: digest for name, (_, digest) in contents(folder / "1").items()} == expected
