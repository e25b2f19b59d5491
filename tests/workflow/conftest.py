"""Checkouts for the tests of this room."""

import subprocess

import pytest

from tests.workflow.checkout import Checkout, copy_workflow


@pytest.fixture()
def changed(finished, tmp_path):
    """A copy of the finished run, to be edited; times of files are kept, as Snakemake goes by them."""
    subprocess.run(["cp", "-a", f"{finished.folder}/.", tmp_path], check=True)
    return Checkout(tmp_path)


@pytest.fixture()
def fresh(tmp_path):
    """The workflow's files alone."""
    return copy_workflow(tmp_path)
