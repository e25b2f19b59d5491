"""What happens to a batch on the device: packed numbers become the network's input."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any, get_args

import numpy as np
import torch
from torch import Tensor

from sspipe.train.dataset import Array
from sspipe.variants import View


class Standardiser:
    """Per-band standardisation that leaves no-data and padding at exactly 0 (section 4.2).

    Args:
        statistics: content of `statistics/{split}.json`.
        device: where batches are standardised.
    """

    def __init__(self, statistics: dict[str, Any], device: torch.device) -> None:
        def bands(view: str, what: str) -> Tensor:
            values = np.asarray(statistics["views"][view][what], dtype=np.float32)
            return torch.from_numpy(values).to(device)[:, None, None]

        self._scale = {view: 1 / bands(view, "std").clamp_min(1e-6) for view in statistics["views"]}
        self._shift = {view: -bands(view, "mean") * self._scale[view] for view in statistics["views"]}

    def __call__(self, image_BCHW: Tensor, view: str) -> Tensor:
        """Standardises a view as it is packed; a pixel that is 0 in all bands is no-data and stays 0.

        Args:
            image_BCHW: `(B, 4, H, W)` float16, uint16 or float32.
            view: whose statistics are used.

        Returns:
            `(B, 4, H, W)` float32, of its own memory.
        """
        image = image_BCHW.to(torch.float32, copy=True)
        # Several times faster on a CPU than any(dim=1), which steps from band to band for each pixel.
        valid = functools.reduce(torch.logical_or, (band != 0 for band in image.unbind(dim=1))).unsqueeze(1)
        return image.mul_(self._scale[view]).add_(self._shift[view]).mul_(valid)


def draw_flips(key: Sequence[int], samples: Sequence[int]) -> np.ndarray:
    """Draws for each sample whether it is flipped left-right: `(B,)` bool, from a stream of the sample's own."""
    return np.array([np.random.default_rng([*key, int(sample)]).random() < 0.5 for sample in samples], dtype=bool)


def flip_left_right(image_BCHW: Tensor, flipped_B: Tensor) -> Tensor:
    """Flips the chosen samples along columns.

    Columns run along the flight direction once tiles are oriented, so a flip keeps the radar's geometry; rows do not.

    Args:
        image_BCHW: `(B, C, H, W)`, a view or the masks.
        flipped_B: `(B,)` bool, on the same device.
    """
    return torch.where(flipped_B[:, None, None, None], image_BCHW.flip(-1), image_BCHW)


def network_input(
    arrays: Mapping[Array, Tensor], standardise: Standardiser, flipped_B: Tensor | None = None
) -> tuple[dict[str, Tensor], Tensor]:
    """Makes of a batch as it is packed what the network and the loss take.

    Args:
        arrays: of a `Batch`: some views, and the masks.
        standardise: of the split.
        flipped_B: `(B,)` bool, the samples to flip left-right; None flips none.

    Returns:
        views `(B, 4, P, P)` float32, standardised, channels last as the network's weights are; masks `(B, 2, P, P)`
        float32 of 0 and 1.
    """
    views = {view: standardise(arrays[view], view) for view in get_args(View) if view in arrays}
    masks_BCHW = arrays["masks"].float()
    if flipped_B is not None:  # not before: torch cannot flip uint16
        views = {view: flip_left_right(image, flipped_B) for view, image in views.items()}
        masks_BCHW = flip_left_right(masks_BCHW, flipped_B)
    return {view: image.contiguous(memory_format=torch.channels_last) for view, image in views.items()}, masks_BCHW
