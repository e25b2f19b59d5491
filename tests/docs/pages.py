"""The Markdown pages of the repository, taken apart: commands, words in backticks, links, headings, settings."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).parents[2]
ROOMS = ("benchmarks", "docs", "envs", "profiles", "rules", "sspipe", "tests")
PAGES = [
    *sorted(ROOT.glob("*.md"), key=lambda path: (path.name != "README.md", path.name)),
    *sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.md")),
]

# Words that a command begins with. `$EDITOR` is whatever the reader edits with.
PROGRAMS = {
    *(".", "$EDITOR", "apt-get", "cd", "cp", "docker", "git", "gzip", "make", "mkdir", "nvidia-smi", "pip", "podman"),
    *("apptainer", "python", "sacctmgr", "sbatch", "scancel", "scontrol", "sinfo", "snakemake", "squeue", "sspipe"),
    *("tar", "tmux", "torchrun", "xdg-open"),
}
# What a command may need that tests do not have. It stands before a block, in the paragraph before a command, or, as
# "this page needs", at the top of a page: <!-- needs: cluster -->
NEEDS = {
    "cluster": "a Slurm cluster",
    "GPU": "an NVIDIA GPU",
    "network": "a download",
    "quiet machine": "minutes of a machine that does nothing else, since it measures",
}
MARKER = re.compile(r"<!--\s*(this page )?needs:\s*(.*?)\s*-->")


@dataclass(frozen=True)
class Snippet:
    """A piece of a page, and where it is."""

    text: str
    page: Path
    line: int
    need: str | None = None
    inline: bool = False

    @property
    def where(self) -> str:
        """`docs/data.md:12`."""
        return f"{self.page.relative_to(ROOT)}:{self.line}"


class Cell(NamedTuple):
    """A word in backticks in a table: its column's heading, and whether the cell holds nothing else."""

    head: str
    code: Snippet
    alone: bool


@dataclass
class Page:
    """A page taken apart.

    Attributes:
        path: the file.
        commands: shell commands, one line each, without comments.
        codes: words in backticks that are no commands.
        links: targets of links and sources of pictures.
        settings: blocks of YAML.
        anchors: what headings are called in links.
        columns: the words in backticks of tables' cells.
    """

    path: Path
    commands: list[Snippet] = field(default_factory=list)
    codes: list[Snippet] = field(default_factory=list)
    links: list[Snippet] = field(default_factory=list)
    settings: list[Snippet] = field(default_factory=list)
    anchors: set[str] = field(default_factory=set)
    columns: list[Cell] = field(default_factory=list)


def read_page(path: Path) -> Page:
    """Takes a page apart.

    Raises:
        ValueError: a block of code in a language that nobody here knows, or a marker of a need that has no name.
    """
    page = Page(path)
    tokens = MarkdownIt("commonmark").enable("table").parse(path.read_text(encoding="utf-8"))
    page_need = need = None
    row: list[str] = []
    heads: list[str] = []
    line = 1
    for position, token in enumerate(tokens):
        line = token.map[0] + 1 if token.map else line
        if token.type in ("code_block", "fence"):
            _add_block(page, token, line, need)
        elif token.type == "heading_open":
            page.anchors.add(_anchor(tokens[position + 1].content, page.anchors))
        elif token.type == "tr_open":
            row = []
        elif token.type == "tr_close" and not heads:
            heads = row
        elif token.type == "table_close":
            heads = []
        elif token.type == "inline":
            first, head = len(page.codes), ""
            if tokens[position - 1].type in ("th_open", "td_open"):
                head = heads[len(row)] if heads else ""
                row.append(token.content)
            _add_inline(page, token, line, can_be_typed=head != "message")
            alone = bool(re.fullmatch(r"(`[^`]*`(, )?)+", token.content))
            page.columns += [Cell(head, code, alone) for code in page.codes[first:] if head]
        elif token.type == "html_block":
            page.links += [Snippet(link, path, line) for link in _html_links(token.content)]
            page_need = _need(token, path, line, of_page=True) or page_need
        need = _need(token, path, line) if token.type == "html_block" else None
    page.commands = [replace(command, need=command.need or page_need) for command in page.commands]
    return page


def is_command(code: str) -> bool:
    """Whether a word in backticks is something to be typed: a program and at least one argument."""
    words = code.split()
    if len(words) < 2 or words[1][:1] in (",", "(", "…"):
        return False
    return words[0].rpartition("/")[2] in PROGRAMS or words[0].startswith(".venv/bin/")


def words_of(command: str) -> list[str]:
    """A command's words, without a trailing comment."""
    return shlex.split(command, comments=True)


def _add_block(page: Page, token: Token, line: int, need: str | None) -> None:
    language = token.info.strip() if token.type == "fence" else "sh"
    first = line + (token.type == "fence")
    if language == "yaml":
        page.settings.append(Snippet(token.content, page.path, first))
    elif language == "sh":
        joined = re.sub(r"\\\n\s*", lambda found: " " + "\0" * found[0].count("\n"), token.content)
        number = first
        for text in joined.splitlines():
            words = text.replace("\0", "")
            if words_of(words):
                page.commands.append(Snippet(words.strip(), page.path, number, need))
            number += 1 + text.count("\0")
    elif language != "text":
        raise ValueError(f"{page.path}:{line}: a block of `{language}`; known are sh (or indented), yaml and text")


def _add_inline(page: Page, token: Token, line: int, can_be_typed: bool) -> None:
    need = None
    for child in token.children or []:
        if child.type in ("softbreak", "hardbreak"):
            line += 1
        elif child.type == "html_inline":
            need = _need(child, page.path, line) or need
            page.links += [Snippet(link, page.path, line) for link in _html_links(child.content)]
        elif child.type == "code_inline":
            kind = page.commands if can_be_typed and is_command(child.content) else page.codes
            kind.append(Snippet(child.content, page.path, line, need, inline=True))
        elif child.type in ("link_open", "image"):
            target = child.attrGet("href") or child.attrGet("src")
            page.links.append(Snippet(str(target), page.path, line))


def _need(token: Token, page: Path, line: int, of_page: bool = False) -> str | None:
    found = MARKER.search(token.content)
    if not found or bool(found[1]) != of_page:
        return None
    if found[2] not in NEEDS:
        raise ValueError(f"{page}:{line}: needs {found[2]}; known are {', '.join(NEEDS)}")
    return found[2]


def _html_links(text: str) -> list[str]:
    return re.findall(r'(?:src|srcset|href)="([^"]+)"', text)


def _anchor(heading: str, taken: set[str]) -> str:
    """As GitHub makes them: lower case, punctuation gone, blanks as hyphens, a number if there is one already."""
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "").lower()
    anchor = re.sub(r"[^\w\- ]", "", text).strip().replace(" ", "-")
    number = 1
    while (name := anchor if number == 1 else f"{anchor}-{number - 1}") in taken:
        number += 1
    return name
