"""Other people's daemons for tests: started in the foreground, and gone with the process that started them."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path

# For a machine that is much slower than any seen.
START_LIMIT_S = 120
_END_LIMIT_S = 60
_LAST_WORDS = 1500


class Daemons:
    """Those of one service.

    Args:
        log: folder that each writes into.
        environment: laid over `os.environ`.
    """

    def __init__(self, log: Path, environment: Mapping[str, str]) -> None:
        self._log, self._environment = log, environment
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def spawn(self, name: str, *command: str) -> None:
        """Starts one, to be ended by the kernel should the tests be killed: nothing of it is left behind."""
        with (self._log / f"{name}.out").open("ab") as output:
            self._processes[name] = subprocess.Popen(
                ("setpriv", "--pdeathsig", "KILL", "--", *command),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**os.environ, **self._environment},
                start_new_session=True,
            )

    def runs(self, name: str) -> bool:
        """Whether it was started and has not ended."""
        return name in self._processes and self._processes[name].poll() is None

    def end(self, name: str, how: int = signal.SIGTERM) -> None:
        """Ends one, also one that stands still; by force if it does not listen."""
        process = self._processes.pop(name)
        process.send_signal(how)
        process.send_signal(signal.SIGCONT)
        try:
            process.wait(_END_LIMIT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(_END_LIMIT_S)

    def send(self, name: str, number: int) -> None:
        """Sends one a signal."""
        self._processes[name].send_signal(number)

    def names(self) -> list[str]:
        """Those that were started and not ended from here, the last one first."""
        return list(reversed(self._processes))

    def wait_for(self, what: str, ready: Callable[[], bool]) -> None:
        """Waits until something is ready.

        Raises:
            RuntimeError: a daemon has ended meanwhile, or it takes too long; with the last words of all.
        """
        limit = time.monotonic() + START_LIMIT_S
        while not ready():
            ended = [name for name in self._processes if not self.runs(name)]
            if ended or time.monotonic() > limit:
                raise RuntimeError(f"{what} is waited for in vain (ended: {ended})\n{self.last_words()}")
            time.sleep(0.1)

    def last_words(self) -> str:
        """The end of every log."""
        texts = {path.name: path.read_text(errors="replace") for path in self._log.iterdir()}
        return "\n".join(f"{name}:\n{text[-_LAST_WORDS:]}" for name, text in sorted(texts.items()) if text)
