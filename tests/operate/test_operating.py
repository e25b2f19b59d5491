"""docs/operating.md says what the code says."""

import ast
import re
from pathlib import Path

import pytest

from sspipe.cli import main
from sspipe.operate.runs import STATES

ROOT = Path(__file__).parents[2]
DOC = (ROOT / "docs/operating.md").read_text()
FAILURES = DOC[DOC.index("## When something fails") :]


def texts_of_the_code() -> str:
    """Every text in the package, with `…` for what is put in while it runs."""
    texts = []
    for path in sorted((ROOT / "sspipe").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.JoinedStr):
                texts.append(
                    "".join(str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values)
                )
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                texts.append(node.value)
    return "\n".join(texts)


def errors_of(path: Path) -> list[str]:
    """The text of each UserError that a module raises, with `…` for what is put in."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "UserError" and node.args:
            (text,) = node.args
            if isinstance(text, ast.JoinedStr):
                found.append("".join(str(p.value) if isinstance(p, ast.Constant) else "…" for p in text.values))
            elif isinstance(text, ast.Constant):
                found.append(str(text.value))
    return found


CODE = texts_of_the_code()
# What an operator meets: commands, launcher, and what both stand on.
OPERATING = [
    *sorted((ROOT / "sspipe/operate").glob("*.py")),
    *(ROOT / f"sspipe/{name}.py" for name in ("slurm", "session", "job_errors", "follow")),
    *(ROOT / f"sspipe/train/{name}.py" for name in ("launch", "follower", "watch", "endings", "submission", "lock")),
]
# Of the rules, which write the command line; no person sees it.
INTERNAL = ("launch: what follows `--` must be the stage train",)
MESSAGES = [
    message
    for line in FAILURES.splitlines()
    if line.startswith("| ") and not line.startswith(("| message", "| seen"))
    for message in re.findall(r"`([^`]+)`", line.split("|")[1])
]


@pytest.mark.parametrize("message", MESSAGES)
def test_a_message_that_the_page_explains_is_one_that_the_code_gives(message):
    # Numbers and names stand for what is put in; what is between them must be the code's own words.
    varying = (
        r"…|set-resources\.train|slurm_\w+: |gres: |signal_delay_s|\d+ s|\b\d+\b|v100|TIMEOUT|SIGKILL|No space left"
    )
    parts = [part.strip(" :(),;") for part in re.split(varying, message)]
    parts = [part for part in parts if len(part) > 3]
    assert parts and [part for part in parts if part not in CODE] == []


@pytest.mark.parametrize(
    "error",
    [error for path in OPERATING for error in errors_of(path)],
    ids=lambda error: re.sub(r"\W+", "-", error)[:60],
)
def test_an_error_that_an_operator_may_meet_is_on_the_page(error):
    words = re.compile(r"[A-Za-z'-]+")
    if error.startswith(INTERNAL) or len(words.findall(error)) < 4:  # or its text is made elsewhere
        return
    told = [part.strip(" :(),;") for message in MESSAGES for part in re.split(r"…", message)]
    assert any(part in error for part in told if len(words.findall(part)) >= 3), error


def test_the_page_explains_enough_messages():
    assert len(MESSAGES) > 30


@pytest.mark.parametrize("state", STATES)
def test_every_state_of_a_run_is_explained(state):
    table = DOC[DOC.index("| state | meaning |") : DOC.index("Logs: `results")]
    assert re.search(rf"\b{state}\b", table)


def test_every_command_on_the_page_exists(capsys):
    stages = set(re.findall(r"(?:python -m sspipe|`sspipe) ([a-z-]+)", DOC))
    assert {"plan", "preflight", "status", "cancel", "efficiency"} <= stages
    for stage in stages:
        with pytest.raises(SystemExit) as ended:
            main([stage, "--help"])
        assert ended.value.code == 0, stage
    flags = set(re.findall(r"(--(?:on-node|watch|json|all|yes|profile|configfile|logs))\b", DOC))
    capsys.readouterr()
    for stage in ("plan", "preflight", "status", "cancel", "efficiency", "follow"):
        with pytest.raises(SystemExit):
            main([stage, "--help"])
    told = capsys.readouterr().out
    assert all(flag in told for flag in flags)
