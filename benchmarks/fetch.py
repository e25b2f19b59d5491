"""Fetching an object of 1 GiB from a real S3 server: `fetch-archive` against boto3's own download_file.

Both run as processes of their own, in turns, over http and https, from the server that the tests use (radosgw on this
machine). Ours also hashes the whole, keeps a journal, and syncs what it writes to disk; boto3's side does none of that.
"""

from __future__ import annotations

import hashlib
import random
import re
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from benchmarks.side_by_side import in_turns, ratio, result, table
from tests.s3.server import S3Server, missing_programs
from tests.s3.store import MIB, PUBLIC, Store, environment

SIZE = 1024 * MIB
ROUNDS = 5
MEMORY_LIMIT_MIB = 200
TARGET = round(1 / 1.2, 3)  # our time may be 1.2 times that of boto3

# Each side prints the peak of its own memory: what the parent measures of a child counts the parent's pages too.
PEAK = "import re; print('peak', re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1])"
OURS = f"import sys; from sspipe.cli import main; status = main(sys.argv[1:]); {PEAK}; sys.exit(status)"
BOTO3 = f"""
import sys, boto3
from botocore import UNSIGNED
from botocore.config import Config
url, ca_bundle, bucket, key, out = sys.argv[1:]
config = Config(signature_version=UNSIGNED, s3={{"addressing_style": "path"}})
verify = ca_bundle if url.startswith("https") else None
client = boto3.client("s3", endpoint_url=url, region_name="us-east-1", config=config, verify=verify)
client.download_file(bucket, key, out)
{PEAK}
"""


def main() -> None:
    missing = missing_programs()
    if missing:
        sys.exit(f"no S3 server here: {', '.join(missing)} not installed (envs/setup.sh .venv test installs them)")
    with tempfile.TemporaryDirectory(prefix="s3-") as folder:
        server = S3Server(Path(folder) / "store")
        try:
            compare(server, Path(folder))
        finally:
            server.stop()


def compare(server: S3Server, folder: Path) -> None:
    # A sixteenth of it is random, repeated: bytes are made faster, and nothing here compresses.
    store = Store(server)
    stored = store.put_bytes("big", random.Random(0).randbytes(SIZE // 16) * 16)
    digest = stored.sha256
    peaks: dict[str, list[float]] = {}

    def side(name: str, code: str, arguments: list[str], out: Path) -> Callable[[], None]:
        def run() -> None:
            out.unlink(missing_ok=True)
            command = [sys.executable, "-c", code, *arguments]
            done = subprocess.run(command, env=environment(), capture_output=True, text=True, check=True)
            found = re.search(r"^peak (\d+)$", done.stdout, re.MULTILINE)
            assert found is not None, done.stdout
            peaks.setdefault(name, []).append(int(found[1]) / 1024)

        return run

    rows, ratios = [], {}
    for scheme in ("http", "https"):
        url, ca_bundle = getattr(server, scheme), str(server.ca_bundle)
        ours, theirs = folder / "ours.tar.gz", folder / "boto3.tar.gz"
        flags = ["fetch-archive", "--source", "s3", "--endpoint-url", url, "--ca-bundle", ca_bundle]
        flags += ["--bucket", PUBLIC, "--key", stored.key, "--sha256", digest, "--out", str(ours)]
        names = f"boto3 {scheme}", f"ours {scheme}"
        seconds = in_turns(
            {
                names[0]: side(names[0], BOTO3, [url, ca_bundle, PUBLIC, stored.key, str(theirs)], theirs),
                names[1]: side(names[1], OURS, flags, ours),
            },
            ROUNDS,
        )
        assert sha256(ours) == sha256(theirs) == digest
        ratios[scheme] = ratio(seconds[names[0]], seconds[names[1]])
        for name in names:
            middle = statistics.median(seconds[name])
            speed, peak = SIZE / MIB / middle, max(peaks[name])
            rows.append((name, f"{middle:.2f}", f"{min(seconds[name]):.2f}", f"{speed:.0f}", f"{peak:.0f}"))
    table(rows, ("side", "median s", "best s", "MiB/s", "peak memory, MiB"))
    peak = max(peak for name, of_side in peaks.items() if name.startswith("ours") for peak in of_side)
    assert peak < MEMORY_LIMIT_MIB, f"{peak:.0f} MiB of memory, limit {MEMORY_LIMIT_MIB}"
    print("boto3 checks nothing and syncs nothing; ours does both. Server and client share this machine's cores.")
    result(
        "fetch",
        ratio=min(ratios.values()),
        target=TARGET,
        against="boto3's download_file, without hashing",
        ratio_http=round(ratios["http"], 3),
        ratio_https=round(ratios["https"], 3),
        peak_memory_mib=round(peak),
        object_mib=SIZE // MIB,
    )


def sha256(path: Path) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


if __name__ == "__main__":
    main()
