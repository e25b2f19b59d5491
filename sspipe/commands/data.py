"""The archive, its tiles, and the splits."""

from __future__ import annotations

from sspipe.commands.flags import Parser, StageAdder, number, path
from sspipe.data.spacenet6 import EO_BANDS, SAR_BANDS

SPLIT_KINDS = ("random", "spatial", "baseline_x")


def add(stage: StageAdder) -> None:
    """Adds the sub-commands."""
    sub = stage("synthesize-archive", "data.synthetic:synthesize_archive", "write a small city in SpaceNet 6's form")
    number(sub, "--tile-size", "rows and columns of a tile, px", int, dest="tile_size_px")
    number(sub, "--pixel-m", "ground size of a SAR pixel, m")
    number(sub, "--strips", "flight strips", int)
    number(sub, "--tiles-per-strip", "tiles along a strip", int)
    number(sub, "--seed", "everything follows from it", int)
    path(sub, "--out", "archive to write, .tar.gz")

    sub = stage("fetch-archive", "data.fetch:fetch_archive", "fetch the archive and verify it")
    sub.add_argument("--source", choices=("s3", "url", "file"), required=True)
    path(sub, "--path", "archive on disk (source: file)", required=False)
    sub.add_argument("--url", help="of a mirror (source: url)")
    sub.add_argument("--endpoint-url", help="another S3 endpoint than the public cloud's")
    sub.add_argument("--region", default="us-east-1")
    sub.add_argument("--bucket", default="")
    sub.add_argument("--key", default="")
    number(sub, "--size-bytes", "expected size", int, required=False)
    sub.add_argument("--sha256", help="expected checksum")
    number(sub, "--connections", "ranges fetched at once", int, required=False, default=8)
    number(sub, "--outage-minutes", "how long a silent source is tried again", required=False, default=15.0)
    path(sub, "--ca-bundle", "PEM file of the authorities that may vouch for the server", required=False)
    path(sub, "--out", "archive to write, .tar.gz; `OUT.part` beside it is gone on from")

    sub = stage("unpack-archive", "data.archive:unpack_archive", "unpack the products in use, safely")
    path(sub, "--archive", "the .tar.gz")
    path(sub, "--out", "folder to write")
    path(sub, "--manifest", "what was unpacked, JSON to write")

    sub = stage("gather-tiles", "data.gather:gather_tiles", "check a table of your own tiles, and make their truth")
    path(sub, "--table", "CSV of tile_id, sar_path, eo_path, footprint_path, strip, orientation")
    number(sub, "--size-px", "rows and columns that tiles must have", int)
    number(sub, "--pixel-m", "pixel size that tiles must have, m")
    _own_tiles(sub)
    path(sub, "--out", "folder to write")
    path(sub, "--manifest", "what was gathered, JSON to write")

    sub = stage("index-tiles", "data.catalog:index_tiles", "check every tile and write the catalog")
    path(sub, "--raw", "the unpacked folder")
    number(sub, "--size-px", "rows and columns that tiles must have", int)
    number(sub, "--pixel-m", "SAR pixel size that tiles must have, m")
    number(sub, "--max-left-out", "share of the tiles that may be left out")
    sub.add_argument("--layout", choices=("spacenet6", "table"), default="spacenet6", help="table: from gather-tiles")
    _own_tiles(sub)
    number(sub, "--processes", "tiles read at once", int)
    path(sub, "--out-catalog", "catalog.parquet to write")
    path(sub, "--out-footprints", "footprints.parquet to write")
    path(sub, "--out-report", "catalog.json to write")

    sub = stage("assign-splits", "data.splits:assign_splits", "part the tiles, and audit the leakage")
    path(sub, "--catalog", "catalog.parquet")
    sub.add_argument("--split", required=True, help="name of the split")
    sub.add_argument("--kind", required=True, choices=SPLIT_KINDS)
    number(sub, "--seed", "of the shuffle", int)
    number(sub, "--test-fraction", "share of all tiles")
    number(sub, "--validation-fraction", "share of what test leaves")
    number(sub, "--test-line-m", "easting of the test area's west edge, m", required=False)
    _edges(sub)
    path(sub, "--out-split", "table to write")
    path(sub, "--out-leakage", "audit to write")

    what = "how much of its test ground a split shows in training, from a table of tile origins alone"
    sub = stage("audit", "data.audit:audit_tiles", what, quiet=True)
    path(sub, "--tiles", "table of image_id (or tile_id), easting_m, northing_m: .csv, .csv.gz or .parquet")
    sub.add_argument("--split", required=True, choices=SPLIT_KINDS, dest="kind")
    number(sub, "--tile-size-m", "side of a tile where the table has none, m", required=False, default=450.0)
    number(sub, "--seed", "of the first shuffle (random)", int, required=False, default=0)
    number(sub, "--seeds", "how many shuffles, for mean and spread (random)", int, required=False, default=1)
    number(sub, "--test-fraction", "share of all tiles (0.2; spatial: in place of the line)", required=False)
    number(sub, "--validation-fraction", "share of what test leaves (0.2)", required=False)
    number(sub, "--test-line-m", "easting of the test area's west edge, m (spatial: 595343)", required=False)
    _edges(sub)
    path(sub, "--out", "JSON to write", required=False)


def _own_tiles(parser: Parser) -> None:
    """What may differ from SpaceNet 6 in tiles of one's own."""
    number(parser, "--epsg", "code of the CRS", int, required=False, default=32631)
    for view, bands, ends in (("sar", SAR_BANDS, (0.0, 100.0)), ("eo", EO_BANDS, (0.0, 2250.0))):
        what = f"names of the bands of {view.upper()} images, in order"
        parser.add_argument(f"--{view}-bands", nargs="+", default=bands, metavar="NAME", help=what)
        what = f"what {view.upper()} values should be, others are told"
        parser.add_argument(
            f"--{view}-range", type=float, nargs=2, metavar=("LOWEST", "HIGHEST"), default=ends, help=what
        )


def _edges(parser: Parser) -> None:
    what = "ends of the five slices, m (baseline_x: 591550 596250)"
    parser.add_argument("--edges-m", type=float, nargs=2, metavar=("WEST", "EAST"), help=what)
