"""The ranks that share a training: who this process is among them, and what they tell one another."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from sspipe.errors import UserError

_VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
# Copying the pack to a node's own disk may keep one rank longer than the others.
_PATIENCE = timedelta(minutes=60)


@dataclass(frozen=True)
class Place:
    """Who a process is.

    Attributes:
        rank: from 0, over all machines.
        count: of all ranks.
        local: from 0, on this machine: the GPU that it takes.
    """

    rank: int = 0
    count: int = 1
    local: int = 0


def place_from_environment() -> Place | None:
    """Reads the variables that torchrun, submitit and our own launcher set; the only place that does.

    Returns:
        None if this process was not started as one of several.

    Raises:
        UserError: some are set and others are not, or they make no sense.
    """
    given = {name: os.environ[name] for name in _VARIABLES if os.environ.get(name)}
    if not {"RANK", "WORLD_SIZE"} & given.keys():
        return None
    missing = [name for name in _VARIABLES if name not in given]
    try:
        place = Place(int(given.get("RANK", 0)), int(given.get("WORLD_SIZE", 1)), int(given.get("LOCAL_RANK", 0)))
    except ValueError as error:
        raise UserError(f"the environment variables of ranks are not all numbers ({error}): {given}") from None
    if missing or not 0 <= place.rank < place.count or place.local < 0:
        raise UserError(
            f"the environment sets {given}, which does not name one rank of several"
            f"{' without ' + ', '.join(missing) if missing else ''}; set all of {', '.join(_VARIABLES)}, or none"
        )
    return place


def device_of(place: Place) -> torch.device:
    """The rank's own GPU, or the CPU where there is none.

    Raises:
        UserError: there are fewer GPUs than ranks on this machine.
    """
    if not torch.cuda.is_available():
        return torch.device("cpu")
    visible = torch.cuda.device_count()
    if place.local >= visible:
        raise UserError(
            f"local rank {place.local} finds {visible} GPU{'s' if visible > 1 else ''}; "
            f"set training.ranks to {visible} or auto"
        )
    return torch.device("cuda", place.local)


class Ranks:
    """What ranks tell one another; with one rank nobody is asked."""

    def __init__(self, place: Place, device: torch.device) -> None:
        self.rank, self.count = place.rank, place.count
        self.first = place.rank == 0
        self.device = device

    def sum(self, tensor: Tensor) -> Tensor:
        """The elementwise sum over ranks, on the CPU; `tensor` itself stays as it is."""
        if self.count == 1:
            return tensor.detach().cpu()
        total = tensor.detach().clone()
        dist.all_reduce(total)
        return total.cpu()

    def most(self, values: Sequence[int]) -> list[int]:
        """The elementwise maximum over ranks. It goes from CPU to CPU, so that no GPU is waited for."""
        if self.count == 1:
            return list(values)
        tensor = torch.tensor(values, dtype=torch.int64)
        dist.all_reduce(tensor, op=dist.ReduceOp.MAX)
        return [int(value) for value in tensor]

    def meet(self) -> None:
        """Waits until all ranks have come here."""
        self.most([0])

    def from_first(self, value: Any) -> Any:
        """What rank 0 gives, on every rank."""
        if self.count == 1:
            return value
        values = [value]
        dist.broadcast_object_list(values, src=0, device=torch.device("cpu"))
        return values[0]


@contextmanager
def connected(place: Place, device: torch.device) -> Iterator[Ranks]:
    """Joins the other ranks for the block: tensors on GPUs meet through NCCL, those on CPUs through gloo."""
    if place.count == 1:
        yield Ranks(place, device)
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    dist.init_process_group(backend, init_method="env://", timeout=_PATIENCE)
    try:
        yield Ranks(place, device)
    finally:
        dist.destroy_process_group()
