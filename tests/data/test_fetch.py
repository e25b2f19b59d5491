"""Fetching from odd servers; test_fetch_s3.py has the real store."""

from __future__ import annotations

import hashlib
import os

import pytest

from sspipe.data.byte_progress import MIB
from sspipe.errors import UserError
from tests.data.small_fetch import CONTENT, SHA256, check, fetch, of_store, out, refusal, server

__all__ = ["out", "server"]  # fixtures


@pytest.mark.parametrize("pin", ["etag", "date"])
def test_a_mirror_is_fetched_in_ranges_held_to_its_version(server, out, pin):
    handler, url = server
    if pin == "date":
        handler.etag, handler.date = 'W/"weak"', "Sun, 22 Nov 2026 20:00:00 GMT"
    fetch(out, url)
    check(out)
    ranges = [headers for headers in handler.asked if headers["Range"] != "bytes=0-0"]
    assert len(ranges) == len(CONTENT) // (MIB // 16)
    held = {"etag": ("If-Match", '"tag"'), "date": ("If-Unmodified-Since", "Sun, 22 Nov 2026 20:00:00 GMT")}
    name, value = held[pin]
    assert all(headers[name] == value for headers in ranges)


def test_each_part_begins_to_be_written_once_and_not_all_of_them_at_the_end(server, out, monkeypatch):
    begun = []

    def fadvise(file, begin, length, advice):
        assert advice == os.POSIX_FADV_DONTNEED  # at which Linux begins to write what is dirty
        begun.append((begin, length))

    monkeypatch.setattr("os.posix_fadvise", fadvise)
    fetch(out, server[1])
    check(out)
    part = MIB // 16
    assert begun == [(at, part) for at in range(0, len(CONTENT), part)]


@pytest.mark.parametrize("odd", [{"ranges": False}, {"etag": None}, {"ranges": False, "tells_size": False}])
def test_a_mirror_without_ranges_of_one_version_is_fetched_in_one_stream_and_says_so(server, out, capfd, odd):
    handler, url = server
    for name, value in odd.items():
        setattr(handler, name, value)
    fetch(out, url)
    check(out)
    assert "a download that is interrupted begins again" in capfd.readouterr().err


def test_a_mirror_that_tells_no_size_needs_it_in_the_config(server, out):
    server[0].ranges = server[0].tells_size = False
    assert "set archive.size_bytes" in refusal(out, server[1], size_bytes=None)


@pytest.mark.parametrize("tells_size", [True, False])
def test_a_mirror_without_ranges_that_never_gives_the_whole_is_not_read_for_ever(server, out, tells_size):
    server[0].ranges, server[0].ends_after, server[0].tells_size = False, 3 * MIB // 4, tells_size
    message = refusal(out, server[1])
    assert "3 more attempts got no farther than 768.0 KiB of 1.0 MiB" in message
    assert "Check archive.size_bytes" in message and "archive.source: file" in message
    assert len(server[0].asked) == 5  # the first asks what is there


def test_a_mirror_without_ranges_that_gets_farther_each_time_is_read_to_its_end(server, out, monkeypatch):
    handler, url = server
    ends = iter(range(100_000, 2 * MIB, 100_000))
    handler.ranges = False
    monkeypatch.setattr(handler, "ends_after", property(lambda request: next(ends)), raising=False)
    fetch(out, url)
    check(out)


def test_a_mirror_may_send_on_to_another_address(server, out):
    server[0].leads_to = "/there"
    fetch(out, server[1])
    check(out)


@pytest.mark.parametrize("leads_to", ["/train.tar.gz", "ftp://there/train.tar.gz", "http://[there"])
def test_a_mirror_that_sends_on_to_nowhere_is_told_at_once(server, out, capfd, leads_to):
    server[0].leads_to = leads_to
    message = refusal(out, server[1])
    assert "sends on to where nothing can be fetched" in message and "archive.url" in message
    assert "trying again" not in capfd.readouterr().out


def test_another_archive_than_the_pinned_one_is_refused_and_leaves_nothing(server, out):
    message = refusal(out, server[1], sha256="0" * 64)
    assert f"sha256 {SHA256}, not {'0' * 64} (archive.sha256)" in message and "It was removed; run again" in message


def test_what_the_store_itself_vouches_for_is_kept_though_another_checksum_is_pinned(server, out):
    handler, url = server
    handler.etag = f'"{hashlib.md5(CONTENT).hexdigest()}"'
    with pytest.raises(UserError, match=r"is what the source holds.*: correct archive\.sha256"):
        fetch(out, **of_store(url), sha256="0" * 64)
    assert not out.exists()
    asked = len(handler.asked)
    fetch(out, **of_store(url))
    check(out)
    assert len(handler.asked) == asked + 1  # what is there, and no part again


def test_a_server_that_ignores_the_condition_is_caught_by_its_new_tag(server, out):
    server[0].replaced, server[0].heeds_conditions = True, False
    assert "was replaced while it was being fetched" in refusal(out, server[1])


def test_another_range_than_was_asked_for_is_refused(server, out):
    server[0].another_range = True
    assert "asked for `bytes " in refusal(out, server[1])


@pytest.mark.parametrize("status", [503, 500, 429])
@pytest.mark.parametrize("source", ["url", "s3"])
def test_an_overloaded_server_is_tried_again(server, out, capfd, status, source):
    server[0].failures = [status] * 3
    fetch(out, server[1], **(of_store(server[1]) if source == "s3" else {}))
    check(out)
    assert f"{status}" in (said := capfd.readouterr().out) and "trying again" in said


def test_what_a_server_refuses_for_good_is_not_tried_again(server, out):
    server[0].failures = [400]
    assert "refused (400" in refusal(out, server[1])
    server[0].failures = [301]
    message = refusal(out, server[1], **of_store(server[1]))
    assert "check archive.region and archive.endpoint_url" in message


def test_no_network_is_told_with_the_other_way_to_get_the_archive(out):
    message = refusal(out, "http://127.0.0.1:1", outage_minutes=0)
    assert "Check the network" in message and "archive.source: file" in message
    message = refusal(out, **of_store("http://127.0.0.1:1"), outage_minutes=0)
    assert "Check the network" in message


@pytest.mark.parametrize("told", [True, False], ids=["the store tells its part size", "guessed"])
def test_what_differs_from_the_stores_md5_is_refused_only_where_its_parts_are_known(server, out, told, capfd):
    handler, url = server
    handler.etag = '"0123456789abcdef0123456789abcdef-2"'
    handler.tells_part = MIB // 2 if told else None
    if told:
        assert "not the md5 that the store keeps of it" in refusal(out, **of_store(url), sha256=None)
    else:
        fetch(out, **of_store(url), sha256=None)
        assert "no checksum was at hand" in capfd.readouterr().out


def test_what_cannot_be_a_source_is_told(out, tmp_path):
    assert "must begin with http" in refusal(out, "ftp://there")
    assert "is no address of the web" in refusal(out, "http://[there")
    assert "`s3`, `url` and `file`" in refusal(out, source="synthetic")
    (tmp_path / "no.pem").write_text("nothing")
    assert "archive.ca_bundle" in refusal(out, "https://there", ca_bundle=tmp_path / "no.pem")
    assert "archive.endpoint_url" in refusal(out, **of_store("there"))
