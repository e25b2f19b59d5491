"""A real S3 server for tests: Ceph's radosgw on loopback, over http and https, run by whoever runs the tests.

One monitor, one OSD that keeps its objects in memory, one gateway; no systemd, no keys, nothing outside one folder. The
packages are radosgw, ceph-mon, ceph-osd, ceph-base and ceph-common (envs/setup.sh installs them where it may).
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

PROGRAMS = ("radosgw", "radosgw-admin", "ceph-mon", "ceph-osd", "ceph", "monmaptool", "openssl", "setpriv")
ACCESS_KEY, SECRET_KEY = "testkey", "testsecret"
START_LIMIT_S = 120


def missing_programs() -> list[str]:
    """Names of the programs that the server needs and this machine lacks."""
    return [name for name in PROGRAMS if shutil.which(name) is None]


class S3Server:
    """A running store. `stop` ends what it started and removes its folder.

    Attributes:
        http: URL of the store.
        https: the same over TLS, with a certificate that only `ca_bundle` vouches for.
        ca_bundle: PEM file.
        port: of http.
    """

    def __init__(self, folder: Path, size_gib: int = 4) -> None:
        self._folder = folder
        self.ca_bundle = folder / "certificate.pem"
        self.port, tls_port, mon_v2, mon_v1 = _free_ports(4)
        self.http = f"http://127.0.0.1:{self.port}"
        self.https = f"https://127.0.0.1:{tls_port}"
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        for name in ("mon", "osd", "run", "log", "rgw"):
            (folder / name).mkdir(parents=True)
        self._conf = folder / "ceph.conf"
        self._cluster = str(uuid.uuid4())
        self._monitors = f"[v2:127.0.0.1:{mon_v2},v1:127.0.0.1:{mon_v1}]"
        self._conf.write_text(_configuration(folder, self._cluster, self._monitors, self.port, tls_port, size_gib))
        try:
            self._start()
        except BaseException:
            self.stop()
            raise

    def client(self) -> Any:
        """A boto3 client of the bucket's owner, for setting the stage."""
        import boto3
        from botocore.config import Config

        return boto3.client(
            "s3",
            endpoint_url=self.http,
            aws_access_key_id=ACCESS_KEY,
            aws_secret_access_key=SECRET_KEY,
            region_name="us-east-1",
            # An old radosgw takes the newer checksums' trailers for content.
            config=Config(
                s3={"addressing_style": "path"},
                proxies={},
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
            ),
        )

    def start_gateway(self) -> None:
        """Starts the gateway (again) and waits until it answers."""
        self._spawn("radosgw", "-n", "client.rgw")
        self._wait_for("the gateway", lambda: _answers(self.http))

    def stop_gateway(self) -> None:
        """Kills the gateway; monitor and OSD go on, so nothing is lost."""
        self._end("radosgw", signal.SIGKILL)

    def stop(self) -> None:
        """Ends every process and removes the folder."""
        for name in reversed(list(self._processes)):
            self._end(name, signal.SIGKILL)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _start(self) -> None:
        folder = self._folder
        self._run(
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-subj", "/CN=127.0.0.1"),
            *("-addext", "subjectAltName=IP:127.0.0.1"),
            *("-keyout", str(folder / "key.pem"), "-out", str(self.ca_bundle)),
        )
        monmap = str(folder / "monmap")
        self._run("monmaptool", "--create", "--fsid", self._cluster, "--addv", "a", self._monitors, monmap)
        self._run("ceph-mon", "--mkfs", "-i", "a", "--monmap", monmap)
        self._spawn("ceph-mon", "-i", "a")
        osd = str(uuid.uuid4())
        self._run("ceph", "--connect-timeout", str(START_LIMIT_S), "osd", "new", osd)
        self._run("ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", osd)
        self._run("ceph", "osd", "crush", "add", "osd.0", "1.0", "root=default", "host=localhost")
        self._spawn("ceph-osd", "-i", "0")
        # Without a working OSD it waits, so no other wait is needed.
        user = ("--uid=test", "--display-name=test", f"--access-key={ACCESS_KEY}", f"--secret-key={SECRET_KEY}")
        self._run("radosgw-admin", "user", "create", *user)
        self.start_gateway()

    def _environment(self) -> dict[str, str]:
        return {**os.environ, "CEPH_CONF": str(self._conf), "CEPH_ARGS": f"-c {self._conf}"}

    def _run(self, *command: str) -> None:
        log = self._folder / "log" / "set-up.txt"
        with log.open("ab") as output:
            done = subprocess.run(
                command, stdout=output, stderr=output, env=self._environment(), timeout=START_LIMIT_S, check=False
            )
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)}: exit status {done.returncode}\n{self._last_words()}")

    def _spawn(self, program: str, *arguments: str) -> None:
        # In the foreground, and ended by the kernel should the tests be killed: nothing of it is left behind.
        command = ("setpriv", "--pdeathsig", "KILL", "--", program, *arguments, "-f", "-c", str(self._conf))
        with (self._folder / "log" / f"{program}.txt").open("ab") as output:
            self._processes[program] = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=self._environment()
            )

    def _end(self, program: str, how: int) -> None:
        process = self._processes.pop(program)
        process.send_signal(signal.SIGCONT)
        process.send_signal(how)
        process.wait(60)

    def _wait_for(self, what: str, ready: Callable[[], bool]) -> None:
        limit = time.monotonic() + START_LIMIT_S
        while not ready():
            ended = [name for name, process in self._processes.items() if process.poll() is not None]
            if ended or time.monotonic() > limit:
                raise RuntimeError(f"{what} does not start (ended: {ended})\n{self._last_words()}")
            time.sleep(0.1)

    def _last_words(self) -> str:
        texts = {path.name: path.read_text(errors="replace") for path in (self._folder / "log").iterdir()}
        return "\n".join(f"{name}:\n{text[-1500:]}" for name, text in sorted(texts.items()) if text)


def _configuration(folder: Path, cluster: str, monitors: str, port: int, tls_port: int, size_gib: int) -> str:
    return f"""[global]
fsid = {cluster}
mon host = {monitors}
public addr = 127.0.0.1
cluster addr = 127.0.0.1
ms bind ipv6 = false
auth cluster required = none
auth service required = none
auth client required = none
run dir = {folder}/run
admin socket = {folder}/run/$name.asok
pid file = {folder}/run/$name.pid
log file = {folder}/log/$name.log
crash dir = {folder}/run
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 1
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
mon allow pool size one = true
mon max pg per osd = 2000
[mon]
mon data = {folder}/mon
mon cluster log file = {folder}/log/cluster.log
auth allow insecure global id reclaim = true
[osd]
osd data = {folder}/osd
osd objectstore = memstore
memstore device bytes = {size_gib * 1024**3}
[client.rgw]
# With authentication off, a secured connection to the monitor is waited for until it times out.
ms mon client mode = crc
rgw data = {folder}/rgw
rgw frontends = beast endpoint=127.0.0.1:{port} ssl_endpoint=127.0.0.1:{tls_port} \
ssl_certificate={folder}/certificate.pem ssl_private_key={folder}/key.pem
rgw thread pool size = 64
# Overwritten objects go at once, or the small OSD fills up.
rgw gc obj min wait = 5
rgw gc processor period = 10
rgw gc processor max time = 10
"""


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for free in sockets:
            free.bind(("127.0.0.1", 0))
        return [free.getsockname()[1] for free in sockets]


def _answers(url: str) -> bool:
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=5):
            return True
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
