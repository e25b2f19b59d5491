"""Links from the page to what each run has written: relative, so that they work in a folder opened from disk."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from sspipe.report.records import read_record

# What a stage writes: the file that the page is given, and what lies beside it; words of each link.
OF_TRAINING = {
    "train.log": "log",
    "train.json": "config",
    "metrics.jsonl": "epochs",
    "model.safetensors": "weights",
}
OF_SCORES = {
    "scores.json": "scores",
    "tiles.parquet": "scores by tile",
    "buildings.parquet": "scores by building",
    "solaris.json": "check by solaris",
}
OF_PREDICTION = {
    "polygons.gpkg": "footprints (GPKG)",
    "polygons.parquet": "footprints (Parquet)",
    "submission.csv": "footprints (CSV)",
    "probabilities.npy": "probabilities",
}
RunKey = tuple[str, str, int]


class Link(NamedTuple):
    """One link.

    Attributes:
        words: what it shows.
        href: where it leads, seen from the page.
    """

    words: str
    href: str


class RunLinks(NamedTuple):
    """What one run has written, as far as it is there.

    Attributes:
        seed: of the run.
        links: log, config and files.
    """

    seed: int
    links: list[Link]


def run_links(
    page: Path,
    trains: Sequence[Path],
    scores: Sequence[Path],
    polygons: Sequence[Path],
    looks: Sequence[Path],
) -> dict[tuple[str, str], list[RunLinks]]:
    """Finds the files of every run.

    Args:
        page: the page that links to them.
        trains: train.json of each run.
        scores: scores.json of each run.
        polygons: polygons.parquet of each run; probabilities.json lies beside each.
        looks: looks.json of each run's map.

    Returns:
        (split, variant) -> its runs, by seed.

    Raises:
        UserError: a file is missing or does not say of which run it is.
    """
    found: dict[RunKey, list[Link]] = {}
    for paths, names in ((trains, OF_TRAINING), (scores, OF_SCORES), (polygons, OF_PREDICTION)):
        for path in paths:
            files = {Path(path).with_name(name): words for name, words in names.items()}
            found.setdefault(_key(path), []).extend(_links(page, files))
    for path in looks:
        stem = Path(path).name.removesuffix(".looks.json")
        files = {
            Path(path).with_name(f"{stem}.tif"): "map (GeoTIFF)",
            Path(path).with_name(f"{stem}.footprints.gpkg"): "map footprints (GPKG)",
        }
        found.setdefault(_key(path), []).extend(_links(page, files))
    runs: dict[tuple[str, str], list[RunLinks]] = {}
    for (split, variant, seed), links in sorted(found.items()):
        runs.setdefault((split, variant), []).append(RunLinks(seed, links))
    return runs


def relative(path: Path, page: Path) -> str:
    """The address of a file as a link of a page has it."""
    return quote(os.path.relpath(path, Path(page).parent).replace(os.sep, "/"))


def _links(page: Path, files: Mapping[Path, str]) -> Iterable[Link]:
    return [Link(words, relative(path, page)) for path, words in files.items() if path.is_file()]


def _key(path: Path) -> RunKey:
    path = Path(path)
    file = path.with_name("probabilities.json") if path.name == "polygons.parquet" else path.with_suffix(".json")
    record = read_record(file, ("split", "variant", "seed"))
    return record["split"], record["variant"], record["seed"]
