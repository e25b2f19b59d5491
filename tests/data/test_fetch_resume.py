"""What an interrupted fetch leaves, and how the next goes on from it; test_fetch_s3.py kills real ones."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from pathlib import Path

import hypothesis
import pytest
from hypothesis import strategies

from sspipe.data.byte_progress import MIB
from sspipe.data.download import LARGEST_PART, part_bytes
from sspipe.data.remote import Remote
from sspipe.errors import UserError
from tests.data.small_fetch import check, fetch, out, server

__all__ = ["out", "server"]  # fixtures


JOURNAL_DAMAGE = strategies.one_of(
    strategies.tuples(strategies.sampled_from(["cut", "zeros"]), strategies.floats(0, 1, exclude_max=True)),
    strategies.tuples(strategies.integers(0, 255), strategies.floats(0, 1, exclude_max=True)),
    strategies.tuples(
        strategies.sampled_from([b"-1", b"0", b'"x"', b"null", b"1.5", b"[]", b"1" * 30]), strategies.integers(0, 9)
    ),
)


def damaged(journal, damage):
    """The journal cut, with zeros for its end, with another byte, or with something else for one of its numbers."""
    kind, place = damage
    if isinstance(kind, bytes):
        found = list(re.finditer(rb"(?<=: )\d+", journal))[place]
        return journal[: found.start()] + kind + journal[found.end() :]
    at = int(place * len(journal))
    end = {"cut": b"", "zeros": bytes(len(journal) - at)}.get(kind)
    return journal[:at] + (bytes([kind]) + journal[at + 1 :] if end is None else end)


def test_whatever_becomes_of_the_journal_the_archive_is_whole_in_the_end(server, tmp_path):
    handler, url = server
    kept = tmp_path / "kept" / "archive.tar.gz"
    kept.parent.mkdir()
    handler.stops_after = 9
    with pytest.raises(UserError):
        fetch(kept, url, connections=1, outage_minutes=0)
    handler.stops_after = None
    part, journal = (kept.with_name(kept.name + suffix) for suffix in (".part", ".part.journal"))
    assert journal.read_bytes().count(b"crc32") > 5

    @hypothesis.settings(max_examples=80, deadline=None)
    @hypothesis.given(damage=JOURNAL_DAMAGE)
    def is_whole(damage):
        with tempfile.TemporaryDirectory() as folder:
            shutil.copy(part, folder)
            (Path(folder) / journal.name).write_bytes(damaged(journal.read_bytes(), damage))
            fetch(Path(folder) / kept.name, url)
            check(Path(folder) / kept.name)

    is_whole()


def test_bytes_that_were_spoilt_on_the_disk_are_fetched_again_and_they_alone(server, out, capfd):
    handler, url = server
    handler.stops_after = 9
    with pytest.raises(UserError):
        fetch(out, url, connections=1, outage_minutes=0)
    handler.stops_after = None
    part = out.with_name("archive.tar.gz.part")
    content = bytearray(part.read_bytes())
    content[100_000] ^= 1
    part.write_bytes(content)
    asked = len(handler.asked)
    fetch(out, url, connections=1)
    check(out)
    assert "1 part on disk is damaged and will be fetched again" in capfd.readouterr().out
    assert len(handler.asked) - asked == 1 + 16 - 8 + 1  # what is there; 8 of 16 parts were missing, and one was spoilt


def test_a_part_without_a_journal_that_can_be_read_is_told_and_fetched_anew(server, out, capfd):
    out.with_name("archive.tar.gz.part").write_bytes(b"of another program" * 1000)
    fetch(out, server[1])
    check(out)
    assert "archive.tar.gz.part is of no use, as its journal cannot be read: starting anew" in capfd.readouterr().out


def test_a_journal_is_on_the_disk_before_it_takes_the_place_of_an_earlier_one(server, out, monkeypatch):
    order = []
    fsync, replace = os.fsync, Path.replace
    monkeypatch.setattr(
        os, "fsync", lambda file: (order.append(str(Path(f"/proc/self/fd/{file}").readlink())), fsync(file))
    )
    monkeypatch.setattr(Path, "replace", lambda path, to: (order.append(f"{path} renamed"), replace(path, to))[1])
    fetch(out, server[1])
    fresh = f"{out}.part.journal.new"
    assert order.index(fresh) < order.index(f"{fresh} renamed")


@pytest.mark.parametrize("connections", [1, 8, 64])
@pytest.mark.parametrize("size", [100 * MIB, 1024 * MIB, 41_874_641_730])
def test_the_parts_that_a_kill_can_lose_are_less_than_a_tenth(size, connections):
    size_of_part = part_bytes(Remote("there", size, '"tag"', ranges=True), connections)
    assert size_of_part * connections < 0.1 * size
    assert size_of_part <= LARGEST_PART
