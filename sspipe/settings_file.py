"""Reading a YAML file of settings: what YAML would let pass unseen is refused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from sspipe.errors import UserError

# The one in C where PyYAML has it: every call of Snakemake reads the configuration.
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read_settings(path: Path, what: str = "settings") -> dict[str, Any]:
    """Reads a YAML mapping.

    YAML takes the last of two keys of one name and says nothing; here that is an error, because whoever wrote the first
    believes that it holds.

    Args:
        path: the file.
        what: the file's content, for messages.

    Raises:
        UserError: there is no such file, it is not YAML in UTF-8, no mapping, or names a key twice in one place.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise UserError(f"{path}: line {line} is not in UTF-8; save the file in that encoding") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
    try:
        loader = _Loader(text)
        root = loader.get_single_node()
        problems = [] if root is None else list(_repeated_keys(root, set()))
        content = None if root is None else loader.construct_document(root)
    except (yaml.YAMLError, ValueError) as error:  # ValueError: of a date that there is not
        raise UserError(f"{path}: not valid YAML ({error})") from None
    if problems:
        raise UserError(f"{path}: {'; '.join(problems)}; YAML would take the last alone, so leave one of them")
    if not isinstance(content, dict):
        raise UserError(f"{path}: must be a mapping of {what}")
    return content


def _repeated_keys(node: yaml.Node, seen: set[int]) -> Iterator[str]:
    """What to say of each key that stands twice in one mapping, at any depth; `seen` has the nodes looked at."""
    if id(node) in seen:  # by an alias
        return
    seen.add(id(node))
    if isinstance(node, yaml.SequenceNode):
        for item in node.value:
            yield from _repeated_keys(item, seen)
    elif isinstance(node, yaml.MappingNode):
        first: dict[tuple[str, str], int] = {}
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode):
                name, line = (key.tag, key.value), key.start_mark.line + 1
                if name in first:
                    yield f"`{key.value}` stands in line {first[name]} and again in line {line}"
                first.setdefault(name, line)
            yield from _repeated_keys(value, seen)
