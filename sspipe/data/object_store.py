"""A public object of an S3 store, read without credentials."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import urllib3.exceptions
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from sspipe.data.outage import TransientError
from sspipe.data.remote import (
    CONNECT_TIMEOUT_S,
    READ_BYTES,
    READ_TIMEOUT_S,
    Remote,
    ReplacedError,
    StoreDigest,
    check_range,
    failure,
    guess_part_bytes,
    is_passing,
    md5_parts,
    refusal,
)
from sspipe.errors import UserError

KEYS = "archive.bucket and archive.key"
# Stores that say in words what their HTTP status does not.
PASSING = ("SlowDown", "RequestTimeout", "InternalError", "ServiceUnavailable", "ThrottlingException")


class S3Object:
    """One object of a bucket.

    Args:
        endpoint_url: the store; None is the public cloud.
        region: of the bucket.
        bucket: its name.
        key: of the object.
        connections: most that will be used at once.
        ca_bundle: PEM file of the authorities that may vouch for the store; None takes the usual ones.

    Raises:
        UserError: there can be no such store.
    """

    def __init__(
        self, *, endpoint_url: str | None, region: str, bucket: str, key: str, connections: int, ca_bundle: Path | None
    ) -> None:
        self.where = f"s3://{bucket}/{key}" + (f" at {endpoint_url}" if endpoint_url else "")
        self._object = {"Bucket": bucket, "Key": key}
        config = Config(
            signature_version=UNSIGNED,
            max_pool_connections=connections,
            connect_timeout=CONNECT_TIMEOUT_S,
            read_timeout=READ_TIMEOUT_S,
            retries={"total_max_attempts": 1},  # the download retries, for all connections together
            ignore_configured_endpoint_urls=True,  # the config says which store
            # Stores other than the public cloud seldom have a host name for each bucket.
            s3={"addressing_style": "path"} if endpoint_url else {},
            # The download verifies the whole.
            response_checksum_validation="when_required",
        )
        verify = str(ca_bundle) if ca_bundle else None
        try:
            self._client = boto3.client(
                "s3", endpoint_url=endpoint_url, region_name=region, config=config, verify=verify
            )
        except (BotoCoreError, ValueError) as error:
            raise UserError(
                f"{self.where}: {error}; check archive.endpoint_url and archive.region, and the AWS_… variables"
            ) from None

    def identify(self) -> Remote:
        """Asks what is there (see Source)."""
        with self._told():
            head = self._client.head_object(**self._object)
        size, version = int(head["ContentLength"]), str(head["ETag"])
        return Remote(self.where, size, version, ranges=True, digest=self._digest(head, size, version))

    def read(self, remote: Remote, begin: int, end: int) -> Iterator[bytes]:
        """Reads a range of the version that was identified (see Source)."""
        with self._told():
            answer = self._client.get_object(**self._object, IfMatch=remote.version, Range=f"bytes={begin}-{end - 1}")
            body = answer["Body"]
            try:
                check_range(self.where, answer.get("ContentRange", "none"), begin, end, remote.size)
                while chunk := body.read(READ_BYTES):
                    yield chunk
            finally:
                body.close()

    def _digest(self, head: dict[str, Any], size: int, version: str) -> StoreDigest | None:
        text = version.strip('"')
        count = md5_parts(text)
        if count is None or head.get("ServerSideEncryption", "AES256") != "AES256" or "SSECustomerAlgorithm" in head:
            return None  # with other keys the ETag is no md5 of what is read
        if count == 0:
            return StoreDigest(text, part_bytes=None, known=True)
        with self._told():
            first = self._client.head_object(**self._object, IfMatch=version, PartNumber=1)
        if first.get("PartsCount") == count:
            return StoreDigest(text, part_bytes=int(first["ContentLength"]), known=True)
        guess = guess_part_bytes(size, count)
        return StoreDigest(text, part_bytes=guess, known=False) if guess else None

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Tells what the client raises: what may pass as TransientError, the rest as UserError."""
        try:
            yield
        except ClientError as error:
            status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
            code = str(error.response.get("Error", {}).get("Code", ""))
            if is_passing(status) or code in PASSING:
                raise TransientError(f"the store answered {status} {code}") from None
            if status == 412:
                raise ReplacedError(self.where) from None
            keys = KEYS if status in (401, 403, 404) else "archive.region and archive.endpoint_url"
            raise refusal(self.where, status, code, keys) from None
        except (BotoCoreError, urllib3.exceptions.HTTPError, OSError) as error:
            raise failure(self.where, error) from None
