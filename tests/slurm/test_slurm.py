"""What Slurm prints, as captured from a real one, and how often it is asked."""

import pytest

from sspipe.slurm import Queue, SlurmAwayError, SlurmJob, parse_sacct, parse_squeue, sacct_command, squeue_command

# As captured from Slurm 22.05.
SQUEUE = """\
1|a-job|PENDING|None||0:00|2:00|N/A|2026-11-22T22:22:21|(null)|/tmp
2|train|RUNNING|None|node1|0:06|2:00|2026-11-22T22:22:23|2026-11-22T22:22:21|rule_train|one|/home/a b
3_[1-4]|array|PENDING|Priority||0:00|2:00|N/A|2026-11-22T22:22:21|(null)|/tmp
4|train|COMPLETED|None|node2|0:06|1-00:00:00|2026-11-22T22:22:23|2026-11-22T22:22:21|(null)|/tmp
"""
SACCT = """\
1|a-job|CANCELLED by 0|0:0|node1|00:00:06|00:02:00|2026-11-22T22:22:23|2026-11-22T22:22:21
2|train|FAILED|1:0|node1|00:00:06|1-00:00:00|2026-11-22T22:22:23|2026-11-22T22:22:21
5|train|PENDING|0:0|None assigned|00:00:00|00:02:00|Unknown|2026-11-22T22:22:21
"""


def test_the_queue_is_read_with_comments_and_folders_of_any_text():
    waiting, running, done = parse_squeue(SQUEUE)
    submitted = "2026-11-22T22:22:21"
    assert waiting == SlurmJob("1", "a-job", "PENDING", "", "", "0:00", "2:00", "", submitted, "", "/tmp")
    assert (running.comment, running.folder, running.node) == ("rule_train|one", "/home/a b", "node1")
    assert [job.final for job in (waiting, running, done)] == [False, False, True]


def test_accounting_tells_who_cancelled_and_with_what_status_it_ended():
    cancelled, failed, waiting = parse_sacct(SACCT)
    assert (cancelled.state, cancelled.reason, cancelled.final) == ("CANCELLED", "by 0", True)
    assert (failed.state, failed.reason) == ("FAILED", "exit code 1:0")
    assert (waiting.node, waiting.started, waiting.final) == ("", "", False)


def test_commands_name_what_they_are_asked_for():
    assert squeue_command("x")[-1] == "--name=x"
    assert sacct_command(["1", "2"])[-1] == "--jobs=1,2"
    assert sacct_command(name="x")[-1] == "--name=x"


@pytest.fixture()
def programs(tmp_path, monkeypatch):
    """Pretended squeue and sacct, which write down that they were called."""
    folder = tmp_path / "programs"
    folder.mkdir()
    for name, output in (("squeue", SQUEUE), ("sacct", SACCT)):
        (folder / f"{name}.out").write_text(output)
        (folder / name).write_text(f'#!/bin/sh\necho "{name} $*" >> {folder}/calls\nexec cat {folder}/{name}.out\n')
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    return folder


def test_many_watchers_share_one_look(tmp_path, programs):
    for _ in range(20):
        queue = Queue(tmp_path / "slurm", every_s=30)
        assert queue.jobs()["2"].state == "RUNNING"
        assert queue.ended("1").state == "CANCELLED"
    assert len((programs / "calls").read_text().splitlines()) == 2


def test_a_scheduler_that_is_away_is_not_asked_more_often(tmp_path, programs):
    (programs / "squeue.out").unlink()
    for _ in range(5):
        with pytest.raises(SlurmAwayError, match="No such file"):
            Queue(tmp_path / "slurm", every_s=30).jobs()
    assert len((programs / "calls").read_text().splitlines()) == 1


def test_a_look_that_cannot_be_shared_is_ones_own_and_as_seldom(tmp_path, programs):
    (tmp_path / "file").touch()  # root may write anywhere but below a file
    queue = Queue(tmp_path / "file" / "slurm", every_s=30)
    for _ in range(5):
        assert queue.jobs()["2"].state == "RUNNING"
    assert len((programs / "calls").read_text().splitlines()) == 1


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"taken": "x", "asked": [], "jobs": []}', '{"taken": 9e9, "asked": [], "jobs": [{}]}']
)
def test_a_look_that_is_damaged_or_of_another_version_is_taken_anew(content, tmp_path, programs):
    (tmp_path / "squeue.json").write_text(content)
    assert Queue(tmp_path, every_s=30).jobs()["2"].state == "RUNNING"


def test_names_of_any_bytes_in_the_queue_stop_nothing(tmp_path, programs):
    odd = SQUEUE.replace("a-job", "Stra\xdfe|7").encode("latin-1")
    (programs / "squeue.out").write_bytes(odd)
    assert Queue(tmp_path, every_s=30).jobs()["2"].node == "node1"


def test_the_next_look_asks_for_all_that_were_asked_for(tmp_path, programs):
    Queue(tmp_path / "slurm", every_s=30).ended("1")
    Queue(tmp_path / "slurm", every_s=30).ended("7")  # not looked for yet
    Queue(tmp_path / "slurm", every_s=0).ended("2")
    assert (programs / "calls").read_text().splitlines()[-1].endswith("--jobs=1,2,7")
