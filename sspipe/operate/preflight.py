"""The stage `preflight`: what would stop a night, in seconds on the login node, or on a node by a one-minute job."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from sspipe.config import Config
from sspipe.errors import UserError
from sspipe.operate import disk, site_checks
from sspipe.operate.launching import is_launched
from sspipe.operate.node_job import check_on_node
from sspipe.operate.profile import Profile, read_config, read_profile
from sspipe.operate.profile_checks import local_rules, option_problems, package_problems, rule_names
from sspipe.operate.site import Site, ask_site
from sspipe.operate.text import gigabytes


@dataclass(frozen=True)
class Finding:
    """One line of the report.

    Attributes:
        level: `ok`, `note` (worth knowing) or `PROBLEM` (the night would fail).
        text: for people; a problem names the file and key to change.
    """

    level: str
    text: str


def preflight(
    *,
    profile: Path | None,
    configfile: Sequence[Path],
    on_node: bool,
    node_minutes: float,
    as_json: bool,
    config_values: Sequence[str] = (),
) -> int:
    """Prints what would stop a night: the stage `preflight`.

    Args:
        profile: as Snakemake's `--profile`.
        configfile: as Snakemake's `--configfile`.
        on_node: also submits a job that looks at a node.
        node_minutes: how long that job may wait in the queue.
        as_json: prints JSON.
        config_values: as Snakemake's `--config`.

    Returns:
        0; 1 if there is a problem.

    Raises:
        UserError: profile or configuration cannot be used.
    """
    chosen = read_profile(profile)
    config = read_config(chosen, configfile, config_values)
    findings = login_findings(config, chosen)
    if on_node:
        if not chosen.on_slurm:
            raise UserError(f"{chosen.name}: --on-node is for profiles whose executor is slurm")
        if any(finding.level == "PROBLEM" for finding in findings):
            findings.append(Finding("note", "no job was submitted: mend the problems above first"))
        else:
            findings += [Finding(*told) for told in check_on_node(config, chosen, node_minutes)]
    print(
        json.dumps([asdict(finding) for finding in findings], indent=2)
        if as_json
        else "\n".join(f"{finding.level:>7}  {finding.text}" for finding in findings),
        flush=True,
    )
    return int(any(finding.level == "PROBLEM" for finding in findings))


def login_findings(config: Config, profile: Profile) -> list[Finding]:
    """All that can be told without submitting anything."""
    rules = rule_names()
    findings = _judged(option_problems(profile, rules), f"{profile.name}: options, rules and resources are known")
    findings += results_findings(config) + scratch_findings(config, profile) + pack_findings(config)
    if profile.on_slurm:
        findings += _on_slurm(config, profile, rules)
    return findings


def _on_slurm(config: Config, profile: Profile, rules: Sequence[str]) -> list[Finding]:
    findings = _judged(package_problems(), "snakemake's slurm executor and submitit are installed")
    findings += _judged(
        site_checks.signal_problems(profile, config.training.checkpoint_minutes),
        "walltime, signal and checkpoints of the trainings go together",
    )
    try:
        site = ask_site()
    except UserError as error:
        return [*findings, Finding("PROBLEM", str(error))]
    local = local_rules()
    # The launcher of a training is local, and what it submits is not.
    launched = {"train"} if is_launched(profile.resources("train")) else set()
    on_nodes = [rule for rule in rules if rule not in local or rule in launched]
    asked = f"{len(on_nodes)} rules: partition, account, GPUs, cores, memory and walltime fit this Slurm"
    findings += _judged(site_checks.site_problems(profile, on_nodes, site), asked)
    findings += _kernels(config, profile, site)
    return findings + [Finding("note", text) for text in site_checks.site_notes(site)]


def results_findings(config: Config) -> list[Finding]:
    """Whether the folder of results can be written to, and has the room that is still needed."""
    folder = disk.existing_folder(config.folder)
    problem = _not_writable(folder)
    if problem:
        return [Finding("PROBLEM", f"config.yaml: results: {folder} cannot be written to ({problem}); name another")]
    runs = [
        (split, variant, seed)
        for split in config.splits
        for variant in config.variants_of(split)
        for seed in config.seeds
    ]
    needed = sum(line.bytes for line in disk.space(config, runs, 1) if not line.there)
    free = shutil.disk_usage(folder).free
    told = f"{config.folder}: {gigabytes(needed)} still needed, {gigabytes(free)} free"
    if needed > free:
        return [Finding("PROBLEM", f"{told}; free some space, or set results in config.yaml to a larger disk")]
    return [Finding("ok", told)]


def scratch_findings(config: Config, profile: Profile) -> list[Finding]:
    """What the login node can tell of `training.scratch`."""
    scratch = config.training.scratch
    if scratch is None:
        return [Finding("note", "training.scratch is null: trainings read the pack from the disk of the results")]
    if profile.on_slurm:
        return [Finding("note", f"training.scratch is {scratch}: a folder of the nodes; --on-node looks at it")]
    folder = Path(os.environ.get("TMPDIR", tempfile.gettempdir())) if scratch == "auto" else Path(scratch)
    problem = _not_writable(folder)
    if problem:
        return [Finding("PROBLEM", f"config.yaml: training.scratch: {folder} cannot be written to ({problem})")]
    needed, free = pack_bytes(config), shutil.disk_usage(folder).free
    told = f"training.scratch: {folder} has {gigabytes(free)} free, the pack takes {gigabytes(needed)}"
    if needed > free:
        return [Finding("PROBLEM", f"config.yaml: {told}; name another folder, or null")]
    return [Finding("ok", told)]


def pack_findings(config: Config) -> list[Finding]:
    """Whether the tiles are packed, so that trainings could begin at once."""
    there = sum((config.folder / f"pack/{shard}/manifest.json").exists() for shard in range(config.pack.shards))
    if there == config.pack.shards:
        return [Finding("ok", f"pack: all {there} shards are there")]
    archive = config.folder / "archive.tar.gz"
    told = f"pack: {there} of {config.pack.shards} shards are there, so this night packs the others first"
    if not archive.exists() and config.archive.source in ("s3", "url"):
        told += " and fetches the archive (on this machine, which needs internet)"
    if (
        config.archive.source in ("file", "table")
        and config.archive.path is not None
        and not config.archive.path.exists()
    ):
        return [Finding("PROBLEM", f"config.yaml: archive.path: {config.archive.path} is not there")]
    return [Finding("note", told)]


def pack_bytes(config: Config) -> int:
    """Size of the whole pack."""
    return next(line.bytes for line in disk.space(config, [], 1) if line.what == "pack")


def built_architectures() -> tuple[str, list[str]]:
    """The version of torch, and the GPU architectures that it was built for; none for a build for CPUs.

    `torch.cuda.get_arch_list` answers only where there is a GPU, and a login node has none.
    """
    import torch

    flags = getattr(torch._C, "_cuda_getArchFlags", None)
    return torch.__version__, (flags() or "").split() if flags else []


def _kernels(config: Config, profile: Profile, site: Site) -> list[Finding]:
    models = site_checks.gpu_models(profile, site)
    if not models:
        return [Finding("note", f"{profile.name} gives trainings no GPU")]
    version, built = built_architectures()
    problems = site_checks.kernel_problems(profile, site, version, built, config.training.precision)
    unknown = site_checks.unknown_models(profile, site)
    if unknown and not problems:
        shown = ", ".join(model or "GPUs without a type" for model in unknown)
        return [Finding("note", f"{shown}: what torch needs for them is not known here; --on-node looks")]
    return _judged(problems, f"torch {version} has kernels for {', '.join(sorted(models))}")


def _judged(problems: Sequence[str], fine: str) -> list[Finding]:
    return [Finding("PROBLEM", text) for text in problems] or [Finding("ok", fine)]


def _not_writable(folder: Path) -> str | None:
    try:
        with tempfile.NamedTemporaryFile(dir=folder):
            return None
    except OSError as error:
        return error.strerror
