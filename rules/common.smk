# Configuration, wildcard constraints and input functions. No rules.
import json
import shutil
import sys
from functools import cache
from pathlib import Path
from shlex import join, quote

from snakemake.exceptions import WorkflowError
from snakemake.logging import is_quiet_about, logger
from snakemake.settings.types import DeploymentMethod

from sspipe.config import load_config
from sspipe.data import own_data, spacenet6
from sspipe.errors import UserError
from sspipe.job_errors import FailureTeller
from sspipe.operate.launching import is_launched, launch_flags
from sspipe.operate.profile import read_profile
from sspipe.session import Session, going_on, keep_set_resources
from sspipe.settings_file import read_settings

try:
    # Snakemake has read them, and a key that stands twice is none of its concerns.
    for path in map(Path, ["config.yaml", *workflow.overwrite_configfiles]):
        if workflow.is_main_process and path.is_file():
            read_settings(path)
    CONFIG = load_config(config)
except UserError as error:
    raise WorkflowError(str(error)) from None

for folder in (CONFIG.folder, *CONFIG.folder.parents):
    if folder.exists() and not folder.is_dir():
        raise WorkflowError(
            f"results: {folder} is no folder; name another in the configuration"
        )

ROOT = str(CONFIG.folder)
RUN = "{split}/{variant}/seed{seed}"
# Tiles of one's own come as a table; all else is SpaceNet 6's archive, or in its form.
OWN = CONFIG.archive.source == "table"
TRUTH = f"{ROOT}/raw/{own_data.TRUTH_FILE if OWN else spacenet6.TRUTH_FILE}"

# Here and not where they are an input: there Snakemake passes over errors once the output exists.
for path in own_data.named_files(CONFIG.archive.path) if OWN else []:
    if "{" in path or "}" in path:
        raise WorkflowError(
            f"{CONFIG.archive.path} names {path}: braces mean wildcards to Snakemake; rename the file or its folder"
        )

# Rules name an environment of conda's, and no image.
if DeploymentMethod.APPTAINER in workflow.deployment_settings.deployment_method:
    raise WorkflowError(
        "--software-deployment-method apptainer: no rule names an image. Run all of Snakemake in one (envs/container.def), "
        "or under Slurm the trainings alone, by train.node_python of the profile (docs/operating.md)."
    )
# Rules say `python`: the interpreter that runs Snakemake has sspipe and all it needs, activated or not. With conda it
# is the environment's own.
if not workflow.deployment_settings.deployment_method:
    # A prefix takes the place of Snakemake's own strict mode, which a failure ahead of a pipe is seen by.
    here = quote(str(Path(sys.executable).parent))
    shell.prefix(f"set -euo pipefail; export PATH={here}:$PATH; ")


wildcard_constraints:
    split="|".join(CONFIG.splits),
    variant="|".join(CONFIG.variants),
    seed=r"\d+",
    shard=r"\d+",


@cache
def runs(pattern, variant=None):
    """Paths of one file per run: each split with its variants, each with every seed."""
    return [
        pattern.format(split=split, variant=name, seed=seed)
        for split in CONFIG.splits
        for name in CONFIG.variants_of(split)
        for seed in CONFIG.seeds
        if variant in (None, name)
    ]


@cache
def manifests():
    """The manifest of every packed shard."""
    return [f"{ROOT}/pack/{shard}/manifest.json" for shard in range(CONFIG.pack.shards)]


def split_flags(wildcards):
    """The flags of `assign-splits` for one split."""
    split = CONFIG.splits[wildcards.split]
    flags = f"--kind {split.kind} --seed {split.seed}"
    flags += f" --test-fraction {split.test_fraction} --validation-fraction {split.validation_fraction}"
    if split.test_line_m is not None:
        flags += f" --test-line-m {split.test_line_m}"
    if split.edges_m is not None:
        flags += " --edges-m {} {}".format(*split.edges_m)
    return flags


# Texts of the user's come as functions: in a parameter's own text Snakemake takes braces for wildcards.
def form_flags(wildcards):
    """What images and footprints must be, as flags of `gather-tiles` and `index-tiles`."""
    tiles = CONFIG.tiles
    words = [
        "--size-px",
        tiles.size_px,
        "--pixel-m",
        tiles.pixel_m,
        "--epsg",
        tiles.epsg,
    ]
    words += ["--sar-bands", *tiles.sar_bands, "--eo-bands", *tiles.eo_bands]
    words += ["--sar-range", *tiles.sar_range, "--eo-range", *tiles.eo_range]
    return join(map(str, words))


TRANSFER = {"connections", "outage_minutes", "ca_bundle"}


def archive_flags(wildcards):
    """The flags of `fetch-archive` that say where the archive is and what it must be."""
    return flags_of(CONFIG.archive, exclude=TRANSFER | {"synthetic"})


def transfer_flags():
    """Those that say how it is fetched: a resource, as a change of parameters would fetch it anew."""
    return flags_of(CONFIG.archive, include=TRANSFER)


def flags_of(section, **chosen):
    """A section's settings as flags of a stage, quoted for the shell."""
    given = section.model_dump(mode="json", exclude_none=True, **chosen)
    return join(
        word
        for key, value in given.items()
        for word in (f"--{key.replace('_', '-')}", str(value))
    )


def variant_settings(wildcards):
    """A variant as JSON text, the parameter that `resolve_variant` re-runs on; how it is called trains nothing anew."""
    return CONFIG.variants[wildcards.variant].model_dump_json(
        exclude={"title", "paper_row"}
    )


def validation_predictions():
    """What `tune_polygons` chooses on: nothing where the configuration pins the settings."""
    names = ("validation.npy", "validation.json")
    return (
        [f"{ROOT}/predict/{RUN}/{name}" for name in names]
        if CONFIG.polygons.tune
        else []
    )


def validation_flag(wildcards, input):
    """The flag of `tune-polygons` for them."""
    return f"--probabilities {quote(input.validation[0])}" if input.validation else ""


def polygon_flags():
    """The flags of `tune-polygons` for the configuration's own settings and the grid."""
    own = CONFIG.polygons.model_dump(exclude={"tune", "grid"})
    grid = CONFIG.polygons.grid
    tried = {
        "interior-thresholds": grid.interior_threshold,
        "border-thresholds": grid.border_threshold,
        "min-areas-px": grid.min_area_px,
        "simplifications-px": grid.simplify_px,
    }
    flags = [f"--{key.replace('_', '-')} {value}" for key, value in own.items()]
    flags += [f"--{key} {' '.join(map(str, values))}" for key, values in tried.items()]
    return " ".join(flags)


@cache
def maps_with_all(suffix):
    """One file of every run's map, if the maps are part of `all`."""
    if not CONFIG.maps.with_all:
        return []
    tools = ("gdalbuildvrt", "gdal_translate")
    # With conda or a container they come with the environment.
    if not workflow.deployment_settings.deployment_method:
        missing = [tool for tool in tools if shutil.which(tool) is None]
        if missing:
            logger.warning(
                f"{' and '.join(missing)} not found: the maps are left out of `all` and of the report. "
                "Install gdal-bin (apt-get install gdal-bin), or set maps.with_all: false."
            )
            return []
    return runs(f"{ROOT}/maps/{RUN}{suffix}")


def block_flag(wildcards):
    """What `score-polygons` resamples: blocks of ground where the split is by place, tiles where it is at random."""
    random = CONFIG.splits[wildcards.split].kind == "random"
    return "" if random else f"--block-m {CONFIG.score.block_m}"


def figure_labels(wildcards):
    """How Snakemake's report lists a figure: by its name, panels of one tile apart."""
    name = wildcards.get("figure") or wildcards.panel
    return {
        "what": name.replace("_", " "),
        "kind": "figure" if "figure" in wildcards.keys() else "one tile",
    }


def initial_weights(wildcards):
    """The file of VGG16 weights that a variant begins with, if it names one."""
    return CONFIG.variants[wildcards.variant].model.vgg16_weights or []


def engine_flags():
    """The flags of `train` that decide its result."""
    training = CONFIG.training
    flags = (
        f"--precision {training.precision} --shuffle-shards {training.shuffle_shards}"
    )
    return f"{flags} --compile" if training.compile else flags


def running_flags():
    """The flags of `train` that decide how fast it goes, and what it shows."""
    training = CONFIG.training
    flags = f"--ranks {training.ranks} --workers {training.workers}"
    flags += f" --checkpoint-minutes {training.checkpoint_minutes} --log-seconds {training.log_seconds}"
    if training.micro_batch_size is not None:
        flags += f" --micro-batch-size {training.micro_batch_size}"
    if training.scratch is not None:
        flags += f" --scratch {quote(str(training.scratch))}"
    return f"{flags} --tensorboard" if training.tensorboard else flags


def launch_words(wildcards, resources):
    """What comes before `train`: nothing where it runs at once, the launcher and what it asks of Slurm otherwise."""
    if not is_launched(resources):
        return ""
    run = f"{ROOT}/train/{RUN}".format(**wildcards)
    try:
        flags = launch_flags(resources)
    except UserError as error:
        raise WorkflowError(str(error)) from None
    return join(
        ["launch", "--folder", f"{run}/slurm", "--queue", f"{ROOT}/slurm", *flags, "--"]
    )


def profile_folder():
    """The folder that `--profile` names; None without, and for one that Snakemake finds elsewhere by its name."""
    for word, following in zip(sys.argv, [*sys.argv[1:], ""]):
        if word == "--profile" or word.startswith("--profile="):
            name = following if word == "--profile" else word.partition("=")[2]
            return Path(name) if Path(name).is_dir() else None
    return None


def read_slurm_profile():
    """The profile's values if it sends jobs to Slurm, and none otherwise."""
    try:
        profile = read_profile(profile_folder())
    except UserError as error:
        raise WorkflowError(str(error)) from None
    return profile.values if profile.on_slurm else {}


# What an unattended night needs and Snakemake leaves open: sspipe/session.py says what. Jobs on nodes have it from here.
SLURM = read_slurm_profile() if workflow.is_main_process else {}
if SLURM:
    keep_set_resources(
        workflow.resource_settings._parsed_overwrite_resources,
        SLURM.get("set-resources", {}),
    )


onstart:
    if SLURM:
        try:
            session = Session(
                CONFIG.folder / "slurm", workflow.scheduler._executor.run_uuid
            )
        except UserError as error:
            raise WorkflowError(str(error)) from None
        workflow.globals["SESSION"] = (
            session  # its lock lives as long as this process
        )


onerror:
    if SLURM:
        for line in going_on(CONFIG.folder, profile_folder()):
            print(line, file=sys.stderr)
    if any(Path(path).exists() for path in runs(f"{ROOT}/score/{RUN}/scores.json")):
        told = [str(path) for path in workflow.config_settings.configfiles]
        single = [
            f"{key}={json.dumps(value)}"
            for key, value in workflow.config_settings.config.items()
        ]
        words = ["report-so-far", *(["--configfile", *told] if told else [])]
        words += ["--config", *single] if single else []
        print(
            f"a report of the runs that have finished: python -m sspipe {join(words)}",
            file=sys.stderr,
        )


# A failure is told whether or not the jobs' own lines are.
if workflow.is_main_process and is_quiet_about(
    workflow.output_settings.quiet or (), "rules"
):
    logger.addHandler(FailureTeller(logger))
