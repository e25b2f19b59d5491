"""Probabilities, footprints and maps."""

from __future__ import annotations

from sspipe.commands.flags import StageAdder, number, path, paths


def add(stage: StageAdder) -> None:
    """Adds the sub-commands."""
    sub = stage("predict-tiles", "predict.inference:predict_tiles", "probabilities on the test or validation tiles")
    path(sub, "--model", "weights")
    path(sub, "--record", "train.json of the same run")
    path(sub, "--split-table", "the split's table")
    path(sub, "--statistics", "the split's statistics")
    paths(sub, "--packs", "manifest.json of every shard")
    number(sub, "--batch-size", "tiles at a time", int, least=1)
    number(sub, "--threads", "CPU threads", int, least=1)
    number(sub, "--workers", "threads that read tiles ahead", int, least=0)
    sub.add_argument("--precision", choices=("auto", "fp32", "bf16", "fp16"), required=True, help="see config.yaml")
    sub.add_argument("--subset", choices=("test", "validation"), default="test", help="which tiles of the split")
    path(sub, "--out", "probabilities.npy to write")

    sub = stage("tune-polygons", "score.tuning:tune_polygons", "choose how footprints are made, on validation tiles")
    path(sub, "--probabilities", "of the validation tiles; not given: the settings as they are", required=False)
    path(sub, "--truth", "challenge CSV of the truth")
    number(sub, "--interior-threshold", "a pixel at or above it is building")
    number(sub, "--border-threshold", "building pixels below it are seeds")
    number(sub, "--min-area-px", "smaller footprints are dropped, px")
    number(sub, "--simplify-px", "tolerance of outlines, px")
    for flag in ("--interior-thresholds", "--border-thresholds", "--min-areas-px", "--simplifications-px"):
        sub.add_argument(flag, type=float, nargs="+", required=True, help="values to try")
    number(sub, "--iou-threshold", "a match needs a larger IoU")
    number(sub, "--score-min-area-px", "smaller buildings are left out of the score, px")
    number(sub, "--processes", "parts of the tiles worked on at once", int)
    path(sub, "--out", "polygons.json to write")

    sub = stage("extract-polygons", "predict.polygons:extract_polygons", "footprints from probabilities")
    path(sub, "--probabilities", "probabilities.npy")
    path(sub, "--catalog", "catalog.parquet")
    path(sub, "--settings", "polygons.json: how footprints are made")
    path(sub, "--out-parquet", "GeoParquet to write")
    path(sub, "--out-gpkg", "GeoPackage to write")
    path(sub, "--out-submission", "challenge CSV to write")

    sub = stage("mosaic-predictions", "predict.maps:mosaic_predictions", "average all looks at the test area")
    path(sub, "--probabilities", "probabilities.npy of the test tiles")
    path(sub, "--catalog", "catalog.parquet")
    paths(sub, "--packs", "manifest.json of every shard")
    number(sub, "--edge-m", "a look's weight rises over this distance from its tile's edge, m")
    number(sub, "--block-px", "side of the blocks it is made in", int)
    path(sub, "--out", "cloud-optimised GeoTIFF to write")
    path(sub, "--out-looks", "GeoParquet to write: where each tile has data")

    sub = stage("extract-map-polygons", "predict.map_polygons:extract_map_polygons", "footprints of a mosaic")
    path(sub, "--mosaic", "GeoTIFF that mosaic-predictions wrote")
    path(sub, "--settings", "polygons.json: how footprints are made")
    number(sub, "--block-px", "side of the blocks it is read in", int)
    path(sub, "--out-parquet", "GeoParquet to write")
    path(sub, "--out-gpkg", "GeoPackage to write")

    sub = stage("score-looks", "score.looks:score_looks", "one look at a time against all looks together")
    for flag, what in (
        ("--probabilities", "probabilities.npy of the test tiles"),
        ("--catalog", "catalog.parquet"),
        ("--footprints", "footprints.parquet, the truth"),
        ("--polygons", "polygons.parquet, footprints of single tiles"),
        ("--map-polygons", "footprints of the mosaic"),
        ("--looks", "where each tile has data"),
    ):
        path(sub, flag, what)
    number(sub, "--iou-threshold", "a match needs a larger IoU")
    number(sub, "--min-area-px", "smaller buildings are left out, px")
    number(sub, "--block-m", "side of the blocks that are resampled, m")
    number(sub, "--bootstrap-samples", "resamples for the intervals", int)
    path(sub, "--out", "looks.json to write")
