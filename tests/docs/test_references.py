"""What the pages name exists: files, headings, settings, rules, targets, sub-commands, flags, names in the code."""

from __future__ import annotations

import re

import pytest
import yaml

from sspipe.config import Config, load_config
from sspipe.validation import merged
from tests.docs.known import (
    CONFIG_KEYS,
    CONFIG_VALUES,
    FLAGS,
    FOREIGN,
    PASSING,
    RESOURCES,
    RULES,
    STAGES,
    WORDS,
    in_repository,
)
from tests.docs.pages import PAGES, ROOT, Snippet, read_page

READ = {path: read_page(path) for path in PAGES}
# Other rooms hold these to the code: tests/operate/test_operating.py.
HELD_ELSEWHERE = {"message", "seen", "state"}

LINKS = [link for page in READ.values() for link in page.links]
SETTINGS = [block for page in READ.values() for block in page.settings]
CELLS = [cell for page in READ.values() for cell in page.columns]
CODES = list(
    dict.fromkeys(
        code
        for page in READ.values()
        for code in page.codes
        if code not in {cell.code for cell in page.columns if cell.head in HELD_ELSEWHERE}
    )
)


def ids(snippets):
    return [f"{snippet.where}: {snippet.text}" for snippet in snippets]


FILE = re.compile(
    r"\w\.(py|smk|md|ya?ml|txt|toml|in|jsonl?|csv|gz|part|journal|parquet|npy|html|pt|sh|def|cff|tif|geojson)$"
)


def is_path(text):
    return bool(re.fullmatch(r"[\w{*…-][\w.{}*…/-]*", text) and ("/" in text or FILE.search(text)))


PATHS = [code for code in CODES if is_path(code.text)]
# What is in no repository is among the results of a run.
RESULTS = [code for code in PATHS if code.text not in FOREIGN | PASSING and not in_repository(code.text, code.page)]


@pytest.mark.parametrize("link", LINKS, ids=ids(LINKS))
def test_a_link_leads_somewhere(link):
    if re.match(r"https://", link.text):
        return  # no network in tests
    name, _, anchor = link.text.partition("#")
    target = (link.page.parent / name).resolve() if name else link.page
    assert target.exists(), f"{link.where}: no {name}"
    if anchor:
        assert target in READ, f"{link.where}: {name} is no page whose headings are known"
        assert anchor in READ[target].anchors, f"{link.where}: no heading #{anchor} in {name}"


FILES = sorted({
    (found[0].rstrip("."), path)
    for path in PAGES
    for found in re.finditer(r"(?<![\w{/.-])(?:docs|sspipe|rules|profiles|envs|tests)/[\w./-]*\w", path.read_text())
})  # fmt: skip


@pytest.mark.parametrize(("name", "page"), FILES, ids=[f"{page.relative_to(ROOT)}: {name}" for name, page in FILES])
def test_a_file_that_is_named_in_the_text_is_there(name, page):
    """Also without backticks."""
    assert (ROOT / name).exists(), f"{page}: no {name}"


def test_every_picture_says_what_is_on_it_and_is_small():
    text = (ROOT / "README.md").read_text()
    alts = [*re.findall(r"!\[([^\]]*)\]\(", text), *re.findall(r'<img [^>]*alt="([^"]*)"', text)]
    assert len(alts) == len(re.findall(r"!\[|<img ", text)) >= 2
    assert all(len(alt) > 20 for alt in alts)
    pictures = [path for path in (ROOT / "docs/images").iterdir() if path.suffix in (".png", ".svg")]
    assert pictures and all(path.stat().st_size < 300_000 for path in pictures)


@pytest.mark.parametrize("block", SETTINGS, ids=[block.where for block in SETTINGS])
def test_settings_in_a_page_can_be_used(block):
    """Laid over config.yaml as a reader would lay them."""
    over = yaml.safe_load(block.text)
    config = load_config(merged(yaml.safe_load((ROOT / "config.yaml").read_text()), over))
    assert isinstance(config, Config)


@pytest.mark.parametrize("path", RESULTS, ids=ids(RESULTS))
@pytest.mark.slow
@pytest.mark.xdist_group("workflow")
def test_a_path_that_is_not_in_the_repository_is_among_the_results(path, finished):
    pattern = re.sub(r"^results/(\{experiment\}|demo|spacenet6)/?", "", path.text)
    pattern = re.sub(r"\{[^}]*\}|N$", "*", pattern).rstrip("/")
    assert not pattern or any(finished.results.rglob(pattern)), f"{path.where}: no {path.text}"


NAMES = [code for code in CODES if code not in PATHS]


@pytest.mark.parametrize("code", NAMES, ids=ids(NAMES))
def test_a_name_in_backticks_is_one_of_the_codes(code):
    assert is_known(code.text), f"{code.where}: nothing here is called {code.text}"


def is_known(text):
    if text in FOREIGN:
        return True
    if text.split()[0] in FLAGS:
        return True
    if len(text.split()) > 1 and text.split()[0] in STAGES:
        return all(word in FLAGS for word in text.split() if word.startswith("--"))
    if re.fullmatch(r"[a-z]\w*(\.\w+)+", text):
        return is_setting(text)
    if re.match(r"[a-z]\w*:(?!:)", text):
        return is_setting_with_value(text)
    return all(word in WORDS for word in re.findall(r"\w+", text))


def is_setting(text):
    return any(key == text or key.endswith(f".{text}") for key in CONFIG_KEYS)


def is_setting_with_value(text):
    """`archive: {source: file, path: …}`, a key alone with its colon, or a resource of a profile."""
    content = yaml.safe_load(text.replace("…", "x"))
    keys = [str(key) for key in content]
    keys += [str(key) for value in content.values() if isinstance(value, dict) for key in value]
    return all(is_setting(key) or key == "defaults" or key in RESOURCES for key in keys)


# "the rule `train`", "the targets `data` and `all`"
CALLED = [
    (found[1].rstrip("s"), Snippet(name, path, 1))
    for path in PAGES
    for found in re.finditer(
        r"\b(rules?|targets?|sub-commands?|stages?)((?:,? (?:and )?`[\w-]+`)+)", " ".join(path.read_text().split())
    )
    for name in re.findall(r"`([\w-]+)`", found[2])
]


@pytest.mark.parametrize(("kind", "name"), CALLED, ids=[f"{kind} {name.where}: {name.text}" for kind, name in CALLED])
def test_what_is_called_a_rule_target_or_stage_is_one(kind, name):
    known = STAGES if kind in ("sub-command", "stage") else RULES
    assert name.text in known, f"{name.where}: no {kind} {name.text}"


NAMED_RULES = [cell.code for cell in CELLS if cell.head == "rule" and cell.alone]


@pytest.mark.parametrize("code", NAMED_RULES, ids=ids(NAMED_RULES))
def test_a_column_of_rules_has_rules(code):
    assert code.text in RULES


PLACES = [cell.code for cell in CELLS if cell.head == "where" and cell.code.page.name == "method.md"]


@pytest.mark.parametrize("code", PLACES, ids=ids(PLACES))
def test_a_reading_of_the_paper_stands_where_the_page_says(code):
    """A setting, one of its values, or a file."""
    assert is_setting(code.text) or code.text in CONFIG_VALUES or (ROOT / code.text).is_file()


def test_every_exception_is_used():
    texts = {code.text for code in CODES}
    assert not (FOREIGN | PASSING).keys() - texts
