"""HTTP over connections that go exactly where they were judged to go, and end in time."""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from contextvars import copy_context
from dataclasses import dataclass
from typing import Any, Final

import httpcore2 as httpcore
import httpx2 as httpx

from api.errors import UrlRefused

_CONNECT_S: Final = 5.0

_AS_HTTPX: Final[dict[type[Exception], type[httpx.TransportError]]] = {
    httpcore.ConnectError: httpx.ConnectError,
    httpcore.ConnectTimeout: httpx.ConnectTimeout,
    httpcore.ReadError: httpx.ReadError,
    httpcore.ReadTimeout: httpx.ReadTimeout,
    httpcore.WriteError: httpx.WriteError,
    httpcore.WriteTimeout: httpx.WriteTimeout,
    httpcore.PoolTimeout: httpx.PoolTimeout,
    httpcore.LocalProtocolError: httpx.LocalProtocolError,
    httpcore.RemoteProtocolError: httpx.RemoteProtocolError,
    httpcore.UnsupportedProtocol: httpx.UnsupportedProtocol,
}


@dataclass(frozen=True, slots=True)
class Destination:
    """An address that may be reached.

    Attributes:
        address: IP address, as text.
        plain: whether it may be spoken to without TLS.
    """

    address: str
    plain: bool


Decide = Callable[[str, int], Iterable[Destination]]
"""Host and port -> where to connect; raises `UrlRefused`, or `OSError` where the name has no address."""


class GuardedTransport(httpx.BaseTransport):
    """Connects where `decide` says, and nowhere else. Ends with its time, however slow the server is.

    Args:
        decide: asked once for each connection.
        tls: what certificates are checked against; host names are those of the URLs.
        total_s: seconds from now until everything that goes through this is broken off.
        clock: monotonic seconds.
    """

    def __init__(
        self, decide: Decide, tls: ssl.SSLContext, total_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        # The pool takes no proxy and no socket of the file system: what is not handed in here is not used.
        self._pool = httpcore.ConnectionPool(
            ssl_context=tls, network_backend=_Backend(decide, _Deadline(clock() + total_s, clock))
        )

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request.

        Raises:
            UrlRefused: the host leads where nobody may go.
            TransportError: as httpx raises it.
        """
        assert isinstance(request.stream, httpx.SyncByteStream)
        url = request.url
        asked = httpcore.Request(
            method=request.method,
            url=httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
            headers=request.headers.raw,
            content=request.stream,
            extensions=request.extensions,
        )
        with _as_httpx():
            answer = self._pool.handle_request(asked)
        assert isinstance(answer.stream, Iterable)
        return httpx.Response(
            answer.status, headers=answer.headers, stream=_Body(answer.stream), extensions=answer.extensions
        )

    def close(self) -> None:
        """Close every connection."""
        self._pool.close()


class _Body(httpx.SyncByteStream):
    def __init__(self, stream: Iterable[bytes]) -> None:
        self._stream = stream

    def __iter__(self) -> Iterator[bytes]:
        with _as_httpx():
            yield from self._stream

    def close(self) -> None:
        if hasattr(self._stream, "close"):
            self._stream.close()


@contextmanager
def _as_httpx() -> Iterator[None]:
    try:
        yield
    except tuple(_AS_HTTPX) as exc:
        raise _AS_HTTPX[type(exc)](str(exc)) from exc


@dataclass(frozen=True, slots=True)
class _Deadline:
    at: float
    clock: Callable[[], float]

    def cut(self, timeout: float | None, late: type[httpcore.TimeoutException]) -> float:
        """The seconds that one step may take."""
        left = self.at - self.clock()
        if left <= 0:
            raise late("the time is up")
        return left if timeout is None else min(timeout, left)


class _Backend(httpcore.NetworkBackend):
    """Resolves a name once and connects to the very addresses that were judged."""

    def __init__(self, decide: Decide, deadline: _Deadline) -> None:
        self._decide = decide
        self._deadline = deadline
        self._sockets = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        places = _in_time(lambda: list(self._decide(host, port)), self._cut(timeout))
        failed: Exception = httpcore.ConnectError("the name has no address")
        for place in places:
            try:
                stream = self._sockets.connect_tcp(
                    place.address,
                    port,
                    min(_CONNECT_S, self._cut(timeout)),
                    local_address,
                    [*(socket_options or ())],
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as exc:
                failed = exc
            else:
                return _Stream(stream, self._deadline, host if not place.plain else None)
        raise failed

    def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        raise UrlRefused("A socket of the file system is no place to connect to.")

    def _cut(self, timeout: float | None) -> float:
        return self._deadline.cut(timeout, httpcore.ConnectTimeout)


class _Stream(httpcore.NetworkStream):
    """A connection whose every step ends at the deadline.

    A time-out of single reads alone would let a server drip a header or a body for ever.

    Args:
        stream: the connection.
        deadline: of all that goes through it.
        tls_for: the host, if nothing may be said to it before TLS stands.
    """

    def __init__(self, stream: httpcore.NetworkStream, deadline: _Deadline, tls_for: str | None) -> None:
        self._stream = stream
        self._deadline = deadline
        self._tls_for = tls_for

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, self._deadline.cut(timeout, httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        if self._tls_for is not None:
            raise UrlRefused(f"{self._tls_for} is reached by https only.", "Use an https URL.")
        self._stream.write(buffer, self._deadline.cut(timeout, httpcore.WriteTimeout))

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        left = self._deadline.cut(timeout, httpcore.ConnectTimeout)
        return _Stream(self._stream.start_tls(ssl_context, server_hostname, left), self._deadline, None)

    def close(self) -> None:
        self._stream.close()

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


def _in_time(work: Callable[[], list[Destination]], timeout: float) -> list[Destination]:
    # The system's resolver cannot be interrupted: a name server that is silent must not hold up more than
    # this thread, which ends when the resolver gives up.
    future: Future[list[Destination]] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as exc:
            future.set_exception(exc)

    # In this thread's context: what is logged there belongs to the same request.
    threading.Thread(target=copy_context().run, args=(run,), name="resolve", daemon=True).start()
    try:
        return future.result(timeout)
    except TimeoutError as exc:
        raise httpcore.ConnectTimeout("the name was not resolved in time") from exc
    except OSError as exc:
        raise httpcore.ConnectError("the name has no address") from exc
