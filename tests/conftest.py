"""What all tests share: fixtures of several rooms, and the rule that nothing is skipped unseen."""

import os
import signal

import hypothesis
import pytest

from tests.packed_tiles import packed
from tests.report.browser import browser
from tests.s3.store import store
from tests.workflow.checkout import finished

__all__ = ["browser", "finished", "packed", "store"]

# Two workers share two cores: each test process computes on one, or they slow each other down many times over.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# A shell has its background jobs ignore these, whatever they start would ignore them too, and tests send them.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)

# A loaded machine is slow, not wrong.
hypothesis.settings.register_profile("sspipe", deadline=None)
hypothesis.settings.load_profile("sspipe")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """In CI a test that is skipped because something is missing on the machine is a failure."""
    outcome = yield
    report = outcome.get_result()
    if report.skipped and os.environ.get("CI") and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped, which CI does not allow: {report.longrepr[-1]}"
