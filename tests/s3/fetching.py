"""Runs `fetch-archive` as a user does, through a proxy that tests can make a bad network of."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from tests.s3.proxy import Proxy
from tests.s3.store import PUBLIC, environment

LIMIT_S = 120


class Fetch:
    """`python -m sspipe fetch-archive` of one object, from the public bucket, through a proxy."""

    def __init__(self, store, scheme, folder):
        self._store = store
        self._scheme = scheme
        self.proxy = Proxy(getattr(store.server, scheme))
        self.out = folder / f"{scheme}" / "archive.tar.gz"
        self.log = folder / f"{scheme}.log"

    def start(self, stored, *, prefix=(), by_url=False, **changes):
        settings = {"source": "s3", "endpoint-url": self.proxy.url, "bucket": PUBLIC, "key": stored.key}
        if by_url:
            settings = {"source": "url", "url": f"{self.proxy.url}/{PUBLIC}/{stored.key}"}
        if self._scheme == "https":
            settings["ca-bundle"] = self._store.server.ca_bundle
        settings |= {"size-bytes": len(stored.content), "sha256": stored.sha256, "out": self.out}
        settings |= {key.replace("_", "-"): value for key, value in changes.items()}
        flags = [str(word) for key, value in settings.items() if value is not None for word in (f"--{key}", value)]
        with self.log.open("w") as log:
            command = [*prefix, sys.executable, "-m", "sspipe", "fetch-archive", *flags]
            return subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=environment())

    def run(self, stored, **changes):
        """Runs it to its end; returns the exit status and what it said."""
        return self.end(self.start(stored, **changes))

    def end(self, process):
        try:
            status = process.wait(LIMIT_S)
        finally:
            process.kill()
        return status, self.log.read_text()

    def succeed(self, stored, **changes):
        status, said = self.run(stored, **changes)
        assert status == 0, said
        self.check(stored)
        return said

    def check(self, stored):
        assert self.out.read_bytes() == stored.content
        assert self.left() == [self.out.name]

    def refused(self, stored, **changes):
        """What it said when it failed as it should, with nothing under the final name."""
        status, said = self.run(stored, **changes)
        assert status == 1, said
        assert "sspipe fetch-archive: error: " in said and "Traceback" not in said
        assert not self.out.exists()
        return said

    def left(self):
        return sorted(path.name for path in self.out.parent.iterdir())

    def start_and_hold(self, fraction, stored, **changes):
        """Starts it, and holds the network when so much of the object has come, however fast machine and store are.

        It goes on with `proxy.release()`.
        """
        self.proxy.hold_at = self.proxy.passed + int(fraction * len(stored.content))
        process = self.start(stored, **changes)
        assert self.proxy.wait_until_held(LIMIT_S, lambda: process.poll() is None), self.log.read_text()
        return process

    def kill_at(self, fraction, stored, how=signal.SIGKILL, **changes):
        """Starts it, and sends the signal when so much of the object has come; returns the exit status."""
        process = self.start_and_hold(fraction, stored, **changes)
        process.send_signal(how)
        status = process.wait(LIMIT_S)
        self.proxy.release()
        assert not self.out.exists()
        return status

    def refetched(self, stored):
        """Share of the object that came more than once; the protocols' own bytes count too."""
        return self.proxy.passed / len(stored.content) - 1


@pytest.fixture
def fetches(store, tmp_path):
    """Makes a Fetch over http or https."""
    made = []

    def make(scheme):
        made.append(Fetch(store, scheme, tmp_path))
        return made[-1]

    yield make
    for fetch in made:
        fetch.proxy.close()
