"""Which results are older than the code that makes them: Snakemake's triggers see rules and files, not the package."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import sspipe

_PACKAGE = Path(sspipe.__file__).resolve().parent


@dataclass(frozen=True)
class Kind:
    """One kind of result.

    Attributes:
        name: for people.
        pattern: of its files in the experiment's folder.
        code: that makes it, in the package.
        remedy: how it is made anew.
    """

    name: str
    pattern: str
    code: tuple[str, ...]
    remedy: str


KINDS = (
    Kind("the catalog", "catalog.json", ("data",), "--forcerun index_tiles"),
    Kind("packed tiles", "pack/*/manifest.json", ("pack",), "--forcerun pack_tiles"),
    Kind(
        "trainings",
        "train/*/*/seed*/train.json",
        ("train", "models", "variants.py"),
        "delete the runs' folders in train/: a finished run is not trained again",
    ),
    Kind("predictions", "predict/*/*/seed*/probabilities.json", ("predict", "models"), "--forcerun predict_tiles"),
    Kind("scores", "score/*/*/seed*/scores.json", ("score",), "--forcerun score_polygons"),
    Kind("the report", "report/index.html", ("report",), "--forcerun compare_variants"),
)


@dataclass(frozen=True)
class Stale:
    """Results of one kind that are older than their code.

    Attributes:
        name: of the kind.
        count: of those that are older.
        of: how many there are.
        first: path of one of them.
        remedy: how they are made anew.
    """

    name: str
    count: int
    of: int
    first: str
    remedy: str


def stale_results(folder: Path, package: Path = _PACKAGE) -> list[Stale]:
    """Results in an experiment's folder that are older than the code that makes them.

    A training says which commit it was made by, and is held to that. Other results are held to the time at which their
    code last changed: of its last commit, or of a file that differs from it.
    """
    found = []
    for kind in KINDS:
        paths = sorted(folder.glob(kind.pattern))
        if not paths:
            continue
        changed = changed_at(package, kind.code)
        # Looked at once for each commit.
        same: dict[str, bool | None] = {}
        older = [path for path in paths if _is_older(path, package, kind.code, changed, same)]
        if older:
            found.append(Stale(kind.name, len(older), len(paths), str(older[0]), kind.remedy))
    return found


def changed_at(package: Path, code: Sequence[str]) -> float:
    """When this code last changed, in seconds since 1970."""
    committed = _git(package, "log", "-1", "--format=%ct", "--", *code)
    if committed is None or not committed.strip():
        return max(file.stat().st_mtime for name in code for file in _files(package / name))
    dirty = _git(package, "diff", "--name-only", "--relative", "HEAD", "--", *code) or ""
    edited = [(package / name).stat().st_mtime for name in dirty.split() if (package / name).exists()]
    return max([float(committed), *edited])


def _is_older(path: Path, package: Path, code: Sequence[str], changed: float, same: dict[str, bool | None]) -> bool:
    commit = _commit_of(path)
    if commit is not None:
        if commit not in same:
            differs = _git(package, "diff", "--name-only", commit, "--", *code)
            same[commit] = None if differs is None else not differs.strip()
        if same[commit] is not None:
            return not same[commit]
    return path.stat().st_mtime < changed


def _commit_of(path: Path) -> str | None:
    """The commit that a training was made by; None where none is recorded, or its code was not all committed."""
    if path.name != "train.json":
        return None
    try:
        commit = json.loads(path.read_text()).get("commit", "")
    except (OSError, json.JSONDecodeError):
        return None
    return commit if len(commit) == 40 else None


def _files(path: Path) -> list[Path]:
    return [path] if path.is_file() else sorted(path.rglob("*.py"))


def _git(package: Path, *arguments: str) -> str | None:
    """What git says; None if this is no repository of it, or has no git."""
    try:
        done = subprocess.run(
            ["git", "-C", str(package), *arguments], capture_output=True, text=True, timeout=30, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout
