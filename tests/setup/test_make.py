"""The newcomer's way in: make, and the papers that go with the code."""

import re
import subprocess
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]


def test_help_is_the_default_and_lists_every_target():
    makefile = (ROOT / "Makefile").read_text()
    targets = re.search(r"\.PHONY: (.*)", makefile)[1].split()
    quiet = ["make", "--no-print-directory"]  # which it says when `make test` runs this
    done = subprocess.run(quiet, cwd=ROOT, capture_output=True, text=True, check=True)
    listed = [line.split()[1] for line in done.stdout.splitlines()]
    assert listed == targets


def test_python_outside_the_supported_versions_is_refused_with_what_to_install(tmp_path):
    """A PATH whose only pythons are too old."""
    for name in ("python3", "python3.11", "python3.12"):
        (tmp_path / name).write_text("#!/bin/sh\nexit 1\n")
        (tmp_path / name).chmod(0o755)
    run = ["/bin/sh", str(ROOT / "envs" / "setup.sh"), str(tmp_path / "venv")]
    done = subprocess.run(run, env={"PATH": f"{tmp_path}:/usr/bin:/bin"}, capture_output=True, text=True)
    assert done.returncode != 0
    assert "Python 3.11 or 3.12 is needed" in done.stderr
    assert not (tmp_path / "venv").exists()


def test_setup_script_is_valid_for_a_plain_shell():
    subprocess.run(["/bin/sh", "-n", str(ROOT / "envs" / "setup.sh")], check=True)


def test_citation_names_the_paper_as_the_source_of_the_method_and_our_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["references"][0]["title"].startswith("Shared-Space Autoencoders with Randomized Skip Connections")
    told = subprocess.run(
        [sys.executable, "-c", "import sspipe; print(sspipe.__version__)"], capture_output=True, text=True, check=True
    )
    assert citation["version"] == told.stdout.strip()
    assert citation["license"] == "Apache-2.0"


def test_a_second_demo_in_the_same_folder_is_refused_while_one_runs():
    (ROOT / "results").mkdir(exist_ok=True)
    make = ["make", "-o", "setup", "demo"]  # what is installed is not this test's matter
    held = ["flock", "--nonblock", "--conflict-exit-code", "75", "results/.demo.lock", *make]
    done = subprocess.run(held, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode != 0
    assert "another one is running" in done.stdout or done.returncode == 75  # 75: a demo runs beside this test
