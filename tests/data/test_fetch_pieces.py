"""The pieces of a fetch by themselves: digests, pauses, progress."""

from __future__ import annotations

import hashlib
import io
import itertools
import threading

import hypothesis
import pytest
from hypothesis import strategies

from sspipe.data import byte_progress
from sspipe.data.byte_progress import MIB, ByteProgress
from sspipe.data.outage import Outage, StoppedError, TransientError
from sspipe.data.remote import StoreDigest, StoreHash, guess_part_bytes, md5_parts
from sspipe.errors import UserError


@hypothesis.given(
    content=strategies.binary(max_size=200),
    part=strategies.one_of(strategies.none(), strategies.integers(1, 50)),
    cuts=strategies.lists(strategies.integers(0, 200), max_size=5),
)
def test_the_stores_digest_is_that_of_its_parts_however_the_bytes_come(content, part, cuts):
    ours = StoreHash(part)
    edges = [0, *sorted(min(cut, len(content)) for cut in cuts), len(content)]
    for begin, end in itertools.pairwise(edges):
        ours.update(content[begin:end])
    if part is None:
        assert ours.hexdigest() == hashlib.md5(content).hexdigest()
    else:
        md5s = [hashlib.md5(content[at : at + part]).digest() for at in range(0, len(content), part)]
        assert ours.hexdigest() == f"{hashlib.md5(b''.join(md5s)).hexdigest()}-{len(md5s)}"


def test_an_etag_is_read_as_what_it_is():
    assert md5_parts("0" * 32) == 0
    assert md5_parts("0" * 32 + "-17") == 17
    assert md5_parts("0123-abc") is md5_parts("") is None
    assert StoreDigest("a", 8, known=False).agrees("b") is None  # the guess may have been wrong
    assert StoreDigest("a", 8, known=True).agrees("b") is False


@hypothesis.given(
    part_mib=strategies.sampled_from([8, 16, 32, 64, 128]),
    count=strategies.integers(2, 10_000),
    last=strategies.floats(0, 1, exclude_min=True),
)
def test_the_usual_part_sizes_are_guessed_from_size_and_count(part_mib, count, last):
    part = part_mib * MIB
    assert guess_part_bytes((count - 1) * part + max(round(last * part), 1), count) == part


def test_pauses_grow_and_are_said_once_for_all_connections(capfd, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr("sspipe.data.outage.time.monotonic", lambda: clock[0])
    outage = Outage("there", 60, stop := threading.Event())
    paused = []
    monkeypatch.setattr(stop, "wait", lambda pause: bool(paused.append(pause)))
    for _ in range(3):
        for _connection in range(2):
            outage.wait(TransientError("broken"))
        clock[0] += paused[-1]
    assert paused == [1, 1, 2, 2, 4, 4]
    assert capfd.readouterr().out.count("broken") == 3
    outage.over()
    outage.wait(TransientError("broken"))
    assert paused[-1] == 1
    clock[0] += 61
    with pytest.raises(UserError, match=r"nothing came for 1:01 \(archive.outage_minutes\)"):
        outage.wait(TransientError("broken"))


def test_a_pause_ends_when_the_fetch_is_told_to_end():
    outage = Outage("there", 60, stop := threading.Event())
    stop.set()
    with pytest.raises(StoppedError):
        outage.wait(TransientError("broken"))


def test_progress_is_lines_in_a_log_with_the_speed_of_the_last_half_minute(capfd, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(byte_progress.time, "monotonic", lambda: clock[0])
    with ByteProgress("fetching", 1000 * MIB, already=100 * MIB) as progress:
        for second in range(1, 81):
            clock[0] = second
            progress.reach((100 + 10 * min(second, 40)) * MIB)  # and then nothing more comes
    lines = [line.split(" ", 1)[1] for line in capfd.readouterr().out.splitlines()]
    assert len(lines) == 80 / 5
    assert lines[0] == "fetching: 15.0% of 1000.0 MiB, 10 MiB/s, 1:25 left"
    assert lines[7] == "fetching: 50.0% of 1000.0 MiB, 10 MiB/s, 0:50 left"
    assert lines[10] == "fetching: 50.0% of 1000.0 MiB, 5 MiB/s, 1:40 left"
    assert lines[-1] == "fetching: 50.0% of 1000.0 MiB, 0 MiB/s, standing still"


def test_progress_is_a_bar_on_a_terminal(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    terminal = Terminal()
    monkeypatch.setattr("sys.stdout", terminal)
    monkeypatch.setenv("TERM", "xterm")
    with ByteProgress("fetching", 100 * MIB) as progress:
        progress.reach(50 * MIB)
    assert "fetching" in terminal.getvalue() and "50%" in terminal.getvalue()
    assert "━" in terminal.getvalue() and "50.0/100.0 MiB" in terminal.getvalue()
