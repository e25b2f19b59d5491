"""The command `score`: any pair of SpaceNet CSVs by the matcher of the workflow."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from sspipe.errors import UserError
from sspipe.files import scratch_folder, whole_file
from sspipe.log import show, warn
from sspipe.score.input_checks import repeated_ids, warn_of_repeated_ids
from sspipe.score.measures import summarize
from sspipe.score.outcome import building_table, image_table, match_and_measure
from sspipe.score.parts import BYTES_AT_ONCE, pairs_in_parts


def score_csv(
    *,
    truth: Path,
    proposals: Path,
    min_area: float,
    iou: float,
    bootstrap_samples: int,
    out: Path,
    out_images: Path | None = None,
    out_buildings: Path | None = None,
    bytes_at_once: int = BYTES_AT_ONCE,
) -> None:
    """Stage: scores a file of proposals against a file of buildings, and prints a short table.

    The files are read in parts (`sspipe.score.parts`), so their size does not decide the memory.

    Args:
        truth: a SpaceNet CSV.
        proposals: a SpaceNet CSV; without a column Confidence the order of the file is the order of choosing.
        min_area: smaller buildings are left out, px.
        iou: a match needs a larger IoU.
        bootstrap_samples: resamples of the images for 95 % intervals.
        out: JSON: images, the scores of `sspipe.score.measures.summarize`, the settings and the two paths.
        out_images: Parquet, one row per image (`sspipe.score.outcome.image_table`), in the order of their names.
        out_buildings: Parquet, one row per building and proposal that counts (`building_table`).
        bytes_at_once: bytes of the files that are taken together.

    Raises:
        UserError: a setting is out of its range, or a file cannot be used: names the line and column.
    """
    _refuse_settings(iou, min_area, bootstrap_samples)
    truth, proposals, out = Path(truth), Path(proposals), Path(out)
    _refuse_outputs([truth, proposals], [Path(path) for path in (out, out_images, out_buildings) if path])
    tables, shared, repeated = [], 0, _Repeated()
    with _telling_of_disk(out), ExitStack() as stack:
        # Opened now: that nothing may be written there is told before the work and not after it.
        partial = stack.enter_context(whole_file(out))
        keep = stack.enter_context(_parquet_of_parts(out_buildings)) if out_buildings else None
        # Made even if it stays empty: making it removes what a killed run left.
        scratch = stack.enter_context(scratch_folder(out))
        parts = pairs_in_parts(truth, proposals, scratch, bytes_at_once, heights=keep is not None)
        for buildings, claims in parts:
            repeated.look(truth, buildings)
            repeated.look(proposals, claims)
            shared += len({*buildings["image_id"]} & {*claims["image_id"]})
            outcome = match_and_measure(buildings, claims, iou_threshold=iou, min_area_px=min_area)
            tables.append(image_table(outcome))
            if keep:
                keep(building_table(outcome, buildings, claims))
        images = pd.concat(tables, ignore_index=True).sort_values("image_id", ignore_index=True)
        if images.empty:
            raise UserError(f"{truth} and {proposals}: neither file has a row, so there is no image to score")
        summary = summarize(images, bootstrap_samples)
        if out_images:
            with whole_file(out_images) as images_partial:
                images.to_parquet(images_partial, index=False)
        content = {"images": summary.pop("tiles"), **summary, "bootstrap_over": "images"}
        content |= {"iou_threshold": iou, "min_area_px": min_area, "bootstrap_samples": bootstrap_samples}
        content |= {"truth": str(truth), "proposals": str(proposals)}
        partial.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n")
    repeated.warn()
    _warn_of_content(truth, proposals, content, shared)
    show(short_table(content))


def short_table(scores: dict[str, Any]) -> str:
    """What the command prints: counts, scores with their intervals, F1 by threshold."""
    buildings, found, proposals = scores["tp"] + scores["fn"], scores["tp"], scores["tp"] + scores["fp"]
    several = scores["bootstrap_units"] > 1
    interval = (
        f"95 % interval over {scores['bootstrap_units']} images" if several else "no interval: there is one image"
    )
    lines = [
        f"{scores['images']} images, buildings of {scores['min_area_px']:g} px or more, IoU over "
        f"{scores['iou_threshold']:g}",
        f"{buildings} buildings: {found} found (TP), {scores['fn']} missed (FN)",
        f"{proposals} proposals: {found} right (TP), {scores['fp']} wrong (FP)",
        "",
        f"{'':24}{'score':>7}   {interval}",
    ]
    for name, words in (
        ("f1", "F1"),
        ("precision", "precision"),
        ("recall", "recall"),
        ("f1_macro", "F1, mean of images"),
        ("matched_iou", "IoU of matched pairs"),
    ):
        low, high = scores["intervals"][name]
        bounds = "" if low is None else f"   {low:.4f} to {high:.4f}"
        value = "-" if scores[name] is None else f"{scores[name]:.4f}"
        lines.append(f"{words:24}{value:>7}{bounds}")
    at = scores["f1_at_iou"]
    lines += ["", "IoU over  " + "".join(f"{name:>7}" for name in at)]
    lines.append("F1        " + "".join(f"{value:7.3f}" for value in at.values()))
    return "\n".join(lines)


class _Repeated:
    """Buildings with the id of another one in their image, collected over all parts and told once for each file."""

    def __init__(self) -> None:
        self._found: dict[Path, tuple[int, pd.Series]] = {}

    def look(self, path: Path, table: pd.DataFrame) -> None:
        rows = repeated_ids(table)
        if len(rows):
            count, first = self._found.get(path, (0, rows.iloc[0]))
            self._found[path] = (count + len(rows), first)

    def warn(self) -> None:
        for path, (count, first) in self._found.items():
            warn_of_repeated_ids(path, count, first)


def _refuse_settings(iou: float, min_area: float, bootstrap_samples: int) -> None:
    if not 0 < iou < 1:
        raise UserError(f"--iou is {iou:g}; it must lie between 0 and 1, and the SpaceNet metric has 0.5")
    if not 0 <= min_area < math.inf:
        raise UserError(f"--min-area is {min_area:g}; it must be a number of square pixels, 0 or more")
    if bootstrap_samples < 1:
        raise UserError(f"--bootstrap-samples is {bootstrap_samples}; it must be 1 or more")


def _refuse_outputs(inputs: list[Path], outputs: list[Path]) -> None:
    taken = {path.resolve() for path in inputs}
    for path in outputs:
        if path.resolve() in taken:
            raise UserError(f"{path}: is an input or another output, and would be overwritten; name another output")
        taken.add(path.resolve())


def _warn_of_content(truth: Path, proposals: Path, scores: dict[str, Any], shared: int) -> None:
    """Tells what makes a score that is right, and yet no score of the proposals."""
    if not scores["tp"] + scores["fn"]:
        warn(f"{truth}: no building of {scores['min_area_px']:g} px or more, so every proposal is a false positive")
    if not scores["tp"] + scores["fp"]:
        warn(f"{proposals}: no proposal of more than {scores['min_area_px']:g} px, so every building is missed")
    if not shared:
        warn(f"{proposals}: no ImageId of it is in {truth}, so nothing can match; are both of the same tiles?")


@contextmanager
def _telling_of_disk(out: Path) -> Iterator[None]:
    """Turns a full disk and the like into a UserError; that an input cannot be read is told where it is read."""
    try:
        yield
    except OSError as error:
        raise UserError(
            f"{out}: it, the other outputs or the parts beside it cannot be written ({error}); free space, or name "
            "other outputs"
        ) from None


@contextmanager
def _parquet_of_parts(path: Path) -> Iterator[Callable[[pd.DataFrame], None]]:
    """Opens a Parquet file that tables are added to one after the other."""
    with whole_file(Path(path)) as partial, ExitStack() as stack:
        writer: pq.ParquetWriter | None = None

        def add(table: pd.DataFrame) -> None:
            nonlocal writer
            content = pa.Table.from_pandas(table, None if writer is None else writer.schema, preserve_index=False)
            if writer is None:
                writer = stack.enter_context(pq.ParquetWriter(partial, content.schema))
            writer.write_table(content)

        yield add
