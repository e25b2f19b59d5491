"""Validating sections of the configuration, and saying for people what cannot be used in them."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from typing import Any, ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from sspipe.errors import UserError


class Section(BaseModel):
    """Base of every section: frozen, and unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    # Valid keys of the file that are gone once it is merged; suggestions know them too.
    merged_away: ClassVar[tuple[str, ...]] = ()


SectionType = TypeVar("SectionType", bound=Section)


def merged(base: Any, over: Any) -> Any:
    """Merges two YAML trees: mappings key by key, anything else replaced by `over`."""
    if isinstance(base, dict) and isinstance(over, dict):
        both = {key: merged(base[key], over[key]) for key in base.keys() & over.keys()}
        return {**base, **over, **both}
    return over


def validated(model: type[SectionType], content: Any, where: str) -> SectionType:
    """Validates `content` as a section.

    Args:
        model: the section's class.
        content: a tree of YAML or JSON values.
        where: what the content came from, for the message.

    Raises:
        UserError: names every key that cannot be used.
    """
    try:
        return model.model_validate(content)
    except ValidationError as error:
        found = error.errors()
        # A list whose items were refused counts as empty too, which would only mislead.
        lists = {item["loc"][:depth] for item in found for depth in range(len(item["loc"]))}
        told = [item for item in found if not (item["type"] == "too_short" and item["loc"] in lists)]
        problems = "\n".join(f"  {problem_line(model, item)}" for item in told)
        raise UserError(f"{where} cannot be used:\n{problems}") from None


def problem_line(model: type[Section], item: Any) -> str:
    """One line for one pydantic error: dotted key, what was wrong, and the nearest key if it was unknown."""
    location = [part for part in item["loc"] if part != "[key]"]
    key = ".".join(str(part) for part in location)
    if item["type"] == "extra_forbidden":
        return f"{key}: unknown key{nearest(str(location[-1]), _keys_at(model, location[:-1]))}"
    if item["type"] == "missing":
        return f"{key}: missing"
    message = re.sub(r"^Value error, ", "", item["msg"])
    given = item.get("input")
    shown = f" (given: {given!r})" if isinstance(given, str | int | float | bool) else ""
    return f"{key}: {message}{shown}" if key else message  # of the whole file: the message names its key


def _keys_at(model: type[Section], location: list[Any]) -> list[str]:
    """The valid keys of the section that `location` leads to."""
    schema = model.model_json_schema()
    node = schema
    for part in location:
        node = _resolved(node, schema)
        if isinstance(part, int):
            node = node.get("items", {})
        else:
            named = node.get("properties", {}).get(part)
            node = (
                named or node.get("additionalProperties") or next(iter(node.get("patternProperties", {}).values()), {})
            )
    keys = list(_resolved(node, schema).get("properties", {}))
    return keys if location else [*keys, *model.merged_away]


def _resolved(node: Any, schema: Any) -> Any:
    for choice in node.get("anyOf", node.get("allOf", [])):
        if "$ref" in choice:
            node = choice
    while isinstance(node, dict) and "$ref" in node:
        node = schema["$defs"][node["$ref"].rsplit("/", 1)[-1]]
    return node


def nearest(word: str, known: Iterable[str]) -> str:
    """The end of a message about an unknown word: the nearest known one, or all of them."""
    known = list(known)
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.4)
    if close:
        return f"; did you mean `{close[0]}`?"
    return f"; known are: {', '.join(sorted(known))}" if known else ""
