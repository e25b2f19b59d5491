"""What a site's Slurm has: partitions, nodes, accounts, and how it treats jobs that it stops."""

from __future__ import annotations

import getpass
import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from sspipe.errors import UserError
from sspipe.operate.gpus import parse_gres
from sspipe.slurm import SlurmAwayError, call

_SINFO = "%R|%N|%G|%c|%m|%T"
_UNUSABLE = ("down", "drain", "fail", "maint", "unknown", "power")


@dataclass(frozen=True)
class Partition:
    """One partition.

    Attributes:
        name: as `--partition` takes it.
        up: whether it takes jobs.
        max_minutes: its longest walltime; None: any.
        gpus: most GPUs of one node, by type; the type is "" where the site names none.
        cpus: most of one node.
        memory_mb: most of one node.
        usable_nodes: that are not down or drained.
    """

    name: str
    up: bool
    max_minutes: float | None
    gpus: dict[str, int] = field(default_factory=dict)
    cpus: int = 0
    memory_mb: int = 0
    usable_nodes: int = 0


@dataclass(frozen=True)
class Site:
    """What was asked of Slurm.

    Attributes:
        partitions: by name.
        default_partition: of jobs that name none; None: there is none.
        accounts: that this user may charge; None: could not be told (no accounting).
        settings: `scontrol show config`, by name.
        user: who was asked for.
    """

    partitions: dict[str, Partition]
    default_partition: str | None
    accounts: tuple[str, ...] | None
    settings: dict[str, str]
    user: str


def ask_site() -> Site:
    """Asks Slurm, in four short calls.

    Raises:
        UserError: there is no Slurm on this machine, or it does not answer.
    """
    shown = ask("scontrol", "-o", "show", "partition")
    nodes = ask("sinfo", "-h", "-N", "-o", _SINFO)
    settings = parse_settings(ask("scontrol", "show", "config"))
    user = getpass.getuser()
    accounts: tuple[str, ...] | None = None
    if settings.get("AccountingStorageType", "").endswith("slurmdbd"):
        accounts = parse_accounts(
            ask("sacctmgr", "-n", "-P", "show", "assoc", f"user={user}", "format=account", "--readonly")
        )
    partitions, default = parse_partitions(shown, nodes)
    return Site(partitions, default, accounts, settings, user)


def ask(*command: str) -> str:
    """Output of one of Slurm's commands.

    Raises:
        UserError: it is not installed, fails, or takes too long.
    """
    try:
        return call(command)
    except SlurmAwayError as error:
        raise UserError(f"{error}; asked by `{' '.join(command)}`") from None


def parse_partitions(shown: str, nodes: str) -> tuple[dict[str, Partition], str | None]:
    """Reads `scontrol -o show partition` and `sinfo -h -N -o '%R|%N|%G|%c|%m|%T'`.

    Returns:
        Partitions by name, and the default one's name.
    """
    rows: dict[str, list[list[str]]] = {}
    for line in nodes.splitlines():
        cells = line.strip().split("|")
        if len(cells) == 6:
            rows.setdefault(cells[0], []).append(cells)
    partitions, default = {}, None
    for line in shown.splitlines():
        values = dict(re.findall(r"(\S+?)=(\S*)", line))
        name = values.get("PartitionName")
        if name is None:
            continue
        if values.get("Default") == "YES":
            default = name
        mine = rows.get(name, [])
        partitions[name] = Partition(
            name,
            up=values.get("State") == "UP",
            max_minutes=slurm_minutes(values.get("MaxTime", "UNLIMITED")),
            gpus=_most(parse_gres(row[2]) for row in mine),
            cpus=max((_number(row[3]) for row in mine), default=0),
            memory_mb=max((_number(row[4]) for row in mine), default=0),
            usable_nodes=sum(not any(word in row[5].lower() for word in _UNUSABLE) for row in mine),
        )
    return partitions, default


def parse_accounts(text: str) -> tuple[str, ...]:
    """Reads `sacctmgr -n -P show assoc format=account`."""
    return tuple(sorted({line.split("|")[0].strip() for line in text.splitlines() if line.strip()}))


def parse_settings(text: str) -> dict[str, str]:
    """Reads `scontrol show config`."""
    pairs = (line.partition("=") for line in text.splitlines() if " = " in line or line.rstrip().endswith("="))
    return {name.strip(): value.strip() for name, _, value in pairs}


def slurm_minutes(text: str) -> float | None:
    """A time as Slurm prints it (`1-02:00:00`, `04:00:00`, `10:00`, `90`), in minutes; None if it is no limit."""
    match = re.fullmatch(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?", text.strip())
    if match is None:
        return None
    days, *rest = match.groups()
    numbers = [int(part) for part in rest if part is not None]
    if days is not None:  # D-H[:M[:S]]
        hours, minutes, seconds = [*numbers, 0, 0][:3]
    elif len(numbers) == 3:
        hours, minutes, seconds = numbers
    else:  # M[:S]
        hours, minutes, seconds = 0, numbers[0], numbers[1] if len(numbers) > 1 else 0
    return int(days or 0) * 1440 + hours * 60 + minutes + seconds / 60


def _most(each: Iterable[dict[str, int]]) -> dict[str, int]:
    most: dict[str, int] = {}
    for gpus in each:
        for model, count in gpus.items():
            most[model] = max(most.get(model, 0), count)
    return most


def _number(text: str) -> int:
    """`32000+` is how sinfo says that nodes differ."""
    digits = re.match(r"\d+", text)
    return int(digits[0]) if digits else 0
