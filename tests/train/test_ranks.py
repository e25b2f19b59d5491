"""Several ranks give what one gives: the same batches, draws, losses and validation."""

import os
import signal
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from sspipe.errors import UserError
from sspipe.train.distributed import Place, Ranks, place_from_environment
from sspipe.train.local_ranks import _raise_failure
from sspipe.train.signals import StopRequest
from sspipe.train.steps import refuse_impossible
from sspipe.variants import Variant
from tests.train.engine import command, metrics, run_stage, start
from tests.train.several_ranks import CASES, measure, measure_together

pytestmark = pytest.mark.slow
UNET = {"model": {"kind": "unet16", "width": 0.0625}, "stages": [{"views": ["sar"], "epochs": 3}]}


@pytest.fixture(scope="module")
def found(packed, tmp_path_factory):
    together = {count: measure_together(packed, tmp_path_factory.mktemp("ranks"), count) for count in (2, 4)}
    return {1: [measure(packed)], **together}


@pytest.mark.parametrize("count", [2, 4])
@pytest.mark.parametrize("case", CASES)
def test_ranks_give_the_losses_of_one_rank_with_uneven_and_empty_shares(found, count, case):
    alone, together = found[1][0][case], found[count][0][case]
    assert together["losses"] == pytest.approx(alone["losses"], rel=1e-5)
    assert together["after"] == pytest.approx(alone["after"], rel=1e-4)


@pytest.mark.parametrize("count", [2, 4])
@pytest.mark.parametrize("case", CASES)
def test_validation_is_the_same_to_the_last_bit_for_any_number_of_ranks_and_on_each_of_them(found, count, case):
    for rank in found[count]:
        assert tuple(rank[case]["before"]) == found[1][0][case]["before"]
        assert rank[case] == found[count][0][case]


def test_losses_without_a_batchs_last_images_would_be_told_apart(found):
    """The tolerance above means something: images differ by far more."""
    losses = found[1][0]["unet16"]["losses"]
    assert max(losses) / min(losses) > 1 + 1e-3


def test_a_stopped_run_of_two_ranks_goes_on_where_it_was(packed, tmp_path):
    more = {"ranks": 2, "checkpoint_minutes": 0}
    words = command(packed, tmp_path / "run", UNET, **more)
    process = start(words, tmp_path / "log")
    _wait_for(tmp_path / "run" / "checkpoints" / "checkpoint-000002.pt", process)
    os.kill(process.pid, signal.SIGUSR2)  # to the launcher alone: it passes it on
    assert process.wait(timeout=240) == 75
    log = (tmp_path / "log").read_text()
    assert log.count("stopped by SIGUSR2") == 1 and "Traceback" not in log
    assert start(words, tmp_path / "log").wait(timeout=240) == 0
    alone = run_stage(packed, tmp_path / "alone", UNET)
    for here, there in zip(metrics(tmp_path / "run"), metrics(alone), strict=True):
        assert here["train_loss"] == pytest.approx(there["train_loss"], rel=1e-4)


def test_when_a_rank_is_killed_the_others_end_and_it_is_told_once(packed, tmp_path):
    settings = {**UNET, "stages": [{"views": ["sar"], "epochs": 500}]}
    words = command(packed, tmp_path / "run", settings, ranks=2, checkpoint_minutes=0)
    process = start(words, tmp_path / "log")
    _wait_for(tmp_path / "run" / "checkpoints" / "checkpoint-000001.pt", process)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    ranks = [int(child) for child in children[1:]]  # before them multiprocessing's tracker of resources
    os.kill(ranks[1], signal.SIGKILL)
    assert process.wait(timeout=240) == 1
    log = (tmp_path / "log").read_text()
    assert log.count("error: rank 1 of 2 was ended by SIGKILL") == 1 and "Traceback" not in log
    assert not any(Path(f"/proc/{rank}").exists() for rank in ranks)


def test_a_users_mistake_on_all_ranks_is_told_once(packed, tmp_path):
    settings = {**UNET, "model": {**UNET["model"], "norm": "batch"}}
    process = start(command(packed, tmp_path / "run", settings, ranks=2), tmp_path / "log")
    assert process.wait(timeout=240) == 1
    log = (tmp_path / "log").read_text()
    assert log.count("error: model.norm is batch") == 1 and "Traceback" not in log
    assert "training.ranks to 1" in log


def test_a_rank_that_others_lost_because_it_was_asked_to_stop_is_no_failure():
    """One was still at its beginning and ended there and then; another was in its first step, and waited for it."""
    asked = StopRequest()
    told = [
        SimpleNamespace(told=None, listen=lambda: None),
        SimpleNamespace(told=(0.0, "other", "Connection closed by peer"), listen=lambda: None),
    ]
    with pytest.raises(RuntimeError, match="Connection closed"):
        _raise_failure(told, [75, 1], asked)
    asked.number = signal.SIGTERM
    _raise_failure(told, [75, 1], asked)
    with pytest.raises(RuntimeError, match="Connection closed"):
        _raise_failure(told, [0, 1], asked)


def test_what_cannot_be_shared_exactly_is_refused():
    stages = [{"views": ["sar"], "epochs": 1}]
    batch_norm = Variant.model_validate({"model": {"kind": "unet16", "norm": "batch"}, "stages": stages})
    plain = Variant.model_validate({"model": {"kind": "unet16"}, "stages": stages, "batch_size": 3})
    cpu, gpu = torch.device("cpu"), torch.device("cuda", 0)
    with pytest.raises(UserError, match="4 ranks cannot share a batch of 3"):
        refuse_impossible(plain, Ranks(Place(0, 4), cpu), None, 16)
    with pytest.raises(UserError, match=r"model\.norm is batch.*on GPUs only"):
        refuse_impossible(batch_norm, Ranks(Place(0, 2), cpu), None, 16)
    with pytest.raises(UserError, match=r"micro_batch_size \(2\) cuts a rank's share of 4"):
        refuse_impossible(batch_norm, Ranks(Place(0, 2), gpu), 2, 16)
    refuse_impossible(batch_norm, Ranks(Place(0, 2), gpu), 4, 16)
    # The paper's random split: 2177 tiles in batches of 8 leave one, and three of four GPUs none.
    with pytest.raises(UserError, match=r"of 2177 training tiles .*1 of batch_size 8.*training\.ranks to 1"):
        refuse_impossible(batch_norm, Ranks(Place(0, 4), gpu), None, 2177)
    refuse_impossible(batch_norm, Ranks(Place(0, 4), gpu), None, 2180)
    refuse_impossible(plain, Ranks(Place(0, 2), cpu), 1, 16)


def test_a_rank_is_known_by_the_usual_variables_and_half_of_them_is_an_error(monkeypatch):
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
    for name in names:
        monkeypatch.delenv(name, raising=False)
    assert place_from_environment() is None
    monkeypatch.setenv("RANK", "3")
    with pytest.raises(UserError, match="without WORLD_SIZE, LOCAL_RANK, MASTER_ADDR, MASTER_PORT"):
        place_from_environment()
    for name, value in zip(names, ("5", "8", "1", "node", "29500"), strict=True):
        monkeypatch.setenv(name, value)
    assert place_from_environment() == Place(5, 8, 1)
    monkeypatch.setenv("RANK", "8")
    with pytest.raises(UserError, match="does not name one rank of several"):
        place_from_environment()
    monkeypatch.setenv("RANK", "first")
    with pytest.raises(UserError, match="not all numbers"):
        place_from_environment()


def _wait_for(path, process):
    """Waits until a process has written a file."""
    for _ in range(4800):
        if path.exists():
            return
        assert process.poll() is None, "it ended early"
        time.sleep(0.05)
    raise AssertionError(f"{path} was not written in four minutes")
