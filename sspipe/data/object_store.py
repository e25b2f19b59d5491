"""Downloading one public object from an S3 store, without credentials."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from typing import Any

import boto3
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from sspipe.data.byte_progress import MIB, ByteProgress, human_bytes
from sspipe.errors import UserError
from sspipe.log import say

CHUNK_BYTES = 4 * MIB
ATTEMPTS = 5  # of each request
CONNECT_TIMEOUT_S = 20


def download(
    partial: Path,
    *,
    endpoint_url: str | None,
    region: str,
    bucket: str,
    key: str,
    size_bytes: int | None,
) -> tuple[int, str]:
    """Reads the object into `partial`, pinned to the version that was there when it began.

    Args:
        partial: file to write; its folder must exist.
        endpoint_url: the store; None is the public cloud.
        region: of the bucket.
        bucket: its name.
        key: of the object.
        size_bytes: what the object must measure; None takes what there is.

    Returns:
        size in bytes and sha256 (hex) of what was written.

    Raises:
        UserError: no such object, no access, another size, no network, too little disk space, or the connection broke.
    """
    where = f"s3://{bucket}/{key}" + (f" at {endpoint_url}" if endpoint_url else "")
    client = _client(endpoint_url, region)
    try:
        head = client.head_object(Bucket=bucket, Key=key)
        total = int(head["ContentLength"])
        if size_bytes is not None and total != size_bytes:
            raise UserError(
                f"{where} measures {total} bytes, expected {size_bytes}: it is not the archive that the config pins; "
                "correct archive.key, or archive.size_bytes and archive.sha256"
            )
        _refuse_small_disk(partial.parent, total)
        say(f"fetch_archive: {where}, {human_bytes(total)}")
        body = client.get_object(Bucket=bucket, Key=key, IfMatch=head["ETag"])["Body"]
        return _write(body, partial, total)
    except ClientError as error:
        raise UserError(_refusal(where, error)) from None
    except (BotoCoreError, OSError) as error:
        raise UserError(
            f"{where} cannot be read: {error}; check the network and archive.endpoint_url, or fetch the archive "
            "elsewhere and set archive.source: file and archive.path"
        ) from None


def _client(endpoint_url: str | None, region: str) -> Any:
    config = Config(
        signature_version=UNSIGNED,
        connect_timeout=CONNECT_TIMEOUT_S,
        retries={"total_max_attempts": ATTEMPTS, "mode": "standard"},
        # Stores other than the public cloud seldom have a host name for each bucket.
        s3={"addressing_style": "path"} if endpoint_url else {},
        # The whole object is verified against the config's sha256 instead.
        response_checksum_validation="when_required",
    )
    return boto3.client("s3", endpoint_url=endpoint_url, region_name=region, config=config)


def _write(body: Any, partial: Path, total: int) -> tuple[int, str]:
    digest, done = hashlib.sha256(), 0
    progress = ByteProgress("fetch_archive", total)
    with partial.open("wb") as handle:
        for chunk in body.iter_chunks(CHUNK_BYTES):
            try:
                handle.write(chunk)
            except OSError as error:
                raise UserError(f"{partial.parent}: cannot write the archive ({error.strerror})") from None
            digest.update(chunk)
            done += len(chunk)
            progress.reach(done)
    return done, digest.hexdigest()


def _refuse_small_disk(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise UserError(
            f"{folder}: {human_bytes(free)} are free, and the archive needs {human_bytes(needed)}; "
            "free some space, or set `results` to a folder on a larger disk"
        )


def _refusal(where: str, error: ClientError) -> str:
    """What the store's answer means for the user."""
    code = str(error.response.get("Error", {}).get("Code", ""))
    if code in ("404", "NoSuchKey", "NoSuchBucket", "NotFound"):
        return f"{where}: there is no such object; check archive.bucket and archive.key"
    if code in ("403", "401", "AccessDenied", "Forbidden"):
        return f"{where}: not readable without credentials; check archive.bucket and archive.key"
    if code in ("301", "PermanentRedirect", "400", "AuthorizationHeaderMalformed"):
        return f"{where}: the store refused the request ({code}); check archive.region and archive.endpoint_url"
    if code in ("412", "PreconditionFailed"):
        return f"{where}: the object was replaced while it was being fetched; run again"
    return f"{where}: the store answered {error}; run again, or choose another archive.endpoint_url"
