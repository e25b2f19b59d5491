"""One step of training: forward, backward and Adam on this rank's share of a batch, without waiting for the device."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from sspipe.errors import UserError
from sspipe.models.build import Network
from sspipe.train.distributed import Ranks
from sspipe.train.loader import Batch
from sspipe.train.losses import segmentation_loss
from sspipe.train.order import share_of
from sspipe.train.precision import Precision
from sspipe.train.transforms import Standardiser, network_input
from sspipe.variants import Stage, Variant


class Stepper:
    """Takes the steps of one stage, with an optimiser of its own.

    Args:
        network: on the device; its weights are what is trained.
        variant: whose loss and learning rate hold.
        stage: its views, and its learning rate if it has one.
        standardise: of the split.
        ranks: those that share each batch.
        precision: of the forward pass; weights and their gradients stay float32.
        micro_batch_size: images of one view that are taken at once; None takes the whole share.
        compiled: whether `torch.compile` makes the network's code.
    """

    def __init__(
        self,
        network: Network,
        variant: Variant,
        stage: Stage,
        standardise: Standardiser,
        *,
        ranks: Ranks,
        precision: Precision,
        micro_batch_size: int | None = None,
        compiled: bool = False,
    ) -> None:
        self._network, self._weights, self._standardise = network, variant.loss, standardise
        self._ranks, self._precision, self._micro_batch_size = ranks, precision, micro_batch_size
        self.learning_rate = stage.learning_rate or variant.learning_rate
        # Adam with defaults otherwise (section 5.1); fused takes one pass over the parameters instead of several.
        self._optimizer = torch.optim.Adam(network.parameters(), lr=self.learning_rate, fused=True)
        self._scaler = torch.amp.GradScaler(ranks.device.type, enabled=precision.uses_scaler)
        self._shared: DistributedDataParallel | None = None
        if ranks.count > 1:
            # A stage with one view leaves the other view's private encoder of a shared space without gradients.
            idle = variant.model.kind == "shared_space" and len(stage.views) == 1
            self._shared = DistributedDataParallel(
                network,
                device_ids=[ranks.device] if ranks.device.type == "cuda" else None,
                gradient_as_bucket_view=True,
                find_unused_parameters=idle,
            )
        module: nn.Module = network if self._shared is None else self._shared
        self._forward = torch.compile(module) if compiled else module

    def step(self, batch: Batch) -> Tensor:
        """Takes one step of Adam on the mean loss of the whole batch, of which this rank has a share.

        Nothing here waits for the device: what it computes is looked at later, all at once.

        Args:
            batch: its draws are `flips` `(b,)` and `psi` `(2, b, 5)`, where there are such.

        Returns:
            `(b, 3)` float32 on the device: loss, Dice and BCE of each image of the share, before the step.
        """
        self._optimizer.zero_grad(set_to_none=True)
        images = batch.share.stop - batch.share.start
        passes = self._passes(len(batch.samples))
        losses = []
        # Ranks average their gradients, so each image counts as many times as there are ranks.
        weight = self._ranks.count / len(batch.samples) if images else 0.0
        if not images:
            batch = _blank(batch)
        for number in range(passes):
            last = number == passes - 1
            part = share_of(max(1, images), number, passes)
            if part.start == part.stop and not last:
                continue
            with self._exchanging(last):
                losses_B3 = self._losses(batch, part)
                self._scaler.scale(losses_B3[:, 0].sum() * weight).backward()
            losses.append(losses_B3.detach())
        self._scaler.step(self._optimizer)  # leaves the step out where a scaled gradient overflowed, on the device
        self._scaler.update()
        return torch.cat(losses)[:images]

    def all_finite(self) -> bool:
        """Whether all weights and the optimiser's moments are finite; waits for the device."""
        moments = [value for state in self._optimizer.state.values() for value in state.values()]
        tensors = [*self._network.state_dict().values(), *moments]
        return bool(torch.stack([torch.isfinite(tensor).all().to(self._ranks.device) for tensor in tensors]).all())

    def scale_collapsed(self) -> bool:
        """Whether fp16 gradients overflowed so often that their scale has nothing left; waits for the device."""
        return self._scaler.is_enabled() and self._scaler.get_scale() < 1e-6

    def state(self) -> dict[str, Any]:
        """The optimiser's and the scaler's state, for a checkpoint."""
        return {"optimizer": self._optimizer.state_dict(), "scaler": self._scaler.state_dict()}

    def restore(self, state: dict[str, Any]) -> None:
        """Takes over what `state` gave; a scale is only taken where both compute in fp16."""
        self._optimizer.load_state_dict(state["optimizer"])
        if self._scaler.is_enabled() and state["scaler"]:
            self._scaler.load_state_dict(state["scaler"])

    def _passes(self, count: int) -> int:
        """Forward passes of a step: as many on every rank, though one with fewer images leaves some out."""
        largest = -(-count // self._ranks.count)
        return 1 if self._micro_batch_size is None else -(-largest // self._micro_batch_size)

    def _exchanging(self, last: bool) -> AbstractContextManager[None]:
        """Gradients go to the other ranks with the last pass, when they are whole."""
        if self._shared is None or last:
            return nullcontext()
        return cast(AbstractContextManager[None], self._shared.no_sync())

    def _losses(self, batch: Batch, part: slice) -> Tensor:
        flips, psi = batch.draws.get("flips"), batch.draws.get("psi")
        views, masks_BCHW = network_input(
            {name: array[part] for name, array in batch.arrays.items()},
            self._standardise,
            None if flips is None else flips[part],
        )
        with self._precision.autocast():
            logits = self._forward(views, None if psi is None else psi[:, part])
        parts = segmentation_loss({view: given.float() for view, given in logits.items()}, masks_BCHW, self._weights)
        return torch.stack(parts, dim=1)


def _blank(batch: Batch) -> Batch:
    """For a rank without an image: one that is all no-data, whose loss is to count nothing.

    The other ranks wait for its gradients. Not every kernel that torch has for GPUs takes a batch of none; the one that
    upsamples channels-last images does not.
    """

    def one(given: Mapping[Any, Tensor]) -> dict[Any, Tensor]:
        return {name: tensor.new_zeros([size or 1 for size in tensor.shape]) for name, tensor in given.items()}

    return replace(batch, share=slice(0, 1), arrays=one(batch.arrays), draws=one(batch.draws))


def refuse_impossible(variant: Variant, ranks: Ranks, micro_batch_size: int | None, tiles: int) -> None:
    """Refuses ways of sharing batches under which the result would be another.

    Args:
        variant: that is trained.
        ranks: that share each batch.
        micro_batch_size: of the settings.
        tiles: of an epoch.

    Raises:
        UserError: says which settings do not go together.
    """
    if ranks.count > variant.batch_size:
        raise UserError(
            f"{ranks.count} ranks cannot share a batch of {variant.batch_size} (batch_size): some would never have an "
            f"image; set training.ranks to {variant.batch_size} or fewer"
        )
    if variant.model.norm != "batch":
        return
    if ranks.count > 1 and ranks.device.type == "cpu":
        raise UserError(
            f"model.norm is batch, whose statistics are the whole batch's, and torch can take them over {ranks.count} "
            "ranks on GPUs only; set training.ranks to 1, or model.norm to none"
        )
    left = tiles % variant.batch_size
    if 0 < left < ranks.count:
        raise UserError(
            f"model.norm is batch, and of {tiles} training tiles the last batch of an epoch ({left} of batch_size "
            f"{variant.batch_size}) leaves some of the {ranks.count} ranks without an image to take statistics of; set "
            f"training.ranks to {left}, or model.norm to none"
        )
    share = -(-variant.batch_size // ranks.count)
    if micro_batch_size is not None and micro_batch_size < share:
        raise UserError(
            f"model.norm is batch, whose statistics are the whole batch's, and training.micro_batch_size "
            f"({micro_batch_size}) cuts a rank's share of {share} images; set it to null, take more ranks, or set "
            "model.norm to none"
        )
