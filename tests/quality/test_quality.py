"""Style, types and the workflow's own linter: the same commands as by hand, from the repository's root."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

CHECKS = {
    "ruff finds nothing to complain about": "ruff check .",
    "ruff finds every file laid out": "ruff format --check .",
    "mypy finds the types in order": "mypy",
    "snakefmt finds every rule laid out": "snakefmt --check Snakefile rules",
    "snakemake finds the workflow in good condition": "snakemake --lint",
    "snakemake finds the demo in good condition": "snakemake --profile profiles/demo --lint",
}


@pytest.mark.parametrize("command", CHECKS.values(), ids=CHECKS)
def test_check_is_clean(command):
    done = subprocess.run([sys.executable, "-m", *command.split()], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
