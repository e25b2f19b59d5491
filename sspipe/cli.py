"""`python -m sspipe <stage> …`: one sub-command a stage, every path an explicit flag.

The same line works by hand, in a Snakemake rule, under Slurm and in a test. Stages are imported when they run: a
training job never waits for the raster libraries, nor a scoring job for torch.
"""

from __future__ import annotations

import importlib
import sys
import time
from collections.abc import Sequence
from typing import Any

import sspipe
from sspipe.commands import data, operate, pack, predict, report, score, train
from sspipe.commands.flags import Parser
from sspipe.errors import UserError
from sspipe.log import duration, say


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

    for room in (data, pack, train, predict, score, report, operate):
        room.add(stage)
    return parser
