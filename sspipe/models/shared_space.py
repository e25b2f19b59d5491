"""The shared-space network (section 3.2): private encoders per view, then one shared encoder and one decoder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from sspipe.models.skips import mix
from sspipe.models.unet16 import IN_CHANNELS, LEVELS, Decoder, encode, encoder_blocks, widened
from sspipe.variants import SkipSource

VIEWS = ("sar", "eo")
FOUR_BANDS: Mapping[str, int] = dict.fromkeys(VIEWS, IN_CHANNELS)


class SharedSpace(nn.Module):
    """Two private encoders, a shared encoder, a shared decoder, and skip connections of a kind per level.

    Args:
        skip_sources: for levels 1 to 5: `none`, `own` (the view that is decoded) or `random` (Eq. 1).
        private_blocks: VGG blocks in each private encoder; the rest is shared.
        width: scales every channel count.
        norm: `none` or `batch`.
        bands: of each view's images. Without private blocks the shared encoder takes both, and the one with fewer gets
            bands of 0.
    """

    def __init__(
        self,
        skip_sources: Sequence[SkipSource],
        private_blocks: int = 2,
        width: float = 1.0,
        norm: str = "none",
        bands: Mapping[str, int] = FOUR_BANDS,
    ) -> None:
        super().__init__()
        self.skip_sources = tuple(skip_sources)
        widest = max(bands[view] for view in VIEWS)
        self.bands = {view: bands[view] if private_blocks else widest for view in VIEWS}
        self.private = nn.ModuleDict(
            {view: encoder_blocks(1, private_blocks, width, norm, bands[view]) for view in VIEWS}
        )
        self.shared = encoder_blocks(private_blocks + 1, LEVELS, width, norm, widest)
        self.decoder = Decoder([source != "none" for source in skip_sources], width, norm)

    def encoders(self) -> list[list[nn.Module]]:
        """The blocks that an image goes through, shallow to deep: one list per view's path."""
        return [[*self._private(view), *self.shared] for view in VIEWS]

    def _private(self, view: str) -> nn.ModuleList:
        blocks = self.private[view]
        assert isinstance(blocks, nn.ModuleList)
        return blocks

    def forward(self, views: dict[str, Tensor], psi: Tensor | None = None) -> dict[str, Tensor]:
        """Decodes every view that is given; both go through the shared part as one batch.

        Args:
            views: `sar`, `eo` or both, each `(B, C, H, W)` float32, standardised.
            psi: `(2, B, 5)` bool draws of Eq. 1 for the passes that decode SAR and EO; needed exactly when both views
                are given and some level's source is `random`. With SAR alone psi is 1 and no EO tensor exists.

        Returns:
            `(B, 2, H, W)` logits per given view.

        Raises:
            ValueError: no view; both views with randomized skips but no draws; or EO alone with randomized skips.
        """
        names = [view for view in VIEWS if view in views]
        randomized = "random" in self.skip_sources
        if not names:
            raise ValueError(f"no view given; the network knows {VIEWS}")
        if randomized and len(names) == 2 and psi is None:
            raise ValueError("both views are given, so randomized skip connections need psi")
        if randomized and names == ["eo"]:
            raise ValueError("randomized skip connections take SAR's features at test; EO alone cannot be decoded")

        images = [widened(views[view], self.bands[view]) for view in names]
        private = [
            encode(self._private(view), image, pool_first=False) for view, image in zip(names, images, strict=True)
        ]
        levels = list(zip(*private, strict=True))
        entrance = _joined(levels[-1] if levels else images)
        shared = encode(self.shared, entrance, pool_first=bool(levels))
        # Private features are joined only where a skip connection takes them: at full size they are gigabytes.
        features: list[Tensor | None] = [
            None if source == "none" else _joined(level)
            for source, level in zip(self.skip_sources, levels[:-1], strict=False)
        ]
        features += [entrance, *shared] if levels else shared

        skips = [self._skip(level, feature, len(names), psi) for level, feature in enumerate(features)]
        logits = self.decoder(shared[-1] if shared else entrance, skips)
        return dict(zip(names, logits.chunk(len(names)), strict=True))

    def _skip(self, level: int, features_NCHW: Tensor | None, views: int, psi: Tensor | None) -> Tensor | None:
        """What the decoder receives at `level` (from 0); N is views x B."""
        source = self.skip_sources[level]
        if source == "none" or features_NCHW is None:
            return None
        if source == "own" or views == 1:  # one view: psi = 1, the SAR features themselves
            return features_NCHW
        assert psi is not None  # forward has checked it
        features_VBCHW = features_NCHW.unflatten(0, (views, -1))
        return mix(features_VBCHW, psi[:, :, level]).flatten(0, 1)


def _joined(views: Sequence[Tensor]) -> Tensor:
    """Both views as one batch; one view is not copied."""
    return views[0] if len(views) == 1 else torch.cat(list(views))
