"""The reference: solaris's own evaluator, run as it is installed, on the same files as our matcher."""

from __future__ import annotations

import contextlib
import importlib
import io
import sys
import tempfile
import time
import warnings
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

import pandas as pd

from sspipe.data.spacenet_csv import CONFIDENCE, IMAGE, WKT
from sspipe.errors import UserError
from sspipe.files import read_json, read_table, write_json
from sspipe.log import duration, say

REMEDY = "`uv pip install --no-deps solaris==0.4.0 fiona` (pip >= 24.1 refuses its metadata), or set up with `make`"
TILES_NAMED = 5
# Before every id that solaris reads, which takes 007 for 7 and NA for nothing.
_TEXT = "tile "


def check_against_solaris(
    *,
    submission: Path,
    truth: Path,
    probabilities: Path,
    scores: Path,
    tiles: Path,
    iou_threshold: float,
    min_area_px: float,
    out: Path,
) -> None:
    """Stage: scores the submission with solaris's evaluator and refuses any difference to our counts.

    Args:
        submission: submission.csv.
        truth: the challenge's CSV, of all tiles.
        probabilities: the npy; the json beside it names the test tiles.
        scores: scores.json, ours.
        tiles: tiles.parquet, ours.
        iou_threshold: a match needs a larger IoU.
        min_area_px: smaller buildings are left out, px.
        out: solaris.json: tp, fp, fn, f1, identical (true, or there is no file), version.

    Raises:
        UserError: solaris is not installed, or its counts differ; names the first tiles that do.
    """
    ours = read_table(tiles).set_index("tile_id")[["tp", "fp", "fn"]]
    tile_ids = read_json(Path(probabilities).with_suffix(".json"))["tile_ids"]
    say(f"solaris's evaluator on {len(tile_ids)} tiles; it is silent until its end, a minute for 700 tiles")
    begun = time.monotonic()
    theirs = solaris_counts(truth, submission, tile_ids, iou_threshold=iou_threshold, min_area_px=min_area_px)
    left, right = ours.align(theirs, join="outer", fill_value=-1)
    different = left.index[(left != right).any(axis=1)]
    totals = {name: int(theirs[name].sum()) for name in ("tp", "fp", "fn")}
    if len(different):
        named = "\n".join(
            f"  {tile_id}: tp/fp/fn {_three(left.loc[tile_id])} here, {_three(right.loc[tile_id])} by solaris"
            for tile_id in different[:TILES_NAMED]
        )
        raise UserError(
            f"{tiles}: {len(different)} of {len(left)} tiles are counted otherwise by solaris "
            f"(-1: the tile is missing); the first are\n{named}\n"
            f"Delete the folder and run score_polygons again; if the difference stays, it is a fault of sspipe"
        )
    summed = read_json(scores)
    if any(summed[name] != totals[name] for name in totals):
        raise UserError(
            f"{scores}: tp/fp/fn {summed['tp']}/{summed['fp']}/{summed['fn']}, but solaris counts "
            f"{totals['tp']}/{totals['fp']}/{totals['fn']}, as {tiles} does; delete both and run score_polygons again"
        )
    denominator = 2 * totals["tp"] + totals["fp"] + totals["fn"]
    f1 = 2 * totals["tp"] / denominator if denominator else 0.0
    version = metadata.version("solaris")
    write_json(out, {**totals, "f1": f1, "identical": True, "version": version})
    say(f"solaris {version} counts the same: {totals}, F1 {f1:.4f}, in {duration(time.monotonic() - begun)}")


def solaris_counts(
    truth: Path, submission: Path, tile_ids: list[str], *, iou_threshold: float, min_area_px: float
) -> pd.DataFrame:
    """Counts by solaris, per tile.

    Both tables are read and written again before solaris reads them: truth of other tiles is left out (solaris uses
    row labels as positions, so rows must be numbered from 0), and confidence becomes the rank of the proposal, because
    solaris sorts unstably: with ranks there are no ties, and equals come in the order of the file, as in our matcher.

    Args:
        truth: a SpaceNet CSV.
        submission: a SpaceNet CSV; without a column Confidence, the order of the file is the order of choosing.
        tile_ids: tiles to score.
        iou_threshold: a match needs a larger IoU.
        min_area_px: smaller buildings are left out, px.

    Returns:
        tp, fp, fn int64, indexed by tile id: the given tiles and any other that the submission has.
    """
    evaluator = load_evaluator()
    with tempfile.TemporaryDirectory() as folder:
        truth_copy, submission_copy = Path(folder) / "truth.csv", Path(folder) / "submission.csv"
        buildings = _read(truth, [IMAGE, WKT])
        buildings = buildings[buildings[IMAGE].isin(tile_ids)]
        buildings.assign(**{IMAGE: _TEXT + buildings[IMAGE]}).to_csv(truth_copy, index=False)
        proposals = _read(submission)
        by_turn = (
            proposals.sort_values(CONFIDENCE, ascending=False, kind="stable") if CONFIDENCE in proposals else proposals
        )
        by_turn = by_turn[[IMAGE, WKT]].assign(
            **{IMAGE: _TEXT + by_turn[IMAGE], CONFIDENCE: range(len(proposals), 0, -1)}
        )
        by_turn.to_csv(submission_copy, index=False)
        # Its progress bar redraws itself hundreds of times and its prints name no tile: neither belongs in a log.
        with (
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("ignore")
            session = evaluator(str(truth_copy))
            session.load_proposal(str(submission_copy), conf_field_list=[CONFIDENCE], proposalCSV=True)
            results = session.eval_iou_spacenet_csv(miniou=iou_threshold, min_area=min_area_px)
    counts = pd.DataFrame(results, columns=["imageID", "TruePos", "FalsePos", "FalseNeg"])
    counts.columns = ["tile_id", "tp", "fp", "fn"]
    counts["tile_id"] = counts["tile_id"].str.removeprefix(_TEXT)
    return counts.set_index("tile_id").astype("int64").sort_index()


def _read(path: Path, columns: list[str] | None = None) -> pd.DataFrame:
    """A SpaceNet CSV with its ids as they are written."""
    blank = {CONFIDENCE: ["", "nan", "NaN"]}  # an id such as NA is one
    return pd.read_csv(path, dtype={IMAGE: str}, usecols=columns, keep_default_na=False, na_values=blank)


def load_evaluator() -> Any:
    """Loads `solaris.eval.base.Evaluator` from the installed solaris, without the rest of it.

    `import solaris` wants tensorflow 1.13. So the folder `solaris/eval` gets an empty parent package of a name of
    our own, and its `base` and `iou` run in it unchanged; a true `import solaris` elsewhere is not disturbed.

    Raises:
        UserError: solaris or what its evaluator imports is not installed.
    """
    name = "_solaris_eval"
    try:
        folder = metadata.distribution("solaris").locate_file("solaris/eval")
        if name not in sys.modules:
            parent = ModuleType(name)
            parent.__path__ = [str(folder)]
            sys.modules[name] = parent
        with warnings.catch_warnings():
            # It compares texts with `is`, which newer Pythons warn about.
            warnings.simplefilter("ignore", SyntaxWarning)
            return importlib.import_module(f"{name}.base").Evaluator
    except metadata.PackageNotFoundError:
        raise UserError(f"solaris, the reference for the SpaceNet metric, is not installed: {REMEDY}") from None
    except ImportError as error:
        raise UserError(f"solaris's evaluator cannot be imported ({error}): {REMEDY}") from None


def _three(row: pd.Series) -> str:
    return "/".join(str(row[name]) for name in ("tp", "fp", "fn"))
