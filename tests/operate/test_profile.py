"""Profiles as Snakemake reads them."""

import pytest

from sspipe.errors import UserError
from sspipe.operate.profile import Profile, mebibytes, minutes, read_config, read_profile, with_options


def write(folder, text, name="config.yaml"):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text)
    return folder


def test_a_rule_gets_the_defaults_and_its_own_on_top_in_either_spelling(tmp_path):
    text = "default-resources: {slurm_partition: cpu, mem_mb: 100}\nset-resources: {train: {slurm_partition: gpu}}\n"
    listed = 'default-resources: ["slurm_partition=cpu", "mem_mb=100"]\nset-resources: ["train:slurm_partition=gpu"]\n'
    for name, content in (("a", text), ("b", listed)):
        profile = read_profile(write(tmp_path / name, content))
        assert profile.resources("train") == {"slurm_partition": "gpu", "mem_mb": 100}
        assert profile.resources("pack_tiles") == {"slurm_partition": "cpu", "mem_mb": 100}
        assert profile.key("train", "slurm_partition").endswith("config.yaml: set-resources.train.slurm_partition")
        assert profile.key("train", "mem_mb").endswith("config.yaml: default-resources.mem_mb")


def test_the_newest_versioned_profile_wins_as_in_snakemake(tmp_path):
    write(tmp_path, "cores: 1")
    write(tmp_path, "cores: 8", "config.v8+.yaml")
    write(tmp_path, "cores: 9", "config.v9+.yaml")
    assert read_profile(tmp_path).values == {"cores": 9}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("cores: [", "not valid YAML"),
        ("just words", "must be a mapping"),
        ("cores: 1\njobs: 3\ncores: 2", "`cores` stands in line 1 and again in line 3"),
        ("set-resources: ['train=3']", "is not of the form rule:name=value"),
        ("resources: ['gpu']", "is not of the form name=value"),
        ("set-resources: 5", "set-resources: must be a mapping"),
        ("set-resources: {train: }", r"set-resources\.train: must be a mapping"),
        ("configfile: 3", "configfile: must be a file"),
        ("set-threads: {train: many}", r"set-threads\.train: `many` is no number"),
    ],
)
def test_what_cannot_be_used_is_named(tmp_path, text, said):
    with pytest.raises(UserError, match=said):
        profile = read_profile(write(tmp_path, text))
        profile.resources("train")
        profile.limits  # noqa: B018
        profile.threads("train")


def test_a_folder_without_a_profile_is_named(tmp_path):
    with pytest.raises(UserError, match="no profile there"):
        read_profile(tmp_path)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (600, 600),
        ("600", 600),
        ("4h", 240),
        ("90s", 1.5),
        ("1d 2h", 1560),
        ("30 minutes", 30),
        ("soon", None),
        ("", None),
    ],
)
def test_times_are_read_as_snakemake_reads_them(given, expected):
    assert minutes(given) == expected


@pytest.mark.parametrize(
    ("given", "expected"), [(1000, 1000), ("64GB", 65536), ("512 MiB", 512), ("2t", 2097152), ("lots", None)]
)
def test_sizes_are_read_as_snakemake_reads_them(given, expected):
    assert mebibytes(given) == expected


def test_overlays_of_the_command_line_take_the_place_of_the_profiles(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    base = (
        "splits: {spatial: {kind: spatial}}\nvariants: {a: {stages: [{views: [sar], epochs: 1}]}}\nexperiment: base\n"
    )
    (tmp_path / "config.yaml").write_text(base)
    (tmp_path / "mine.yaml").write_text("experiment: mine")
    (tmp_path / "night.yaml").write_text("seeds: [4]")
    profile = Profile(tmp_path / "p.yaml", {"configfile": "mine.yaml"})
    assert read_config(profile, []).experiment == "mine"
    ours = read_config(profile, [tmp_path / "night.yaml"])
    assert (ours.experiment, ours.seeds) == ("base", (4,))
    with pytest.raises(UserError, match=r"absent\.yaml: no such file"):
        read_config(profile, [tmp_path / "absent.yaml"])


def test_single_values_are_laid_over_the_files_as_snakemake_does(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(
        tmp_path, "splits: {s: {kind: spatial}}\nvariants: {a: {stages: [{views: [sar], epochs: 1}]}}\nexperiment: e\n"
    )
    (tmp_path / "mine.yaml").write_text("{experiment: mine, seeds: [4]}")
    profile = Profile(tmp_path / "p.yaml", {"configfile": "mine.yaml", "config": ["experiment=theirs"]})
    assert read_config(profile, []).experiment == "theirs"
    ours = read_config(profile, [], ["experiment=ours", "pack={shards: 3}"])
    assert (ours.experiment, ours.seeds, ours.pack.shards) == ("ours", (4,), 3)
    mapped = Profile(tmp_path / "p.yaml", {"config": {"pack": {"shards": 5}}})
    assert read_config(mapped, []).pack.shards == 5
    with pytest.raises(UserError, match=r"p\.yaml: --config: Invalid config definition"):
        read_config(profile, [], ["experiment"])


def test_options_of_snakemake_beside_the_targets_change_what_the_profile_says():
    profile = Profile(None, {"resources": ["trainings=8"], "jobs": 64, "executor": "slurm"})
    words = [
        "all",
        "--set-resources",
        "train:runtime=600",
        "--resources",
        "trainings=2",
        "--config",
        "a=1",
        "b=2",
        "-j",
        "3",
    ]
    changed, overlays, values = with_options(profile, [*words, "--configfile", "x.yaml"])
    assert (changed.limits, changed.values["jobs"], changed.on_slurm) == ({"trainings": 2}, "3", True)
    assert ([str(path) for path in overlays], values) == (["x.yaml"], ["a=1", "b=2"])
    assert with_options(profile, ["variant_a"]) == (profile, [], [])


def test_elsewhere_than_in_the_checkout_the_remedy_is_told(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="run this from the checkout's folder"):
        read_config(Profile(), [])
