"""What a rank does of its own on a node: it meets the others, and it ends as whoever stops it wants."""

import signal

import pytest

from sspipe.train.rank import Rank, _after_a_stop, meeting_point
from sspipe.train.signals import STOPPED_STATUS


def test_what_is_queued_again_is_a_fresh_copy():
    rank = Rank(["train", "--seed", "0"])
    again = rank.checkpoint()
    assert again.function is not rank and again.function.command == rank.command and again.args == ()


class EndedBySlurmError(BaseException):
    pass


@pytest.mark.parametrize("number", [signal.SIGUSR2, signal.SIGTERM])
def test_a_job_that_cannot_queue_itself_again_waits_for_slurm_to_end_it(monkeypatch, capsys, number):
    waits = []

    def sleep(seconds):
        waits.append(seconds)
        if len(waits) == 3:
            raise EndedBySlurmError

    def requeue(number, frame):
        raise FileNotFoundError(2, "No such file or directory", "scontrol")

    monkeypatch.setattr("time.sleep", sleep)
    for rank in (0, 1):
        waits.clear()
        with pytest.raises(EndedBySlurmError):
            _after_a_stop(number, rank, requeue)
    assert "cannot queue itself again" in capsys.readouterr().out


def test_a_job_that_slurm_does_not_end_after_its_signal_queues_itself_again_in_the_end(monkeypatch):
    """A partition's grace for whom it preempts may be an hour; a job that ended in it would have failed."""
    waits = []

    def requeue(number, frame):
        assert waits == [900]
        raise SystemExit(-1)

    monkeypatch.setattr("time.sleep", waits.append)
    with pytest.raises(SystemExit, match="-1"):
        _after_a_stop(signal.SIGTERM, 0, requeue)


def test_a_training_that_is_told_to_stop_by_hand_is_not_queued_again(monkeypatch):
    def requeue(number, frame):
        pytest.fail("queued again")

    monkeypatch.setattr("time.sleep", lambda seconds: None)
    for rank in (0, 1):
        with pytest.raises(SystemExit, match=str(STOPPED_STATUS)):
            _after_a_stop(signal.SIGINT, rank, requeue)


def test_ranks_meet_at_the_port_that_the_first_one_found(tmp_path):
    first, second = (meeting_point(tmp_path / "7_0_0.port", rank) for rank in (0, 1))
    assert first == second
    assert first["MASTER_ADDR"] == "127.0.0.1" and 1024 < int(first["MASTER_PORT"]) < 65536
