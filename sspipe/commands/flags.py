"""The forms that flags come in."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

Parser = argparse.ArgumentParser
# Adds a sub-command: its name, its function as `module:name`, and what it does.
StageAdder = Callable[..., Parser]


def path(parser: Parser, flag: str, what: str, required: bool = True) -> None:
    """Adds a flag that takes a path."""
    parser.add_argument(flag, type=Path, required=required, help=what)


def paths(parser: Parser, flag: str, what: str) -> None:
    """Adds a flag that takes one path or more."""
    parser.add_argument(flag, type=Path, nargs="+", required=True, help=what)


def number(
    parser: Parser,
    flag: str,
    what: str,
    kind: type = float,
    required: bool = True,
    least: float | None = None,
    **more: Any,
) -> None:
    """Adds a flag that takes a number, `least` or more if that is given."""
    read = kind if least is None else _at_least(least, kind)
    parser.add_argument(flag, type=read, required=required, help=what, **more)


def numbers(parser: Parser, flag: str, what: str) -> None:
    """Adds a flag that takes one number or more."""
    parser.add_argument(flag, type=float, nargs="+", required=True, help=what)


def _at_least(least: float, kind: type) -> Callable[[str], float]:
    def read(text: str) -> float:
        value: float = kind(text)
        if not value >= least:  # as NaN is not
            raise argparse.ArgumentTypeError(f"must be {least:g} or more, not {text}")
        return value

    read.__name__ = kind.__name__  # which argparse tells of what is no number at all
    return read


def experiment_flags(parser: Parser) -> None:
    """Adds the flags that say which experiment is meant, as snakemake takes them."""
    path(parser, "--profile", "the profile that the night runs with, for example profiles/slurm", required=False)
    what = "configurations over config.yaml, as snakemake takes them (default: the profile's)"
    parser.add_argument("--configfile", type=Path, nargs="+", default=(), help=what)
    parser.add_argument(
        "--config",
        nargs="+",
        default=(),
        dest="config_values",
        metavar="KEY=VALUE",
        help="single values over those, as snakemake takes them",
    )
