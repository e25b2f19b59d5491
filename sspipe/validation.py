"""Validating sections of the configuration, and saying for people what cannot be used in them."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, ClassVar, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError

from sspipe.errors import UserError


class Section(BaseModel):
    """Base of every section: frozen, and unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    # Valid keys of the file that are gone once it is merged; suggestions know them too.
    merged_away: ClassVar[tuple[str, ...]] = ()


SectionType = TypeVar("SectionType", bound=Section)

# What pydantic puts into an error's place besides keys: that it was a key, or which alternative it tried there.
_OF_PYDANTIC = re.compile(r"\[key\]$|literal\[|tuple\[|constrained-|lax-or-strict\[|function-")
# Its kinds of errors in words for people; braces stand for what the error says besides.
_WORDS = {
    **dict.fromkeys(("bool_type", "bool_parsing"), "must be true or false"),
    **dict.fromkeys(("int_type", "int_parsing", "int_from_float"), "must be a whole number"),
    **dict.fromkeys(("float_type", "float_parsing"), "must be a number"),
    **dict.fromkeys(("dict_type", "model_type"), "must be a mapping of settings"),
    "finite_number": "must be a finite number",
    "string_type": "must be text",
    "path_type": "must be a path",
    "tuple_type": "must be a list, such as [a, b]",
    "too_short": "has too few entries: at least {min_length}",
    "too_long": "has too many entries: at most {max_length}",
    "greater_than": "must be more than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be at most {le}",
    "literal_error": "must be {expected}",
}


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
        problems = "\n".join(f"  {line}" for line in problem_lines(model, error.errors()))
        raise UserError(f"{where} cannot be used:\n{problems}") from None


def _without_braces(path: Path) -> Path:
    if "{" in str(path) or "}" in str(path):
        raise ValueError("braces mean wildcards to Snakemake; choose a name without them")
    return path


# Of what rules have among their files.
PlainPath = Annotated[Path, AfterValidator(_without_braces)]


def matching(pattern: str, words: str) -> AfterValidator:
    """A check of text against a regular expression; `words` say for people what it must be."""

    def check(text: str) -> str:
        if re.fullmatch(pattern, text) is None:
            raise ValueError(f"must be {words}")
        return text

    return AfterValidator(check)


def problem_lines(model: type[Section], found: Iterable[Any]) -> list[str]:
    """One line for each place where something is wrong: dotted key, what was expected, what was given.

    Args:
        model: the section that was validated.
        found: pydantic's errors. Where a value may be one thing or another, each has an error of its own.
    """
    found = list(found)
    # A list whose items were refused counts as empty too, which would only mislead.
    lists = {item["loc"][:depth] for item in found for depth in range(len(item["loc"]))}
    places: dict[tuple[Any, ...], list[Any]] = {}
    for item in found:
        if not (item["type"] == "too_short" and item["loc"] in lists):
            location = tuple(part for part in item["loc"] if not _OF_PYDANTIC.match(str(part)))
            places.setdefault(location, []).append(item)
    return [_problem_line(model, location, items) for location, items in places.items()]


def _problem_line(model: type[Section], location: tuple[Any, ...], items: list[Any]) -> str:
    key = ".".join(str(part) for part in location)
    kind, given = items[0]["type"], items[0].get("input")
    if kind == "extra_forbidden":
        return f"{key}: unknown key{nearest(str(location[-1]), _keys_at(model, list(location[:-1])))}"
    if kind == "missing":
        return f"{key}: missing"
    first, *others = dict.fromkeys(_expected(item) for item in items)
    message = " or ".join([first, *(other.removeprefix("must be ") for other in others)])
    if given is None:
        message += " (nothing is given)"
    elif isinstance(given, str | int | float | bool):
        message += f" (given: {given!r})"
    return f"{key}: {message}" if key else message  # of the whole file: the message names its key


def _expected(item: Any) -> str:
    """What one of pydantic's errors expected, without Python's names of types."""
    words = _WORDS.get(item["type"])
    if words is None:
        return re.sub(r"^Value error, |^Assertion failed, ", "", item["msg"])
    numbers = {name: f"{value:g}" if isinstance(value, float) else value for name, value in item.get("ctx", {}).items()}
    return words.format(**numbers)


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
