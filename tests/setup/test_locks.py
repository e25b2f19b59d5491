"""The environments in envs/ say the same thing, and say it exactly."""

import re
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
ENVS = ROOT / "envs"


def requirements(name):
    lines = (line.split("#")[0].strip() for line in (ENVS / name).read_text().splitlines())
    return [Requirement(line) for line in lines if line and not line.startswith("-")]


def pins(name):
    return {canonicalize_name(each.name): str(each.specifier).removeprefix("==") for each in requirements(name)}


@pytest.mark.parametrize("name", ["pip.txt", "lock.txt", "lock-test.txt", "solaris.txt", "v100.txt"])
def test_lock_pins_every_package_to_one_version(name):
    assert requirements(name)
    for each in requirements(name):
        assert re.fullmatch(r"==[^,*]+", str(each.specifier)), f"{name}: {each} is not one version"


def test_lock_has_what_the_package_asks_for_within_its_bounds():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*map(Requirement, project["dependencies"]), *requirements("workflow.in")]
    locked = pins("lock.txt")
    for each in wanted:
        assert each.specifier.contains(locked[canonicalize_name(each.name)]), f"lock.txt does not meet {each}"


def test_lock_of_tools_has_what_the_tests_ask_for_and_repeats_nothing():
    tools, workflow = pins("lock-test.txt"), pins("lock.txt")
    for each in requirements("test.in"):
        locked = (tools | workflow)[canonicalize_name(each.name)]
        assert each.specifier.contains(locked), f"neither lock meets {each}"
    assert not tools.keys() & workflow.keys()


def test_conda_environment_has_the_lock_and_nothing_else():
    conda = yaml.safe_load((ENVS / "sspipe.yaml").read_text())["dependencies"]
    packages = conda[-1]["pip"]
    lock = [line for line in (ENVS / "lock.txt").read_text().splitlines() if not line.startswith("#")]
    assert packages == lock
    assert f"pip ={pins('pip.txt')['pip']}" in conda
    post_deploy = (ENVS / "sspipe.post-deploy.sh").read_text()
    assert f"--no-deps solaris=={pins('solaris.txt')['solaris']}" in post_deploy


def test_v100_differs_from_the_lock_in_the_build_of_torch_alone():
    assert pins("v100.txt") == {"torch": pins("lock.txt")["torch"] + "+cu126"}


def test_tests_run_with_the_locked_versions():
    for name, locked in (pins("lock.txt") | pins("lock-test.txt")).items():
        assert version(name).split("+")[0] == locked, f"{name} {version(name)} is installed, and {locked} is locked"
