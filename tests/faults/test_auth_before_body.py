"""A real server on a loopback port: what is refused is refused before its body is taken."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest
import uvicorn
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tests.guarded_app import Guarded, guarded_app

LARGE = 300 << 20
BUFFERS = 16 << 20
"""More than the kernel's buffers of a loopback connection and what is taken to let go of it hold together."""
BLOCK = b"\0" * (1 << 16)


@dataclass
class Counted:
    """Counts what the server hands to the application of each request's body."""

    app: ASGIApp
    taken: list[int] = field(default_factory=list)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            self.taken.append(0)

        async def counting() -> Message:
            message = await receive()
            if scope["type"] == "http":
                self.taken[-1] += len(message.get("body", b""))
            return message

        await self.app(scope, counting, send)


@dataclass(frozen=True)
class Service:
    """A running server."""

    guarded: Guarded
    counted: Counted
    port: int

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=30)


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    guarded = guarded_app(tmp_path, max_file_size_mb=8, rate_process="3/hour", rate_refused=None)
    counted = Counted(guarded.app)
    config = uvicorn.Config(counted, log_config=None, access_log=False, proxy_headers=False, lifespan="off")
    server = uvicorn.Server(config)
    listener = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    yield Service(guarded, counted, listener.getsockname()[1])
    server.should_exit = True
    thread.join()
    listener.close()
    guarded.engine.dispose()


def head(method: str = "POST", path: str = "/process", **headers: Any) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: service"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def send_all(connection: socket.socket, total: int, *, chunked: bool = False) -> int:
    """Send a body until it is sent or the server lets go; how many bytes went."""
    sent = 0
    with contextlib.suppress(ConnectionError):
        while sent < total:
            connection.sendall(b"%x\r\n%s\r\n" % (len(BLOCK), BLOCK) if chunked else BLOCK)
            sent += len(BLOCK)
        if chunked:
            connection.sendall(b"0\r\n\r\n")
    return sent


def answer(connection: socket.socket) -> bytes:
    """All that the server says until it closes the connection."""
    said = b""
    with contextlib.suppress(ConnectionError):
        while part := connection.recv(1 << 16):
            said += part
    return said


def status(said: bytes) -> int:
    return int(said.split(b" ", 2)[1])


@pytest.mark.parametrize(("key", "expected"), [(None, 401), ("ap_wrong", 403)])
@pytest.mark.parametrize("chunked", [False, True])
def test_300_mb_without_a_valid_key_are_refused_unread(
    service: Service, key: str | None, expected: int, chunked: bool
) -> None:
    length = {"Transfer_Encoding": "chunked"} if chunked else {"Content_Length": LARGE}
    with service.connect() as connection:
        connection.sendall(head(**length, **({"X_API_Key": key} if key else {})))
        sent = send_all(connection, LARGE, chunked=chunked)
        said = answer(connection)
    assert status(said) == expected
    assert b"application/problem+json" in said and b"connection: close" in said.lower()
    assert sent < BUFFERS
    assert service.counted.taken[0] <= 2 << 20  # only to let go of the client
    assert not service.guarded.reached


@pytest.mark.parametrize(("path", "limit"), [("/process", 8 << 20), ("/estimate", 0)])
def test_a_body_that_says_that_it_is_too_long_is_refused_unread(
    service: Service, path: str, limit: int
) -> None:
    with service.connect() as connection:
        length = limit + (1 << 20) + 1
        connection.sendall(head(path=path, Content_Length=length, X_API_Key=service.guarded.key))
        said = answer(connection)  # before a single byte of it was sent
    assert status(said) == 413 and b"payload_too_large" in said
    assert service.counted.taken == [0]
    assert not service.guarded.reached


def test_a_body_that_turns_out_to_be_too_long_is_cut(service: Service) -> None:
    with service.connect() as connection:
        connection.sendall(head(Transfer_Encoding="chunked", X_API_Key=service.guarded.key))
        sent = send_all(connection, LARGE, chunked=True)
        said = answer(connection)
    assert status(said) == 413 and b"payload_too_large" in said
    assert sent < (8 << 20) + BUFFERS
    assert service.counted.taken[0] <= (8 << 20) + (3 << 20)


def test_a_small_route_takes_no_recording(service: Service) -> None:
    headers = {"X_API_Key": service.guarded.key, "Content_Type": "application/json"}
    with service.connect() as connection:
        connection.sendall(head(path="/estimate", Transfer_Encoding="chunked", **headers))
        sent = send_all(connection, LARGE, chunked=True)
        said = answer(connection)
    assert status(said) == 413  # though FastAPI itself would have called it a body that it cannot parse
    assert sent < BUFFERS
    assert not service.guarded.reached


def test_who_asks_too_often_is_refused_unread(service: Service) -> None:
    url, headers = f"http://127.0.0.1:{service.port}/process", {"X-API-Key": service.guarded.key}
    assert [httpx.post(url, content=b"x", headers=headers).status_code for _ in range(3)] == [202] * 3
    with service.connect() as connection:
        connection.sendall(head(Content_Length=8 << 20, X_API_Key=service.guarded.key))
        said = answer(connection)
    assert status(said) == 429 and b"rate_limited" in said and b"retry-after" in said.lower()
    assert service.counted.taken[-1] == 0


def test_who_waits_for_100_continue_sends_nothing(service: Service) -> None:
    with service.connect() as connection:
        connection.sendall(head(Content_Length=LARGE, Expect="100-continue"))
        said = answer(connection)
    assert status(said) == 401 and b"100 Continue" not in said
    assert service.counted.taken == [0]


def test_a_client_that_sends_all_before_it_reads_sees_the_answer(service: Service) -> None:
    response = httpx.post(f"http://127.0.0.1:{service.port}/process", content=BLOCK * 64, timeout=30)
    assert (response.status_code, response.json()["code"]) == (401, "unauthenticated")


def test_a_recording_of_the_largest_size_comes_in(service: Service) -> None:
    with service.connect() as connection:
        connection.sendall(head(Content_Length=8 << 20, X_API_Key=service.guarded.key, Connection="close"))
        send_all(connection, 8 << 20)
        said = answer(connection)
    assert status(said) == 202 and said.endswith(b'{"bytes":8388608}')


def test_a_refused_request_without_a_body_keeps_the_connection(service: Service) -> None:
    with httpx.Client(base_url=f"http://127.0.0.1:{service.port}") as client:
        refused = client.get("/jobs")
        assert (refused.status_code, refused.headers.get("connection")) == (401, None)
        assert client.get("/jobs", headers={"X-API-Key": service.guarded.key}).status_code == 200


def test_half_an_answer_is_not_taken_for_all(service: Service) -> None:
    url, headers = f"http://127.0.0.1:{service.port}/usage", {"X-API-Key": service.guarded.key}
    with pytest.raises(httpx.RemoteProtocolError):
        httpx.get(url, headers=headers, timeout=60)
    assert httpx.get(f"http://127.0.0.1:{service.port}/health").status_code == 200


@pytest.mark.parametrize("header", [b"X-Request-ID: a\x0bb", b"X-Request-ID: a\x01b", b"X-API-Key: a\x00b"])
def test_no_header_gets_through_that_could_begin_another(service: Service, header: bytes) -> None:
    with service.connect() as connection:
        connection.sendall(b"GET /health HTTP/1.1\r\nHost: s\r\nConnection: close\r\n" + header + b"\r\n\r\n")
        said = answer(connection)
    assert status(said) in (200, 400)
    assert header.partition(b": ")[2] not in said
