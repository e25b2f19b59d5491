"""UNet16: a VGG16 encoder, a centre block and five decoder stages, the design known as TernausNet's UNet16.

The paper's baseline (section 5.1) and the body of the shared-space network. Levels are numbered 1 (full resolution) to
5 (one sixteenth); `B` is the batch, `H` and `W` rows and columns, divisible by 32.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

LEVELS = 5
_CHANNELS = (64, 128, 256, 512, 512)
_CONVOLUTIONS = (2, 2, 3, 3, 3)
_FILTERS = 32  # num_filters of the original; every decoder width is a multiple of it
IN_CHANNELS = 4  # of SpaceNet 6, SAR: HH, HV, VH, VV; EO: R, G, B, NIR
OUT_CHANNELS = 2  # interior and border
# On GPUs torch (2.13 and before) upsamples no channels-last tensor to this many numbers: its kernel counts in 32 bits.
# Sixteen images of 1024 px, a batch of both views, reach it exactly: 16 x 512 channels x 512 x 512.
_TOO_MANY = 2**31


def scaled(channels: int, width: float) -> int:
    """Scales a channel count; never below 1."""
    return max(1, round(channels * width))


def convolution(inputs: int, outputs: int, norm: str) -> nn.Sequential:
    """A 3x3 convolution that keeps the size, optional batch norm, ReLU."""
    layers: list[nn.Module] = [nn.Conv2d(inputs, outputs, kernel_size=3, padding=1)]
    if norm == "batch":
        layers.append(nn.BatchNorm2d(outputs))
    return nn.Sequential(*layers, nn.ReLU(inplace=True))


def encoder_blocks(first: int, last: int, width: float, norm: str, bands: int = IN_CHANNELS) -> nn.ModuleList:
    """The VGG16 blocks of levels `first` to `last`, both included (1 to 5); level 1 takes an image of `bands`."""
    blocks = []
    for level in range(first, last + 1):
        inputs = bands if level == 1 else scaled(_CHANNELS[level - 2], width)
        outputs = scaled(_CHANNELS[level - 1], width)
        count = _CONVOLUTIONS[level - 1]
        blocks.append(nn.Sequential(*(convolution(inputs if n == 0 else outputs, outputs, norm) for n in range(count))))
    return nn.ModuleList(blocks)


def encode(blocks: Iterable[nn.Module], image_BCHW: Tensor, *, pool_first: bool) -> list[Tensor]:
    """Runs VGG blocks with a 2x2 max pool between them.

    Args:
        blocks: consecutive encoder blocks.
        image_BCHW: the input of the first block.
        pool_first: whether the input is itself a block's output, and so is pooled first.

    Returns:
        The output of every block before its pool, shallow to deep.
    """
    features: list[Tensor] = []
    current = image_BCHW
    for block in blocks:
        if pool_first or features:
            current = nn.functional.max_pool2d(current, kernel_size=2)
        current = block(current)
        features.append(current)
    return features


def widened(image_BCHW: Tensor, bands: int) -> Tensor:
    """Gives an image as many bands as an encoder takes that serves views of several counts: the missing ones are 0."""
    missing = bands - image_BCHW.shape[1]
    return nn.functional.pad(image_BCHW, (0, 0, 0, 0, 0, missing)) if missing > 0 else image_BCHW


class Doubled(nn.Module):
    """Bilinear upsampling to twice the size, part by part where the batch is too large for torch's kernel."""

    def forward(self, image_BCHW: Tensor) -> Tensor:
        """`(B, C, 2 H, 2 W)`."""
        batch, channels, rows, columns = image_BCHW.shape
        at_once = max(1, (_TOO_MANY - 1) // (4 * channels * rows * columns))
        # Not split where it need not be: joining the parts copies them.
        parts = image_BCHW.split(at_once) if batch > at_once else (image_BCHW,)
        larger = [
            nn.functional.interpolate(part, scale_factor=2, mode="bilinear", align_corners=False) for part in parts
        ]
        return larger[0] if len(larger) == 1 else torch.cat(larger)


class Decoder(nn.Module):
    """Centre block and five decoder stages with bilinear upsampling.

    Args:
        has_skip: for levels 1 to 5, whether the stage receives the encoder's features; a stage without a skip
            connection has fewer input channels, so removing skips removes parameters.
        width: scales every channel count.
        norm: `none` or `batch`.
    """

    def __init__(self, has_skip: Sequence[bool], width: float = 1.0, norm: str = "none") -> None:
        super().__init__()
        skip = [scaled(channels, width) if has else 0 for channels, has in zip(_CHANNELS, has_skip, strict=True)]

        def stage(inputs: int, middle: int, outputs: int) -> nn.Sequential:
            middle, outputs = scaled(middle, width), scaled(outputs, width)
            return nn.Sequential(
                Doubled(),
                convolution(inputs, middle, norm),
                convolution(middle, outputs, norm),
            )

        wide, narrow = scaled(8 * _FILTERS, width), scaled(2 * _FILTERS, width)
        self.centre = stage(scaled(_CHANNELS[-1], width), 16 * _FILTERS, 8 * _FILTERS)
        self.stage5 = stage(skip[4] + wide, 16 * _FILTERS, 8 * _FILTERS)
        self.stage4 = stage(skip[3] + wide, 16 * _FILTERS, 8 * _FILTERS)
        self.stage3 = stage(skip[2] + wide, 8 * _FILTERS, 2 * _FILTERS)
        self.stage2 = stage(skip[1] + narrow, 4 * _FILTERS, _FILTERS)
        self.stage1 = convolution(skip[0] + scaled(_FILTERS, width), scaled(_FILTERS, width), norm)
        self.head = nn.Conv2d(scaled(_FILTERS, width), OUT_CHANNELS, kernel_size=1)

    def forward(self, deepest_BCHW: Tensor, skips: Sequence[Tensor | None]) -> Tensor:
        """Decodes to logits.

        Args:
            deepest_BCHW: the encoder's level-5 output.
            skips: for levels 1 to 5, the features to concatenate, or None where the stage has no skip connection.

        Returns:
            `(B, 2, H, W)` logits of interior and border, two independent sigmoids.
        """
        current = self.centre(nn.functional.max_pool2d(deepest_BCHW, kernel_size=2))
        stages = (self.stage1, self.stage2, self.stage3, self.stage4, self.stage5)
        for stage, features in zip(reversed(stages), reversed(skips), strict=True):
            current = stage(current if features is None else torch.cat([features, current], dim=1))
        logits: Tensor = self.head(current)
        return logits


class UNet16(nn.Module):
    """One encoder, one decoder, skip connections at every level (or at those of `has_skip`).

    Args:
        has_skip: for levels 1 to 5.
        width: scales every channel count.
        norm: `none` or `batch`.
        bands: that an image has; one with fewer gets bands of 0, so that one encoder can serve SAR and EO.
    """

    def __init__(
        self,
        has_skip: Sequence[bool] = (True,) * LEVELS,
        width: float = 1.0,
        norm: str = "none",
        bands: int = IN_CHANNELS,
    ) -> None:
        super().__init__()
        self.has_skip = tuple(has_skip)
        self.bands = bands
        self.encoder = encoder_blocks(1, LEVELS, width, norm, bands)
        self.decoder = Decoder(has_skip, width, norm)

    def encoders(self) -> list[list[nn.Module]]:
        """The blocks that an image goes through, shallow to deep: one list per view's path, here one."""
        return [list(self.encoder)]

    def forward(self, views: dict[str, Tensor], psi: Tensor | None = None) -> dict[str, Tensor]:
        """Decodes one view.

        Args:
            views: exactly one view, `(B, C, H, W)` float32, standardised. The name does not matter: the same weights
                serve EO in the first stage of fine-tuning and SAR in the second.
            psi: accepted so that all networks are called alike; there is nothing to mix.

        Returns:
            `(B, 2, H, W)` logits under the view's name.
        """
        if len(views) != 1:
            raise ValueError(f"UNet16 has one encoder and takes one view, got {sorted(views)}")
        (name, image_BCHW) = next(iter(views.items()))
        features = encode(self.encoder, widened(image_BCHW, self.bands), pool_first=False)
        skips = [level if has else None for level, has in zip(features, self.has_skip, strict=True)]
        return {name: self.decoder(features[-1], skips)}
