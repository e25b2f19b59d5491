"""What can be told of a profile from the site's own description, before anything is submitted."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from sspipe.operate.gpus import capability_of, gpus_of, parse_gres
from sspipe.operate.launching import DEFAULT_SIGNAL_S, is_launched
from sspipe.operate.profile import Profile, mebibytes, minutes
from sspipe.operate.site import Partition, Site
from sspipe.validation import nearest

# submitit takes a stop for a timeout only if the job ran for about its limit by then; see `signal_problems`.
SUBMITIT_SHARE, SUBMITIT_SECONDS = 0.2, 600


def site_problems(profile: Profile, rules: Iterable[str], site: Site) -> list[str]:
    """Partition, account, GPUs, cores, memory and walltime of every rule that runs on Slurm, against the site's."""
    # Rules mostly share their values: each message once.
    return list(dict.fromkeys(problem for rule in rules for problem in _of_rule(profile, rule, site)))


def signal_problems(profile: Profile, checkpoint_minutes: float) -> list[str]:
    """Whether walltime and signal of the trainings go together.

    submitit tells a walltime from a preemption by how long the job ran: a stop earlier than
    `max(0.2 x limit, 600 s)` before the limit counts as a preemption, of which it allows any number.
    """
    resources = profile.resources("train")
    given = resources.get("runtime")
    delay = resources.get("signal_delay_s", DEFAULT_SIGNAL_S)
    key = profile.key("train", "signal_delay_s")
    if given is None:
        return [f"{profile.key('train', 'runtime')}: not set; write how long one attempt may take, in minutes"]
    limit_minutes = minutes(given)
    if limit_minutes is None:
        return []  # told where every rule's is looked at
    try:
        delay_s = float(delay)
    except (TypeError, ValueError):
        return [f"{key}: `{delay}` is no number of seconds"]
    limit_s = 60 * limit_minutes
    bound = max(SUBMITIT_SHARE * limit_s, SUBMITIT_SECONDS)
    problems = []
    if delay_s >= limit_s:
        problems.append(
            f"{key} is {delay_s:g} s, and the walltime ({profile.key('train', 'runtime')}) {limit_s:g} s: the signal "
            "would come before the job begins; make the delay shorter or the walltime longer"
        )
    elif delay_s >= bound:
        problems.append(
            f"{key} is {delay_s:g} s, and must be less than {bound:g} s, the larger of a fifth of the walltime and 600 "
            "s: submitit would take every walltime for a preemption and requeue without limit"
        )
    if delay_s < 10:
        problems.append(
            f"{key} is {delay_s:g} s: too short a signal delay to finish a step and write a checkpoint before Slurm "
            "kills the job; 90 or more"
        )
    if checkpoint_minutes >= limit_minutes:
        problems.append(
            f"config.yaml: training.checkpoint_minutes is {checkpoint_minutes:g}, not less than the walltime of "
            f"{limit_minutes:g} min ({profile.key('train', 'runtime')}): a job that dies without a signal would begin "
            "again each time; set it lower"
        )
    return problems


def kernel_problems(
    profile: Profile, site: Site, torch_version: str, built: Sequence[str], precision: str
) -> list[str]:
    """Whether this torch has kernels for the GPUs that the trainings get.

    Args:
        profile: of the night.
        site: where it runs.
        torch_version: for the message.
        built: architectures of the build, such as `sm_80`; none is a build for CPUs.
        precision: `training.precision`.
    """
    from sspipe.train.checks import runs_on

    problems = []
    for model in sorted(gpu_models(profile, site)):
        if not built:
            problems.append(
                f"torch {torch_version} is a build without GPU support, and the profile gives trainings "
                f"{model or 'GPU'}s; install one with it (envs/README.md)"
            )
            continue
        capability = capability_of(model)
        if capability is None:
            continue
        if not any(runs_on(architecture, *capability) for architecture in built):
            remedy = "pip install -r envs/v100.txt" if capability[0] == 7 else "a build by CUDA version of pytorch.org"
            problems.append(
                f"torch {torch_version} has no kernels for {model} (compute capability {capability[0]}."
                f"{capability[1]}; it has {', '.join(built)}); install one that has: {remedy}"
            )
        if precision == "bf16" and capability < (8, 0):
            problems.append(
                f"config.yaml: training.precision is bf16, which {model} does not have; set it to auto or fp16"
            )
    return problems


def unknown_models(profile: Profile, site: Site) -> list[str]:
    """GPU types whose compute capability is not known here, so that only a node can tell."""
    return sorted(model for model in gpu_models(profile, site) if capability_of(model) is None)


def gpu_models(profile: Profile, site: Site) -> set[str]:
    """Types of the GPUs that trainings may get: the profile's, or those of its partition."""
    resources = profile.resources("train")
    if not gpus_of(resources):
        return set()
    named = resources.get("gpu_model") or next(iter(parse_gres(str(resources.get("gres") or ""))), "")
    if named:
        return {str(named)}
    partition = site.partitions.get(str(resources.get("slurm_partition", site.default_partition)))
    return set(partition.gpus) if partition else set()


def site_notes(site: Site) -> list[str]:
    """What the site's settings mean for jobs that it stops."""
    notes = []
    if site.settings.get("JobRequeue") == "0":
        notes.append("JobRequeue=0: this Slurm requeues only jobs that ask for it, as the trainings do")
    if site.accounts is None:
        notes.append("no accounting (slurmdbd): accounts cannot be checked, and the efficiency table knows less")
    preempts = site.settings.get("PreemptMode", "OFF") not in ("OFF", "(null)")
    if preempts and "preempt_send_user_signal" not in site.settings.get("SlurmctldParameters", ""):
        notes.append(
            "this Slurm preempts without telling the job first (SlurmctldParameters lacks preempt_send_user_signal): "
            "a preempted training goes on from its last checkpoint by time, see training.checkpoint_minutes"
        )
    return notes


def _of_rule(profile: Profile, rule: str, site: Site) -> Iterator[str]:
    resources = profile.resources(rule)
    name = resources.get("slurm_partition", site.default_partition)
    key = profile.key(rule, "slurm_partition")
    if name is None:
        yield f"{key}: not set, and this Slurm has no default partition; it has {_listed(site.partitions)}"
        return
    yield from _account(profile, rule, resources, site)
    partition = site.partitions.get(str(name))
    if partition is None:
        yield f"{key}: no partition `{name}` here{nearest(str(name), site.partitions)}"
        return
    if not partition.up:
        yield f"{key}: partition {name} is closed to new jobs (its state is not UP)"
    elif not partition.usable_nodes:
        yield f"{key}: partition {name} has no node that is not down or drained"
    runtime = resources.get("runtime")
    limit = None if runtime is None else minutes(runtime)
    if runtime is not None and limit is None:
        yield f"{profile.key(rule, 'runtime')}: `{runtime}` is no time; write minutes, or 4h"
    if limit is not None and partition.max_minutes is not None and limit > partition.max_minutes:
        yield (
            f"{profile.key(rule, 'runtime')} is {limit:g} min, and partition {name} allows {partition.max_minutes:g}; "
            "lower it: a training that is not done by then is requeued and goes on"
        )
    yield from _gpus(profile, rule, resources, partition)
    yield from _size(profile, rule, resources, partition)


def _account(profile: Profile, rule: str, resources: dict[str, Any], site: Site) -> Iterator[str]:
    account, key = resources.get("slurm_account"), profile.key(rule, "slurm_account")
    if account is None:
        yield f"{key}: not set; name one of your accounts: {_listed(site.accounts or ())}"
    elif site.accounts is not None and str(account) not in site.accounts:
        yield f"{key}: {site.user} has no account `{account}`{nearest(str(account), site.accounts)}"


def _gpus(profile: Profile, rule: str, resources: dict[str, Any], partition: Partition) -> Iterator[str]:
    wanted = gpus_of(resources)
    if not wanted:
        return
    spelt = "gres" if resources.get("gres") else "gpu"
    key = profile.key(rule, spelt)
    by_gres = parse_gres(str(resources.get("gres") or ""))
    if resources.get("gres") and not by_gres:
        yield f"{key}: `{resources['gres']}` names no GPUs; write gpu:4, or gpu:v100:4"
    plain = [int(resources[name]) for name in ("gpu", "gpus") if str(resources.get(name, "")).isdigit()]
    if by_gres and plain and sum(by_gres.values()) not in plain:
        yield (
            f"{key} is `{resources['gres']}`, and {profile.key(rule, 'gpu')} counts {plain[0]}: both say how many GPUs "
            "the rule has, so write the same number"
        )
    model = str(resources.get("gpu_model") or next(iter(by_gres), ""))
    if not partition.gpus:
        yield f"{key}: partition {partition.name} has no GPUs; choose another partition"
    elif model and model not in partition.gpus:
        yield f"{key}: partition {partition.name} has no GPU type `{model}`{nearest(model, [*partition.gpus])}"
    else:
        most = partition.gpus[model] if model else max(partition.gpus.values())
        if wanted > most:
            yield f"{key}: {wanted} GPUs on one node are asked for, and a node of {partition.name} has {most}"


def _size(profile: Profile, rule: str, resources: dict[str, Any], partition: Partition) -> Iterator[str]:
    counts = {name: resources.get(name) for name in ("cpus_per_task", "tasks_per_node", "tasks")}
    wrong = [name for name, given in counts.items() if given is not None and not re.fullmatch(r"[1-9]\d*", str(given))]
    for name in wrong:
        yield f"{profile.key(rule, name)}: `{counts[name]}` must be a whole number above 0"
        counts[name] = None
    cores = int(counts["cpus_per_task"] or profile.threads(rule) or 1)
    # A training has one task a GPU.
    tasks = int(counts["tasks_per_node"] or counts["tasks"] or (gpus_of(resources) if is_launched(resources) else 1))
    if partition.cpus and cores * tasks > partition.cpus:
        shown = f"{tasks} tasks of {cores}" if tasks > 1 else f"{cores}"
        key = "cpus_per_task" if "cpus_per_task" in resources else None
        where = profile.key(rule, key) if key else f"{profile.name}: set-threads.{rule}"
        yield f"{where}: {shown} cores on one node are asked for, and a node of {partition.name} has {partition.cpus}"
    spelt = next((name for name in ("mem_mb", "mem") if name in resources), None)
    memory = mebibytes(resources[spelt]) if spelt else None
    if spelt and memory is None:
        yield f"{profile.key(rule, spelt)}: `{resources[spelt]}` is no size; write MB, or 64GB"
    elif spelt and memory is not None and partition.memory_mb and memory > partition.memory_mb:
        yield (
            f"{profile.key(rule, spelt)} is {memory:,.0f} MB, and a node of {partition.name} has "
            f"{partition.memory_mb:,} MB"
        )


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "none"
