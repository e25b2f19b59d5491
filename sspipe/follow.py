"""Shows the progress lines of running jobs: what their logs say, as they say it."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

_POLL_S = 0.5


def follow(*, logs: Path, command: Sequence[str]) -> int:
    """Runs `command` and prints every new line of the logs below `logs` while it runs.

    Rules send their output to one log each, so that parallel jobs do not write into each other's lines; this brings
    them together again on the terminal. Without a command it follows until interrupted.

    Args:
        logs: folder of log files, which may appear later.
        command: program and arguments. An interrupt reaches it too, and it decides how to end.

    Returns:
        The command's exit status.
    """
    reader = LogReader(logs)
    if not command:
        try:
            while True:
                reader.show()
                time.sleep(_POLL_S)
        except KeyboardInterrupt:
            return 0

    process = subprocess.Popen(command)

    def pass_on(number: int, frame: FrameType | None) -> None:
        process.send_signal(number)

    # Ctrl-C reaches the child by itself, as it shares the terminal's process group: here it is only survived.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, pass_on)
    signal.signal(signal.SIGHUP, pass_on)
    while process.poll() is None:
        reader.show()
        time.sleep(_POLL_S)
    reader.show()
    return process.returncode if process.returncode >= 0 else 128 - process.returncode


class LogReader:
    """Remembers how far each log was read, so that each line is shown once, and lines from before never."""

    def __init__(self, logs: Path) -> None:
        self._logs = logs
        self._read = {path: path.stat().st_size for path in self._paths()}

    def show(self) -> None:
        """Prints the whole lines that were added since the last call."""
        for path in self._paths():
            for line in self._new_lines(path):
                print(f"  {self._job(path)}: {line}", flush=True)
        sys.stdout.flush()

    def _paths(self) -> list[Path]:
        return sorted(self._logs.rglob("*.log"))

    def _job(self, path: Path) -> str:
        return path.relative_to(self._logs).parts[0].removesuffix(".log")

    def _new_lines(self, path: Path) -> list[str]:
        begin = self._read.get(path, 0)
        size = path.stat().st_size
        if size < begin:  # a rule that runs again writes its log anew
            begin = 0
        if size == begin:
            return []
        with path.open("rb") as log:
            log.seek(begin)
            text = log.read()
        end = text.rfind(b"\n") + 1  # a half-written line waits
        self._read[path] = begin + end
        return text[:end].decode(errors="replace").splitlines()
