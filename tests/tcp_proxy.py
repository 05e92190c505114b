"""A line between two programs that can be held at a chosen byte, cut, and down for a while."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from types import TracebackType

_BLOCK = 1 << 16


class TcpProxy:
    """Passes connections on to a port of this machine. A context manager.

    Args:
        port: where the service listens.
    """

    def __init__(self, port: int) -> None:
        self._target = ("127.0.0.1", port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self.url = f"http://127.0.0.1:{self.port}"
        self._down = False
        self.sent = 0
        """Bytes that went to the service."""
        self.held = threading.Event()
        """Whether the line is held: what the browser sends is not passed on."""
        self._hold_at: int | None = None
        self._go = threading.Condition()
        self._open: set[socket.socket] = set()

    def hold_after(self, count: int) -> None:
        """Hold the line when so many more bytes have gone to the service."""
        with self._go:
            self.held.clear()
            self._hold_at = self.sent + count

    def release(self) -> None:
        """Pass on what comes again."""
        with self._go:
            self._hold_at = None
            self.held.clear()
            self._go.notify_all()

    def cut(self) -> None:
        """Break every connection, as a network does that goes away; new ones work."""
        with self._go:
            broken, self._open = self._open, set()
        for connection in broken:
            with contextlib.suppress(OSError):
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()
        self.release()

    def down(self) -> None:
        """Break every connection, and new ones too, until `up`."""
        self._down = True
        self.cut()

    def up(self) -> None:
        """Let connections through again."""
        self._down = False

    def __enter__(self) -> TcpProxy:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.close()
        self.cut()

    def _accept(self) -> None:
        while True:
            try:
                browser, _ = self._listener.accept()
            except OSError:
                return
            if self._down:
                browser.close()
                continue
            try:
                service = socket.create_connection(self._target, timeout=60)
            except OSError:
                browser.close()
                continue
            with self._go:
                self._open |= {browser, service}
            threading.Thread(target=self._pass, args=(browser, service, True), daemon=True).start()
            threading.Thread(target=self._pass, args=(service, browser, False), daemon=True).start()

    def _pass(self, source: socket.socket, target: socket.socket, counted: bool) -> None:
        with contextlib.suppress(OSError):
            while block := source.recv(_BLOCK):
                if counted:
                    self._wait(len(block))
                target.sendall(block)
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        with self._go:
            self._open.discard(source)
        source.close()

    def _wait(self, size: int) -> None:
        with self._go:
            while self._hold_at is not None and self.sent + size > self._hold_at:
                self.held.set()
                self._go.wait()
            self.sent += size
