"""What a profile alone tells: options, rules and resources that nobody knows, and what a night does not go with."""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import re
import sys
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

from sspipe.operate.launching import is_launched
from sspipe.operate.profile import Profile
from sspipe.validation import nearest

_RULE = re.compile(r"^\s*(?:use rule \w+ as|rule|checkpoint) (\w+)", re.M)
# Snakemake's own, those of its Slurm executor, and those that are read here (see profiles/slurm).
_RESOURCES = {
    *("runtime", "mem_mb", "mem", "mem_mib", "mem_mb_per_cpu", "disk_mb", "disk", "disk_mib", "tmpdir"),
    *(
        "slurm_account",
        "slurm_partition",
        "slurm_cluster",
        "clusters",
        "slurm_extra",
        "constraint",
        "qos",
        "reservation",
    ),
    *("nodes", "tasks", "tasks_per_node", "tasks_per_gpu", "cpus_per_task", "cpus_per_gpu", "mpi"),
    *("gres", "gpu", "gpus", "gpu_model", "gpu_manufacturer"),
    *("launcher", "signal_delay_s", "poll_s", "node_python", "slurm_setup", "running"),
}
_TRIGGERS = {"mtime", "params", "input"}


def option_problems(profile: Profile, rules: Sequence[str]) -> list[str]:
    """Options, rules and resources that nobody knows, and what a night does not go with."""
    if profile.path is None:
        return []
    return [*_unknown(profile, rules), *_unfit(profile)]


def package_problems() -> list[str]:
    """What a Slurm profile needs to be installed."""
    packages = {
        "snakemake_executor_plugin_slurm": "snakemake-executor-plugin-slurm",
        "submitit": "submitit",
    }
    return [
        f"{name} is not installed in this Python ({sys.executable}): make setup, or pip install {name}"
        for module, name in packages.items()
        if importlib.util.find_spec(module) is None
    ]


def _unknown(profile: Profile, rules: Sequence[str]) -> Iterator[str]:
    parser = importlib.import_module("snakemake.cli").get_argument_parser()
    actions = {option.lstrip("-"): action for action in parser._actions for option in action.option_strings}
    for key in profile.values:
        # An executor's own options come with its plugin.
        if key not in actions and not key.startswith(f"{profile.values.get('executor', 'slurm')}-"):
            yield f"{profile.name}: {key}: no option of snakemake{nearest(key, actions)}"
    executor, executors = profile.values.get("executor"), actions["executor"].choices or ()
    if executor is not None and executor not in executors:
        yield f"{profile.name}: executor: there is no `{executor}`{nearest(str(executor), executors)}"
    for option in ("set-resources", "set-threads"):
        given = profile.values.get(option) or {}
        for rule in given if isinstance(given, dict) else [re.split("[:=]", str(item))[0] for item in given]:
            if rule not in rules:
                yield f"{profile.name}: {option}.{rule}: no rule of that name{nearest(rule, rules)}"
    # Any name may be a resource: one that nobody reads and that is nearly one that somebody does, is misspelt.
    read = _RESOURCES | profile.limits.keys()
    for rule in rules:
        for name in profile.resources(rule):
            close = difflib.get_close_matches(name, read, n=1, cutoff=0.75)
            if name not in read and close and profile.key(rule, name).split()[-1].startswith("set-resources"):
                yield f"{profile.key(rule, name)}: nobody reads a resource of that name; did you mean `{close[0]}`?"
    for name in profile.defaults.keys() - read:
        if close := difflib.get_close_matches(name, read, n=1, cutoff=0.75):
            yield (
                f"{profile.name}: default-resources.{name}: nobody reads a resource of that name; did you mean "
                f"`{close[0]}`?"
            )


def _unfit(profile: Profile) -> Iterator[str]:
    values = profile.values
    methods = [values.get(name) or () for name in ("software-deployment-method", "sdm")]
    if any("apptainer" in str(given) for given in methods):
        yield (
            f"{profile.name}: software-deployment-method is apptainer, and no rule names an image: run all of "
            "Snakemake in one, or the trainings alone by set-resources.train.node_python (docs/operating.md)"
        )
    triggers = values.get("rerun-triggers")
    if triggers is None or not _TRIGGERS.issuperset([triggers] if isinstance(triggers, str | int) else triggers):
        yield (
            f"{profile.name}: rerun-triggers must be [mtime, params, input]: with others an edited rule or another "
            "environment would train everything anew"
        )
    if not profile.on_slurm:
        return
    if values.get("retries", 0) not in (0, None):
        yield (
            f"{profile.name}: retries is {values['retries']}: trainings requeue themselves, and one that fails "
            "would fail again; set it to 0"
        )
    if not is_launched(profile.resources("train")):
        yield (
            f"{profile.name}: set-resources.train.launcher is not slurm: trainings would run on this machine, a login "
            "node; set it to slurm"
        )


def rule_names() -> list[str]:
    """Every rule of the workflow in this folder."""
    return [name for path in _rule_files() for name in _RULE.findall(path.read_text())]


def local_rules() -> set[str]:
    """Rules that run where Snakemake does."""
    local = set()
    for path in _rule_files():
        # A rule's text goes to the next one's head.
        text = path.read_text()
        heads = [*_RULE.finditer(text)]
        for head, after in zip_longest(heads, heads[1:]):
            if re.search(r"^\s*localrule:\s*True", text[head.end() : after.start() if after else None], re.M):
                local.add(head[1])
    return local


def _rule_files() -> list[Path]:
    files: list[Any] = [Path("Snakefile"), *sorted(Path("rules").glob("*.smk"))]
    return [path for path in files if path.exists()]
