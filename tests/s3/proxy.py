"""A TCP proxy in front of the store: counts what passes, and does to connections what networks do."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

PIECE = 64 * 1024


class Proxy:
    """Listens on a port of its own and passes everything on to `target`.

    Attributes:
        url: stands for the target's URL.
        passed: bytes that went from the server to clients.
        hold_at: nothing more goes to clients when so many bytes have, but for less than a piece; None for no limit.
        cut_every: each connection is cut after so many bytes; None never.
        flip_at: the bit at this position of `passed` is flipped once; None never.
        refusing: new connections are closed at once, and open ones cut.
    """

    def __init__(self, target: str) -> None:
        parts = urlsplit(target)
        self._target = (parts.hostname, parts.port)
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.url = f"{parts.scheme}://127.0.0.1:{self._listening.getsockname()[1]}"
        self.passed = 0
        self.cut_every: int | None = None
        self.flip_at: int | None = None
        self.refusing = False
        self._lock = threading.Condition()
        self._hold_at: int | None = None
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def hold_at(self) -> int | None:
        return self._hold_at

    @hold_at.setter
    def hold_at(self, passed: int | None) -> None:
        with self._lock:
            self._hold_at = passed
            self._lock.notify_all()

    def wait_until_held(self, limit_s: float, alive: Callable[[], bool]) -> bool:
        """Waits until `hold_at` stops what comes, and clients have taken all that came before.

        Args:
            limit_s: seconds to wait at most.
            alive: whether it is worth waiting on.

        Returns:
            whether it came to that.
        """
        deadline = time.monotonic() + limit_s
        while time.monotonic() < deadline and alive():
            held = self.hold_at is not None and self.passed > self.hold_at - PIECE
            if held and not self._on_the_way():
                return True
            time.sleep(0.01)
        return False

    def release(self) -> None:
        """Lets through again what `hold_at` held."""
        self.hold_at = None

    def _on_the_way(self) -> int:
        """Bytes that were passed on, and that clients have not read yet: in the kernel's queues of both ends."""
        port = f":{self._listening.getsockname()[1]:04X}"
        waiting = 0
        for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
            _, local, remote, _, queues, *_ = line.split()
            sent, received = (int(queue, 16) for queue in queues.split(":"))
            waiting += sent if local.endswith(port) else received if remote.endswith(port) else 0
        return waiting

    def close(self) -> None:
        self.release()
        self.refusing = True
        # Wakes the thread that waits in accept, which closing alone does not.
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            try:
                server = None if self.refusing else socket.create_connection(self._target)
            except OSError:
                server = None
            if server is None:
                client.close()
                continue
            threading.Thread(target=self._copy, args=(client, server, False), daemon=True).start()
            threading.Thread(target=self._copy, args=(server, client, True), daemon=True).start()

    def _copy(self, begin: socket.socket, end: socket.socket, downwards: bool) -> None:
        of_this = 0
        with contextlib.suppress(OSError):
            while piece := begin.recv(PIECE):
                if downwards:
                    piece = self._counted(piece)
                    of_this += len(piece)
                    if self.refusing or (self.cut_every is not None and of_this > self.cut_every):
                        break
                end.sendall(piece)
        for side in (begin, end):
            with contextlib.suppress(OSError):
                side.shutdown(socket.SHUT_RDWR)
            side.close()

    def _counted(self, piece: bytes) -> bytes:
        with self._lock:
            self._lock.wait_for(lambda: self._hold_at is None or self.passed + len(piece) <= self._hold_at)
            if self.flip_at is not None and self.passed <= self.flip_at < self.passed + len(piece):
                changed = bytearray(piece)
                changed[self.flip_at - self.passed] ^= 1
                piece, self.flip_at = bytes(changed), None
            self.passed += len(piece)
        return piece
