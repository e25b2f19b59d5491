"""A step at full size that is tried before the training: does a batch fit on the GPU?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from sspipe.models.build import build_network, input_bands
from sspipe.models.unet16 import LEVELS
from sspipe.train.dataset import DTYPES, Array
from sspipe.train.distributed import Place, Ranks
from sspipe.train.loader import Batch
from sspipe.train.precision import Precision
from sspipe.train.steps import Stepper
from sspipe.train.transforms import Standardiser
from sspipe.variants import Variant


@dataclass(frozen=True)
class Trial:
    """One of the engine's steps, with a network of its own.

    Attributes:
        variant: its network, its stage with most views, its loss.
        size_px: sides of a packed tile.
        precision: of the run.
        device: of the run.
        statistics: content of `statistics/{split}.json`, for the views' bands.
    """

    variant: Variant
    size_px: int
    precision: Precision
    device: torch.device
    statistics: dict[str, Any]

    def fits(self, images: int) -> bool:
        """Whether the GPU has memory for a step with so many images of a view."""
        try:
            self.step(images)
        except torch.OutOfMemoryError:
            return False
        finally:
            torch.cuda.empty_cache()  # the step's tensors are gone by now
        return True

    def step(self, images: int) -> None:
        """Takes a step with so many images of a view, all of them no-data."""
        model = self.variant.model.model_copy(update={"vgg16_weights": None})
        network = build_network(model, seed=0, bands=input_bands(self.variant, self.statistics)).to(self.device)
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload] # missing in torch's stubs
        stage = max(self.variant.stages, key=lambda stage: len(stage.views))
        standardise = Standardiser(self.statistics, self.device)
        alone = Ranks(Place(), self.device)
        stepper = Stepper(network, self.variant, stage, standardise, ranks=alone, precision=self.precision)
        arrays: dict[Array, torch.Tensor] = {}
        names: tuple[Array, ...] = (*stage.views, "masks")
        for name in names:
            bands = 2 if name == "masks" else len(self.statistics["views"][name]["mean"])
            empty = np.zeros((images, bands, self.size_px, self.size_px), DTYPES[name])
            arrays[name] = torch.from_numpy(empty).to(self.device)
        psi = torch.ones((len(stage.views), images, LEVELS), dtype=torch.bool, device=self.device)
        flips = torch.ones(images, dtype=torch.bool, device=self.device)
        stepper.step(Batch(0, tuple(range(images)), slice(0, images), arrays, {"psi": psi, "flips": flips}))
