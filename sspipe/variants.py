"""A variant: a model and the stages that it is trained in; one row of the comparison.

Nothing heavy is imported here, as in `sspipe.config`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from sspipe.validation import PlainPath, Section, validated

View = Literal["sar", "eo"]
SkipSource = Literal["none", "own", "random"]
# The rows of the paper's Table 1, as printed.
PaperRow = Literal[
    "UNet16 with fine-tuning",
    "SS with UNet skip-conns removed",
    "SS with UNet skip-conns",
    "SS with randomized skip-conns",
    "SS with RSC only within the SS",
]


class Skips(Section):
    """Where the decoder's skip connections come from (Table 1, rows 2 to 5)."""

    shared: SkipSource = "own"
    private: SkipSource = "own"


class Model(Section):
    """The network."""

    kind: Literal["unet16", "shared_space"] = "shared_space"
    skips: Skips = Skips()
    width: float = Field(1.0, gt=0, le=4, description="scales every channel count; 1 is the paper's network")
    private_blocks: int = Field(2, ge=0, le=5, description="VGG blocks of each view's own encoder (shared_space)")
    # With `batch`, the shared layers normalise both views by their pooled statistics in training.
    norm: Literal["none", "batch"] = Field("none", description="after each convolution; the paper names none")
    skip_p: Literal["uniform"] | Annotated[float, Field(ge=0, le=1)] = Field(
        "uniform", description="p of Eq. 1: drawn from U[0,1] at each occurrence, or fixed"
    )
    skip_draw: Literal["image", "batch"] = Field("image", description="one draw per image or one per batch")
    vgg16_weights: PlainPath | None = Field(None, description="local ImageNet VGG16 weights; null: He initialisation")

    @model_validator(mode="after")
    def _combination_is_possible(self) -> Model:
        if self.kind == "unet16" and "random" in (self.skips.shared, self.skips.private):
            raise ValueError("`skips: random` mixes two views' encoders, and unet16 has one; use kind: shared_space")
        if self.vgg16_weights is not None and self.width != 1:
            raise ValueError(f"vgg16_weights needs width 1, not {self.width}: VGG16 has one size")
        return self


class Stage(Section):
    """One stretch of training."""

    views: tuple[View, ...] = Field(min_length=1, max_length=2)
    epochs: int = Field(ge=1)
    learning_rate: float | None = Field(None, gt=0, description="null: the variant's")

    @field_validator("views")
    @classmethod
    def _views_differ(cls, views: tuple[View, ...]) -> tuple[View, ...]:
        if len(set(views)) != len(views):
            raise ValueError("a view is named twice")
        return tuple(sorted(views, reverse=True))  # always (sar, eo): the order of Eq. 1

    @property
    def validation_view(self) -> View:
        """SAR if the stage trains on SAR, else EO."""
        return "sar" if "sar" in self.views else "eo"


class Loss(Section):
    """Weights of Eq. 4."""

    dice: float = Field(1.0, ge=0, description="lambda_D")
    bce: float = Field(1.0, ge=0, description="lambda_B")
    dice_smoothing: float = Field(
        1.0, gt=0, description="added to both parts of Eq. 3's fraction, so an empty tile is defined"
    )

    @model_validator(mode="after")
    def _some_loss(self) -> Loss:
        if self.dice == 0 and self.bce == 0:
            raise ValueError("both weights are 0, so there is nothing to train on")
        return self


class Variant(Section):
    """A model and how it is trained: one row of the comparison."""

    title: str | None = Field(None, description="as the report calls it; null: the variant's name")
    paper_row: PaperRow | None = Field(None, description="the row of the paper's Table 1 that this is")
    model: Model = Model()
    stages: tuple[Stage, ...] = Field(min_length=1)
    loss: Loss = Loss()
    learning_rate: float = Field(1e-3, gt=0, description="Adam's (section 5.1)")
    batch_size: int = Field(8, ge=1, description="images of one view in a step, over all GPUs (section 5.1)")
    flip_left_right: bool = Field(True, description="random flips in training; other turns break SAR geometry")
    select: Literal["best", "last"] = Field("best", description="epoch kept: best validation pixel IoU, or the last")
    test_view: View = Field("sar", description="the view that is scored; eo only for the ceiling")

    @model_validator(mode="after")
    def _combination_is_possible(self) -> Variant:
        trained = {view for stage in self.stages for view in stage.views}
        if self.test_view not in trained:
            raise ValueError(
                f"test_view is `{self.test_view}`, which no stage trains on (stages train on {sorted(trained)})"
            )
        if self.stages[-1].validation_view != self.test_view:
            raise ValueError(
                f"test_view is `{self.test_view}`, but the last stage validates on "
                f"`{self.stages[-1].validation_view}`, so the kept epoch would be chosen on the wrong view"
            )
        if self.model.kind == "unet16":
            for stage in self.stages:
                if len(stage.views) > 1:
                    raise ValueError(
                        "unet16 has one encoder, so a stage trains on one view; use kind: shared_space for two"
                    )
        if "random" in (self.model.skips.shared, self.model.skips.private):
            for stage in self.stages:
                if len(stage.views) < 2:
                    raise ValueError("`skips: random` mixes SAR with EO, so every stage needs views: [sar, eo]")
            if self.test_view == "eo":
                raise ValueError("`skips: random` takes SAR alone at test (psi = 1), so test_view must be sar")
        return self


def read_variant(path: Path) -> Variant:
    """Reads a resolved variant, as `sspipe resolve-variant` writes it.

    Raises:
        UserError: the file is missing or does not describe a variant.
    """
    from sspipe.files import read_json

    return validated(Variant, read_json(path), str(path))
