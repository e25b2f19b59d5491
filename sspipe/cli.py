"""`python -m sspipe <stage> …`: one sub-command a stage, every path an explicit flag.

The same line works by hand, in a Snakemake rule, under Slurm and in a test. Stages are imported when they run: a
training job never waits for the raster libraries, nor a scoring job for torch.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import sspipe
from sspipe.errors import UserError
from sspipe.log import duration, say

Parser = argparse.ArgumentParser

SPLIT_KINDS = ("random", "spatial", "baseline_x")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one stage.

    Returns:
        0 if it went well; 1 after a message if the input is at fault; 130 if interrupted; otherwise the stage's own.
    """
    function, options, stage, quiet = parsed(arguments)
    module, function = function.rsplit(":", 1)
    begun = time.monotonic()
    if not quiet:
        say(f"{stage} begins (sspipe {sspipe.__version__})")
    try:
        status = getattr(importlib.import_module(module), function)(**options)
    except UserError as error:
        print(f"sspipe {stage}: error: {error}", file=sys.stderr, flush=True)
        return 1
    except KeyboardInterrupt:
        print(f"sspipe {stage}: interrupted", file=sys.stderr, flush=True)
        return 130  # 128 + SIGINT, as shells have it
    if not quiet and not status:
        say(f"{stage} done in {duration(time.monotonic() - begun)}")
    return status or 0


def parsed(arguments: Sequence[str] | None = None) -> tuple[str, dict[str, Any], str, bool]:
    """The stage's function (`module:name`), its arguments, its name, and whether it says nothing of its own."""
    options = vars(_parser().parse_args(arguments))
    return options.pop("stage"), options, options.pop("command_name"), options.pop("quiet")


def _parser() -> Parser:
    parser = Parser(prog="python -m sspipe", description=sspipe.__doc__)
    parser.add_argument("--version", action="version", version=sspipe.__version__)
    stages = parser.add_subparsers(title="stages", required=True, metavar="STAGE")

    def stage(name: str, function: str, what: str, details: str = "", quiet: bool = False) -> Parser:
        sub = stages.add_parser(name, help=what, description=f"{what}. {details}" if details else what)
        sub.set_defaults(stage=f"sspipe.{function}", command_name=name, quiet=quiet)
        return sub

    for add in (_data, _pack, _train, _predict, _maps, _score, _report, _follow, _operate):
        add(stage)
    return parser


StageAdder = Callable[..., Parser]


def _data(stage: StageAdder) -> None:
    sub = stage("synthesize-archive", "data.synthetic:synthesize_archive", "write a small city in SpaceNet 6's form")
    _number(sub, "--tile-size", "rows and columns of a tile, px", int, dest="tile_size_px")
    _number(sub, "--pixel-m", "ground size of a SAR pixel, m")
    _number(sub, "--strips", "flight strips", int)
    _number(sub, "--tiles-per-strip", "tiles along a strip", int)
    _number(sub, "--seed", "everything follows from it", int)
    _path(sub, "--out", "archive to write, .tar.gz")

    sub = stage("fetch-archive", "data.fetch:fetch_archive", "fetch the archive and verify it")
    sub.add_argument("--source", choices=("s3", "url", "file"), required=True)
    _path(sub, "--path", "archive on disk (source: file)", required=False)
    sub.add_argument("--url", help="of a mirror (source: url)")
    sub.add_argument("--endpoint-url", help="another S3 endpoint than the public cloud's")
    sub.add_argument("--region", default="us-east-1")
    sub.add_argument("--bucket", default="")
    sub.add_argument("--key", default="")
    _number(sub, "--size-bytes", "expected size", int, required=False)
    sub.add_argument("--sha256", help="expected checksum")
    _number(sub, "--connections", "ranges fetched at once", int, required=False, default=8)
    _number(sub, "--outage-minutes", "how long a silent source is tried again", required=False, default=15.0)
    _path(sub, "--ca-bundle", "PEM file of the authorities that may vouch for the server", required=False)
    _path(sub, "--out", "archive to write, .tar.gz; `OUT.part` beside it is gone on from")

    sub = stage("unpack-archive", "data.archive:unpack_archive", "unpack the products in use, safely")
    _path(sub, "--archive", "the .tar.gz")
    _path(sub, "--out", "folder to write")
    _path(sub, "--manifest", "what was unpacked, JSON to write")

    sub = stage("index-tiles", "data.catalog:index_tiles", "check every tile and write the catalog")
    _path(sub, "--raw", "the unpacked folder")
    _number(sub, "--size-px", "rows and columns that tiles must have", int)
    _number(sub, "--pixel-m", "SAR pixel size that tiles must have, m")
    _number(sub, "--max-left-out", "share of the tiles that may be left out")
    _number(sub, "--processes", "tiles read at once", int)
    _path(sub, "--out-catalog", "catalog.parquet to write")
    _path(sub, "--out-footprints", "footprints.parquet to write")
    _path(sub, "--out-report", "catalog.json to write")

    sub = stage("assign-splits", "data.splits:assign_splits", "part the tiles, and audit the leakage")
    _path(sub, "--catalog", "catalog.parquet")
    sub.add_argument("--split", required=True, help="name of the split")
    sub.add_argument("--kind", required=True, choices=SPLIT_KINDS)
    _number(sub, "--seed", "of the shuffle", int)
    _number(sub, "--test-fraction", "share of all tiles")
    _number(sub, "--validation-fraction", "share of what test leaves")
    _number(sub, "--test-line-m", "easting of the test area's west edge, m", required=False)
    _edges(sub)
    _path(sub, "--out-split", "table to write")
    _path(sub, "--out-leakage", "audit to write")

    what = "how much of its test ground a split shows in training, from a table of tile origins alone"
    sub = stage("audit", "data.audit:audit_tiles", what, quiet=True)
    _path(sub, "--tiles", "table of image_id (or tile_id), easting_m, northing_m: .csv, .csv.gz or .parquet")
    sub.add_argument("--split", required=True, choices=SPLIT_KINDS, dest="kind")
    _number(sub, "--tile-size-m", "side of a tile where the table has none, m", required=False, default=450.0)
    _number(sub, "--seed", "of the first shuffle (random)", int, required=False, default=0)
    _number(sub, "--seeds", "how many shuffles, for mean and spread (random)", int, required=False, default=1)
    _number(sub, "--test-fraction", "share of all tiles (0.2; spatial: in place of the line)", required=False)
    _number(sub, "--validation-fraction", "share of what test leaves (0.2)", required=False)
    _number(sub, "--test-line-m", "easting of the test area's west edge, m (spatial: 595343)", required=False)
    _edges(sub)
    _path(sub, "--out", "JSON to write", required=False)


def _pack(stage: StageAdder) -> None:
    sub = stage("pack-tiles", "pack.tiles:pack_tiles", "orient, pad and pack one shard of tiles with their masks")
    for flag, what in (
        ("--catalog", "catalog.parquet"),
        ("--footprints", "footprints.parquet"),
        ("--raw", "unpacked folder"),
    ):
        _path(sub, flag, what)
    _number(sub, "--shard", "which shard, from 0", int)
    _number(sub, "--shards", "how many there are", int)
    _number(sub, "--size-px", "rows and columns of a tile", int)
    _number(sub, "--padded-px", "rows and columns after padding", int)
    sub.add_argument("--orientation", choices=("rotate180", "flipud", "none"), required=True)
    _number(sub, "--border-px", "half width of the border band", int)
    _path(sub, "--out", "folder of the shard to write")

    sub = stage("measure-tiles", "pack.moments:measure_tiles", "verify all shards, and measure every tile in them")
    _paths(sub, "--packs", "manifest.json of every shard")
    _number(sub, "--processes", "shards read at once", int)
    _path(sub, "--out", "table to write")

    sub = stage("compute-statistics", "pack.statistics:compute_statistics", "mean and deviation over training tiles")
    sub.add_argument("--split", required=True)
    _path(sub, "--split-table", "the split's table")
    _path(sub, "--moments", "table that measure-tiles wrote")
    _path(sub, "--out", "JSON to write")


def _train(stage: StageAdder) -> None:
    sub = stage("resolve-variant", "train.resolve:resolve_variant", "write a variant's resolved settings", quiet=True)
    sub.add_argument("--settings", required=True, help="JSON text of the variant")
    _path(sub, "--out", "JSON file to write")

    sub = stage(
        "train",
        "train.stage:train",
        "train one variant on one split with one seed",
        "An interrupted run goes on from its last checkpoint, and a finished one is not trained again. SIGTERM, "
        "SIGINT, SIGUSR1 and SIGUSR2 end it after the current step with a checkpoint and status 75: the same command "
        "goes on from there.",
    )
    sub.add_argument("--split", required=True)
    sub.add_argument("--variant", required=True)
    _number(sub, "--seed", "of everything random", int)
    _path(sub, "--settings", "the resolved variant")
    _path(sub, "--split-table", "the split's table")
    _path(sub, "--statistics", "the split's statistics")
    _paths(sub, "--packs", "manifest.json of every shard")
    _number(sub, "--threads", "CPU threads, over all ranks that are started here", int)
    _path(sub, "--checkpoints", "folder of what an interrupted run goes on from")
    sub.add_argument("--precision", choices=("auto", "fp32", "bf16", "fp16"), required=True, help="auto: by hardware")
    sub.add_argument("--compile", action="store_true", help="use torch.compile")
    _number(sub, "--shuffle-shards", "shards whose tiles are shuffled together", int)
    _number(sub, "--micro-batch-size", "images of a view taken at once; not given: all", int, required=False)
    sub.add_argument("--ranks", type=_ranks, required=True, help="processes that share each batch; auto: one per GPU")
    _number(sub, "--workers", "threads of each rank that read ahead", int)
    sub.add_argument("--scratch", help="local folder that the pack is copied to first; auto: $TMPDIR")
    _number(sub, "--checkpoint-minutes", "between checkpoints, min; 0: after every step")
    _number(sub, "--log-seconds", "between progress lines, s")
    sub.add_argument("--tensorboard", action="store_true", help="write event files too")
    _path(sub, "--out-model", "weights to write")
    _path(sub, "--out-metrics", "metrics.jsonl to write")
    _path(sub, "--out-record", "train.json to write")

    sub = stage(
        "launch",
        "train.launch:launch",
        "train as a Slurm job, and follow that to its end",
        "Run again, it attaches to the job that it submitted before. Ctrl-C leaves the job running.",
        quiet=True,
    )
    _path(sub, "--folder", "the run's folder of what is remembered of its job")
    _path(sub, "--queue", "folder of the snapshot of the queue that launchers share")
    sub.add_argument("--partition")
    sub.add_argument("--account")
    sub.add_argument("--gres", help="GPUs of the node, as `gpu:v100:4` or `gpu:4`")
    _number(sub, "--tasks", "ranks, one a GPU", int)
    _number(sub, "--cpus-per-task", "CPU cores of each rank", int)
    _number(sub, "--mem-mb", "memory of the job, MB; not given: the partition's own", int, required=False)
    _number(sub, "--runtime-min", "walltime of one attempt, min", int)
    _number(sub, "--signal-delay-s", "how long before the walltime the training is told to save, s", int)
    sub.add_argument("--qos")
    sub.add_argument("--constraint", help="features that the node must have")
    sub.add_argument("--extra", nargs="*", default=(), help="further options of sbatch, as reservation=night")
    sub.add_argument("--python", help="command that starts Python on the node; not given: the one that runs this")
    sub.add_argument("--setup", nargs="*", default=(), help="shell lines that the job begins with")
    _number(sub, "--poll-s", "between two looks at the queue, s", required=False, default=30.0)
    sub.add_argument("command", nargs="+", help="after `--`: train and its arguments")


def _predict(stage: StageAdder) -> None:
    sub = stage("predict-tiles", "predict.inference:predict_tiles", "probabilities on the test or validation tiles")
    _path(sub, "--model", "weights")
    _path(sub, "--record", "train.json of the same run")
    _path(sub, "--split-table", "the split's table")
    _path(sub, "--statistics", "the split's statistics")
    _paths(sub, "--packs", "manifest.json of every shard")
    _number(sub, "--batch-size", "tiles at a time", int)
    _number(sub, "--threads", "CPU threads", int)
    _number(sub, "--workers", "threads that read tiles ahead", int)
    sub.add_argument("--precision", choices=("auto", "fp32", "bf16", "fp16"), required=True, help="see config.yaml")
    sub.add_argument("--subset", choices=("test", "validation"), default="test", help="which tiles of the split")
    _path(sub, "--out", "probabilities.npy to write")

    sub = stage("tune-polygons", "score.tuning:tune_polygons", "choose how footprints are made, on validation tiles")
    _path(sub, "--probabilities", "of the validation tiles; not given: the settings as they are", required=False)
    _path(sub, "--truth", "challenge CSV of the truth")
    _number(sub, "--interior-threshold", "a pixel at or above it is building")
    _number(sub, "--border-threshold", "building pixels below it are seeds")
    _number(sub, "--min-area-px", "smaller footprints are dropped, px")
    _number(sub, "--simplify-px", "tolerance of outlines, px")
    for flag in ("--interior-thresholds", "--border-thresholds", "--min-areas-px", "--simplifications-px"):
        sub.add_argument(flag, type=float, nargs="+", required=True, help="values to try")
    _number(sub, "--iou-threshold", "a match needs a larger IoU")
    _number(sub, "--score-min-area-px", "smaller buildings are left out of the score, px")
    _number(sub, "--processes", "parts of the tiles worked on at once", int)
    _path(sub, "--out", "polygons.json to write")

    sub = stage("extract-polygons", "predict.polygons:extract_polygons", "footprints from probabilities")
    _path(sub, "--probabilities", "probabilities.npy")
    _path(sub, "--catalog", "catalog.parquet")
    _path(sub, "--settings", "polygons.json: how footprints are made")
    _path(sub, "--out-parquet", "GeoParquet to write")
    _path(sub, "--out-gpkg", "GeoPackage to write")
    _path(sub, "--out-submission", "challenge CSV to write")


def _maps(stage: StageAdder) -> None:
    sub = stage("mosaic-predictions", "predict.maps:mosaic_predictions", "average all looks at the test area")
    _path(sub, "--probabilities", "probabilities.npy of the test tiles")
    _path(sub, "--catalog", "catalog.parquet")
    _paths(sub, "--packs", "manifest.json of every shard")
    _number(sub, "--edge-m", "a look's weight rises over this distance from its tile's edge, m")
    _number(sub, "--block-px", "side of the blocks it is made in", int)
    _path(sub, "--out", "cloud-optimised GeoTIFF to write")
    _path(sub, "--out-looks", "GeoParquet to write: where each tile has data")

    sub = stage("extract-map-polygons", "predict.map_polygons:extract_map_polygons", "footprints of a mosaic")
    _path(sub, "--mosaic", "GeoTIFF that mosaic-predictions wrote")
    _path(sub, "--settings", "polygons.json: how footprints are made")
    _number(sub, "--block-px", "side of the blocks it is read in", int)
    _path(sub, "--out-parquet", "GeoParquet to write")
    _path(sub, "--out-gpkg", "GeoPackage to write")

    sub = stage("score-looks", "score.looks:score_looks", "one look at a time against all looks together")
    for flag, what in (
        ("--probabilities", "probabilities.npy of the test tiles"),
        ("--catalog", "catalog.parquet"),
        ("--footprints", "footprints.parquet, the truth"),
        ("--polygons", "polygons.parquet, footprints of single tiles"),
        ("--map-polygons", "footprints of the mosaic"),
        ("--looks", "where each tile has data"),
    ):
        _path(sub, flag, what)
    _number(sub, "--iou-threshold", "a match needs a larger IoU")
    _number(sub, "--min-area-px", "smaller buildings are left out, px")
    _path(sub, "--out", "looks.json to write")


def _score(stage: StageAdder) -> None:
    sub = stage("score", "score.csv_pair:score_csv", "the SpaceNet metric of any pair of SpaceNet CSVs")
    _path(sub, "--truth", "CSV of the buildings: ImageId, PolygonWKT_Pix")
    _path(sub, "--proposals", "CSV of the proposals: ImageId, PolygonWKT_Pix, Confidence if they are ordered")
    _number(sub, "--min-area", "smaller buildings are left out, px (default: %(default)s)", required=False, default=80)
    _number(sub, "--iou", "a match needs a larger IoU (default: %(default)s)", required=False, default=0.5)
    _number(
        sub, "--bootstrap-samples", "resamples for 95 %% intervals (default: %(default)s)", int, False, default=1000
    )
    _path(sub, "--out", "JSON of the scores to write")
    _path(sub, "--out-images", "Parquet of the counts of every image to write", required=False)
    _path(sub, "--out-buildings", "Parquet of what became of every building and proposal to write", required=False)

    sub = stage("score-polygons", "score.stage:score_polygons", "the SpaceNet metric and pixel IoU of one run")
    for flag, what in (
        ("--submission", "challenge CSV of the predictions"),
        ("--truth", "challenge CSV of the truth"),
        ("--catalog", "catalog.parquet"),
        ("--footprints", "footprints.parquet"),
        ("--probabilities", "probabilities.npy"),
    ):
        _path(sub, flag, what)
    _number(sub, "--interior-threshold", "a pixel at or above it is building")
    _number(sub, "--iou-threshold", "a match needs a larger IoU")
    _number(sub, "--min-area-px", "smaller buildings are left out, px")
    _number(sub, "--boundary-px", "width of the band that Boundary IoU looks at, px")
    _numbers(sub, "--area-edges-m2", "what parts the bins of building area, m2")
    _numbers(sub, "--height-edges-m", "what parts the bins of building height, m")
    _number(sub, "--bootstrap-samples", "resamples for the intervals", int)
    _number(sub, "--block-m", "side of the blocks that are resampled, m; without it tiles are", required=False)
    _path(sub, "--out-scores", "scores.json to write")
    _path(sub, "--out-tiles", "tiles.parquet to write")
    _path(sub, "--out-buildings", "buildings.parquet to write")

    sub = stage("compare-scores", "score.comparison:compare_scores", "every variant against a baseline, over seeds")
    _paths(sub, "--scores", "scores.json of every run, with its tables beside it")
    sub.add_argument("--baseline", required=True, help="variant that the others are compared with")
    _number(sub, "--bootstrap-samples", "resamples for the intervals", int)
    _path(sub, "--out-comparisons", "comparisons.csv to write")
    _path(sub, "--out-seeds", "seeds.csv to write")
    _path(sub, "--out-statements", "comparisons.json to write")

    sub = stage("check-against-solaris", "score.solaris:check_against_solaris", "the same counts from solaris itself")
    for flag, what in (
        ("--submission", "challenge CSV of the predictions"),
        ("--truth", "challenge CSV of the truth"),
        ("--probabilities", "probabilities.npy"),
        ("--scores", "scores.json"),
        ("--tiles", "tiles.parquet of the scores"),
    ):
        _path(sub, flag, what)
    _number(sub, "--iou-threshold", "a match needs a larger IoU")
    _number(sub, "--min-area-px", "smaller buildings are left out, px")
    _path(sub, "--out", "solaris.json to write")


def _report(stage: StageAdder) -> None:
    sub = stage("collect-scores", "report.tables:collect_scores", "one table of all runs' scores")
    _paths(sub, "--scores", "scores.json of every run")
    _paths(sub, "--trains", "train.json of every run")
    _path(sub, "--out", "scores.csv to write")

    sub = stage("describe-tiles", "report.data_page:describe_tiles", "the data report")
    _path(sub, "--catalog", "catalog.parquet")
    _path(sub, "--catalog-report", "catalog.json")
    _path(sub, "--footprints", "footprints.parquet")
    _path(sub, "--manifest", "raw.json")
    sub.add_argument("--title", required=True)
    _number(sub, "--min-area-px", "smaller buildings are not scored, px")
    sub.add_argument("--synthetic", action="store_true", help="the data are synthetic")
    _path(sub, "--out", "catalog.html to write")

    sub = stage("compare-variants", "report.page:compare_variants", "the comparison report")
    _path(sub, "--scores-csv", "table of all runs' scores")
    for flag, what in (
        ("--trains", "train.json of every run"),
        ("--scores", "scores.json of every run"),
        ("--probabilities", "probabilities.npy of every run"),
        ("--leakages", "leakage audit of every split"),
        ("--splits", "table of every split"),
    ):
        _paths(sub, flag, what)
    sub.add_argument("--looks", type=Path, nargs="*", default=(), help="looks.json of every run's map")
    sub.add_argument("--tunings", type=Path, nargs="*", default=(), help="polygons.json of every run")
    _path(sub, "--efficiency", "efficiency.csv: what jobs asked for and used", required=False)
    _path(sub, "--catalog", "catalog.parquet")
    _path(sub, "--catalog-report", "catalog.json")
    _path(sub, "--raw", "unpacked folder")
    _path(sub, "--footprints", "footprints.parquet")
    sub.add_argument("--settings", required=True, help="JSON text of the whole resolved configuration")
    sub.add_argument("--title", required=True)
    _number(sub, "--panels", "test tiles shown", int)
    sub.add_argument("--synthetic", action="store_true", help="the data are synthetic: not comparable with the paper")
    _number(sub, "--interior-threshold", "a pixel at or above it is building")
    _path(sub, "--out", "index.html to write")
    _path(sub, "--out-figures", "folder of figures and their data to write")


def _follow(stage: StageAdder) -> None:
    sub = stage(
        "follow", "follow:follow", "show what running jobs say, while a command runs or until Ctrl-C", quiet=True
    )
    _path(sub, "--logs", "folder of logs")
    sub.add_argument("command", nargs="*", help="after `--`: program to run and follow")


def _operate(stage: StageAdder) -> None:
    sub = stage("plan", "operate.plan:plan", "what would run and why, how long it takes, how much disk", quiet=True)
    _profile(sub)
    sub.add_argument("--night-hours", type=float, help="length of a night, h (default: plan.night_hours)")
    sub.add_argument("--json", action="store_true", dest="as_json", help="print JSON")
    sub.add_argument("targets", nargs="*", help="rules or files (default: all); after `--`: options of snakemake")

    sub = stage("preflight", "operate.preflight:preflight", "what would stop a night, before it begins", quiet=True)
    _profile(sub)
    sub.add_argument("--on-node", action="store_true", help="also submit a job of one minute that looks at a node")
    _number(
        sub,
        "--node-minutes",
        "how long that job may wait for a node, min (default: %(default)s)",
        float,
        False,
        default=10,
    )
    sub.add_argument("--json", action="store_true", dest="as_json", help="print JSON")

    sub = stage("check-node", "operate.node_job:check_node", "look at this node as a training finds it", quiet=True)
    _path(sub, "--token-file", "what the login node wrote")
    sub.add_argument("--token", required=True, help="its content")
    _number(sub, "--gpus", "that the job asked for", int)
    sub.add_argument("--scratch", help="training.scratch")
    _number(sub, "--pack-bytes", "size of the pack", int)
    _path(sub, "--out", "JSON to write")

    sub = stage("status", "operate.status:status", "where every run is, on one screen", quiet=True)
    _profile(sub)
    sub.add_argument("--json", action="store_true", dest="as_json", help="print JSON")
    sub.add_argument("--watch", action="store_true", help="again and again, until Ctrl-C")
    what = "between two looks, s; Slurm is asked every 30 s at most (default: %(default)s)"
    _number(sub, "--every-seconds", what, float, False, default=5)

    sub = stage("cancel", "operate.cancel:cancel", "end Slurm jobs of trainings, after asking", quiet=True)
    _profile(sub)
    sub.add_argument("--all", action="store_true", dest="all_runs", help="all of them, and this experiment's other jobs")
    sub.add_argument("--yes", action="store_true", help="do not ask")
    sub.add_argument("runs", nargs="*", help="split/variant/seedN, or any part of it, such as a variant")

    sub = stage("efficiency", "operate.efficiency:efficiency", "what was asked for against what was used", quiet=True)
    _profile(sub)
    _path(sub, "--folder", "results/{experiment}, in place of profile and configuration", required=False)
    _path(sub, "--out", "CSV to write (default: print)", required=False)
    sub.add_argument("--json", action="store_true", dest="as_json", help="print JSON")


def _profile(parser: Parser) -> None:
    _path(parser, "--profile", "the profile that the night runs with, for example profiles/slurm", required=False)
    what = "configurations over config.yaml, as snakemake takes them (default: the profile's)"
    parser.add_argument("--configfile", type=Path, nargs="+", default=(), help=what)


def _edges(parser: Parser) -> None:
    what = "ends of the five slices, m (baseline_x: 591550 596250)"
    parser.add_argument("--edges-m", type=float, nargs=2, metavar=("WEST", "EAST"), help=what)


def _path(parser: Parser, flag: str, what: str, required: bool = True) -> None:
    parser.add_argument(flag, type=Path, required=required, help=what)


def _paths(parser: Parser, flag: str, what: str) -> None:
    parser.add_argument(flag, type=Path, nargs="+", required=True, help=what)


def _ranks(text: str) -> str | int:
    if text == "auto":
        return text
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be auto or a number from 1, not {text}")
    return int(text)


def _number(parser: Parser, flag: str, what: str, kind: type = float, required: bool = True, **more: Any) -> None:
    parser.add_argument(flag, type=kind, required=required, help=what, **more)


def _numbers(parser: Parser, flag: str, what: str) -> None:
    parser.add_argument(flag, type=float, nargs="+", required=True, help=what)
