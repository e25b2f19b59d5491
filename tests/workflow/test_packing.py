"""Snakemake itself is killed while shards are being packed."""

import os
import signal
import subprocess
import sys
import time

import pandas as pd


def test_after_a_kill_in_the_midst_of_packing_only_unfinished_shards_are_packed_again(fresh):
    catalog = f"{fresh.results.relative_to(fresh.folder)}/catalog.parquet"
    done = fresh.snakemake(catalog)
    assert done.returncode == 0, done.stdout + done.stderr
    tiles = pd.read_parquet(fresh.folder / catalog)
    image = fresh.results / "raw" / tiles["eo_path"].iloc[21]  # of shard 1: its turn comes after ten others
    image.rename(image.with_suffix(".aside"))
    os.mkfifo(image)  # reading it waits for ever

    packs = [f"{fresh.results.relative_to(fresh.folder)}/pack/{shard}/manifest.json" for shard in (0, 1)]
    command = [sys.executable, "-m", "snakemake", "--configfile", "tiny.yaml", "--cores", "2", *packs]
    with (fresh.folder / "killed.log").open("w") as log:
        run = subprocess.Popen(command, cwd=fresh.folder, stdout=log, stderr=log, start_new_session=True)
    try:
        deadline = time.monotonic() + 120
        first, second = (fresh.folder / path for path in packs)
        said = fresh.folder / "killed.log"
        while not ("1 of 2 steps" in said.read_text() and list(second.parents[1].glob(".partial-*/sar.npy"))):
            assert time.monotonic() < deadline and run.poll() is None, said.read_text()
            time.sleep(0.1)
    finally:
        os.killpg(run.pid, signal.SIGKILL)  # Snakemake and its jobs: a session of their own
        run.wait()
    packed = first.stat().st_mtime_ns

    image.unlink()
    image.with_suffix(".aside").rename(image)
    assert fresh.planned("--nolock", *packs) == {"pack_tiles": 1}
    again = fresh.snakemake("--nolock", *packs)
    assert again.returncode == 0, again.stdout + again.stderr
    assert first.stat().st_mtime_ns == packed
    assert sorted(path.name for path in second.parents[1].iterdir()) == ["0", "1"]
