"""The store that tests share: a running server with a public bucket and a private one."""

from __future__ import annotations

import hashlib
import io
import json
import os
import random
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.s3.server import S3Server, missing_programs

PUBLIC, PRIVATE = "public", "private"
MIB = 1024**2


@dataclass(frozen=True)
class Stored:
    """An object of the public bucket."""

    key: str
    content: bytes

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()


class Store:
    """A server with its two buckets."""

    def __init__(self, server: S3Server) -> None:
        self.server = server
        self._client = server.client()
        everyone = {"Effect": "Allow", "Principal": "*"}
        # Without the second, the store hides from strangers that a key is missing.
        allowed = [
            {**everyone, "Action": ["s3:GetObject"], "Resource": [f"arn:aws:s3:::{PUBLIC}/*"]},
            {**everyone, "Action": ["s3:ListBucket"], "Resource": [f"arn:aws:s3:::{PUBLIC}"]},
        ]
        for bucket in (PUBLIC, PRIVATE):
            self._client.create_bucket(Bucket=bucket)
        policy = json.dumps({"Version": "2012-10-17", "Statement": allowed})
        self._client.put_bucket_policy(Bucket=PUBLIC, Policy=policy)

    def put(self, key: str, size: int, *, seed: int, part_mib: int | None = 8, bucket: str = PUBLIC) -> Stored:
        """Stores an object of random bytes that follow from the seed; uploaded whole without `part_mib`."""
        content = random.Random(seed).randbytes(size)
        return self.put_bytes(key, content, part_mib=part_mib, bucket=bucket)

    def put_bytes(self, key: str, content: bytes, *, part_mib: int | None = 8, bucket: str = PUBLIC) -> Stored:
        """Stores these bytes."""
        from boto3.s3.transfer import TransferConfig

        limit = part_mib * MIB if part_mib else len(content) + 1
        parts = TransferConfig(multipart_threshold=limit, multipart_chunksize=max(limit, 5 * MIB), max_concurrency=2)
        self._client.upload_fileobj(io.BytesIO(content), bucket, key, Config=parts)
        return Stored(key, content)


@pytest.fixture(scope="session")
def store() -> Iterator[Store]:
    """The running store. Tests that use it belong to the xdist group `s3`, so that one server serves them all."""
    missing = missing_programs()
    if missing:
        pytest.skip(f"no S3 server here: {', '.join(missing)} not installed (envs/setup.sh says which packages)")
    # A short path: the daemons' sockets are in it, and those have 107 characters at most.
    with tempfile.TemporaryDirectory(prefix="s3-") as folder:
        server = S3Server(Path(folder) / "store")
        try:
            yield Store(server)
        finally:
            server.stop()


def environment() -> dict[str, str]:
    """The environment for a fetch from the store: no proxy may come between."""
    return {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
