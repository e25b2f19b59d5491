"""Every command in the pages is run by a test, or says what it needs that tests do not have."""

import ast
import re

import pytest
from snakemake.cli import get_argument_parser

from sspipe.cli import build_parser, parsed
from tests.docs.known import RULES
from tests.docs.pages import NEEDS, PAGES, PROGRAMS, ROOT, read_page, words_of

COMMANDS = [command for path in PAGES for command in read_page(path).commands]
IDS = [f"{command.where}: {command.text}" for command in COMMANDS]

# Tests that run a command which cannot be run here: a pattern of it, and where.
COVERED = {
    r"^python -m sspipe audit$": "tests/data/test_audit.py::test_a_random_split_of_the_real_tiles_leaks_as_is_known",
    r"(data|(?<!-n )all) --configfile my_city\.yaml": (
        "tests/workflow/test_own_data.py::test_both_splits_are_trained_scored_and_agree_with_solaris"
    ),
    r"^sspipe score$": "tests/score/test_csv_pair.py::test_solaris_fixture_is_scored_and_printed_by_the_command",
    r"^sspipe plan$": "tests/slurm/test_operator.py::test_a_plan_is_made_before_anything_is_queued",
    r"^sspipe preflight$": (
        "tests/slurm/test_operator.py::test_preflight_finds_nothing_wrong_with_a_profile_that_fits"
    ),
    r"^python -m sspipe STAGE$": "tests/workflow/test_workflow.py::test_all_ends_in_one_row_of_scores_for_every_run",
}
# What is only spoken of.
MENTIONED = {"gzip -dc | tar": "what unpacking is compared with", "git clone": "in a heading"}
# What would run this very test again is planned instead.
PLANNED = {"make test": "make --dry-run test"}
# What goes on until Ctrl-C gets that after a moment.
ENDLESS = re.compile(r"sspipe follow|--watch")
# What stands for something that the reader chooses.
PLACEHOLDERS = {"STAGE": "train"}

_, SUBPARSERS = build_parser()
MAKE_TARGETS = re.search(r"\.PHONY: (.*)", (ROOT / "Makefile").read_text())[1].split()
SNAKEMAKE = get_argument_parser()


def covering_test(text):
    return next((test for pattern, test in COVERED.items() if re.search(pattern, text)), None)


def typed(text):
    """A command as the reader would type it."""
    for placeholder, example in PLACEHOLDERS.items():
        text = re.sub(rf"\b{placeholder}\b", example, text)
    bare = text.split("#")[0].strip()
    if bare in PLANNED:
        return PLANNED[bare]
    return f"timeout --signal=INT 5 {bare}" if ENDLESS.search(bare) else bare


# Each once, where it stands first.
RUN: dict[str, object] = {}
for command, name in zip(COMMANDS, IDS, strict=True):
    if command.need is None and not covering_test(command.text) and command.text not in MENTIONED:
        RUN.setdefault(typed(command.text), pytest.param(command, id=name))


@pytest.mark.slow
@pytest.mark.xdist_group("workflow")
@pytest.mark.parametrize("command", RUN.values())
def test_a_command_without_needs_does_what_it_says(command, reader):
    text = typed(command.text)
    done = reader.types(text)
    expected = 124 if text.startswith("timeout") else 0  # which is timeout's own, when it had to end something
    assert done.returncode == expected, f"{command.where}: {text}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"


@pytest.mark.slow
@pytest.mark.xdist_group("workflow")
def test_running_the_pages_trained_nothing(reader, finished):
    """`make demo` and `snakemake … all` find everything made: what takes long is another room's test."""
    for command in ("make demo", "snakemake --profile profiles/local all"):
        assert reader.types(command).returncode == 0
    models = sorted(path.relative_to(finished.folder) for path in finished.folder.rglob("model.safetensors"))
    assert models
    for model in models:
        assert (reader.folder / model).stat().st_mtime_ns == (finished.folder / model).stat().st_mtime_ns


@pytest.mark.parametrize("command", COMMANDS, ids=IDS)
def test_a_command_names_what_exists(command):
    """Also of what cannot be run here: its target, sub-command, flags and files."""
    problems = [problem for part in _parts(words_of(command.text)) for problem in _problems(part, command)]
    assert not problems, f"{command.where}: {command.text}: {'; '.join(problems)}"


@pytest.mark.parametrize("test", sorted(set(COVERED.values())))
def test_a_test_that_covers_a_command_exists(test):
    path, name = test.split("::")
    tree = ast.parse((ROOT / path).read_text())
    assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_every_need_and_every_exception_is_used():
    assert {command.need for command in COMMANDS if command.need} <= NEEDS.keys()
    for pattern in COVERED:
        assert any(re.search(pattern, command.text) for command in COMMANDS), pattern
    for text in [*PLANNED, *MENTIONED]:
        assert any(command.text.split("#")[0].strip() == text for command in COMMANDS), text


def _parts(words):
    """The single commands of a line."""
    part = []
    for word in [*words, "&&"]:
        if word in ("&&", "|", ";"):
            yield part
            part = []
        else:
            part.append(word)


def _problems(words, command):
    program, arguments = words[0].rpartition("/")[2], words[1:]
    if program not in PROGRAMS and not words[0].startswith("."):
        return [f"what program is `{program}`? (What is no command stands in a block of ```text)"]
    if program == "make":
        return [f"no target `{word}`" for word in arguments if not word.startswith("-") and word not in MAKE_TARGETS]
    if program == "sspipe":
        return _stage_problems(arguments, command.inline)
    if program == "python" and arguments[:2] == ["-m", "sspipe"]:
        return _stage_problems(arguments[2:], command.inline)
    if program == "python" and arguments[0] == "-m":
        return _module_problems(arguments[1], arguments[2:])
    if program == "snakemake":
        return _snakemake_problems(arguments, command.inline)
    files = [word for word in arguments if re.search(r"\.(py|txt|ya?ml|sh)$", word)]
    return [f"no file {name}" for name in files if not (ROOT / name).is_file()]


def _stage_problems(arguments, partial):
    """Of a sub-command of sspipe; `partial` if the text only names it and so may lack flags."""
    arguments = [PLACEHOLDERS.get(word, word) for word in arguments]
    if arguments[:1] in (["--help"], ["--version"]):
        return []
    if arguments[0] not in SUBPARSERS:
        return [f"sspipe has no `{arguments[0]}`"]
    if not partial and "--help" not in arguments:
        try:
            parsed(arguments)
        except SystemExit:
            return ["sspipe does not take it"]
    own = arguments[: arguments.index("--")] if "--" in arguments else arguments
    known = SUBPARSERS[arguments[0]]._option_string_actions
    return [f"no flag {word}" for word in own if word.startswith("--") and word not in known]


def _module_problems(module, arguments):
    path = ROOT / f"{module.replace('.', '/')}.py"
    if not path.is_file():
        return [f"no module {module}"]
    source = path.read_text()
    return [f"no flag {word}" for word in arguments if word.startswith("--") and f'"{word}"' not in source]


def _snakemake_problems(arguments, partial):
    """As Snakemake itself takes them apart: what follows `--configfile` is a file, whatever it is called."""
    try:
        given = SNAKEMAKE.parse_args([word for word in arguments if word != "…"])
    except SystemExit:
        return ["snakemake does not take it"]
    problems = [f"no profile {name}" for name in given.profile or [] if not (ROOT / name / "config.yaml").is_file()]
    problems += [f"no configuration {path}" for path in given.configfile or [] if path.suffix != ".yaml"]
    problems += [f"no target `{word}`" for word in given.targets if word not in RULES]
    if not (given.targets or given.report or given.lint or partial):
        problems.append("it has no target")
    return problems
