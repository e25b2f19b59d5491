"""The cluster that the tests of this room share: `pytest.mark.xdist_group("slurm")` has one serve all of them."""

import fcntl
import tempfile
from pathlib import Path

import pytest

from tests.slurm.cluster import SlurmCluster, unusable


@pytest.fixture(scope="session")
def whole_cluster():
    """The running cluster, up for the session."""
    reason = unusable()
    if reason:
        pytest.skip(f"no Slurm here: {reason}")
    # One at a time on this machine, should another process (a second worker, another checkout) want one too.
    lock = Path(tempfile.gettempdir()) / "sspipe-tests-slurm.lock"
    # A short path: sockets are in it, and their names have 107 characters at most.
    with lock.open("a") as handle, tempfile.TemporaryDirectory(prefix="slurm-") as folder:
        fcntl.flock(handle, fcntl.LOCK_EX)
        cluster = SlurmCluster(Path(folder) / "c")
        try:
            yield cluster
        finally:
            cluster.stop()


@pytest.fixture()
def cluster(whole_cluster, monkeypatch):
    """The same, reached by this process and its children, and empty before and after."""
    for name, value in whole_cluster.environment.items():
        monkeypatch.setenv(name, value)
    yield whole_cluster
    whole_cluster.empty()
