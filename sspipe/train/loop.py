"""The training loop: stages, epochs, steps, validation on the view that the stage serves."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

from sspipe.errors import UserError
from sspipe.files import read_json, whole_file, write_json
from sspipe.log import duration, say
from sspipe.models.build import build_network, count_parameters
from sspipe.models.skips import draw_psi, sources
from sspipe.train import provenance
from sspipe.train.dataset import PackedTiles, read_subset
from sspipe.train.losses import segmentation_loss
from sspipe.train.order import epoch_order
from sspipe.train.transforms import Standardiser, draw_flips, network_input
from sspipe.variants import Stage, Variant, read_variant

_SAY_EVERY_S = 10.0
# First element of every random stream's key after the seed: streams of different use never coincide.
_ORDER, _FLIPS, _SKIPS = 1, 2, 3


@dataclass
class Epoch:
    """One line of metrics.jsonl."""

    stage: int
    stages: int
    view: str
    views: tuple[str, ...]
    epoch: int
    epochs: int
    train_loss: float
    train_dice: float
    train_bce: float
    validation_loss: float
    validation_iou: float
    learning_rate: float
    seconds: float


def train(
    *,
    split: str,
    variant: str,
    seed: int,
    settings: Path,
    split_table: Path,
    statistics: Path,
    packs: Sequence[Path],
    threads: int,
    out_model: Path,
    out_metrics: Path,
    out_record: Path,
) -> None:
    """Trains one variant on one split with one seed: the stage `train`.

    Args:
        split: name of the split, for the record.
        variant: name of the variant, for the record.
        seed: of initialisation, order, flips and skip draws.
        settings: the resolved variant, JSON.
        split_table: `splits/{split}.parquet`.
        statistics: `statistics/{split}.json`.
        packs: `manifest.json` of every packed shard.
        threads: CPU threads of torch.
        out_model: weights, safetensors.
        out_metrics: one JSON line an epoch.
        out_record: train.json: settings, counts, versions, seconds.

    Raises:
        UserError: unusable input, or a loss that is not finite.
    """
    torch.set_num_threads(threads)
    started, begun = provenance.now(), time.monotonic()
    training = Training(
        name=f"{split}/{variant} seed {seed}",
        variant=read_variant(settings),
        seed=seed,
        train_tiles=PackedTiles(packs, read_subset(split_table, "train")),
        validation_tiles=PackedTiles(packs, read_subset(split_table, "validation")),
        statistics=read_json(statistics),
    )
    epochs = training.run()

    with whole_file(out_metrics) as partial:
        partial.write_text("".join(json.dumps(vars(epoch), allow_nan=False) + "\n" for epoch in epochs))
    with whole_file(out_model) as partial:
        save_file(training.weights(), partial, metadata={"split": split, "variant": variant, "seed": str(seed)})
    unique, paper_style = count_parameters(training.network)
    chosen = training.chosen
    write_json(
        out_record,
        {
            "split": split,
            "variant": variant,
            "seed": seed,
            "settings": training.variant.model_dump(mode="json"),
            "parameters_unique": unique,
            "parameters_paper_style": paper_style,
            "tiles": {"train": len(training.train_tiles), "validation": len(training.validation_tiles)},
            "best": {"stage": chosen.stage, "epoch": chosen.epoch, "validation_iou": chosen.validation_iou},
            "seconds": round(time.monotonic() - begun, 1),
            "device": provenance.device_name(training.device),
            "versions": provenance.versions(),
            "commit": provenance.commit(),
            "started": started,
            "finished": provenance.now(),
        },
    )
    say(
        f"{training.name}: kept epoch {chosen.epoch} of stage {chosen.stage}, "
        f"validation IoU {chosen.validation_iou:.3f}, {duration(time.monotonic() - begun)} in all"
    )


class Training:
    """A network and the data it is trained on; `run` takes it through its stages."""

    def __init__(
        self,
        *,
        name: str,
        variant: Variant,
        seed: int,
        train_tiles: PackedTiles,
        validation_tiles: PackedTiles,
        statistics: dict[str, Any],
    ) -> None:
        self.name = name
        self.variant = variant
        self.seed = seed
        self.train_tiles = train_tiles
        self.validation_tiles = validation_tiles
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.standardise = Standardiser(statistics, self.device)
        # Channels last: about twice as fast on CPUs, and what tensor cores want.
        self.network = build_network(variant.model, seed).to(self.device)
        self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload] # missing in torch's stubs
        self.randomized = "random" in sources(variant.model)
        self.chosen: Epoch
        self._steps_done = 0
        self._begun = self._said = time.monotonic()

    def run(self) -> list[Epoch]:
        """Runs all stages and leaves the network with the chosen weights.

        Each stage begins with the weights that the stage before it kept, and with a new optimiser.

        Returns:
            What every epoch measured, in order.
        """
        say(
            f"{self.name}: {len(self.train_tiles)} training and {len(self.validation_tiles)} validation tiles, "
            f"{provenance.device_name(self.device)}"
        )
        epochs: list[Epoch] = []
        self._begun = self._said = time.monotonic()
        for number, stage in enumerate(self.variant.stages, start=1):
            epochs += self.run_stage(number, stage)
        return epochs

    def run_stage(self, number: int, stage: Stage) -> list[Epoch]:
        """Trains for the stage's epochs and loads the weights of the one that `select` chooses."""
        learning_rate = stage.learning_rate or self.variant.learning_rate
        # Adam with defaults otherwise (section 5.1); fused takes one pass over the parameters instead of several.
        optimizer = torch.optim.Adam(self.network.parameters(), lr=learning_rate, fused=True)
        measured: list[Epoch] = []
        kept: dict[str, Tensor] = {}
        for epoch in range(1, stage.epochs + 1):
            begun = time.monotonic()
            losses = self.train_epoch(number, stage, epoch, optimizer)
            validation_loss, validation_iou = self.validate(stage)
            done = Epoch(
                stage=number,
                stages=len(self.variant.stages),
                view=stage.validation_view,
                views=stage.views,
                epoch=epoch,
                epochs=stage.epochs,
                train_loss=losses[0],
                train_dice=losses[1],
                train_bce=losses[2],
                validation_loss=validation_loss,
                validation_iou=validation_iou,
                learning_rate=learning_rate,
                seconds=round(time.monotonic() - begun, 2),
            )
            best = max((earlier.validation_iou for earlier in measured), default=-1.0)
            if self.variant.select == "last" or validation_iou > best:
                self.chosen, kept = done, self.weights()
            measured.append(done)
            say(
                f"{self.where(number, stage, epoch)}: loss {done.train_loss:.3f}, "
                f"validation loss {validation_loss:.3f}, validation IoU {validation_iou:.3f}, {self.time_left()}"
            )
        self.network.load_state_dict(kept)
        return measured

    def train_epoch(
        self, number: int, stage: Stage, epoch: int, optimizer: torch.optim.Optimizer
    ) -> tuple[float, float, float]:
        """Takes one pass over the training tiles.

        Returns:
            Means over images of the loss, Dice and BCE.

        Raises:
            UserError: the loss is not finite.
        """
        self.network.train()
        place = (number, epoch)
        sums = torch.zeros(3, dtype=torch.float64, device=self.device)
        order = epoch_order(self.train_tiles.shard_of, (self.seed, _ORDER, *place), shuffle_shards=8).tolist()
        batches = [order[at] for at in _slices(len(order), self.variant.batch_size)]
        for step, samples in enumerate(batches, start=1):
            parts = self.train_step(samples, stage, place, optimizer)
            sums += parts.double() * len(samples)
            self._steps_done += 1
            self.say_sometimes(number, stage, epoch, step, len(batches), sums)
        loss, dice, bce = (sums / len(self.train_tiles)).tolist()
        if not math.isfinite(loss):
            raise UserError(
                f"{self.where(number, stage, epoch)}: the loss is {loss}; "
                f"lower learning_rate (now {optimizer.param_groups[0]['lr']}) in the variant's configuration"
            )
        return loss, dice, bce

    def train_step(
        self, samples: list[int], stage: Stage, place: tuple[int, int], optimizer: torch.optim.Optimizer
    ) -> Tensor:
        """One step of Adam on one batch; returns loss, Dice and BCE as a tensor on the device, `(3,)`."""
        views, masks_BCHW = self.load(self.train_tiles, samples, stage.views, flip_key=(self.seed, _FLIPS, *place))
        psi = None
        if self.randomized:
            drawn = draw_psi(
                (self.seed, _SKIPS, *place),
                samples,
                p=self.variant.model.skip_p,
                per=self.variant.model.skip_draw,
                passes=len(views),
            )
            psi = torch.from_numpy(drawn.copy()).to(self.device)
        loss = segmentation_loss(self.network(views, psi), masks_BCHW, self.variant.loss)
        optimizer.zero_grad(set_to_none=True)
        loss.total.backward()
        optimizer.step()
        return torch.stack(loss).detach()

    @torch.no_grad()
    def validate(self, stage: Stage) -> tuple[float, float]:
        """Loss and mean per-tile pixel IoU on the validation tiles, on the view that the stage serves (psi = 1).

        Tiles with neither a building nor a predicted one have no IoU and are left out of its mean.
        """
        self.network.eval()
        view = stage.validation_view
        size = self.validation_tiles.size_px
        losses, ious = [], []
        for samples in _consecutive(len(self.validation_tiles), self.variant.batch_size):
            views, masks_BCHW = self.load(self.validation_tiles, samples, (view,), flip_key=None)
            logits = self.network(views)
            losses.append(segmentation_loss(logits, masks_BCHW, self.variant.loss).total.item() * len(samples))
            predicted = logits[view][:, 0, :size, :size] >= 0  # probability 0.5
            true = masks_BCHW[:, 0, :size, :size] > 0
            intersection = (predicted & true).sum(dim=(1, 2))
            union = (predicted | true).sum(dim=(1, 2))
            ious += (intersection[union > 0] / union[union > 0]).tolist()
        return sum(losses) / len(self.validation_tiles), sum(ious) / max(1, len(ious))

    def load(
        self, tiles: PackedTiles, samples: list[int], views: Sequence[Any], flip_key: tuple[int, ...] | None
    ) -> tuple[dict[str, Tensor], Tensor]:
        """Loads a batch onto the device: standardised views `(B, 4, P, P)` and float masks `(B, 2, P, P)`."""
        arrays = {
            name: torch.from_numpy(np.stack([tiles.row(sample, name) for sample in samples])).to(self.device)
            for name in (*views, "masks")
        }
        flips = flip_key is not None and self.variant.flip_left_right
        flipped = torch.from_numpy(draw_flips(flip_key or (), samples)).to(self.device) if flips else None
        return network_input(arrays, self.standardise, flipped)

    def weights(self) -> dict[str, Tensor]:
        """A copy of the network's weights, on the CPU."""
        return {name: tensor.detach().cpu().contiguous().clone() for name, tensor in self.network.state_dict().items()}

    def where(self, number: int, stage: Stage, epoch: int) -> str:
        """Names the run and its place for a log line."""
        views = "+".join(view.upper() for view in stage.views)
        return f"{self.name}: stage {number}/{len(self.variant.stages)} ({views}) epoch {epoch}/{stage.epochs}"

    def time_left(self) -> str:
        """Estimates the time left from the images seen so far, counting a two-view step as two."""
        per_epoch = [len(stage.views) * stage.epochs for stage in self.variant.stages]
        steps_per_epoch = math.ceil(len(self.train_tiles) / self.variant.batch_size)
        done = 0.0
        steps = self._steps_done
        for stage in self.variant.stages:
            in_stage = min(steps, stage.epochs * steps_per_epoch)
            done += in_stage / steps_per_epoch * len(stage.views)
            steps -= in_stage
        share = done / sum(per_epoch)
        return f"{duration((time.monotonic() - self._begun) * (1 - share) / max(share, 1e-9))} left"

    def say_sometimes(self, number: int, stage: Stage, epoch: int, step: int, steps: int, sums: Tensor) -> None:
        """Says within an epoch how it goes, at most every few seconds."""
        if time.monotonic() - self._said < _SAY_EVERY_S:
            return
        self._said = time.monotonic()
        mean = sums[0].item() / (step * self.variant.batch_size)
        say(f"{self.where(number, stage, epoch)} step {step}/{steps}: loss {mean:.3f}, {self.time_left()}")


def _consecutive(count: int, size: int) -> list[list[int]]:
    return [list(range(count)[at]) for at in _slices(count, size)]


def _slices(count: int, size: int) -> list[slice]:
    return [slice(start, min(start + size, count)) for start in range(0, count, size)]
