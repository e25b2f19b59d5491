"""The tools of the tests themselves."""

import subprocess
import sys

GROUP = """
import os, pathlib, pytest

@pytest.mark.xdist_group("shared")
@pytest.mark.parametrize("number", range(8))
def test_of_a_group(number):
    pathlib.Path(__file__).with_name(os.environ["PYTEST_XDIST_WORKER"]).touch()

@pytest.mark.parametrize("number", range(8))
def test_of_none(number):
    pass
"""


def test_tests_of_one_group_stay_in_one_worker(tmp_path):
    """Otherwise one cluster, one store and one finished workflow would be set up by each of them."""
    (tmp_path / "test_group.py").write_text(GROUP)
    options = ["-n", "2", "--dist", "loadgroup", "-p", "no:cacheprovider", "-q"]
    run = [sys.executable, "-m", "pytest", *options, f"--rootdir={tmp_path}", str(tmp_path)]
    done = subprocess.run(run, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert len(list(tmp_path.glob("gw*"))) == 1
