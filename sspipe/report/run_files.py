"""Where the files of runs lie, by the runs' names.

A command line that names each file of hundreds of runs is longer than what a shell takes (128 KiB on Linux); the names
of the runs and the experiment's folder say as much.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class RunFiles:
    """The files of some runs of one experiment; each property lists one kind in the order of `names`.

    Attributes:
        root: `results/{experiment}`.
        names: `{split}/{variant}/seed{seed}` of each run.
    """

    root: Path
    names: Sequence[str]

    @property
    def trains(self) -> list[Path]:
        """train.json; metrics.jsonl and model.safetensors lie beside each."""
        return [self.root / "train" / name / "train.json" for name in self.names]

    @property
    def scores(self) -> list[Path]:
        """scores.json; tiles.parquet, buildings.parquet and reliability.csv lie beside each."""
        return [self.root / "score" / name / "scores.json" for name in self.names]

    @property
    def polygons(self) -> list[Path]:
        """polygons.parquet; probabilities.json lies beside each."""
        return [self.root / "predict" / name / "polygons.parquet" for name in self.names]

    @property
    def tunings(self) -> list[Path]:
        """polygons.json: how footprints are made."""
        return [self.root / "predict" / name / "polygons.json" for name in self.names]

    @property
    def looks(self) -> list[Path]:
        """looks.json of the run's map."""
        return [self.root / "maps" / f"{name}.looks.json" for name in self.names]
