"""The workflow on a tiny city: a checkout of its own, and one run to the end that tests of several rooms look at."""

import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

REPOSITORY = Path(__file__).parents[2]


@dataclass
class Checkout:
    """A copy of the workflow's files, in which Snakemake runs as a user runs it."""

    folder: Path
    overlay: str = "tiny.yaml"  # laid over config.yaml; the experiment has its name

    @property
    def results(self) -> Path:
        return self.folder / "results" / Path(self.overlay).stem

    def snakemake(self, *arguments: str) -> subprocess.CompletedProcess:
        command = [sys.executable, "-m", "snakemake", "--configfile", self.overlay, "--cores", "2"]
        triggers = ["--rerun-triggers", "mtime", "params", "input"]
        return subprocess.run(
            [*command, *arguments, *triggers], cwd=self.folder, capture_output=True, text=True, timeout=900
        )

    def planned(self, *arguments: str) -> dict[str, int]:
        """How often each rule would run."""
        done = self.snakemake("-n", *arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        table = re.search(r"-{5,} +-{5,}\n(.*?)\ntotal", done.stdout, re.DOTALL)
        rows = [line.split() for line in table[1].splitlines()] if table else []
        return {rule: int(count) for rule, count in rows}

    def edit(self, change) -> None:
        """Changes the overlay as a user would in an editor."""
        path = self.folder / self.overlay
        content = yaml.safe_load(path.read_text())
        change(content)
        path.write_text(yaml.safe_dump(content))


def copy_workflow(folder: Path, overlay: str = "tiny.yaml") -> Checkout:
    for name in ("rules", "profiles", "envs"):
        shutil.copytree(REPOSITORY / name, folder / name)
    for name in ("Snakefile", "config.yaml", f"tests/workflow/{overlay}"):
        shutil.copy(REPOSITORY / name, folder)
    return Checkout(folder, overlay)


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """The checkout after `snakemake all`; tests that change it make their own copy."""
    checkout = copy_workflow(tmp_path_factory.mktemp("checkout"))
    done = checkout.snakemake("all")
    logs = "".join(f"\n== {log}\n{log.read_text()}" for log in checkout.results.rglob("logs/**/*.log"))
    assert done.returncode == 0, done.stdout + done.stderr + logs
    return checkout
