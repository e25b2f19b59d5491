"""Packing and its statistics."""

from __future__ import annotations

from sspipe.commands.flags import StageAdder, number, path, paths


def add(stage: StageAdder) -> None:
    """Adds the sub-commands."""
    sub = stage("pack-tiles", "pack.tiles:pack_tiles", "orient, pad and pack one shard of tiles with their masks")
    for flag, what in (
        ("--catalog", "catalog.parquet"),
        ("--footprints", "footprints.parquet"),
        ("--raw", "unpacked folder"),
    ):
        path(sub, flag, what)
    number(sub, "--shard", "which shard, from 0", int)
    number(sub, "--shards", "how many there are", int)
    number(sub, "--size-px", "rows and columns of a tile", int)
    number(sub, "--padded-px", "rows and columns after padding", int)
    sub.add_argument("--orientation", choices=("rotate180", "flipud", "none"), required=True)
    number(sub, "--border-px", "half width of the border band", int)
    path(sub, "--out", "folder of the shard to write")

    sub = stage("measure-tiles", "pack.moments:measure_tiles", "verify all shards, and measure every tile in them")
    paths(sub, "--packs", "manifest.json of every shard")
    number(sub, "--processes", "shards read at once", int)
    path(sub, "--out", "table to write")

    sub = stage("compute-statistics", "pack.statistics:compute_statistics", "mean and deviation over training tiles")
    sub.add_argument("--split", required=True)
    path(sub, "--split-table", "the split's table")
    path(sub, "--moments", "table that measure-tiles wrote")
    path(sub, "--out", "JSON to write")
