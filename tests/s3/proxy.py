"""A TCP proxy in front of the store: counts what passes, and does to connections what networks do."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from urllib.parse import urlsplit

PIECE = 64 * 1024


class Proxy:
    """Listens on a port of its own and passes everything on to `target`.

    Attributes:
        url: stands for the target's URL.
        passed: bytes that went from the server to clients.
        cut_every: each connection is cut after so many bytes; None never.
        flip_at: the bit at this position of `passed` is flipped once; None never.
        refusing: new connections are closed at once, and open ones cut.
        bytes_per_s: upper limit of all connections together; None for none.
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
        self.bytes_per_s: int | None = None
        self._going = threading.Event()
        self._going.set()
        self._lock = threading.Lock()
        self._budget_from = time.monotonic()
        threading.Thread(target=self._accept, daemon=True).start()

    def hold(self) -> None:
        """Lets nothing through until `release`."""
        self._going.clear()

    def release(self) -> None:
        self._going.set()

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
                    self._going.wait()
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
            if self.flip_at is not None and self.passed <= self.flip_at < self.passed + len(piece):
                changed = bytearray(piece)
                changed[self.flip_at - self.passed] ^= 1
                piece, self.flip_at = bytes(changed), None
            self.passed += len(piece)
            if self.bytes_per_s is None:
                return piece
            now = time.monotonic()
            self._budget_from = max(self._budget_from, now - 0.05) + len(piece) / self.bytes_per_s
            ahead = self._budget_from - now
        time.sleep(max(ahead, 0))
        return piece
