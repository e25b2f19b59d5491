"""`python -m sspipe <stage> …`: one sub-command a stage, every path an explicit flag.

The same line works by hand, in a Snakemake rule, under Slurm and in a test. Stages are imported when they run: a
training job never waits for the raster libraries, nor a scoring job for torch.
"""

from __future__ import annotations

import argparse
import difflib
import importlib
import os
import select
import signal
import sys
import textwrap
import time
from collections.abc import Sequence
from typing import Any, TextIO

import sspipe
from sspipe.commands import data, operate, pack, predict, report, score, train
from sspipe.commands.flags import Parser
from sspipe.errors import UserError
from sspipe.log import duration, say

WIDTH = 100  # of the list of stages


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one stage.

    Returns:
        0 if it went well; 1 after a message if the input is at fault; 130 if interrupted; 141 if nobody reads what it
        prints any more (`… | head`); otherwise the stage's own.
    """
    try:
        try:
            return _run(arguments)
        finally:
            sys.stdout.flush()  # here, where it can be answered, and not when the interpreter ends
    except BrokenPipeError:
        if not _is_broken(sys.stdout):
            raise  # a connection's
        # What is left in the buffer goes nowhere, rather than into a complaint at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE


def _run(arguments: Sequence[str] | None) -> int:
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


def _is_broken(stream: TextIO) -> bool:
    """Whether nobody can read any more what is written there."""
    looked = select.poll()
    looked.register(stream.fileno(), 0)
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in looked.poll(0))


def parsed(arguments: Sequence[str] | None = None) -> tuple[str, dict[str, Any], str, bool]:
    """The stage's function (`module:name`), its arguments, its name, and whether it says nothing of its own."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    parser, stages = build_parser()
    if words and not words[0].startswith("-") and words[0] not in stages:
        close = difflib.get_close_matches(words[0], stages, n=1)
        hint = f"did you mean `{close[0]}`?" if close else "python -m sspipe --help lists them"
        parser.error(f"there is no stage `{words[0]}`; {hint}")
    options = vars(parser.parse_args(words))
    return options.pop("stage"), options, options.pop("command_name"), options.pop("quiet")


def build_parser() -> tuple[Parser, dict[str, Parser]]:
    """The parser of the command line, and that of each stage by its name."""
    parser = Parser(prog="python -m sspipe", formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--version", action="version", version=sspipe.__version__)
    adder = parser.add_subparsers(title="stages", required=True, metavar="STAGE", help="one of those below")
    stages: dict[str, Parser] = {}
    listed: list[str] = []

    def stage(name: str, function: str, what: str, details: str = "", quiet: bool = False) -> Parser:
        listed.append(_entry(name, what))
        stages[name] = adder.add_parser(name, description=f"{what}. {details}" if details else what)
        stages[name].set_defaults(stage=f"sspipe.{function}", command_name=name, quiet=quiet)
        return stages[name]

    for room in (operate, data, pack, train, predict, score, report):
        listed.append(f"\n{(room.__doc__ or '').splitlines()[0]}")
        room.add(stage)
    parser.description = textwrap.fill(sspipe.__doc__ or "", WIDTH)
    parser.epilog = "\n".join([*listed, "", "python -m sspipe STAGE --help lists the flags of a stage."])
    return parser, stages


def _entry(name: str, what: str) -> str:
    """One stage in the list of them: its name in a column of its own."""
    return textwrap.fill(what, WIDTH, initial_indent=f"  {name:<22} ", subsequent_indent=" " * 25)
