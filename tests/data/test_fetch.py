from __future__ import annotations

import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from sspipe.data import object_store
from sspipe.data.fetch import fetch_archive
from sspipe.errors import UserError

CONTENT = bytes(range(256)) * 4096  # 1 MiB
SHA256 = hashlib.sha256(CONTENT).hexdigest()
KEY = "tarballs/train.tar.gz"


class Store(BaseHTTPRequestHandler):
    """An S3 endpoint of one public object, as much of the protocol as a download needs."""

    content = CONTENT
    status: int | None = None  # answered to everything
    cut = False  # the connection breaks half-way
    replaced = False  # between HEAD and GET

    def do_HEAD(self):
        self._answer(head=True)

    def do_GET(self):
        self._answer(head=False)

    def _answer(self, head):
        assert "Authorization" not in self.headers  # public: read without credentials
        status = self.status or (200 if self.path == f"/bucket/{KEY}" else 404)
        etag = '"new"' if self.replaced and not head else '"old"'
        if status == 200 and self.headers.get("If-Match", etag) != etag:
            status = 412
        code = {403: "AccessDenied", 404: "NoSuchKey", 412: "PreconditionFailed"}.get(status, "")
        body = self.content if status == 200 else f"<Error><Code>{code}</Code></Error>".encode()
        self.send_response(status)
        self.send_header("ETag", etag)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if not head:
            self.wfile.write(body[: len(body) // 2] if self.cut else body)
        if self.cut:
            self.close_connection = True

    def log_message(self, *args):
        pass


@pytest.fixture
def store(monkeypatch):
    """A running store and its URL; a test changes its behaviour by setting attributes of the handler."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    handler = type("Handler", (Store,), {})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield handler, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def out(tmp_path):
    (tmp_path / "results").mkdir()
    return tmp_path / "results" / "archive.tar.gz"


def fetch(out, **changes):
    settings = {"source": "s3", "path": None, "endpoint_url": None, "region": "us-east-1", "bucket": "bucket"}
    pinned = {"key": KEY, "size_bytes": len(CONTENT), "sha256": SHA256}
    fetch_archive(out=out, **{**settings, **pinned, **changes})


def refusal(out, **changes):
    """The message of an archive that must be refused, after which nothing may lie under any name."""
    with pytest.raises(UserError) as error:
        fetch(out, **changes)
    assert not list(out.parent.iterdir())
    return str(error.value)


def test_a_public_object_is_fetched_whole(store, out):
    fetch(out, endpoint_url=store[1])
    assert out.read_bytes() == CONTENT
    assert [path.name for path in out.parent.iterdir()] == [out.name]


def test_without_a_pinned_size_and_checksum_what_the_store_has_is_taken(store, out):
    fetch(out, endpoint_url=store[1], size_bytes=None, sha256=None)
    assert out.read_bytes() == CONTENT


def test_an_object_that_does_not_exist_is_told(store, out):
    message = refusal(out, endpoint_url=store[1], key="nothing.tar.gz")
    assert "s3://bucket/nothing.tar.gz" in message and "no such object; check archive.bucket and archive.key" in message


def test_a_private_bucket_is_told(store, out):
    store[0].status = 403
    assert "not readable without credentials" in refusal(out, endpoint_url=store[1])


def test_a_wrong_size_is_told_before_anything_is_fetched(store, out):
    message = refusal(out, endpoint_url=store[1], size_bytes=41)
    assert f"measures {len(CONTENT)} bytes, expected 41" in message


def test_a_flipped_bit_on_the_way_is_noticed(store, out):
    store[0].content = CONTENT[:-1] + b"\x00"
    message = refusal(out, endpoint_url=store[1])
    assert SHA256 in message and "fetch it again" in message


def test_an_object_that_is_replaced_meanwhile_is_noticed(store, out):
    store[0].replaced = True
    assert "was replaced while it was being fetched" in refusal(out, endpoint_url=store[1])


def test_a_cut_connection_is_noticed(store, out):
    store[0].cut = True
    assert "cannot be read" in refusal(out, endpoint_url=store[1])


def test_no_network_is_told_with_the_other_way_to_get_the_archive(store, out, monkeypatch):
    monkeypatch.setattr(object_store, "ATTEMPTS", 1)
    message = refusal(out, endpoint_url="http://127.0.0.1:1")
    assert "check the network" in message and "archive.source: file" in message


def test_too_small_a_disk_is_told_before_anything_is_fetched(store, out, monkeypatch):
    monkeypatch.setattr(
        object_store.shutil, "disk_usage", lambda folder: object_store.shutil._ntuple_diskusage(10, 0, 10)
    )
    message = refusal(out, endpoint_url=store[1])
    assert "10 B are free, and the archive needs 1.0 MiB" in message


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
    assert out.read_bytes() == CONTENT


@pytest.mark.parametrize(("pin", "expected"), [({"size_bytes": 7}, "not 7"), ({"sha256": "0" * 64}, "not 0000")])
def test_another_archive_on_disk_is_refused(on_disk, out, pin, expected):
    message = refusal(out, source="file", path=on_disk, **pin)
    assert str(on_disk) in message and expected in message


def test_a_missing_archive_on_disk_is_told(out, tmp_path):
    assert "archive.path" in refusal(out, source="file", path=tmp_path / "nothing.tar.gz")
    assert "archive.path" in refusal(out, source="file", path=None)


def test_a_source_that_fetch_does_not_know_is_told(out):
    assert "`s3` and `file`" in refusal(out, source="synthetic")
