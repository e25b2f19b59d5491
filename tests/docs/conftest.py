"""A reader's checkout: small, finished, and with the files that commands in the pages name."""

import gzip
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.docs.pages import ROOT, read_page
from tests.own_tiles import write_own_tiles


@dataclass
class Reader:
    """Somebody who types what the pages say, in a checkout of their own; each command once."""

    folder: Path
    typed: dict[str, subprocess.CompletedProcess] = field(default_factory=dict)

    def types(self, command: str) -> subprocess.CompletedProcess:
        if command not in self.typed:
            self._name_results()
            path = f"{self.folder}/.venv/bin:{os.environ['PATH']}"
            self.typed[command] = subprocess.run(
                ["bash", "-c", command], cwd=self.folder, env={**os.environ, "PATH": path},
                stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300,
            )  # fmt: skip
        return self.typed[command]

    def _name_results(self) -> None:
        """Before each command, since one of them is `make clean-demo`."""
        for name in ("demo", "spacenet6"):
            if not (self.folder / "results" / name).is_symlink():
                (self.folder / "results" / name).symlink_to("tiny")


@pytest.fixture(scope="session")
def reader(finished, tmp_path_factory):
    """The finished tiny run under the names that the pages use: every profile has the tiny experiment."""
    folder = tmp_path_factory.mktemp("reader") / "sspipe"
    subprocess.run(["cp", "-a", finished.folder, folder], check=True)
    for name in ("Makefile", "pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, folder)
    shutil.copytree(ROOT / "docs", folder / "docs", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(folder / "tiny.yaml", folder / "profiles/demo/experiment.yaml")
    for name in ("local", "slurm"):
        with (folder / f"profiles/{name}/config.yaml").open("a") as profile:
            profile.write("\nconfigfile: tiny.yaml\n")
    _add_files(folder)
    _add_environment(folder / ".venv")
    return Reader(folder)


def _add_files(folder: Path) -> None:
    """What placeholders in commands stand for."""
    table = gzip.decompress((ROOT / "tests/data/tile_geometry.csv.gz").read_bytes())
    for name in ("tile_geometry.csv", "TABLE.csv"):
        (folder / name).write_bytes(table)
    for name, sample in (("truth.csv", "SN2_sample_truth.csv"), ("proposals.csv", "SN2_sample_preds.csv")):
        shutil.copy(ROOT / "tests/data/solaris" / sample, folder / name)
    settings = next(block.text for block in read_page(ROOT / "docs/own_data.md").settings if "my_city" in block.text)
    (folder / "my_city.yaml").write_text(settings)
    own = write_own_tiles(folder / "my_city")
    (folder / "my_city/tiles.csv").write_text(own.table.read_text().replace("../", ""))


def _add_environment(venv: Path) -> None:
    """The environment that runs the tests, as `make` finds it when it is set up already."""
    venv.mkdir()
    for part in ("bin", "include", "lib", "pyvenv.cfg"):
        (venv / part).symlink_to(Path(sys.prefix) / part)
    for name in (".ready", ".ready-test"):
        (venv / name).touch()
