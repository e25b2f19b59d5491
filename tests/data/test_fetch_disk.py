"""An archive that is on disk already, and the disk that one is fetched to."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from sspipe.data.byte_progress import MIB
from sspipe.errors import UserError
from tests.data.small_fetch import CONTENT, check, fetch, of_store, on_disk, out, refusal, server

__all__ = ["on_disk", "out", "server"]  # fixtures


@pytest.mark.parametrize("source", ["url", "s3", "file"])
def test_a_folder_in_the_archives_place_is_told_before_anything_is_fetched(server, out, on_disk, source):
    out.mkdir()
    named = {"url": {}, "s3": of_store(server[1]), "file": {"source": "file", "path": on_disk}}[source]
    with pytest.raises(UserError, match="is a folder, where the archive itself is to be"):
        fetch(out, server[1], **named)
    assert [path.name for path in out.parent.iterdir()] == [out.name] and not server[0].asked


def test_too_small_a_disk_is_told_and_one_that_is_too_small_for_unpacking_warned_of(server, out, monkeypatch, capfd):
    free = shutil.disk_usage(out.parent)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: free._replace(free=10))
    assert "10 B are free, and the archive needs 1.0 MiB" in refusal(out, server[1])
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: free._replace(free=2 * MIB))
    fetch(out, server[1])
    assert "unpacking it will want about 1.6 MiB more" in capfd.readouterr().err


def test_an_archive_on_disk_is_verified_and_linked_not_copied(on_disk, out):
    fetch(out, source="file", path=on_disk)
    assert out.is_symlink() and out.read_bytes() == CONTENT
    fetch(out, source="file", path=on_disk)  # again, over its own link
    check(out)


@pytest.mark.parametrize("before", ["nothing.tar.gz", "archive.tar.gz"], ids=["leads nowhere", "leads to itself"])
def test_a_link_to_an_archive_takes_the_place_of_one_that_is_broken(on_disk, out, before):
    out.symlink_to(before)
    fetch(out, source="file", path=on_disk)
    check(out)


def test_an_archive_on_disk_may_be_where_it_is_wanted(on_disk):
    fetch(on_disk, source="file", path=on_disk)
    assert not on_disk.is_symlink() and on_disk.read_bytes() == CONTENT


def test_an_archive_on_disk_that_cannot_be_read_is_told(out):
    memory = Path("/proc/self/mem")  # a plain file, for all that one sees, and an error when it is read
    message = refusal(out, source="file", path=memory, size_bytes=None)
    assert "archive.path: /proc/self/mem cannot be read" in message


@pytest.mark.parametrize(("pin", "expected"), [({"size_bytes": 7}, "expected 7"), ({"sha256": "0" * 64}, "not 0000")])
def test_another_archive_on_disk_is_refused(on_disk, out, pin, expected):
    message = refusal(out, source="file", path=on_disk, **pin)
    assert str(on_disk) in message and expected in message


def test_a_missing_archive_on_disk_is_told(out, tmp_path):
    assert "archive.path" in refusal(out, source="file", path=tmp_path / "nothing.tar.gz")
    assert "archive.path" in refusal(out, source="file", path=None)
