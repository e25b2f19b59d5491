"""A Snakemake profile as data: what it gives each rule, and what it limits."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from sspipe.config import Config, load_config
from sspipe.errors import UserError
from sspipe.settings_file import read_settings
from sspipe.validation import merged

# Snakemake takes the newest of these that fits its own version; profiles here have one.
_NAMES = ("profile.yaml", "config.yaml")
_VERSIONED = re.compile(r"(?:profile|config)\.v(\d+)\+\.yaml")
_MAPPING = ((dict, list), "a mapping, or a list of name=value")
# What the options that are read here may be.
_FORMS: dict[str, tuple[tuple[type, ...], str]] = {
    **dict.fromkeys(("set-resources", "set-threads", "default-resources", "resources"), _MAPPING),
    **dict.fromkeys(("config",), ((dict, list, str), _MAPPING[1])),
    **dict.fromkeys(("configfile", "configfiles"), ((str, list), "a file, or a list of them")),
}
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_MIB = {"k": 1 / 1024, "m": 1.0, "g": 1024.0, "t": 1024.0**2}


@dataclass(frozen=True)
class Profile:
    """The values of one profile.

    Attributes:
        path: its file; None stands for Snakemake's own defaults.
        values: as they are in the file, by the long name of Snakemake's option.
    """

    path: Path | None = None
    values: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """For messages."""
        return str(self.path or "no profile")

    @property
    def on_slurm(self) -> bool:
        """Whether its jobs go to Slurm."""
        return self.values.get("executor") == "slurm"

    @property
    def configfiles(self) -> list[Path]:
        """Configurations that it lays over config.yaml."""
        given = self.values.get("configfile", self.values.get("configfiles")) or []
        return [Path(path) for path in ([given] if isinstance(given, str) else given)]

    @property
    def defaults(self) -> dict[str, Any]:
        """`default-resources`: what each rule gets that is not told otherwise."""
        return _pairs(self.values.get("default-resources"), self.path, "default-resources")

    @property
    def limits(self) -> dict[str, Any]:
        """`resources`: how much of each all jobs together may use at a time."""
        return _pairs(self.values.get("resources"), self.path, "resources")

    def resources(self, rule: str) -> dict[str, Any]:
        """What a rule gets from the profile."""
        return {**self.defaults, **self._of_rules("set-resources").get(rule, {})}

    def threads(self, rule: str) -> int | None:
        """`set-threads` of a rule; None if the profile does not name it."""
        given = _pairs(self.values.get("set-threads"), self.path, "set-threads").get(rule)
        if given is not None and not str(given).isdigit():
            raise UserError(f"{self.name}: set-threads.{rule}: `{given}` is no number of threads")
        return None if given is None else int(given)

    def key(self, rule: str, resource: str) -> str:
        """Where a rule's resource is set, for a message: the file and the dotted key."""
        section = "set-resources" if resource in self._of_rules("set-resources").get(rule, {}) else "default-resources"
        dotted = f"set-resources.{rule}.{resource}" if section == "set-resources" else f"default-resources.{resource}"
        return f"{self.name}: {dotted}"

    def _of_rules(self, option: str) -> dict[str, dict[str, Any]]:
        """`{rule: {name: value}}`, from a mapping of mappings or from `rule:name=value`."""
        given = self.values.get(option) or {}
        if isinstance(given, dict):
            return {rule: _pairs(pairs, self.path, f"{option}.{rule}") for rule, pairs in given.items()}
        found: dict[str, dict[str, Any]] = {}
        for item in given:
            match = re.fullmatch(r"(\w+):(\w+)=(.*)", str(item))
            if match is None:
                raise UserError(f"{self.name}: {option}: `{item}` is not of the form rule:name=value")
            found.setdefault(match[1], {})[match[2]] = yaml.safe_load(match[3])
        return found


def read_profile(folder: Path | None) -> Profile:
    """Reads a profile.

    Args:
        folder: as Snakemake's `--profile` takes it; None is no profile.

    Raises:
        UserError: it is not there, is not YAML, or an option is of no form that Snakemake takes.
    """
    if folder is None:
        return Profile()
    folder = Path(folder)
    versioned = sorted(
        (int(match[1]), path) for path in folder.glob("*.yaml") if (match := _VERSIONED.fullmatch(path.name))
    )
    paths = [path for _, path in versioned[-1:]] + [folder / name for name in _NAMES if (folder / name).is_file()]
    if not paths:
        raise UserError(f"{folder}: no profile there (a folder with config.yaml or profile.yaml); see profiles/")
    values = read_settings(paths[0], "Snakemake's options")
    for option, (form, words) in _FORMS.items():
        if not isinstance(values.get(option, []), form):
            raise UserError(f"{paths[0]}: {option}: must be {words}, not `{values[option]}`")
    for rule, given in _items(values.get("set-resources")):
        if not isinstance(given, dict):
            raise UserError(f"{paths[0]}: set-resources.{rule}: must be a mapping of resources, not `{given}`")
    return Profile(paths[0], values)


def read_config(profile: Profile, configfiles: Sequence[Path], config_values: Sequence[str] = ()) -> Config:
    """Reads the configuration as the workflow does: `config.yaml`, the overlays on it in turn, then single values.

    Args:
        profile: whose own overlays and values are taken where the command line has none, as Snakemake has it.
        configfiles: of the command line.
        config_values: `key=value` of the command line.

    Raises:
        UserError: a file is missing, or the configuration cannot be used.
    """
    if not Path("config.yaml").exists():
        raise UserError("config.yaml: no such file; run this from the checkout's folder, where the Snakefile is")
    content: Any = read_settings(Path("config.yaml"))
    for path in configfiles or profile.configfiles:
        content = merged(content, read_settings(Path(path)))
    return load_config(merged(content, _values(config_values or profile.values.get("config"), profile)))


def with_options(profile: Profile, words: Sequence[str]) -> tuple[Profile, list[Path], list[str]]:
    """What words of Snakemake's own command line change of a profile and of the configuration.

    Args:
        profile: that they stand beside.
        words: targets, and options of Snakemake.

    Returns:
        The profile with its limits as the words have them; overlays; values as `key=value`.
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--configfile", "--configfiles", nargs="+", type=Path, default=[])
    parser.add_argument("--config", "-C", nargs="+", default=[])
    parser.add_argument("--resources", "--res", nargs="+")
    parser.add_argument("--jobs", "-j")
    parser.add_argument("--cores", "-c")
    given, _ = parser.parse_known_args(list(words))
    limits = {name: value for name in ("resources", "jobs", "cores") if (value := getattr(given, name)) is not None}
    return Profile(profile.path, {**profile.values, **limits}), given.configfile, given.config


def minutes(value: Any) -> float | None:
    """A time as Snakemake takes it (minutes, or `4h`, `1d 2h`) in minutes; None if it is not one.

    Examples:
        600 -> 600.0, "4h" -> 240.0, "90s" -> 1.5
    """
    text = str(value).strip().lower()
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return float(text)
    parts = re.findall(r"(\d+(?:\.\d+)?)\s*([smhdw])[a-z]*", text)
    if not parts or re.sub(r"(\d+(?:\.\d+)?)\s*([smhdw])[a-z]*[\s,]*", "", text):
        return None
    return sum(float(number) * _SECONDS[unit] for number, unit in parts) / 60


def mebibytes(value: Any) -> float | None:
    """A size as Snakemake takes it (MB, or `64GB`) in MB of 2^20 bytes, as Slurm counts; None if it is not one."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(?:([kmgt])i?b?)?", str(value).strip().lower())
    if match is None:
        return None
    return float(match[1]) * _MIB[match[2] or "m"]


def _items(given: Any) -> list[tuple[str, Any]]:
    return list(given.items()) if isinstance(given, dict) else []


def _values(given: Any, profile: Profile) -> dict[str, Any]:
    """`--config` as Snakemake reads it: a mapping, or `key=value` texts."""
    if not given or isinstance(given, dict):
        return dict(given or {})
    from snakemake.cli import parse_config  # type: ignore[import-untyped]

    try:
        return parse_config([given] if isinstance(given, str) else list(given))
    except ValueError as error:
        raise UserError(f"{profile.name}: --config: {error}") from None


def _pairs(given: Any, path: Path | None, option: str) -> dict[str, Any]:
    """`name: value` pairs, from a mapping or from `name=value` texts."""
    if not given:
        return {}
    if isinstance(given, dict):
        return dict(given)
    pairs = {}
    for item in [given] if isinstance(given, str) else given:
        name, equals, value = str(item).partition("=")
        if not equals:
            raise UserError(f"{path}: {option}: `{item}` is not of the form name=value")
        pairs[name] = yaml.safe_load(value)
    return pairs
