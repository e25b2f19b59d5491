"""Write envs/lock.txt, envs/lock-test.txt and envs/sspipe.yaml from pyproject.toml, workflow.in and test.in.

Run it by `make relock`, under Python 3.11: what is newest there runs on both Pythons.
pip does the resolving (`--dry-run --report`); nothing is installed.
"""

import json
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

ENVS = Path(__file__).parent
# torch pins these itself, and differently for CPU, CUDA 12.6 and CUDA 13 builds.
LEFT_TO_TORCH = ("nvidia-", "cuda-", "triton")


def main() -> None:
    """Resolve twice (workflow alone, then with the tools on top) and write the three files."""
    if sys.version_info[:2] != (3, 11):
        sys.exit("relock: run it with Python 3.11, the older of the two supported versions")
    project = tomllib.loads((ENVS.parent / "pyproject.toml").read_text())["project"]
    workflow = resolve([*project["dependencies"], *requirements(ENVS / "workflow.in")])
    everything = resolve(
        [*(f"{name}=={version}" for name, version in workflow.items()), *requirements(ENVS / "test.in")]
    )
    tools = {name: version for name, version in everything.items() if name not in workflow}

    write_lock(ENVS / "lock.txt", workflow, "the workflow")
    write_lock(ENVS / "lock-test.txt", tools, "the tests' tools, on top of lock.txt")
    write_conda(ENVS / "sspipe.yaml", workflow)


def requirements(path: Path) -> list[str]:
    """The requirements of a .in file, comments removed."""
    lines = (line.split("#")[0].strip() for line in path.read_text().splitlines())
    return [line for line in lines if line]


def resolve(wanted: list[str]) -> dict[str, str]:
    """Ask pip which versions meet `wanted`; name -> version, sorted by name."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        pip = [sys.executable, "-m", "pip", "install", "-qq", "--dry-run", "--ignore-installed"]
        subprocess.run([*pip, "--report", str(report), *wanted], check=True)
        found = [item["metadata"] for item in json.loads(report.read_text())["install"]]
    versions = {item["name"]: item["version"].split("+")[0] for item in found}
    kept = {name: version for name, version in versions.items() if not name.lower().startswith(LEFT_TO_TORCH)}
    return dict(sorted(kept.items(), key=lambda item: item[0].lower()))


def write_lock(path: Path, versions: dict[str, str], what: str) -> None:
    """Write a requirements file that pins every version."""
    head = [f"# Exact versions for {what}. Written by `make relock`; change the .in files or pyproject.toml instead."]
    path.write_text("\n".join(head + [f"{name}=={version}" for name, version in versions.items()]) + "\n")


def write_conda(path: Path, versions: dict[str, str]) -> None:
    """Write the conda environment. Self-contained, because Snakemake copies this one file away before it is used."""
    head = [
        "# The same versions as lock.txt, as a conda environment. Written by `make relock`; do not edit.",
        "# Python and pip come from conda, the rest from the Python package index, so that laptop and cluster run the",
        "# same builds; sspipe.post-deploy.sh adds solaris.",
        "channels:",
        "  - conda-forge",
        "  - nodefaults",
        "dependencies:",
        "  - python =3.11",
        # Its command-line tools make the maps, in processes of their own; rasterio has its own library.
        "  - gdal >=3.6",
        *(f"  - {line.replace('==', ' =')}" for line in requirements(ENVS / "pip.txt")),
        "  - pip:",
    ]
    path.write_text("\n".join(head + [f"      - {name}=={version}" for name, version in versions.items()]) + "\n")


if __name__ == "__main__":
    main()
