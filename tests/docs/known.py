"""What there is to be named: settings and their values, rules, sub-commands, flags, words of the code, files."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel

from sspipe.cli import build_parser
from sspipe.config import Config
from sspipe.operate import profile_checks
from tests.docs.pages import ROOT

# Names that are nobody's here, or that no source spells out.
FOREIGN = {
    "ETag": "of web servers and object stores",
    "AcctGatherEnergyType": "a setting of Slurm's",
    "baseline.py": "of the challenge's baseline",
    "imageid": "a misspelt column",
    "f1_at_0.50": "made of the IoU",
}
# Files that a finished run of the embedded city on one machine has no longer, or never had.
PASSING = {
    "my_city.yaml": "the reader's own",
    "raw/truth.csv": "of one's own data",
    "archive.tar.gz.part": "while it is fetched",
    "archive.tar.gz.part.journal": "while it is fetched",
    "train/{split}/{variant}/seed{seed}/slurm/jobs/": "under Slurm",
}


def _settings(model: type[BaseModel], prefix: str = "") -> set[str]:
    """Dotted names of all settings; what readers name themselves is `*`."""
    names = set()
    for key, field in model.model_fields.items():
        names.add(f"{prefix}{key}")
        for inner, star in _sections(field.annotation):
            names |= _settings(inner, f"{prefix}{key}.{star}")
    return names


def _sections(annotation: Any) -> list[tuple[type[BaseModel], str]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [(annotation, "")]
    star = "*." if getattr(annotation, "__origin__", None) is dict else ""
    return [(model, star + inner) for part in get_args(annotation) for model, inner in _sections(part)]


def _values(schema: Any) -> set[str]:
    if isinstance(schema, list):
        return {value for part in schema for value in _values(part)}
    if not isinstance(schema, dict):
        return set()
    own = {str(value) for value in [*schema.get("enum", []), *([schema["const"]] if "const" in schema else [])]}
    return own | {value for part in schema.values() for value in _values(part)}


CONFIG_KEYS = _settings(Config)
CONFIG_VALUES = _values(Config.model_json_schema())

_, _SUBPARSERS = build_parser()
STAGES = set(_SUBPARSERS)
FLAGS = {flag for parser in _SUBPARSERS.values() for flag in parser._option_string_actions}

_RULE_FILES = [ROOT / "Snakefile", *sorted((ROOT / "rules").glob("*.smk"))]
RULES = {
    *re.findall(
        r"^\s*(?:checkpoint|rule|use rule \w+ as) (\w+)",
        "\n".join(path.read_text() for path in _RULE_FILES),
        re.MULTILINE,
    ),
    *(f"variant_{name}" for name in yaml.safe_load((ROOT / "config.yaml").read_text())["variants"]),
}

# What a profile may ask of a rule.
RESOURCES = profile_checks._RESOURCES

_CODE = [
    *_RULE_FILES,
    ROOT / "Makefile",
    ROOT / "config.yaml",
    ROOT / "pyproject.toml",
    *(path for room in ("sspipe", "profiles", "benchmarks", "envs") for path in (ROOT / room).rglob("*")),
]
WORDS = {
    word
    for path in _CODE
    if path.is_file() and path.suffix not in (".pyc", ".md")
    for word in re.findall(r"\w+", path.read_text())
}


def in_repository(name: str, page: Path) -> bool:
    """Whether a path in a page names something in the repository, from its root, the page's folder or the package's."""
    pattern = re.sub(r"\{[^}]*\}|…", "*", name).rstrip("/")
    return any(any(folder.glob(pattern)) for folder in (ROOT, page.parent, ROOT / "sspipe"))
