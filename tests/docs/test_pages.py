"""What takes pages apart misses nothing: a command that it did not see would be run by nobody."""

import pytest

from tests.docs.pages import ROOT, is_command, read_page

PAGE = """\
# The title: `x` and more

    make demo    # a comment
    snakemake --profile profiles/local \\
        all
    # only a comment
    python -m sspipe status

<!-- needs: cluster -->

    tmux new -s night

    sinfo -s

Type `make test`, or <!-- needs: GPU --> `python -m benchmarks.train_step
--device cuda`, and look at `config.yaml`. [A link](docs/data.md#splits) and ![a picture](a.png).

```yaml
seeds: [0]
```

| rule | writes |
|---|---|
| `train` | `model.safetensors` |

| message | remedy |
|---|---|
| `git is not there`, or so | `apt-get install git` |

## The title: `x` and more
<picture><source srcset="dark.svg"><img src="light.svg"></picture>
"""


@pytest.fixture()
def page(tmp_path):
    (tmp_path / "page.md").write_text(PAGE)
    return read_page(tmp_path / "page.md")


def test_every_command_is_found_with_its_line_and_what_it_needs(page):
    assert [(command.line, command.text, command.need) for command in page.commands] == [
        (3, "make demo    # a comment", None),
        (4, "snakemake --profile profiles/local  all", None),
        (7, "python -m sspipe status", None),
        (11, "tmux new -s night", "cluster"),
        (13, "sinfo -s", "cluster"),
        (15, "make test", None),
        (15, "python -m benchmarks.train_step --device cuda", "GPU"),
        (28, "apt-get install git", None),
    ]


def test_words_links_settings_and_columns_are_found(page):
    assert [code.text for code in page.codes] == [
        "x",
        "config.yaml",
        "train",
        "model.safetensors",
        "git is not there",
        "x",
    ]
    assert [link.text for link in page.links] == ["docs/data.md#splits", "a.png", "dark.svg", "light.svg"]
    assert [block.text for block in page.settings] == ["seeds: [0]\n"]
    columns = [(cell.head, cell.code.text) for cell in page.columns]
    assert columns == [("rule", "train"), ("writes", "model.safetensors"), ("message", "git is not there")]
    assert [cell.alone for cell in page.columns] == [True, True, False]


def test_a_heading_that_comes_twice_has_two_anchors(page):
    assert page.anchors == {"the-title-x-and-more", "the-title-x-and-more-1"}


@pytest.mark.parametrize("text", ["<!-- needs: luck -->\n\n    make demo\n", "```perl\nprint 1\n```\n"])
def test_what_nobody_knows_is_refused(tmp_path, text):
    (tmp_path / "page.md").write_text(text)
    with pytest.raises(ValueError, match=r"page\.md:1"):
        read_page(tmp_path / "page.md")


@pytest.mark.parametrize(
    ("code", "typed"), [("make demo", True), (".venv/bin/pip list", True), ("snakemake", False), ("train", False)]
)
def test_a_program_alone_is_a_name_and_with_an_argument_a_command(code, typed):
    assert is_command(code) is typed


def test_the_front_page_has_its_two_commands():
    typed = [command.text.split("#")[0].strip() for command in read_page(ROOT / "README.md").commands]
    assert typed.index("make demo") < typed.index("make test")


def test_a_whole_page_can_need_something(tmp_path):
    (tmp_path / "page.md").write_text(
        "# Title\n\n<!-- this page needs: cluster -->\n\nType `sinfo -s`.\n\n    make demo\n"
    )
    assert [command.need for command in read_page(tmp_path / "page.md").commands] == ["cluster", "cluster"]
