"""Nothing half-written ever has its final name, and nothing of a killed run stays."""

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from sspipe.errors import UserError
from sspipe.files import read_json, read_table, scratch_folder, whole_file, whole_folder, write_json

WRITER = """
import sys
from pathlib import Path
from sspipe.files import {writer}
with {writer}(Path(sys.argv[1])) as partial:
    (partial if "{writer}" == "whole_file" else partial / "half").write_text("half")
    print(partial.name, flush=True)
    sys.stdin.read()
"""


def test_a_file_appears_whole_or_not_at_all(tmp_path):
    final = tmp_path / "deep" / "table.csv"
    with whole_file(final) as partial:
        partial.write_text("a,b\n")
        assert not final.exists()
        assert partial.suffix == ".csv"
    assert final.read_text() == "a,b\n"
    with pytest.raises(RuntimeError), whole_file(final) as partial:
        partial.write_text("half")
        raise RuntimeError
    assert final.read_text() == "a,b\n"
    assert [path.name for path in final.parent.iterdir()] == ["table.csv"]


def test_a_folder_takes_the_place_of_the_old_one_whole_or_not_at_all(tmp_path):
    final = tmp_path / "pack"
    for content in ("old", "new"):
        with whole_folder(final) as partial:
            (partial / content).write_text(content)
    assert [path.name for path in final.iterdir()] == ["new"]
    with pytest.raises(RuntimeError), whole_folder(final) as partial:
        (partial / "half").write_text("")
        raise RuntimeError
    assert [path.name for path in final.iterdir()] == ["new"]
    assert [path.name for path in tmp_path.iterdir()] == ["pack"]


def test_a_file_is_on_the_disk_before_it_gets_its_name(tmp_path, monkeypatch):
    events = recorded(monkeypatch)
    with whole_file(tmp_path / "table") as partial:
        partial.write_text("whole")
    assert events == [f"{partial} synced", f"{partial} named table"]


def test_what_is_in_a_folder_is_on_the_disk_before_it_gets_its_name_and_then_the_name(tmp_path, monkeypatch):
    events = recorded(monkeypatch)
    monkeypatch.setattr("sspipe.files._sync_file_system", lambda folder: events.append(f"all of {folder} synced"))
    with whole_folder(tmp_path / "pack") as partial:
        (partial / "shard").write_text("whole")
    assert events == [f"all of {partial} synced", f"{partial} named pack", f"{tmp_path} synced"]


def recorded(monkeypatch):
    """What is synced and renamed from here on, in order."""
    events = []
    fsync, replace = os.fsync, Path.replace

    def recorded_fsync(file):
        events.append(f"{Path(f'/proc/self/fd/{file}').readlink()} synced")
        fsync(file)

    def recorded_replace(path, to):
        events.append(f"{path} named {to.name}")
        return replace(path, to)

    monkeypatch.setattr(os, "fsync", recorded_fsync)
    monkeypatch.setattr(Path, "replace", recorded_replace)
    return events


@pytest.mark.parametrize("writer", [whole_file, whole_folder])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_told_with_the_output_and_leaves_nothing(tmp_path, writer, code):
    told = pytest.raises(UserError, match=r"table: cannot be written, as the disk is full.*; free some space")
    with told, writer(tmp_path / "table"):
        raise OSError(code, os.strerror(code))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("writer", [whole_file, whole_folder])
def test_other_errors_than_a_full_disk_are_not_taken_for_one(tmp_path, writer):
    with pytest.raises(OSError, match="Input/output error"), writer(tmp_path / "table"):
        raise OSError(errno.EIO, os.strerror(errno.EIO))


def test_a_scratch_folder_is_gone_however_the_work_ended(tmp_path):
    with scratch_folder(tmp_path / "map.tif") as scratch:
        (scratch / "part").write_text("on the way")
    with pytest.raises(RuntimeError), scratch_folder(tmp_path / "map.tif") as scratch:
        (scratch / "part").write_text("half-way")
        raise RuntimeError
    assert not list(tmp_path.iterdir())


def test_json_refuses_nan_and_names_the_file_that_cannot_be_read(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "a.json", {"f1": float("nan")})
    assert not (tmp_path / "a.json").exists()
    with pytest.raises(UserError, match=r"a\.json: no such file"):
        read_json(tmp_path / "a.json")
    (tmp_path / "a.json").write_text("{")
    with pytest.raises(UserError, match=r"a\.json: not valid JSON"):
        read_json(tmp_path / "a.json")


def test_a_table_that_cannot_be_used_is_named(tmp_path):
    with pytest.raises(UserError, match=r"a\.parquet: no such file"):
        read_table(tmp_path / "a.parquet")
    (tmp_path / "a.parquet").write_text("not Parquet")
    with pytest.raises(UserError, match=r"a\.parquet: not a table that can be used"):
        read_table(tmp_path / "a.parquet")
    pd.DataFrame({"tile_id": ["a"]}).to_parquet(tmp_path / "a.parquet")
    with pytest.raises(UserError, match=r"subset"):
        read_table(tmp_path / "a.parquet", columns=["tile_id", "subset"])


def test_an_output_that_cannot_be_written_is_told_before_any_work(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="no folder can be made there"), whole_file(tmp_path / "file" / "out.json"):
        pytest.fail("the work has begun")


@pytest.fixture()
def writing(tmp_path):
    """Starts processes that stand in the middle of writing an output; they end with the test."""
    started = []

    def start(final, writer="whole_folder"):
        command = [sys.executable, "-c", WRITER.format(writer=writer), str(final)]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        started.append(process)
        return process, tmp_path / process.stdout.readline().strip()

    yield start
    for process in started:
        process.kill()
        process.communicate()


def renamed(left, **changes):
    """What was left, under the name that another process would have given it."""
    kind, host, process, start, final = left.name.split("-", 4)
    parts = {"host": host, "process": process, "start": start} | changes
    return left.rename(left.with_name(f"{kind}-{parts['host']}-{parts['process']}-{parts['start']}-{final}"))


@pytest.mark.parametrize("writer", [whole_file, whole_folder])
def test_what_a_killed_process_left_is_removed_when_the_same_output_is_written_again(tmp_path, writing, writer):
    process, left = writing(tmp_path / "raw", writer.__name__)
    others, other = writing(tmp_path / "raw.json", "whole_file")
    for killed in (process, others):
        killed.send_signal(signal.SIGKILL)
    process.wait()
    others.wait()
    assert left.exists() and other.exists()
    with writer(tmp_path / "raw") as partial:
        assert not left.exists()
        if writer is whole_file:
            partial.write_text("whole")
    assert {path.name for path in tmp_path.iterdir()} == {"raw", other.name}  # another output's is not ours to remove


def test_what_a_killed_process_left_is_removed_though_nobody_has_asked_how_it_ended(tmp_path, writing):
    process, left = writing(tmp_path / "raw")
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # dead, and still in the table of processes
    with whole_folder(tmp_path / "raw"):
        assert not left.exists()


def test_what_a_running_process_writes_is_left_alone(tmp_path, writing):
    _, left = writing(tmp_path / "raw")
    with whole_folder(tmp_path / "raw"):
        assert left.exists()
    assert left.exists()


def test_an_id_that_another_process_has_now_does_not_keep_what_was_left(tmp_path, writing):
    process, left = writing(tmp_path / "raw")
    process.kill()
    process.wait()
    left = renamed(left, process=os.getpid(), start=1)
    with whole_folder(tmp_path / "raw"):
        assert not left.exists()


def test_what_another_machine_left_is_named_and_stays(tmp_path, writing, capsys):
    process, left = writing(tmp_path / "raw")
    process.kill()
    process.wait()
    left = renamed(left, host="node07")
    with whole_folder(tmp_path / "raw"):
        pass
    assert left.exists()
    warning = capsys.readouterr().err
    assert str(left) in warning and "left from a run on node07" in warning and "delete it" in warning


def test_a_file_in_the_place_of_a_folder_is_replaced(tmp_path):
    (tmp_path / "pack").write_text("a file")
    with whole_folder(tmp_path / "pack") as partial:
        (partial / "new").write_text("")
    assert [path.name for path in tmp_path.iterdir()] == ["pack"]
    assert (tmp_path / "pack" / "new").exists()
