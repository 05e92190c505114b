"""A real HTTPS server on this machine whose every answer a test writes, byte by byte."""

from __future__ import annotations

import ipaddress
import socket
import ssl
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from types import TracebackType

import trustme

HOST = "media.example.org"
"""The host that the server's certificate is for, besides 127.0.0.1 and localhost."""

LOOPBACK = ipaddress.ip_network("127.0.0.1/32")

Answer = Callable[[], Iterable[bytes]]


def head(status: str = "200 OK", **headers: str) -> bytes:
    """The head of an answer; ``content_length`` becomes ``content-length``."""
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([f"HTTP/1.1 {status}", *lines, "", ""]).encode("latin-1")


def whole(content: bytes, **headers: str) -> Answer:
    """An answer as it should be."""
    return lambda: [head(content_length=str(len(content)), **headers), content]


def redirect(location: str, status: str = "302 Found") -> Answer:
    """An answer that leads elsewhere."""
    return lambda: [head(status, location=location, content_length="0")]


class HttpsServer:
    """Serves one request a connection; a context manager.

    Attributes:
        answers: path -> what is sent, piece by piece, until the client hangs up.
        requests: the heads of requests, in order.
        port: where it listens.
        released: pieces may wait for this; set when the test ends.

    Args:
        tls: False: plain http.
        authority: whose certificate it shows; its own unless given.
    """

    def __init__(self, *, tls: bool = True, authority: trustme.CA | None = None) -> None:
        self.answers: dict[str, Answer] = {}
        self.requests: list[bytes] = []
        self.released = threading.Event()
        self.authority = authority or trustme.CA()
        self._tls = None
        if tls:
            self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.authority.issue_cert(HOST, "localhost", "127.0.0.1").configure_cert(self._tls)
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._socket.getsockname()[1])
        self._threads: list[threading.Thread] = []

    @property
    def trust(self) -> ssl.SSLContext:
        """What a client needs to believe this server."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self.authority.configure_trust(context)
        return context

    def url(self, path: str, host: str = HOST) -> str:
        """An https URL of this server."""
        return f"https://{host}:{self.port}{path}"

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                self._start(self._serve, self._socket.accept()[0])

    def _serve(self, plain: socket.socket) -> None:
        plain.settimeout(60)
        with plain, suppress(OSError):
            connection = self._tls.wrap_socket(plain, server_side=True) if self._tls else plain
            with connection:
                asked = b""
                while not asked.endswith(b"\r\n\r\n"):
                    piece = connection.recv(4096)
                    if not piece:
                        return
                    asked += piece
                    if not asked[:1].isalpha():  # TLS, where plain http is spoken
                        connection.sendall(head("400 Bad Request"))
                        return
                self.requests.append(asked)
                path = asked.split()[1].decode().partition("?")[0]
                for piece in self.answers[path]():
                    connection.sendall(piece)

    def _start(self, work: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=work, args=args)
        self._threads.append(thread)
        thread.start()

    def __enter__(self) -> HttpsServer:
        self._start(self._accept)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.released.set()
        # Closing alone does not wake a thread that waits for a connection.
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        for thread in self._threads:
            thread.join(60)
