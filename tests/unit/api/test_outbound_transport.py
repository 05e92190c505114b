from __future__ import annotations

import itertools
import ssl
import threading
from collections.abc import Callable, Iterator

import httpx2 as httpx
import pytest

from api.errors import UrlRefused
from api.outbound_transport import Destination, GuardedTransport
from tests.https_server import HOST, Answer, HttpsServer, head, whole


@pytest.fixture(scope="module")
def server() -> Iterator[HttpsServer]:
    with HttpsServer() as running:
        yield running


def client(
    server: HttpsServer, *, plain: bool = False, ticks: Callable[[], float] | None = None
) -> httpx.Client:
    """A client whose time is over when its clock has ticked 40 times, if it has one."""
    transport = GuardedTransport(
        lambda host, port: [Destination("127.0.0.1", plain)], server.trust, 40, ticks or (lambda: 0.0)
    )
    return httpx.Client(transport=transport, timeout=60)


def ticking() -> Callable[[], float]:
    return map(float, itertools.count()).__next__


def dripping(first: bytes, drop: bytes) -> Answer:
    return lambda: itertools.chain([first], itertools.repeat(drop))


def test_nothing_is_said_to_a_public_address_before_tls_stands() -> None:
    with HttpsServer(tls=False) as server:
        server.answers["/"] = whole(b"hello")
        url = f"http://{HOST}:{server.port}/"
        with client(server) as guarded, pytest.raises(UrlRefused, match="https only"):
            guarded.get(url)
        assert server.requests == []
        with client(server, plain=True) as open_:
            assert open_.get(url).text == "hello"


@pytest.mark.parametrize(
    "answer",
    [
        dripping(b"HTTP/1.1 200 OK\r\nx: ", b"y"),
        dripping(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        dripping(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", b"1\r\ny\r\n"),
        dripping(head(content_length="1000000000"), b"y"),
    ],
    ids=["header", "informational", "chunks", "body"],
)
def test_a_server_that_drips_for_ever_is_broken_off(server: HttpsServer, answer: Answer) -> None:
    server.answers["/"] = answer
    with client(server, ticks=ticking()) as hurried, pytest.raises(httpx.TimeoutException):
        hurried.get(server.url("/"))


def test_a_step_lasts_no_longer_than_the_time_that_is_left(server: HttpsServer) -> None:
    over = threading.Event()

    def silent() -> Iterator[bytes]:
        over.wait(30)
        yield b""

    server.answers["/"] = silent
    transport = GuardedTransport(
        lambda host, port: [Destination("127.0.0.1", plain=False)], server.trust, 0.3
    )
    # A client that waited for longer would see the connection end instead.
    with httpx.Client(transport=transport, timeout=300) as patient, pytest.raises(httpx.TimeoutException):
        patient.get(server.url("/"))
    over.set()


def test_no_step_begins_when_the_time_is_up(server: HttpsServer) -> None:
    before = len(server.requests)
    late = iter([0.0])
    with client(server, ticks=lambda: next(late, 41.0)) as hurried, pytest.raises(httpx.ConnectTimeout):
        hurried.get(server.url("/"))
    assert len(server.requests) == before


def test_where_to_connect_is_asked_once_for_a_connection(server: HttpsServer) -> None:
    asked = list[tuple[str, int]]()

    def decide(host: str, port: int) -> list[Destination]:
        asked.append((host, port))
        return [Destination("127.0.0.1", plain=False)]

    server.answers["/"] = whole(b"hello")
    with httpx.Client(transport=GuardedTransport(decide, server.trust, 60), timeout=60) as one:
        assert one.get(server.url("/")).content == b"hello"
    assert asked == [(HOST, server.port)]


def test_a_client_that_trusts_nobody_says_nothing(server: HttpsServer) -> None:
    before = len(server.requests)
    transport = GuardedTransport(
        lambda host, port: [Destination("127.0.0.1", plain=False)], ssl.create_default_context(), 60
    )
    with httpx.Client(transport=transport, timeout=60) as strict, pytest.raises(httpx.ConnectError):
        strict.get(server.url("/"))
    assert len(server.requests) == before
