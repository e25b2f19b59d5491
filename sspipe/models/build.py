"""A network from its configuration: construction, initialisation, parameter counts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from sspipe.errors import UserError
from sspipe.models.shared_space import FOUR_BANDS, SharedSpace
from sspipe.models.skips import sources
from sspipe.models.unet16 import UNet16
from sspipe.variants import Model, Variant

Network = UNet16 | SharedSpace

# Positions of the 13 convolutions in the usual VGG16's `features`.
_VGG16_LAYERS = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)


def build_network(model: Model, seed: int, bands: Mapping[str, int] = FOUR_BANDS) -> Network:
    """Builds a network with its initial weights: He initialisation, and VGG16's where the configuration names a file.

    The paper names no initialisation; He's is the usual one for ReLU networks without normalisation.

    Args:
        model: the network's settings.
        seed: of the weights.
        bands: of the images of each view that it takes, see `input_bands`; the default is SpaceNet 6's.

    Raises:
        UserError: the VGG16 file is missing or does not fit.
    """
    skip_sources = sources(model)
    network: Network
    if model.kind == "unet16":
        network = UNet16([source != "none" for source in skip_sources], model.width, model.norm, max(bands.values()))
    else:
        network = SharedSpace(skip_sources, model.private_blocks, model.width, model.norm, bands)
    _initialise(network, torch.Generator().manual_seed(seed))
    if model.vgg16_weights is not None:
        _load_vgg16(network, model.vgg16_weights)
    return network


def input_bands(variant: Variant, statistics: Mapping[str, Any]) -> dict[str, int]:
    """Bands of the images that a variant's network takes, by view.

    UNet16's one encoder takes the views that its stages train on; a shared space has encoders for both.

    Args:
        variant: resolved.
        statistics: content of `statistics/{split}.json`.
    """
    bands = {view: len(about["mean"]) for view, about in statistics["views"].items()}
    return variant_bands(variant, bands)


def variant_bands(variant: Variant, bands: Mapping[str, int]) -> dict[str, int]:
    """Of all views' bands those that a variant's network takes."""
    if variant.model.kind == "shared_space":
        return dict(bands)
    return {view: bands[view] for view in sorted({view for stage in variant.stages for view in stage.views})}


def count_parameters(network: Network) -> tuple[int, int]:
    """Counts parameters two ways.

    Returns:
        Unique parameters, and the count with the encoder counted twice, which is what summary tools print for the
        common implementation of UNet16 (it registers its encoder twice) and gives the paper's 44M.
    """
    unique = sum(parameter.numel() for parameter in network.parameters())
    encoder = unique - sum(parameter.numel() for parameter in network.decoder.parameters())
    return unique, unique + encoder


def _initialise(network: Network, generator: torch.Generator) -> None:
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            followed_by: Literal["linear", "relu"] = "linear" if module is network.decoder.head else "relu"
            nn.init.kaiming_normal_(module.weight, nonlinearity=followed_by, generator=generator)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def _load_vgg16(network: Network, path: Path) -> None:
    weights = _read_weights(path)
    for blocks in network.encoders():
        convolutions = [module for block in blocks for module in block.modules() if isinstance(module, nn.Conv2d)]
        for convolution, layer in zip(convolutions, _VGG16_LAYERS, strict=True):
            try:
                weight, bias = weights[f"features.{layer}.weight"], weights[f"features.{layer}.bias"]
            except KeyError as error:
                raise UserError(
                    f"{path}: no tensor {error}; expected the weights of a VGG16 without batch norm"
                ) from None
            if layer == 0:
                weight = _adapted(weight, convolution.in_channels)
            if weight.shape != convolution.weight.shape:
                expected = tuple(convolution.weight.shape)
                raise UserError(f"{path}: features.{layer}.weight is {tuple(weight.shape)}, expected {expected}")
            with torch.no_grad():
                convolution.weight.copy_(weight)
                assert convolution.bias is not None
                convolution.bias.copy_(bias)


def _adapted(weight: Tensor, bands: int) -> Tensor:
    """Adapts VGG16's first layer from RGB to other bands, scaled to keep the sum.

    Bands after the third take the mean of RGB, and so do all where there are fewer than three.
    """
    rgb = weight[:, :3]
    mean = rgb.mean(dim=1, keepdim=True)
    own = [rgb] if bands >= 3 else []
    return torch.cat([*own, *[mean] * (bands - 3 * len(own))], dim=1) * (3 / bands)


def _read_weights(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise UserError(f"{path}: no such file (model.vgg16_weights); give a local .safetensors or .pth file, or null")
    if path.suffix == ".safetensors":
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            return load_file(path)
        except SafetensorError as error:
            raise UserError(f"{path}: not a safetensors file that can be read ({error})") from None
    try:
        return dict(torch.load(path, map_location="cpu", weights_only=True))
    except Exception as error:  # torch raises several kinds; all mean the same to the user
        raise UserError(f"{path}: not a file of VGG16 weights that can be read safely ({error})") from error
