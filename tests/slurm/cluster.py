"""A real Slurm on one machine for tests: munge, mariadb, slurmdbd, slurmctld, and two slurmd with pretended GPUs.

No systemd and no cgroups, so it works in containers and in a bare chroot; root alone may run it. Everything is in one
folder and ends with the process that started it. By hand, until Ctrl-C:   python -m tests.slurm.cluster FOLDER
"""

from __future__ import annotations

import base64
import contextlib
import os
import random
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from tests.daemons import START_LIMIT_S, Daemons
from tests.slurm.configuration import ACCOUNT, GPU_TYPE, GPUS, NODES, slurm_conf, slurmdbd_conf

CLIENTS = ("sbatch", "srun", "squeue", "sinfo", "sacct", "sacctmgr", "scontrol", "scancel")
PROGRAMS = (
    *CLIENTS,
    *("munged", "mariadbd", "mariadb", "mariadb-install-db", "slurmdbd", "slurmctld", "slurmd", "setpriv"),
)


def unusable() -> str | None:
    """Why no cluster can be brought up here; None if it can."""
    if os.geteuid() != 0:
        return "Slurm's daemons need root"
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if missing:
        return f"{', '.join(missing)} not installed (envs/setup.sh says which packages)"
    return None


class SlurmCluster:
    """A running cluster: partitions `gpu` (default), `low` and `high`, which preempts the other two.

    `low` gives those that it preempts ten seconds of grace, `gpu` none.

    Attributes:
        folder: of everything.
        environment: what a process needs to reach it, laid over `os.environ`.
        calls: a line for every call of one of Slurm's programs by way of that environment.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._conf = folder / "etc/slurm.conf"
        self.calls = folder / "calls"
        self._own = {"SLURM_CONF": str(self._conf), "PATH": os.environ["PATH"]}  # what the tests look at is not counted
        self.environment = {
            "SLURM_CONF": str(self._conf),
            "PATH": f"{folder}/bin:{os.environ['PATH']}",
        }
        self._daemons = Daemons(folder / "log", self.environment)
        self._ports = dict(zip(("ctld", "dbd", "mariadb", *NODES), _free_ports(3 + len(NODES)), strict=True))
        for name in ("bin", "etc", "run", "log", "state/ctld", "db", *(f"state/{node}" for node in NODES)):
            (folder / name).mkdir(parents=True)
        # munged wants to be the only one who may write where its key and socket are.
        for path in (folder, *(folder / name for name in ("etc", "run", "log"))):
            path.chmod(0o755)
        try:
            self._start()
        except BaseException:
            self.stop()
            raise

    def run(self, *command: str, check: bool = True, timeout: float = 60) -> str:
        """Output of a command that reaches this cluster."""
        done = subprocess.run(command, env={**os.environ, **self._own}, capture_output=True, text=True, timeout=timeout)
        if check and done.returncode:
            raise RuntimeError(f"{' '.join(command)}: exit status {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout

    def start_controller(self) -> None:
        """Starts slurmctld (again); it goes on from its saved state."""
        self._daemons.spawn("slurmctld", "slurmctld", "-D", "-f", str(self._conf))
        self._daemons.wait_for("slurmctld", lambda: "UP" in self.run("scontrol", "ping", check=False))

    def stop_controller(self) -> None:
        """Ends slurmctld, as a restart does; jobs go on."""
        self._daemons.end("slurmctld", signal.SIGTERM)

    def start_node(self, node: str) -> None:
        """Starts a node's slurmd (again), and waits until it may take jobs."""
        begun = time.time()
        self._daemons.spawn(node, "slurmd", "-D", "-N", node, "-f", str(self._conf))
        self._daemons.wait_for(node, lambda: self._registered(node, begun))
        self.run("scontrol", "update", f"NodeName={node}", "State=RESUME", check=False)
        self._daemons.wait_for(node, lambda: self._state(node) in ("idle", "mixed", "allocated"))

    def lose_node(self, node: str) -> None:
        """Kills a node's slurmd and all that runs there, and has the controller see that at once."""
        self._daemons.end(node, signal.SIGKILL)
        _kill_steps_of(node, self.folder)
        self.run("scontrol", "update", f"NodeName={node}", "State=DOWN", "Reason=lost")

    def start_accounting(self) -> None:
        """Starts slurmdbd (again): sacct answers."""
        # It has no -f in some releases: it looks for slurmdbd.conf beside SLURM_CONF.
        self._daemons.spawn("slurmdbd", "slurmdbd", "-D")
        self._daemons.wait_for("slurmdbd", lambda: _is_open(self._ports["dbd"]))
        self._daemons.wait_for("slurmdbd", lambda: bool(self.run("sacctmgr", "-n", "show", "user", check=False)))

    def stop_accounting(self) -> None:
        """Ends slurmdbd: sacct fails, and the controller keeps for later what it has to tell."""
        self._daemons.end("slurmdbd", signal.SIGTERM)

    def empty(self) -> None:
        """Cancels every job and waits until they are gone."""
        jobs = self.run("squeue", "-h", "-o", "%A").split()
        if jobs:
            self.run("scancel", *sorted(set(jobs)), check=False)
        self._daemons.wait_for("an empty queue", lambda: not self.run("squeue", "-h"))

    def stop(self) -> None:
        """Cancels the jobs, ends every daemon and removes the folder."""
        if self._daemons.runs("slurmctld"):
            with contextlib.suppress(RuntimeError, subprocess.TimeoutExpired):
                self.empty()
        for name in self._daemons.names():
            self._daemons.end(name, signal.SIGKILL if name in NODES else signal.SIGTERM)
        for node in NODES:
            _kill_steps_of(node, self.folder)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _start(self) -> None:
        self._write_configuration()
        etc, run, log = (self.folder / name for name in ("etc", "run", "log"))
        key = etc / "munge.key"
        key.write_bytes(secrets.token_bytes(1024))
        key.chmod(0o400)
        socket_ = run / "munge.socket"
        files = (f"--key-file={key}", f"--socket={socket_}", f"--pid-file={run}/munged.pid")
        self._daemons.spawn(
            "munged", "munged", "--foreground", "--force", *files, f"--log-file={log}/munged.log",
            f"--seed-file={run}/munge.seed",
        )  # fmt: skip
        self._daemons.wait_for("munged", socket_.exists)
        self._start_database()
        self._begin_accounting()
        self.start_controller()
        for node in NODES:
            self.start_node(node)

    def _begin_accounting(self) -> None:
        """Starts slurmdbd and tells it of the cluster, one account and root."""
        self._daemons.spawn("slurmdbd", "slurmdbd", "-D")
        self._daemons.wait_for("slurmdbd", lambda: _is_open(self._ports["dbd"]))
        self._daemons.wait_for("slurmdbd", lambda: self._succeeds("sacctmgr", "-n", "show", "cluster"))
        self._add("toy", ("cluster", "format=cluster"), "cluster", "toy")
        self._add(ACCOUNT, ("account", "format=account"), "account", ACCOUNT, "Description=toy", "Organization=toy")
        self._add(
            ACCOUNT, ("assoc", "user=root", "format=account"), "user", "root", f"Account={ACCOUNT}", "Cluster=toy"
        )

    def _add(self, name: str, shown: tuple[str, ...], *what: str) -> None:
        """Tells the accounting of something; on a busy machine its answer may be lost, and what was added is there."""
        self.run("sacctmgr", "-i", "-Q", "add", *what, check=False)
        known = ("sacctmgr", "-n", "-P", "show", *shown)
        self._daemons.wait_for(f"{' '.join(what)}", lambda: name in self.run(*known, check=False).split())

    def _start_database(self) -> None:
        data, run = self.folder / "db", self.folder / "run"
        install = ("mariadb-install-db", "--no-defaults", f"--datadir={data}", "--user=root", "--skip-test-db")
        self.run(*install, "--auth-root-authentication-method=socket", timeout=START_LIMIT_S)
        self._daemons.spawn(
            "mariadbd", "mariadbd", "--no-defaults", "--user=root", f"--datadir={data}", f"--socket={run}/mysql.sock",
            f"--port={self._ports['mariadb']}", "--bind-address=127.0.0.1", f"--pid-file={run}/mariadbd.pid",
            "--innodb-buffer-pool-size=64M", "--innodb-log-file-size=32M", "--innodb-lock-wait-timeout=900",
            "--innodb-flush-log-at-trx-commit=0", "--skip-log-bin", "--skip-name-resolve",
        )  # fmt: skip
        client = ("mariadb", "--no-defaults", f"--socket={run}/mysql.sock", "-u", "root", "-e")
        self._daemons.wait_for("mariadbd", lambda: self._succeeds(*client, "select 1"))
        self.run(
            *client,
            f"CREATE DATABASE slurm_acct_db; CREATE USER 'slurm'@'127.0.0.1' IDENTIFIED BY '{self._password}'; "
            "GRANT ALL ON slurm_acct_db.* TO 'slurm'@'127.0.0.1';",
        )

    def _write_configuration(self) -> None:
        folder, etc = self.folder, self.folder / "etc"
        self._password = base64.b64encode(secrets.token_bytes(18), altchars=b"ab").decode()
        host = socket.gethostname().split(".")[0]
        self._conf.write_text(slurm_conf(folder, host, self._ports))
        gres = []
        for node in NODES:
            # slurmd wants character devices; links to one satisfy it, and unlike mknod need no capability.
            devices = folder / "dev" / node
            devices.mkdir(parents=True)
            for number in range(GPUS):
                (devices / f"nvidia{number}").symlink_to("/dev/null")
            gres.append(f"NodeName={node} Name=gpu Type={GPU_TYPE} File={devices}/nvidia[0-{GPUS - 1}]\n")
        # Snakemake's jobs hide SLURM_CONF from the `srun` that they call, so the programs themselves remember it.
        for name in CLIENTS:
            program = folder / "bin" / name
            program.write_text(
                f'#!/bin/sh\necho "{name} $*" >>{self.calls}\nSLURM_CONF={self._conf} exec {shutil.which(name)} "$@"\n'
            )
            program.chmod(0o755)
        (etc / "gres.conf").write_text("".join(gres))
        # None are used, yet slurmd looks which kind there is, and dies if none is mounted.
        (etc / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\n")
        dbd = etc / "slurmdbd.conf"
        dbd.touch(0o600)
        dbd.write_text(slurmdbd_conf(folder, host, self._ports, self._password))

    def _registered(self, node: str, since: float) -> bool:
        """Whether the controller has heard of this start of the node's slurmd; its saved state may be older."""
        for word in self.run("scontrol", "-o", "show", "node", node, check=False).split():
            if word.startswith("SlurmdStartTime=2"):
                started = time.mktime(time.strptime(word.partition("=")[2], "%Y-%m-%dT%H:%M:%S"))
                return started >= int(since)
        return False

    def _state(self, node: str) -> str:
        return self.run("sinfo", "-h", "-N", "-n", node, "-p", "gpu", "-o", "%T", check=False).strip()

    def _succeeds(self, *command: str) -> bool:
        try:
            self.run(*command)
        except (RuntimeError, subprocess.TimeoutExpired):
            return False
        return True


def _kill_steps_of(node: str, folder: Path) -> None:
    """Kills what a node runs: the keepers of its steps, and the programs in them; all are this cluster's own."""
    marks = {f"SLURM_CONF={folder}/etc/slurm.conf".encode(), f"SLURMD_NODENAME={node}".encode()}
    ours = []
    for process in Path("/proc").iterdir():
        if not process.name.isdigit():
            continue
        with contextlib.suppress(OSError):
            if marks <= set((process / "environ").read_bytes().split(b"\0")):
                ours.append(int(process.name))
    for process in ours:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)


def _free_ports(count: int) -> list[int]:
    """Ports that nobody listens at, below those that the system gives to whoever asks for any."""
    ephemeral = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    found: list[int] = []
    for port in random.sample(range(10_000, max(20_000, ephemeral)), 1000):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            found.append(port)
        if len(found) == count:
            return found
    raise RuntimeError(f"no {count} free ports")


def _is_open(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


if __name__ == "__main__":
    reason = unusable()
    if reason:
        sys.exit(reason)
    cluster = SlurmCluster(Path(sys.argv[1]).absolute())
    print(f"export SLURM_CONF={cluster.environment['SLURM_CONF']} PATH={cluster.folder}/bin:$PATH", flush=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    try:
        signal.pause()
    except KeyboardInterrupt:
        pass
    finally:
        cluster.stop()
