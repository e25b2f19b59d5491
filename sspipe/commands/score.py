"""Scores, of runs and of any two CSVs."""

from __future__ import annotations

from sspipe.commands.flags import StageAdder, number, numbers, path, paths


def add(stage: StageAdder) -> None:
    """Adds the sub-commands."""
    sub = stage("score", "score.csv_pair:score_csv", "the SpaceNet metric of any pair of SpaceNet CSVs")
    path(sub, "--truth", "CSV of the buildings: ImageId, PolygonWKT_Pix")
    path(sub, "--proposals", "CSV of the proposals: ImageId, PolygonWKT_Pix, Confidence if they are ordered")
    number(sub, "--min-area", "smaller buildings are left out, px (default: %(default)s)", required=False, default=80)
    number(sub, "--iou", "a match needs a larger IoU (default: %(default)s)", required=False, default=0.5)
    number(sub, "--bootstrap-samples", "resamples for 95 %% intervals (default: %(default)s)", int, False, default=1000)
    path(sub, "--out", "JSON of the scores to write")
    path(sub, "--out-images", "Parquet of the counts of every image to write", required=False)
    path(sub, "--out-buildings", "Parquet of what became of every building and proposal to write", required=False)

    sub = stage("score-polygons", "score.stage:score_polygons", "the SpaceNet metric and pixel IoU of one run")
    for flag, what in (
        ("--submission", "challenge CSV of the predictions"),
        ("--truth", "challenge CSV of the truth"),
        ("--catalog", "catalog.parquet"),
        ("--footprints", "footprints.parquet"),
        ("--probabilities", "probabilities.npy"),
    ):
        path(sub, flag, what)
    paths(sub, "--packs", "manifest.json of every shard")
    number(sub, "--interior-threshold", "a pixel at or above it is building")
    number(sub, "--iou-threshold", "a match needs a larger IoU")
    number(sub, "--min-area-px", "smaller buildings are left out, px")
    number(sub, "--boundary-px", "width of the band that Boundary IoU looks at, px")
    numbers(sub, "--area-edges-m2", "what parts the bins of building area, m2")
    numbers(sub, "--height-edges-m", "what parts the bins of building height, m")
    number(sub, "--bootstrap-samples", "resamples for the intervals", int)
    number(sub, "--block-m", "side of the blocks that are resampled, m; without it tiles are", required=False)
    path(sub, "--out-scores", "scores.json to write")
    path(sub, "--out-tiles", "tiles.parquet to write")
    path(sub, "--out-buildings", "buildings.parquet to write")
    path(sub, "--out-reliability", "reliability.csv to write")

    sub = stage("compare-scores", "score.comparison:compare_scores", "every variant against a baseline, over seeds")
    paths(sub, "--scores", "scores.json of every run, with its tables beside it")
    sub.add_argument("--baseline", required=True, help="variant that the others are compared with")
    number(sub, "--bootstrap-samples", "resamples for the intervals", int)
    path(sub, "--out-comparisons", "comparisons.csv to write")
    path(sub, "--out-seeds", "seeds.csv to write")
    path(sub, "--out-statements", "comparisons.json to write")

    sub = stage("check-against-solaris", "score.solaris:check_against_solaris", "the same counts from solaris itself")
    for flag, what in (
        ("--submission", "challenge CSV of the predictions"),
        ("--truth", "challenge CSV of the truth"),
        ("--probabilities", "probabilities.npy"),
        ("--scores", "scores.json"),
        ("--tiles", "tiles.parquet of the scores"),
    ):
        path(sub, flag, what)
    number(sub, "--iou-threshold", "a match needs a larger IoU")
    number(sub, "--min-area-px", "smaller buildings are left out, px")
    path(sub, "--out", "solaris.json to write")
