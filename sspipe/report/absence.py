"""Runs that the configuration asks for and that have no scores: which they are, and what is known of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sspipe.report.links import relative
from sspipe.report.results import Results, ordered_splits, role_of


@dataclass(frozen=True)
class Absent:
    """A run that the configuration asks for and that has no scores.

    Attributes:
        split: of the run.
        variant: of the run.
        seed: of the run.
        title: of the variant.
        role: of the variant, `results.role_of`.
        state: where it is, for example `failed`; empty if that is not known.
        detail: why, where there is something to say.
        log: path of its log, relative to the page; empty if there is none.
    """

    split: str
    variant: str
    seed: int
    title: str
    role: str
    state: str = ""
    detail: str = ""
    log: str = ""

    @property
    def name(self) -> str:
        """As folders have it."""
        return f"{self.split}/{self.variant}/seed{self.seed}"


@dataclass(frozen=True)
class Unfinished:
    """What is told of an experiment that still runs, or whose runs failed.

    Attributes:
        as_of: when it was looked at, in words.
        states: state, detail and log of each run that has no scores, by split, variant and seed.
    """

    as_of: str
    states: Mapping[tuple[str, str, int], tuple[str, str, Path | None]]


def absent_runs(results: Results, unfinished: Unfinished | None, page: Path) -> list[Absent]:
    """Lists the runs that the configuration asks for and the scores lack, in the order of the configuration.

    Args:
        results: of the experiment.
        unfinished: what is known of them, if anything is.
        page: the page that the paths of logs are relative to.
    """
    config = results.config
    have = set(zip(results.runs["split"], results.runs["variant"], results.runs["seed"], strict=True))
    states = unfinished.states if unfinished else {}
    absent = []
    for split in ordered_splits(config):
        for variant in config.variants_of(split):
            settings = config.variants[variant]
            for seed in config.seeds:
                if (split, variant, seed) in have:
                    continue
                state, detail, log = states.get((split, variant, seed), ("", "", None))
                title, role = settings.title or variant, role_of(settings)
                path = relative(log, page) if log else ""
                absent.append(Absent(split, variant, seed, title, role, state, detail, path))
    return absent
