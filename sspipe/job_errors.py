"""What is said of a job that failed, the moment it does: the rule, the path of its log, and how that ends.

Snakemake's own words for it go with its lines on every job, which hundreds of jobs make nobody read: `quiet: rules`
hides both. And its `show-failed-logs` prints whole logs, of a training every epoch. rules/common.smk calls this.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

_LINES, _BYTES = 15, 16384


class FailureTeller(logging.Handler):
    """Has a logger of Snakemake's say, of each job that failed, what `failure` gives.

    Args:
        logger: that failures are told to, and that says it.
    """

    def __init__(self, logger: logging.Logger) -> None:
        super().__init__(logging.ERROR)
        self._logger = logger

    def emit(self, record: logging.LogRecord) -> None:
        """Says it, if the record is of a job's failure."""
        # The values of snakemake_interface_logger_plugins.common.LogEvent are their names.
        if getattr(getattr(record, "event", None), "name", None) == "JOB_ERROR":
            told = failure(record.rule_name, record.rule_msg, [Path(log) for log in record.log])  # type: ignore[attr-defined]
            self._logger.error(told)


def failure(rule: str, message: str | None, logs: Sequence[Path]) -> str:
    """What is said of a job that failed.

    Args:
        rule: its name.
        message: the executor's word, if it has one.
        logs: the rule's, then the executor's.
    """
    told = [f"Error in rule {rule}" + (f": {message}" if message else "")]
    for log in logs:
        lines = _end(log)
        told.append(f"  {log}" + (" ends with" if lines else ": nothing is written there"))
        told += [f"    {line}" for line in lines]
        if lines:
            break  # what the rule says itself tells more than what its job says
    return "\n".join(told)


def _end(log: Path) -> list[str]:
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - _BYTES))
            return file.read().decode(errors="replace").splitlines()[-_LINES:]
    except OSError:  # never written, or on another machine's disk
        return []
