"""A small archive to fetch, and a web server of it that can be as odd as servers are."""

from __future__ import annotations

import contextlib
import hashlib
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from sspipe.data.fetch import fetch_archive
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


@pytest.fixture
def on_disk(tmp_path):
    path = tmp_path / "elsewhere" / "train.tar.gz"
    path.parent.mkdir()
    path.write_bytes(CONTENT)
    path.chmod(0o444)
    return path
