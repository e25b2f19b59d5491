"""Batches from packed tiles onto the device, read ahead by threads.

Threads and not processes: a worker copies megabytes from a memory map, which numpy does without holding the
interpreter's lock, so threads fill the disk's and the memory's bandwidth, and no batch is sent from process to process.
Bytes travel as they are packed (float16, uint16, uint8), a quarter to a half of what float32 would be; the device makes
numbers of them (`sspipe.train.transforms`).
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType

import numpy as np
import torch
from numpy.typing import DTypeLike, NDArray
from torch import Tensor

from sspipe.train.dataset import DTYPES, Array, PackedTiles
from sspipe.train.order import share_of

# (samples of the whole batch, this rank's positions in it) -> small arrays that travel with the batch.
Draws = Callable[[Sequence[int], slice], dict[str, NDArray[np.bool_]]]


@dataclass(frozen=True)
class Batch:
    """One step's samples, of which this rank has a share on its device.

    Attributes:
        step: from 0, within the epoch.
        samples: sample numbers of the whole batch, over all ranks.
        share: this rank's positions in `samples`.
        arrays: `(b, C, P, P)` as they are packed: `sar` float16, `eo` uint16, `masks` uint8; b may be 0. They hold
            until the next batch is asked for; then their memory is used again.
        draws: what `Draws` gave, on the device.
    """

    step: int
    samples: tuple[int, ...]
    share: slice
    arrays: dict[Array, Tensor]
    draws: dict[str, Tensor]


_Loaded = tuple[Batch, dict[Array, Tensor]]  # and the buffers that it was read into


class BatchLoader:
    """Loads a rank's share of every batch, the next ones while the device computes. Use it in a `with` block.

    What it yields follows from the order that it is given alone: the number of workers changes nothing.

    Args:
        tiles: where samples come from.
        arrays: read and sent; no other array's file is opened.
        device: where batches go. To a GPU they go from pinned memory, on a stream of their own.
        batch_size: samples of a whole batch, over all ranks.
        rank: this process.
        ranks: processes that share each batch.
        workers: threads that read; 0 reads when a batch is asked for.
    """

    def __init__(
        self,
        tiles: PackedTiles,
        arrays: Sequence[Array],
        *,
        device: torch.device,
        batch_size: int,
        rank: int = 0,
        ranks: int = 1,
        workers: int = 0,
    ) -> None:
        self._tiles = tiles
        self._arrays = tuple(arrays)
        self._device = device
        self._batch_size = batch_size
        self._rank, self._ranks = rank, ranks
        self._in_flight = workers + 1  # one batch ready while every worker is at another
        self._pool = ThreadPoolExecutor(workers, "loader", self._begin_thread) if workers else None
        self._free: deque[dict[Array, Tensor]] = deque()  # buffers that no batch uses
        self._own = threading.local()  # each thread's stream

    def __enter__(self) -> BatchLoader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def steps(self, count: int) -> int:
        """Batches that `count` samples make; the last may be smaller."""
        return -(-count // self._batch_size)

    def epoch(self, order: Sequence[int] | NDArray[np.int64], draws: Draws, first_step: int = 0) -> Iterator[Batch]:
        """Yields the batches of one epoch.

        Args:
            order: sample numbers of the whole epoch, over all ranks.
            draws: see `Draws`; called by the workers.
            first_step: where to begin; what comes before it is not read.

        Raises:
            UserError: the pack is damaged.
        """
        order = np.asarray(order)
        for batch, buffers in self._loaded(order, draws, range(first_step, self.steps(len(order)))):
            if self._device.type == "cuda":
                # What the copying stream allocated is used by the computing stream: torch must not reuse it too early.
                for tensor in (*batch.arrays.values(), *batch.draws.values()):
                    tensor.record_stream(torch.cuda.current_stream(self._device))
            yield batch
            if self._device.type != "cuda":  # the GPU has copies, and its buffers were freed with the upload
                self._free.append(buffers)

    def _loaded(self, order: NDArray[np.int64], draws: Draws, steps: range) -> Iterator[_Loaded]:
        """Loads the steps in turn, as many ahead as there are workers."""
        if self._pool is None:
            yield from (self._load(step, order, draws) for step in steps)
            return
        ahead: deque[Future[_Loaded]] = deque()
        try:
            for step in steps:
                ahead.append(self._pool.submit(self._load, step, order, draws))
                if len(ahead) > self._in_flight:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        finally:
            for waiting in ahead:
                waiting.cancel()

    def _begin_thread(self) -> None:
        """A thread begins on the first GPU: pinning memory there would take some of it from that GPU's own rank."""
        if self._device.type == "cuda" and self._device.index is not None:
            torch.cuda.set_device(self._device)

    def _load(self, step: int, order: NDArray[np.int64], draws: Draws) -> _Loaded:
        samples = tuple(order[step * self._batch_size : (step + 1) * self._batch_size].tolist())
        share = share_of(len(samples), self._rank, self._ranks)
        mine = samples[share]
        buffers = self._buffers()
        for name, buffer in buffers.items():
            self._tiles.copy(mine, name, buffer.numpy()[: len(mine)])
        arrays = {name: buffer[: len(mine)] for name, buffer in buffers.items()}
        drawn = {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in draws(samples, share).items()}
        if self._device.type == "cuda":
            arrays, drawn = self._uploaded(arrays, drawn)
            self._free.append(buffers)
        return Batch(step, samples, share, arrays, drawn), buffers

    def _buffers(self) -> dict[Array, Tensor]:
        """Memory for one share: fresh memory costs more time than filling it, and pinning it still more."""
        try:
            return self._free.pop()
        except IndexError:
            side, pinned = self._tiles.padded_px, self._device.type == "cuda"
            rows = -(-self._batch_size // self._ranks)
            return {
                name: torch.empty(
                    (rows, self._tiles.channels(name), side, side), dtype=_torch_type(DTYPES[name]), pin_memory=pinned
                )
                for name in self._arrays
            }

    def _uploaded(
        self, arrays: dict[Array, Tensor], drawn: dict[str, Tensor]
    ) -> tuple[dict[Array, Tensor], dict[str, Tensor]]:
        """Copies to the GPU beside its computing, and waits in this thread until the buffers are free again."""
        if not hasattr(self._own, "stream"):
            self._own.stream = torch.cuda.Stream(self._device)
        with torch.cuda.stream(self._own.stream):
            sent = {name: tensor.to(self._device, non_blocking=True) for name, tensor in arrays.items()}
            sent_draws = {name: tensor.to(self._device, non_blocking=True) for name, tensor in drawn.items()}
        self._own.stream.synchronize()
        return sent, sent_draws


def no_draws(samples: Sequence[int], share: slice) -> dict[str, NDArray[np.bool_]]:
    """`Draws` of validation and inference: nothing is random."""
    return {}


def _torch_type(dtype: DTypeLike) -> torch.dtype:
    return torch.from_numpy(np.empty(0, dtype)).dtype
