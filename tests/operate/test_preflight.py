"""What `preflight` finds, on captured descriptions of sites."""

import socket
import sys
from pathlib import Path

import pytest

from sspipe.config import load_config
from sspipe.operate import preflight as stage
from sspipe.operate import profile_checks, site_checks
from sspipe.operate.gpus import capability_of, parse_gres
from sspipe.operate.node_job import check_node, no_network, script, submission
from sspipe.operate.profile import Profile, read_profile
from sspipe.operate.site import Site, ask_site, parse_accounts, parse_partitions, slurm_minutes
from tests.operate.test_plan import SETTINGS

# Slurm 22.05, shortened.
PARTITIONS = """\
PartitionName=gpu AllowGroups=ALL AllowAccounts=ALL Default=YES QoS=N/A MaxTime=08:00:00 State=UP TotalCPUs=32
PartitionName=cpu AllowGroups=ALL AllowAccounts=ALL Default=NO QoS=N/A MaxTime=UNLIMITED State=UP TotalCPUs=32
PartitionName=old AllowGroups=ALL AllowAccounts=ALL Default=NO QoS=N/A MaxTime=UNLIMITED State=DOWN TotalCPUs=32
"""
NODES = """\
gpu|node1|gpu:v100:4(S:0-1)|16|32000|idle
gpu|node2|gpu:v100:2|16|64000+|drained*
cpu|node3|(null)|64|128000|mixed
"""
GOOD = {
    "slurm_partition": "gpu",
    "slurm_account": "toy",
    "gres": "gpu:v100:4",
    "gpu": 4,
    "runtime": 480,
    "cpus_per_task": 4,
    "tasks": 4,
    "mem_mb": 32000,
    "signal_delay_s": 120,
}


def site(**settings):
    partitions, default = parse_partitions(PARTITIONS, NODES)
    return Site(partitions, default, ("root", "toy"), settings, "root")


def profile(**train):
    return Profile("profiles/slurm/config.yaml", {"executor": "slurm", "set-resources": {"train": {**GOOD, **train}}})


def test_a_site_is_read_from_what_slurm_prints():
    partitions, default = parse_partitions(PARTITIONS, NODES)
    assert default == "gpu"
    gpu = partitions["gpu"]
    assert (gpu.up, gpu.max_minutes, gpu.gpus, gpu.cpus, gpu.memory_mb) == (True, 480, {"v100": 4}, 16, 64000)
    assert gpu.usable_nodes == 1 and not partitions["old"].up and partitions["cpu"].gpus == {}
    assert parse_accounts("toy|\nroot|\ntoy|\n") == ("root", "toy")


@pytest.mark.parametrize(
    ("text", "gpus"),
    [
        ("gpu:v100:4(S:0-1),nvme:1", {"v100": 4}),
        ("gpu:4", {"": 4}),
        ("gpu", {"": 1}),
        ("(null)", {}),
        ("gpu:a100:2,gpu:v100:4", {"a100": 2, "v100": 4}),
    ],
)
def test_gres_is_read_in_every_spelling(text, gpus):
    assert parse_gres(text) == gpus


@pytest.mark.parametrize(
    ("text", "expected"),
    [("1-02:00:00", 1560), ("04:00:00", 240), ("10:00", 10), ("90", 90), ("2-0", 2880), ("UNLIMITED", None)],
)
def test_slurms_times_are_read(text, expected):
    assert slurm_minutes(text) == expected


def test_a_profile_that_fits_the_site_has_no_problem():
    assert site_checks.site_problems(profile(), ["train"], site()) == []


@pytest.mark.parametrize(
    ("change", "key", "said"),
    [
        ({"slurm_partition": "gpus"}, "slurm_partition", "no partition `gpus` here; did you mean `gpu`?"),
        ({"slurm_partition": "old", "gres": "", "gpu": 0, "cpus_per_task": 1}, "slurm_partition", "old is closed"),
        ({"slurm_partition": "cpu"}, "gres", "partition cpu has no GPUs"),
        ({"slurm_account": "toys"}, "slurm_account", "root has no account `toys`; did you mean `toy`?"),
        ({"slurm_account": None}, "slurm_account", "not set; name one of your accounts: root, toy"),
        ({"gres": "gpu:a100:4"}, "gres", "no GPU type `a100`; did you mean `v100`?"),
        ({"gres": "gpu:v100:8", "gpu": 8}, "gres", "8 GPUs on one node are asked for, and a node of gpu has 4"),
        ({"gpu": 2}, "gres", "write the same number"),
        ({"gres": "v100:4"}, "gres", "names no GPUs"),
        ({"runtime": "9h"}, "runtime", "is 540 min, and partition gpu allows 480"),
        ({"runtime": "soon"}, "runtime", "`soon` is no time"),
        ({"cpus_per_task": 8}, "cpus_per_task", "4 tasks of 8 cores on one node are asked for"),
        ({"mem_mb": 65000}, "mem_mb", "is 65,000 MB, and a node of gpu has 64,000 MB"),
        ({"mem_mb": "plenty"}, "mem_mb", "`plenty` is no size"),
        ({"cpus_per_task": "eight"}, "cpus_per_task", "`eight` must be a whole number"),
        ({"gres": "gpu:v100:8,lscratch:100", "gpu": 8}, "gres", "8 GPUs on one node are asked for"),
    ],
)
def test_a_problem_names_the_file_and_the_key_to_change(change, key, said):
    problems = site_checks.site_problems(profile(**change), ["train"], site())
    assert len(problems) == 1
    assert problems[0].startswith(f"profiles/slurm/config.yaml: set-resources.train.{key}") and said in problems[0]


def test_rules_that_share_a_default_share_its_problem():
    shared = Profile("p", {"default-resources": {"slurm_partition": "none", "slurm_account": "toy"}})
    problems = site_checks.site_problems(shared, ["pack_tiles", "score_polygons"], site())
    assert problems == ["p: default-resources.slurm_partition: no partition `none` here; known are: cpu, gpu, old"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"signal_delay_s": 600, "runtime": 30}, "must be less than 600 s"),
        ({"signal_delay_s": 6000, "runtime": 480}, "must be less than 5760 s"),
        ({"signal_delay_s": 1200, "runtime": 20}, "the signal would come before the job begins"),
        ({"signal_delay_s": 2}, "too short a signal delay"),
        ({"signal_delay_s": "early"}, "no number of seconds"),
        ({"runtime": None}, "not set"),
        ({"runtime": 9}, "training.checkpoint_minutes is 10"),
    ],
)
def test_signals_that_do_not_fit_the_walltime_are_told(change, said):
    (problem,) = site_checks.signal_problems(profile(**change), checkpoint_minutes=10)
    assert said in problem and "set-resources.train" in problem


def test_signals_that_fit_are_fine():
    assert site_checks.signal_problems(profile(), 10) == []
    assert site_checks.signal_problems(profile(signal_delay_s=599, runtime=30), 10) == []


@pytest.mark.parametrize(
    ("built", "precision", "said"),
    [
        (["sm_70", "sm_80"], "auto", None),
        (["sm_75", "sm_80", "sm_90"], "auto", "no kernels for v100 (compute capability 7.0"),
        ([], "auto", "a build without GPU support"),
        (["sm_70"], "bf16", "training.precision is bf16, which v100 does not have"),
    ],
)
def test_torch_is_held_to_the_sites_gpus(built, precision, said):
    problems = site_checks.kernel_problems(profile(), site(), "2.13.0", built, precision)
    assert (problems == []) if said is None else (said in problems[0])
    untyped = profile(gres="gpu:4")  # the type is then the partition's
    assert site_checks.kernel_problems(untyped, site(), "2.13.0", ["sm_80"], "auto")


@pytest.mark.parametrize(
    ("model", "capability"),
    [
        ("v100", (7, 0)),
        ("Tesla_V100-SXM2-32GB", (7, 0)),
        ("nvidia_a100_80gb_pcie", (8, 0)),
        ("rtx_2080ti", (7, 5)),
        ("rtx3090", (8, 6)),
        ("l40s", (8, 9)),
        ("nvidia_h200", (9, 0)),
        ("mi250", None),
    ],
)
def test_gpu_models_have_the_capability_that_nvidia_lists(model, capability):
    assert capability_of(model) == capability


def test_options_and_rules_that_do_not_exist_are_named_with_the_nearest():
    wrong = Profile(
        "p",
        {"keep-goin": True, "rerun-triggers": ["mtime"], "set-resources": {"trian": {"gpu": 1}}, "slurm-logdir": "x"},
    )
    assert profile_checks.option_problems(wrong, ["train", "pack_tiles"]) == [
        "p: keep-goin: no option of snakemake; did you mean `keep-going`?",
        "p: set-resources.trian: no rule of that name; did you mean `train`?",
    ]
    launcher = {"set-resources": {"train": {"launcher": "slurm"}}}
    retrying = Profile(
        "p", {"executor": "slurm", **launcher, "retries": 2, "rerun-triggers": ["mtime", "params", "input"]}
    )
    assert "set it to 0" in profile_checks.option_problems(retrying, ["train"])[0]
    image = Profile("p", {"software-deployment-method": ["apptainer"], "rerun-triggers": ["mtime"]})
    assert "set-resources.train.node_python" in profile_checks.option_problems(image, [])[0]
    assert "rerun-triggers must be" in profile_checks.option_problems(Profile("p", {"cores": 1}), [])[0]


def test_a_misspelt_resource_that_everybody_would_ignore_is_told():
    triggers = ["mtime", "params", "input"]
    wrong = {"set-resources": {"train": {"signal_delay": 9, "trainings": 1, "site_token": 3}}}
    found = profile_checks.option_problems(Profile("p", {"rerun-triggers": triggers, **wrong}), ["train"])
    told = "p: set-resources.train.signal_delay: nobody reads a resource of that name; did you mean `signal_delay_s`?"
    assert found == [told]
    everywhere = Profile("p", {"rerun-triggers": triggers, "default-resources": {"slurm_acount": "toy"}})
    assert "default-resources.slurm_acount" in profile_checks.option_problems(everywhere, ["train"])[0]


def test_trainings_on_a_login_node_and_executors_that_do_not_exist_are_told():
    triggers = {"rerun-triggers": ["mtime", "params", "input"]}
    (told,) = profile_checks.option_problems(Profile("p", {"executor": "slurm", **triggers}), [])
    assert told.startswith("p: set-resources.train.launcher is not slurm")
    (told,) = profile_checks.option_problems(Profile("p", {"executor": "slrum", **triggers}), [])
    assert told == "p: executor: there is no `slrum`; did you mean `slurm`?"


@pytest.mark.parametrize("name", ["demo", "local", "slurm"])
def test_the_projects_own_profiles_have_no_problem(name):
    chosen = read_profile(Path("profiles") / name)
    assert profile_checks.option_problems(chosen, profile_checks.rule_names()) == []


def test_the_projects_own_profiles_have_only_known_options_and_rules():
    rules = profile_checks.rule_names()
    assert {"train", "pack_tiles", "predict_validation", "fetch_archive", "all"} <= set(rules)
    assert {"all", "resolve_variant", "fetch_archive"} <= profile_checks.local_rules()
    assert "pack_tiles" not in profile_checks.local_rules()


def test_without_slurm_that_is_said(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    config = load_config(SETTINGS)
    findings = stage._on_slurm(config, profile(), ["train"])
    assert any("there is no Slurm on this machine" in f.text and f.level == "PROBLEM" for f in findings)


def test_results_and_pack_are_looked_at(tmp_path, monkeypatch):
    config = load_config({**SETTINGS, "results": str(tmp_path / "results"), "pack": {"shards": 2}})
    assert [finding.level for finding in stage.results_findings(config)] == ["ok"]
    assert stage.pack_findings(config)[0].text.startswith("pack: 0 of 2 shards")
    for shard in range(2):
        path = config.folder / f"pack/{shard}/manifest.json"
        path.parent.mkdir(parents=True)
        path.touch()
    assert stage.pack_findings(config)[0].level == "ok"
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("usage", (), {"free": 10}))
    assert "results in config.yaml" in stage.results_findings(config)[0].text


def test_scratch_that_is_not_there_is_a_problem_of_its_key(tmp_path):
    training = {"scratch": str(tmp_path / "none")}
    config = load_config({**SETTINGS, "training": training})
    (finding,) = stage.scratch_findings(config, Profile())
    assert finding.level == "PROBLEM" and "training.scratch" in finding.text
    assert stage.scratch_findings(config, profile())[0].level == "note"  # the nodes' own


def test_the_job_that_looks_at_a_node_asks_for_what_a_training_gets(tmp_path):
    words = submission(profile(), tmp_path / "log", "sspipe-preflight-t")
    assert {"--partition=gpu", "--account=toy", "--gres=gpu:v100:4", "--time=1"} <= set(words)
    plain = Profile("p", {"set-resources": {"train": {"gpu": 2, "gpu_model": "a100"}}})
    assert "--gres=gpu:a100:2" in submission(plain, tmp_path / "log", "x")


def test_that_job_starts_python_as_a_training_does():
    plain = script({}, ["-m", "sspipe", "check-node", "--out", "a b"])
    assert plain == f"{sys.executable} -m sspipe check-node --out 'a b'"
    resources = {
        "node_python": "apptainer exec --nv sspipe.sif python",
        "slurm_setup": "module load cuda; ulimit -n 9999",
    }
    assert script(resources, ["-V"]) == "module load cuda; ulimit -n 9999; apptainer exec --nv sspipe.sif python -V"


def test_a_node_tells_of_a_disk_that_is_not_shared_of_gpus_that_are_missing_and_of_scratch(tmp_path):
    from sspipe.files import read_json

    check_node(
        token_file=tmp_path / "token",
        token="a",
        gpus=99,
        scratch=str(tmp_path / "none"),
        pack_bytes=1,
        out=tmp_path / "out.json",
    )
    told = read_json(tmp_path / "out.json")
    problems = [text for level, text in told if level == "PROBLEM"]
    assert len(problems) == 3
    assert "no shared disk" in problems[0] and "of 99 GPUs" in problems[1] and "training.scratch" in problems[2]
    assert any("needs no internet" in text for level, text in told if level == "ok")


def test_an_engine_that_wanted_the_internet_would_be_caught():
    with no_network(), socket.socket() as one, pytest.raises(OSError, match="it wants to reach"):
        one.connect(("192.0.2.1", 80))


def test_asking_a_site_that_fails_names_the_command(monkeypatch, tmp_path):
    program = tmp_path / "scontrol"
    program.write_text("#!/bin/sh\necho 'Unable to contact slurm controller' >&2; exit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    from sspipe.errors import UserError

    told = r"Unable to contact slurm controller; asked by `scontrol -o show partition`"
    with pytest.raises(UserError, match=told):
        ask_site()
