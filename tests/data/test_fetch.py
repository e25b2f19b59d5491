"""Fetching from a file, from odd servers, and the pieces of it; test_fetch_s3.py has the real store."""

from __future__ import annotations

import contextlib
import hashlib
import io
import itertools
import os
import re
import shutil
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import hypothesis
import pytest
from hypothesis import strategies

from sspipe.data import byte_progress
from sspipe.data.byte_progress import MIB, ByteProgress
from sspipe.data.download import LARGEST_PART, part_bytes
from sspipe.data.fetch import fetch_archive
from sspipe.data.outage import Outage, StoppedError, TransientError
from sspipe.data.remote import Remote, StoreDigest, StoreHash, guess_part_bytes, md5_parts
from sspipe.errors import UserError

CONTENT = bytes(range(256)) * 4096  # 1 MiB
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Server(BaseHTTPRequestHandler):
    """A web server of one file, as much of one as its attributes say."""

    protocol_version = "HTTP/1.1"
    content = CONTENT
    ranges = True
    etag: str | None = '"tag"'
    date: str | None = None
    tells_size = True
    tells_part: int | None = None  # size of an uploaded part, to a HEAD for one
    another_range = False
    ends_after: int | None = None  # bytes of each body
    stops_after: int | None = None  # answers; after these it is overloaded
    leads_to: str | None = None  # by a redirection
    replaced = False  # after the first answer
    heeds_conditions = True
    failures: list[int]  # statuses of the next answers
    asked: list[dict[str, str]]

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        assert "Authorization" not in self.headers  # public: read without credentials
        self.asked.append(dict(self.headers))
        body, status, more = self.content, 200, {}
        etag = '"new"' if self.replaced and len(self.asked) > 1 else self.etag
        found = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        if self.leads_to and self.path != "/there":
            status, body, more = 302, b"", {"Location": self.leads_to}
        elif self.stops_after is not None and len(self.asked) > self.stops_after:
            status, body = 503, b""
        elif self.failures:
            status, body = self.failures.pop(0), b"<Error><Code>SlowDown</Code></Error>"
        elif self.heeds_conditions and self.headers.get("If-Match", etag) != etag:
            status, body = 412, b""
        elif self.ranges and found:
            begin, end = int(found[1]), min(int(found[2]) + 1, len(body))
            more["Content-Range"] = f"bytes {begin + self.another_range}-{end - 1}/{len(body)}"
            body, status = body[begin:end], 206
        elif "partNumber=1" in self.path and self.tells_part:
            more["x-amz-mp-parts-count"] = str(-(-len(body) // self.tells_part))
            body, status = body[: self.tells_part], 206
        self.send_response(status)
        for name, value in {"ETag": etag, "Last-Modified": self.date, **more}.items():
            if value is not None:
                self.send_header(name, value)
        if self.tells_size or status != 200:
            self.send_header("Content-Length", str(len(body)))
        else:
            self.close_connection = True
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body[: self.ends_after])
            self.close_connection |= self.ends_after is not None

    def log_message(self, *args):
        pass


@contextlib.contextmanager
def running():
    """A server at work: its handler, of which attributes may be set, and its URL."""
    handler = type("Handler", (Server,), {"failures": [], "asked": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.handle_error = lambda request, address: None  # clients may go in the midst of an answer
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    with pytest.MonkeyPatch.context() as patch:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            patch.delenv(name, raising=False)
        patch.setattr("sspipe.data.outage.FIRST_PAUSE_S", 0.01)
        yield handler, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def server():
    """A running server and its URL; a test changes its behaviour by setting attributes of the handler."""
    with running() as started:
        yield started


@pytest.fixture
def out(tmp_path):
    (tmp_path / "results").mkdir()
    return tmp_path / "results" / "archive.tar.gz"


def fetch(out, url="", **changes):
    settings = {"source": "url", "url": f"{url}/train.tar.gz", "size_bytes": len(CONTENT), "sha256": SHA256}
    fetch_archive(out=out, **{**settings, "connections": 2, **changes})


def of_store(url):
    return {"source": "s3", "endpoint_url": url, "bucket": "bucket", "key": "train.tar.gz"}


def refusal(out, *args, **changes):
    """The message of an archive that must be refused, after which nothing may lie under any name."""
    with pytest.raises(UserError) as error:
        fetch(out, *args, **changes)
    assert not list(out.parent.iterdir())
    return str(error.value)


def check(out):
    assert out.read_bytes() == CONTENT
    assert [path.name for path in out.parent.iterdir()] == [out.name]


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
    assert "4 times it ended before the 1.0 MiB that are expected, after 768.0 KiB at most" in message
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


@pytest.mark.parametrize("source", ["url", "s3", "file"])
def test_a_folder_in_the_archives_place_is_told_before_anything_is_fetched(server, out, on_disk, source):
    out.mkdir()
    named = {"url": {}, "s3": of_store(server[1]), "file": {"source": "file", "path": on_disk}}[source]
    with pytest.raises(UserError, match="is a folder, where the archive itself is to be"):
        fetch(out, server[1], **named)
    assert [path.name for path in out.parent.iterdir()] == [out.name] and not server[0].asked


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
    assert "`s3`, `url` and `file`" in refusal(out, source="synthetic")
    (tmp_path / "no.pem").write_text("nothing")
    assert "archive.ca_bundle" in refusal(out, "https://there", ca_bundle=tmp_path / "no.pem")
    assert "archive.endpoint_url" in refusal(out, **of_store("there"))


def test_too_small_a_disk_is_told_and_one_that_is_too_small_for_unpacking_warned_of(server, out, monkeypatch, capfd):
    free = shutil.disk_usage(out.parent)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: free._replace(free=10))
    assert "10 B are free, and the archive needs 1.0 MiB" in refusal(out, server[1])
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: free._replace(free=2 * MIB))
    fetch(out, server[1])
    assert "unpacking it will want about 1.6 MiB more" in capfd.readouterr().err


@pytest.fixture
def on_disk(tmp_path):
    path = tmp_path / "elsewhere" / "train.tar.gz"
    path.parent.mkdir()
    path.write_bytes(CONTENT)
    path.chmod(0o444)
    return path


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
