"""Finished experiments, invented, and their reports: built once for all tests of the report."""

from __future__ import annotations

import pytest

from sspipe.report.page import compare_variants
from tests.report.fake_results import FakeResults, make_fake_results


@pytest.fixture(scope="session")
def report(tmp_path_factory) -> FakeResults:
    """The report of a synthetic experiment: two splits, five variants, two seeds."""
    fake = make_fake_results(tmp_path_factory.mktemp("experiment"), tiles=18)
    compare_variants(**fake.arguments)
    return fake


@pytest.fixture(scope="session")
def lone_report(tmp_path_factory) -> FakeResults:
    """The report of real data, as far as it knows: one variant, one seed, one split trained."""
    root = tmp_path_factory.mktemp("lone")
    fake = make_fake_results(
        root, seeds=(0,), variants=("ss_rsc_shared",), random_variants=(), synthetic=False, panels=1
    )
    compare_variants(**fake.arguments)
    return fake
