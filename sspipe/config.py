"""The configuration: typed, frozen, every knob with its default, unit and reason.

`config.yaml` (and overlays such as `profiles/demo/experiment.yaml`) is parsed into `Config`. Unknown keys are refused.
Nothing heavy is imported here: Snakemake parses its rules again in every job, and each parse comes through this module.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, get_args

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError, field_validator, model_validator

from sspipe.data.spacenet6 import EO_BANDS, EPSG, SAR_BANDS
from sspipe.errors import UserError
from sspipe.validation import PlainPath, Section, matching, merged, nearest, problem_lines, validated
from sspipe.variants import PaperRow, Variant


def _ascending(edges: tuple[float, ...]) -> tuple[float, ...]:
    if any(low >= high for low, high in pairwise(edges)):
        raise ValueError(f"must ascend, but is {', '.join(f'{edge:g}' for edge in edges)}")
    return edges


Name = Annotated[str, matching(r"[a-z][a-z0-9_]*", "lower-case letters, digits and underscores, a letter first")]
Fraction = Annotated[float, Field(gt=0, lt=1)]
Edges = Annotated[tuple[Annotated[float, Field(gt=0)], ...], Field(min_length=1), AfterValidator(_ascending)]


def _low_to_high(ends: tuple[float, float]) -> tuple[float, float]:
    if ends[0] >= ends[1]:
        raise ValueError(f"must name the lowest first, then the highest, not {list(ends)}")
    return ends


def _named_bands(names: Any) -> Any:
    if isinstance(names, int):
        raise ValueError(f"must name the bands, {names} of them, such as [VV, VH]")
    if isinstance(names, list | tuple) and len(set(map(str, names))) != len(names):
        raise ValueError("names a band twice")
    return names


Range = Annotated[tuple[float, float], AfterValidator(_low_to_high)]
Bands = Annotated[
    tuple[Annotated[str, Field(min_length=1)], ...], Field(min_length=1, max_length=64), BeforeValidator(_named_bands)
]
# What SpaceNet 6 fixes of `tiles`.
_OF_SPACENET6 = ("epsg", "sar_bands", "eo_bands", "sar_range", "eo_range")

# The five halvings of VGG16: input sides must be divisible by this (facts of the network, not a knob).
SIDE_MULTIPLE = 32


class Synthetic(Section):
    """The embedded city; tile and pixel size come from `tiles`."""

    seed: int = Field(0, ge=0, description="everything in the city and its images follows from it")
    strips: int = Field(16, ge=2, description="flight strips over the city, half from the north, half from the south")
    tiles_per_strip: int = Field(12, ge=2, description="tiles of one strip, its rows taken together")


class Archive(Section):
    """Where the archive comes from, or the tiles of one's own."""

    source: Literal["s3", "url", "file", "table", "synthetic"] = "s3"
    path: PlainPath | None = Field(
        None, description="archive already on disk (source: file), or the table of your own tiles (source: table)"
    )
    url: Annotated[str, matching(r"https?://[^/]+/.*", "an address that begins with http:// or https://")] | None = (
        Field(None, description="of a mirror on a plain web server, for source: url")
    )
    endpoint_url: str | None = Field(None, description="another S3 endpoint; null is the public cloud's own")
    region: str = "us-east-1"
    bucket: str = "spacenet-dataset"
    key: str = "spacenet/SN6_buildings/tarballs/SN6_buildings_AOI_11_Rotterdam_train.tar.gz"
    size_bytes: int | None = Field(None, gt=0, description="checked when given")
    sha256: Annotated[str, matching(r"[0-9a-f]{64}", "64 digits 0-9 and a-f")] | None = Field(
        None, description="checked when given"
    )
    # How it is fetched; a change of these fetches nothing anew.
    connections: int = Field(
        8, ge=1, le=64, description="ranges fetched at once: one connection to a far store seldom fills the line"
    )
    outage_minutes: float = Field(
        15, ge=0, le=24 * 60, description="how long a source that gives nothing is tried again, minutes"
    )
    ca_bundle: Path | None = Field(
        None,
        description="PEM file of the authorities that may vouch for a store or mirror of your own; null: the usual",
    )
    synthetic: Synthetic = Synthetic()

    @model_validator(mode="after")
    def _source_is_named(self) -> Archive:
        if self.source == "file" and self.path is None:
            raise ValueError("source is `file`, so `archive.path` must name the archive")
        if self.source == "table" and self.path is None:
            raise ValueError("source is `table`, so `archive.path` must name the table of tiles (docs/own_data.md)")
        if self.source == "url" and self.url is None:
            raise ValueError("source is `url`, so `archive.url` must name the archive")
        return self


class Tiles(Section):
    """The form of one tile."""

    size_px: int = Field(900, gt=0, description="rows and columns of a SAR tile")
    padded_px: int = Field(1024, gt=0, description="rows and columns after zero padding; the paper's 900 -> 1024")
    pixel_m: float = Field(0.5, gt=0, description="nominal ground size of a SAR pixel, m")
    orientation: Literal["rotate180", "flipud", "none"] = Field(
        "rotate180", description="what is done to tiles of strips with orientation 1 (facts: the paper says flipped)"
    )
    max_left_out: float = Field(
        0.01, ge=0, le=1, description="share of the tiles that may lack a file or an orientation; more is no accident"
    )
    # What only tiles of one's own (archive.source: table) may have otherwise: the defaults are SpaceNet 6's.
    epsg: int = Field(EPSG, gt=0, description="CRS of images and footprints, as its EPSG code; its unit must be m")
    sar_bands: Bands = Field(SAR_BANDS, description="names of the SAR image's bands, in order: as many as it has")
    eo_bands: Bands = Field(EO_BANDS, description="names of the EO image's bands, in order: as many as it has")
    sar_range: Range = Field((0.0, 100.0), description="what SAR values should be; others are told, and used")
    eo_range: Range = Field((0.0, 2250.0), description="what EO values should be; others are told, and used")

    @model_validator(mode="after")
    def _sizes_fit(self) -> Tiles:
        if self.padded_px < self.size_px:
            raise ValueError(f"padded_px ({self.padded_px}) is smaller than size_px ({self.size_px})")
        if self.padded_px % SIDE_MULTIPLE:
            nearest = -(-self.size_px // SIDE_MULTIPLE) * SIDE_MULTIPLE
            raise ValueError(
                f"padded_px ({self.padded_px}) must be divisible by {SIDE_MULTIPLE}, "
                f"because the network halves its input five times; the smallest that fits is {nearest}"
            )
        return self


class Masks(Section):
    """Training targets."""

    border_px: int = Field(
        3, ge=1, description="half width of the border band, px: it reaches this far to both sides of the outline"
    )


class Split(Section):
    """One way to part the tiles into train, validation and test."""

    kind: Literal["random", "spatial", "baseline_x"]
    seed: int = Field(0, ge=0, description="of the shuffle (random)")
    test_fraction: Fraction = Field(0.2, description="share of all tiles (random; spatial without test_line_m)")
    validation_fraction: Fraction = Field(0.2, description="share of the tiles that test leaves")
    test_line_m: float | None = Field(
        None, description="spatial: tiles whose west edge is at or east of this easting (m) are test; null: by fraction"
    )
    edges_m: tuple[float, float] | None = Field(
        None, description="baseline_x: west and east end of its five slices, m; null: the baseline's, 591550 and 596250"
    )
    variants: Literal["all"] | tuple[Name, ...] = Field("all", description="which variants are trained on this split")

    @model_validator(mode="after")
    def _settings_only_where_used(self) -> Split:
        if self.kind != "spatial" and self.test_line_m is not None:
            raise ValueError(f"test_line_m belongs to `kind: spatial`; a {self.kind} split has no line")
        if self.kind != "baseline_x" and self.edges_m is not None:
            raise ValueError(f"edges_m belongs to `kind: baseline_x`; a {self.kind} split has no slices")
        if self.edges_m is not None and self.edges_m[0] >= self.edges_m[1]:
            raise ValueError(f"edges_m must name the west end first, then the east, not {list(self.edges_m)}")
        return self


class Pack(Section):
    """The packed tiles."""

    shards: int = Field(32, ge=1, le=1000, description="files that the tiles are packed into; one job each")


class Training(Section):
    """How the engine runs, whatever it trains. What the first three decide is part of a result; the rest is not."""

    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field("auto", description="auto: what the GPU is built for")
    compile: bool = Field(False, description="torch.compile: needs a C++ compiler, and minutes at the start")
    shuffle_shards: int = Field(8, ge=1, description="shards whose tiles are shuffled together")
    micro_batch_size: int | None = Field(
        None, ge=1, description="images of one view that a GPU takes at once, gradients added up; null: its whole share"
    )
    ranks: Literal["auto"] | Annotated[int, Field(ge=1)] = Field(
        "auto", description="processes that share each batch; auto: one per visible GPU, one without GPUs"
    )
    workers: int = Field(2, ge=0, description="threads of each rank that read ahead")
    scratch: Literal["auto"] | Path | None = Field(
        None, description="folder on a disk of the node that the pack is copied to first; auto: $TMPDIR; null: none"
    )
    checkpoint_minutes: float = Field(10, ge=0, description="between checkpoints: what a killed run loses at most, min")
    log_seconds: float = Field(30, gt=0, description="between progress lines in a log, s")
    tensorboard: bool = Field(False, description="write event files too; needs the package tensorboard")


Area = Annotated[float, Field(ge=0)]


class PolygonGrid(Section):
    """What is tried on the validation tiles: every combination."""

    interior_threshold: tuple[Fraction, ...] = Field((0.3, 0.4, 0.5, 0.6), min_length=1)
    border_threshold: tuple[Fraction, ...] = Field((0.3, 0.5, 0.7, 0.85, 0.95), min_length=1)
    min_area_px: tuple[Area, ...] = Field((80, 120, 180), min_length=1, description="winners dropped below 80 to 200")
    simplify_px: tuple[Area, ...] = Field((1.0,), min_length=1)


class Polygons(Section):
    """From probabilities to footprints."""

    tune: bool = Field(True, description="choose each run's settings on its validation tiles; false: those named here")
    interior_threshold: Fraction = Field(
        0.5,
        description="a pixel at or above it is building; pixel IoU and the report's pictures go by it, tuned or not",
    )
    border_threshold: Fraction = Field(0.5, description="building pixels below it are the seeds of instances")
    min_area_px: Area = Field(80, description="smaller footprints are dropped; the challenge's 80 px = 20 m2")
    simplify_px: Area = Field(1.0, description="tolerance of the outline, px; 0 keeps every corner")
    grid: PolygonGrid = PolygonGrid()


class Maps(Section):
    """Mosaics of the test area, and the footprints of them."""

    with_all: bool = Field(True, description="make the maps with `all`; without gdal-bin they are left out")
    edge_m: float = Field(
        50,
        gt=0,
        description="a look's weight rises from 0 at its tile's edge to 1 this far inside: networks see less there",
    )
    block_px: int = Field(2048, ge=256, description="side of the blocks that a mosaic is made in; bounds the memory")


class Score(Section):
    """The SpaceNet metric."""

    iou_threshold: Fraction = Field(0.5, description="a match needs a larger IoU")
    min_area_px: float = Field(80, ge=0, description="smaller buildings are left out, px")
    boundary_px: float = Field(2, gt=0, description="width of the band of Boundary IoU, px: about the outline's error")
    area_edges_m2: Edges = Field((50, 100, 200, 500, 1000), description="what parts the bins of recall by area, m2")
    height_edges_m: Edges = Field((3, 6, 10, 20), description="what parts the bins of recall by height, m")
    bootstrap_samples: int = Field(1000, ge=100, description="resamples of tiles or blocks for 95 % intervals")
    block_m: float = Field(
        600,
        gt=0,
        description="side of the blocks of ground that are resampled where a split is by place, m; more than a tile's",
    )
    baseline: Name = Field("unet16_finetune", description="variant that every other is compared with, pair by pair")


class Report(Section):
    """The comparison report."""

    title: str = "Buildings from radar"
    panels: int = Field(
        6, ge=1, le=40, description="test tiles of each split that are shown, if they fit into the page"
    )


class Plan(Section):
    """What `sspipe plan` reckons with; it decides nothing that runs."""

    gpu_tflops: float = Field(
        25,
        gt=0,
        description="10^12 operations a second that training reaches on a GPU, until one was measured here; assumed: a "
        "fifth of a V100's 125 in fp16",
    )
    cpu_tflops: float = Field(
        0.05, gt=0, description="the same for a training without GPUs, until one was measured here; of two cores"
    )
    gpu_scaling: float = Field(
        0.85, gt=0, le=1, description="share of each GPU's rate that is left when several share a batch; assumed"
    )
    night_hours: float = Field(12, gt=0, le=24, description="length of a night, h: the estimate is told in nights")


class Config(Section):
    """A whole experiment."""

    merged_away: ClassVar[tuple[str, ...]] = ("defaults",)

    experiment: Name = "spacenet6"
    results: PlainPath = Field(Path("results"), description="folder that holds one folder per experiment")
    seeds: tuple[Annotated[int, Field(ge=0, lt=2**31)], ...] = Field((0,), min_length=1)
    archive: Archive = Archive()
    tiles: Tiles = Tiles()
    masks: Masks = Masks()
    splits: dict[Name, Split] = Field(min_length=1)
    pack: Pack = Pack()
    variants: dict[Name, Variant] = Field(min_length=1)
    training: Training = Training()
    polygons: Polygons = Polygons()
    maps: Maps = Maps()
    score: Score = Score()
    report: Report = Report()
    plan: Plan = Plan()

    @field_validator("seeds")
    @classmethod
    def _seeds_differ(cls, seeds: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(seeds)) != len(seeds):
            raise ValueError("a seed is named twice")
        return seeds

    @model_validator(mode="after")
    def _splits_name_variants(self) -> Config:
        for name, split in self.splits.items():
            for variant in () if split.variants == "all" else split.variants:
                if variant not in self.variants:
                    raise ValueError(f"splits.{name}.variants: no variant `{variant}`{nearest(variant, self.variants)}")
        return self

    @model_validator(mode="after")
    def _baseline_is_a_variant(self) -> Config:
        named = self.score.baseline
        if "baseline" in self.score.model_fields_set and named not in self.variants:
            raise ValueError(f"score.baseline: no variant `{named}`{nearest(named, self.variants)}")
        return self

    @model_validator(mode="after")
    def _spacenet6_is_as_it_is(self) -> Config:
        if self.archive.source != "table":
            for key in _OF_SPACENET6:
                fixed, given = Tiles.model_fields[key].default, getattr(self.tiles, key)
                if given != fixed:
                    shown = fixed if isinstance(fixed, int) else list(fixed)
                    raise ValueError(
                        f"tiles.{key}: is {shown} in SpaceNet 6, whose archive `archive.source: {self.archive.source}` "
                        "takes; only tiles of your own (archive.source: table) may have another"
                    )
        return self

    @model_validator(mode="after")
    def _archive_is_no_output(self) -> Config:
        given, link = self.archive.path, self.folder / "archive.tar.gz"
        same = given is not None and given.name == link.name and given.parent.resolve() == link.parent.resolve()
        if self.archive.source == "file" and same:
            raise ValueError(
                f"archive.path: {given} is where the workflow puts its link to the archive, and Snakemake removes what "
                "it is about to make; move the archive elsewhere, and name that place"
            )
        return self

    @property
    def folder(self) -> Path:
        """The experiment's folder, `results/{experiment}`."""
        return self.results / self.experiment

    def variants_of(self, split: str) -> tuple[str, ...]:
        """Names of the variants that are trained on `split`, in the order of the config."""
        chosen = self.splits[split].variants
        return tuple(name for name in self.variants if chosen == "all" or name in chosen)


def load_config(content: dict[str, Any]) -> Config:
    """Validates a whole configuration.

    Args:
        content: the merged YAML. `defaults` is merged under every entry of `variants`, key by key.

    Raises:
        UserError: names each wrong key, the nearest valid one, and the variant it belongs to.
    """
    content = dict(content)
    defaults = content.pop("defaults", {})
    if not isinstance(defaults, dict):
        given = "nothing is given" if defaults is None else f"given: {defaults!r}"
        raise UserError(f"the configuration cannot be used:\n  defaults: must be a mapping of settings ({given})")
    variants = content.get("variants")
    if isinstance(variants, dict):
        resolved = {name: merged(defaults, over or {}) for name, over in variants.items()}
        content["variants"] = dict(sorted(resolved.items(), key=_row_in_table_1))
        _refuse_wrong_defaults(defaults)
    return validated(Config, content, "the configuration")


def _row_in_table_1(named: tuple[str, Any]) -> int:
    """Sorts variants as the paper's Table 1 has them, and others after them as they come.

    Snakemake lays an overlay's variants before those of config.yaml, so the order of the files is not to be had.
    """
    rows = get_args(PaperRow)
    row = named[1].get("paper_row") if isinstance(named[1], dict) else None
    return rows.index(row) if row in rows else len(rows)


def _refuse_wrong_defaults(defaults: dict[str, Any]) -> None:
    """Reports what is wrong in `defaults` by itself once, and not for every variant that it is merged under.

    What is missing there, or does not go together, a variant may bring or change.
    """
    try:
        Variant.model_validate(defaults)
    except ValidationError as error:
        own = [
            item
            for item in error.errors()
            if item["type"] == "extra_forbidden" or (item["type"] != "missing" and not isinstance(item["input"], dict))
        ]
        if own:
            lines = "\n".join(f"  defaults.{line}" for line in problem_lines(Variant, own))
            raise UserError(f"the configuration cannot be used:\n{lines}") from None
