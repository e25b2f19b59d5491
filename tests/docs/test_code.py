"""docs/code.md says how rooms depend on each other; the code does as it says."""

import ast
import re

import pytest

from tests.docs.pages import ROOT

PAGE = (ROOT / "docs/code.md").read_text()
ROOMS = re.search(r"Of ([\w, ]+) and (\w+) each may import what stands after it", " ".join(PAGE.split()))
ORDER = [*ROOMS[1].split(", "), ROOMS[2]]


def imported_rooms(path):
    """Rooms that a module imports from, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        found |= {name.split(".")[1] for name in names if name.startswith("sspipe.") and name.split(".")[1] in ORDER}
    return found


def test_the_page_lists_every_room():
    packages = {path.parent.name for path in (ROOT / "sspipe").glob("*/__init__.py")}
    assert packages - {"commands"} == set(ORDER)
    assert all(f"`sspipe/{room}/`" in PAGE for room in ORDER)


@pytest.mark.parametrize("room", ORDER)
def test_a_room_imports_only_what_stands_after_it(room):
    allowed = set(ORDER[ORDER.index(room) :])
    for path in sorted((ROOT / "sspipe" / room).rglob("*.py")):
        assert imported_rooms(path) <= allowed, path


def test_rules_and_packages_are_the_same_rooms():
    rules = {path.stem for path in (ROOT / "rules").glob("*.smk")}
    assert rules - {"common", "targets", "maps"} <= set(ORDER)
