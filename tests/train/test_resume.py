"""A run that was killed or stopped, however often and wherever, ends as if it had not been."""

import errno
import os
import random
import shutil
import signal
import subprocess
import time

import pandas as pd
import pytest
import torch

from sspipe.errors import UserError
from sspipe.files import read_json
from sspipe.train import provenance
from sspipe.train.checkpoint import Checkpoints
from sspipe.train.lock import sole_trainer
from sspipe.train.loop import Training
from sspipe.train.signals import StoppedError, StopRequest
from sspipe.train.stage import train
from sspipe.train.steps import Stepper
from sspipe.train.validation import Validator
from tests.train.engine import SHARED, arguments, command, metrics, run_stage, start

UNET = {"kind": "unet16", "width": 0.0625, "norm": "batch"}
FINE_TUNING = {"model": UNET, "stages": [{"views": ["eo"], "epochs": 2}, {"views": ["sar"], "epochs": 2}]}
# Each start goes on from what the one before left: a checkpoint follows every step.
KILLS = ["step:2", "save:2", "validation:1", "saved:1", "stage:2", "step:4", "validation:1", "results:1"]


def same_result(folder, other):
    assert (folder / "model.safetensors").read_bytes() == (other / "model.safetensors").read_bytes()
    assert metrics(folder) == metrics(other)


@pytest.fixture(scope="module")
def undisturbed(packed, tmp_path_factory):
    return run_stage(packed, tmp_path_factory.mktemp("undisturbed"), FINE_TUNING)


@pytest.mark.slow
def test_a_run_killed_in_steps_saves_validation_between_stages_and_at_its_end_gives_the_same_bits(
    packed, tmp_path, undisturbed
):
    words = command(packed, tmp_path / "run", FINE_TUNING, checkpoint_minutes=0)[3:]
    python = command(packed, tmp_path / "run", FINE_TUNING)[0]
    for point in KILLS:
        process = start([python, "-m", "tests.train.killed", point, *words], tmp_path / "log")
        assert process.wait(timeout=240) == -signal.SIGKILL, (tmp_path / "log").read_text()
    assert not (tmp_path / "run" / "model.safetensors").exists()
    assert start([python, "-m", "sspipe", *words], tmp_path / "log").wait(timeout=240) == 0
    same_result(tmp_path / "run", undisturbed)
    # The first two left no checkpoint to go on from, or were killed before; the last was finished already.
    assert read_json(tmp_path / "run" / "train.json")["restarts"] >= 5
    assert sorted(path.name for path in (tmp_path / "run" / "checkpoints").iterdir()) == ["finished.pt", "lock"]


@pytest.mark.slow
def test_a_run_killed_from_outside_at_random_moments_gives_the_same_bits(packed, tmp_path):
    settings = {**SHARED, "stages": [{"views": ["sar", "eo"], "epochs": 6}]}
    words = command(packed, tmp_path / "run", settings, checkpoint_minutes=0, workers=2)
    checkpoints = Checkpoints(tmp_path / "run" / "checkpoints")
    moments = random.Random(0)
    for _ in range(3):
        process = start(words, tmp_path / "log")
        before = checkpoints.paths()[-1:]
        while checkpoints.paths()[-1:] == before and process.poll() is None:
            time.sleep(0.02)
        time.sleep(moments.uniform(0, 0.4))
        process.kill()
        assert process.wait() == -signal.SIGKILL, (tmp_path / "log").read_text()
    assert start(words, tmp_path / "log").wait(timeout=240) == 0
    same_result(tmp_path / "run", run_stage(packed, tmp_path / "undisturbed", settings))
    assert read_json(tmp_path / "run" / "train.json")["restarts"] == 3


def signal_in(monkeypatch, kind, name, count, number):
    """Sends this process a signal in the `count`th call of a method; the call itself is made."""
    calls = iter(range(1, 10**9))
    original = getattr(kind, name)

    def signalled(*given):
        if next(calls) == count:
            os.kill(os.getpid(), number)
        return original(*given)

    monkeypatch.setattr(kind, name, signalled)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2])
def test_a_signal_finishes_the_step_saves_and_ends_with_status_75(
    packed, tmp_path, monkeypatch, capsys, undisturbed, number
):
    given = arguments(packed, tmp_path / "run", FINE_TUNING)
    signal_in(monkeypatch, Stepper, "step", 2, number)
    assert train(**given) == 75
    assert signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler)
    told = capsys.readouterr().out
    assert (
        f"stopped by {number.name}; what was done is kept in" in told and "the same command goes on (status 75)" in told
    )
    (saved,) = (tmp_path / "run" / "checkpoints").glob("checkpoint-*.pt")
    state = Checkpoints(saved.parent).read(saved)["state"]
    assert (state["stage"], state["epoch"], state["step"]) == (1, 1, 2)
    assert train(**given) == 0
    assert "going on from checkpoint-000001.pt: stage 1 epoch 1 step 2" in capsys.readouterr().out
    same_result(tmp_path / "run", undisturbed)


def test_a_signal_during_validation_saves_too(packed, tmp_path, monkeypatch, undisturbed):
    given = arguments(packed, tmp_path / "run", FINE_TUNING)
    signal_in(monkeypatch, Validator, "_measured", 3, signal.SIGTERM)  # of the third epoch
    assert train(**given) == 75
    (saved,) = (tmp_path / "run" / "checkpoints").glob("checkpoint-*.pt")
    state = Checkpoints(saved.parent).read(saved)["state"]
    assert (state["stage"], state["epoch"], state["step"], len(state["epochs"])) == (2, 1, 3, 2)
    assert train(**given) == 0
    same_result(tmp_path / "run", undisturbed)


def test_a_signal_before_training_ends_at_once_with_the_same_status(packed, tmp_path, monkeypatch, capsys):
    """While the pack is copied, say, which may take an hour."""
    given = arguments(packed, tmp_path / "run", FINE_TUNING, scratch=str(tmp_path / "scratch"))

    def copying(*given):
        os.kill(os.getpid(), signal.SIGTERM)
        raise AssertionError("went on")

    monkeypatch.setattr("sspipe.train.staging._copy_missing", copying)
    assert train(**given) == 75
    assert "stopped by SIGTERM" in capsys.readouterr().out
    assert not Checkpoints(given["checkpoints"]).paths()


@pytest.fixture()
def interrupted(packed, tmp_path, monkeypatch):
    """The arguments of a run that was stopped in its second epoch and has two checkpoints."""
    given = arguments(packed, tmp_path / "run", FINE_TUNING, checkpoint_minutes=0)
    with monkeypatch.context() as patch:
        signal_in(patch, Stepper, "step", 5, signal.SIGTERM)
        assert train(**given) == 75
    assert len(Checkpoints(given["checkpoints"]).paths()) == 2
    return given


def test_a_checkpoint_holds_all_that_a_run_is(interrupted):
    _, content = Checkpoints(interrupted["checkpoints"]).latest()
    assert set(content["stepper"]) == {"optimizer", "scaler"}
    assert set(content["generators"]) == {"torch", "cuda", "numpy", "python"}
    assert content["state"]["chosen"]["validation_iou"] >= 0 and content["state"]["kept"]
    assert content["identity"]["stages.0.epochs"] == 2 and content["identity"]["learning_rate"] == 0.01
    assert content["versions"]["torch"] == torch.__version__
    assert len(content["losses"]) == 8  # two steps of four images


@pytest.mark.parametrize("damage", ["cut", "bit", "empty"])
def test_a_damaged_newest_checkpoint_falls_back_to_the_one_before_with_a_warning(
    interrupted, capsys, undisturbed, damage
):
    older, newest = Checkpoints(interrupted["checkpoints"]).paths()
    content = bytearray(newest.read_bytes())
    if damage == "bit":
        content[len(content) // 2] ^= 1
    newest.write_bytes(content[: {"cut": len(content) - 100, "bit": len(content), "empty": 0}[damage]])
    assert train(**interrupted) == 0
    told = capsys.readouterr()
    assert f"warning: {newest}: damaged" in told.err and older.name in told.err
    assert f"going on from {older.name}" in told.out
    same_result(interrupted["out_model"].parent, undisturbed)


def test_when_all_checkpoints_are_damaged_the_folder_and_the_remedy_are_named(interrupted):
    for path in Checkpoints(interrupted["checkpoints"]).paths():
        os.truncate(path, path.stat().st_size // 2)
    with pytest.raises(UserError, match=r"checkpoints: every checkpoint is damaged.*delete the folder to train anew"):
        train(**interrupted)


def test_going_on_under_other_settings_is_refused_with_each_key_and_both_values(packed, interrupted):
    folder = interrupted["out_model"].parent
    changed = {**FINE_TUNING, "learning_rate": 0.02, "select": "last"}
    changed["stages"] = [FINE_TUNING["stages"][0], {"views": ["sar"], "epochs": 3}]
    with pytest.raises(UserError) as refused:
        train(**arguments(packed, folder, changed, seed=1, shuffle_shards=3))
    told = str(refused.value)
    for line in (
        "stages.1.epochs: 2 then, 3 now",
        "learning_rate: 0.01 then, 0.02 now",
        "select: best then, last now",
        "seed: 0 then, 1 now",
        "training.shuffle_shards: 8 then, 3 now",
        f"delete {folder / 'checkpoints'} to train anew",
    ):
        assert line in told
    assert told.count(" then, ") == 5


def test_going_on_with_other_inputs_is_refused(packed, interrupted, tmp_path):
    table = pd.read_parquet(packed.split)
    table.loc[12, "subset"] = "test"
    table.to_parquet(tmp_path / "other.parquet")
    with pytest.raises(UserError, match="the validation tiles of the split table: other content") as refused:
        train(**{**interrupted, "split_table": tmp_path / "other.parquet"})
    assert "training tiles" not in str(refused.value)


def test_what_decides_no_result_may_change_on_the_way(packed, interrupted, undisturbed):
    folder = interrupted["out_model"].parent
    named = {**FINE_TUNING, "title": "Another title"}
    again = arguments(packed, folder, named, workers=0, checkpoint_minutes=10, log_seconds=0.001)
    assert train(**again) == 0
    same_result(folder, undisturbed)


def test_another_number_of_ranks_is_warned_of(interrupted, monkeypatch, capsys):
    checkpoints = Checkpoints(interrupted["checkpoints"])
    _, content = checkpoints.latest()
    checkpoints.save({**content, "ranks": 4})
    assert train(**interrupted) == 0
    assert "4 ranks before, 1 now: the result is the same but for rounding" in capsys.readouterr().err


def test_another_version_of_torch_is_warned_of(interrupted, monkeypatch, capsys):
    now = provenance.versions()
    monkeypatch.setattr(provenance, "versions", lambda: {**now, "torch": "2.7.0"})
    assert train(**interrupted) == 0
    assert f"written with torch {now['torch']}, and goes on with 2.7.0" in capsys.readouterr().err


def test_a_finished_run_is_not_trained_again_and_writes_its_results_anew(packed, tmp_path, undisturbed, monkeypatch):
    shutil.copytree(undisturbed, tmp_path / "run")
    given = arguments(packed, tmp_path / "run", FINE_TUNING)
    record = read_json(given["out_record"])
    for name in ("out_model", "out_metrics", "out_record"):  # as Snakemake does before a rerun
        given[name].unlink()
    with monkeypatch.context() as patch:
        patch.setattr(Training, "train_epoch", None)
        assert train(**given) == 0
    same_result(tmp_path / "run", undisturbed)
    assert read_json(given["out_record"]) == record


def test_a_finished_run_under_other_settings_is_trained_anew_and_says_so(packed, tmp_path, undisturbed, capsys):
    shutil.copytree(undisturbed, tmp_path / "run")
    longer = {**FINE_TUNING, "stages": [FINE_TUNING["stages"][0], {"views": ["sar"], "epochs": 3}]}
    assert train(**arguments(packed, tmp_path / "run", longer)) == 0
    told = capsys.readouterr().out
    assert "finished before under other settings, so it is trained anew (stages.1.epochs: 2 then, 3 now)" in told
    assert len(metrics(tmp_path / "run")) == 5
    assert read_json(tmp_path / "run" / "train.json")["restarts"] == 0


@pytest.mark.slow
def test_a_second_process_waits_for_the_first_and_then_finds_the_run_finished(packed, tmp_path, undisturbed):
    """As after a killed Snakemake, whose training lives on."""
    shutil.copytree(undisturbed, tmp_path / "run")
    words = command(packed, tmp_path / "run", FINE_TUNING)
    with sole_trainer(tmp_path / "run" / "checkpoints", StopRequest()):
        second = start(words, tmp_path / "log")
        while "waiting for its end" not in (tmp_path / "log").read_text():
            assert second.poll() is None
            time.sleep(0.05)
    assert second.wait(timeout=240) == 0
    told = (tmp_path / "log").read_text()
    assert f"process {os.getpid()} on " in told
    assert "finished before, so it is not trained again" in told


def test_a_signal_ends_the_waiting_for_another_process(tmp_path):
    asked = StopRequest()
    asked.number = signal.SIGTERM
    with (
        sole_trainer(tmp_path, StopRequest()),
        pytest.raises(StoppedError, match="SIGTERM"),
        sole_trainer(tmp_path, asked),
    ):
        pass


@pytest.fixture()
def small_disk(tmp_path):
    """A file system of 3 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root")
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", folder], capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"a small file system cannot be mounted here ({mounted.stderr.strip()})")
    yield folder
    subprocess.run(["umount", folder], check=True)


def fill(disk):
    """Leaves no room on a disk."""
    try:
        with (disk / "filler").open("ab") as filler:
            while True:
                filler.write(b"\0" * 4096)
                filler.flush()
    except OSError as error:
        assert error.errno == errno.ENOSPC


def test_a_full_disk_keeps_the_checkpoint_before_and_training_goes_on_with_a_warning(
    packed, tmp_path, small_disk, monkeypatch, capsys, undisturbed
):
    given = arguments(packed, tmp_path / "run", FINE_TUNING, checkpoint_minutes=0)
    given["checkpoints"] = small_disk / "checkpoints"
    checkpoints = Checkpoints(given["checkpoints"])
    seen = []
    step = Stepper.step

    def filling(self, batch):
        seen.append([path.name for path in checkpoints.paths()])
        if len(seen) == 2:
            fill(small_disk)
        if len(seen) == 4:
            assert checkpoints.latest() is not None  # whole, and read back
            (small_disk / "filler").unlink()
        return step(self, batch)

    monkeypatch.setattr(Stepper, "step", filling)
    assert train(**given) == 0
    assert seen[1] == seen[2] == seen[3] == ["checkpoint-000001.pt"]
    assert "no checkpoint could be written" in capsys.readouterr().err
    assert not list(given["checkpoints"].glob(".*"))
    same_result(tmp_path / "run", undisturbed)


def test_a_full_disk_when_asked_to_stop_is_an_error_that_names_the_last_good_checkpoint(
    packed, tmp_path, small_disk, monkeypatch
):
    given = arguments(packed, tmp_path / "run", FINE_TUNING, checkpoint_minutes=0)
    given["checkpoints"] = small_disk / "checkpoints"
    signal_in(monkeypatch, Stepper, "step", 2, signal.SIGTERM)
    step = Stepper.step

    def filling(self, batch):
        if Checkpoints(given["checkpoints"]).paths():
            fill(small_disk)
        return step(self, batch)

    monkeypatch.setattr(Stepper, "step", filling)
    with pytest.raises(UserError, match=r"the disk is full.*last good one is .*checkpoint-000001\.pt; make room"):
        train(**given)
