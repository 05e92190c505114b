"""Clients that are slow, silent or many, against a running service without a proxy before it."""

from __future__ import annotations

import contextlib
import resource
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from api import connections
from tests.audio_files import music, write_wav
from tests.service import KEY, Service, ended, submit

IDLE_S = 2


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with Service(tmp_path_factory.mktemp("service"), PIPELINE_BODY_IDLE_S=str(IDLE_S)) as running:
        yield running


@pytest.fixture(scope="module")
def archive(service: Service, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Path of an archive that no buffer of the network holds."""
    song = write_wav(tmp_path_factory.mktemp("song") / "long.wav", music(60.0))
    with service.client() as http:
        job_id = submit(http, song, formats="wav32f").json()["id"]
        assert ended(http, job_id)["status"] == "succeeded"
    return f"/jobs/{job_id}/archive"


def connect(service: Service, buffer: int | None = None) -> socket.socket:
    connection = socket.socket()
    connection.settimeout(60)
    if buffer is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    connection.connect(("127.0.0.1", service.port))
    return connection


def head(method: str, path: str, **headers: object) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: service", f"X-API-Key: {KEY}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def everything(connection: socket.socket) -> bytes:
    said = b""
    with contextlib.suppress(ConnectionError):
        while part := connection.recv(1 << 16):
            said += part
    return said


def form(rest: int) -> bytes:
    begin = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
    length = len(begin) + rest
    return (
        head("POST", "/process", Content_Type="multipart/form-data; boundary=b", Content_Length=length)
        + begin
    )


@pytest.mark.parametrize("begun", [b"", form(10_000) + b"RIFF"])
def test_an_upload_that_stalls_is_answered_and_leaves_nothing(service: Service, begun: bytes) -> None:
    start = begun or form(1_000_000)
    with connect(service) as client:
        client.sendall(start)
        said = everything(client)
    assert b" 408 " in said.split(b"\r\n", 1)[0]
    assert b"upload_stalled" in said and b"application/problem+json" in said
    assert not list((service.folder / "uploads").glob(".incoming-*"))


def test_json_that_stalls_is_answered_too(service: Service) -> None:
    with connect(service) as client:
        client.sendall(head("POST", "/estimate", Content_Type="application/json", Content_Length=100) + b"{")
        said = everything(client)
    assert b" 408 " in said.split(b"\r\n", 1)[0] and b"upload_stalled" in said


def test_an_upload_that_is_slow_but_does_not_stall_comes_in(service: Service, tmp_path: Path) -> None:
    content = write_wav(tmp_path / "a.wav", music(0.3, seed=3)).read_bytes()
    end = b"\r\n--b--\r\n"
    with connect(service) as client:
        client.sendall(form(len(content) + len(end)))
        step = len(content) // 6
        for at in range(0, len(content), step):
            client.sendall(content[at : at + step])
            time.sleep(IDLE_S / 4)
        client.sendall(end)
        assert client.recv(12) == b"HTTP/1.1 202"


@pytest.mark.long
def test_slow_readers_hold_up_nobody(service: Service, archive: str) -> None:
    """More of them than there are threads for requests, each in the middle of an answer."""
    with contextlib.ExitStack() as stack:
        readers = [stack.enter_context(connect(service, 4096)) for _ in range(60)]
        for reader in readers:
            reader.sendall(head("GET", archive))
        for reader in readers:
            assert reader.recv(12) == b"HTTP/1.1 200"
        with service.client() as http:
            assert http.get("/health").status_code == 200
            assert http.get("/jobs").status_code == 200


def test_listeners_hold_up_nobody(service: Service, tmp_path: Path) -> None:
    with service.client() as http, contextlib.ExitStack() as stack:
        song = write_wav(tmp_path / "long.wav", music(120.0, seed=5))
        job_id = submit(http, song).json()["id"]
        for _ in range(60):
            listener = stack.enter_context(connect(service, 4096))
            listener.sendall(head("GET", f"/jobs/{job_id}/events"))
            assert listener.recv(12) == b"HTTP/1.1 200"
        assert http.get("/usage").status_code == 200
        http.post(f"/jobs/{job_id}/cancel")


@pytest.mark.long
def test_who_only_connects_makes_room_for_who_asks(tmp_path: Path) -> None:
    """Of a service that may open few files: half of them are for connections."""
    few = ["prlimit", "--nofile=256:256"]
    with Service(tmp_path, few) as service, contextlib.ExitStack() as stack:
        silent = [stack.enter_context(connect(service)) for _ in range(300)]
        for connection in silent[:200:10]:
            with contextlib.suppress(ConnectionError):
                connection.sendall(b"GET / HTTP/1.1\r\nX-Slow: ")
        with service.client() as http:
            for _ in range(5):
                assert http.get("/health").status_code == 200
        assert everything(silent[0]) == b""  # the first one had to go


def test_as_many_files_are_allowed_as_may_be() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 512), hard))
        connections.raise_file_limit()
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (hard, hard)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.slow
def test_a_head_that_does_not_end_and_an_answer_that_is_not_read_end_the_connection(
    service: Service, archive: str
) -> None:
    with connect(service) as slow, connect(service, 4096) as deaf:
        deaf.sendall(head("GET", archive))
        began = time.monotonic()
        with contextlib.suppress(ConnectionError):
            slow.sendall(b"GET /health HTTP/1.1\r\n")
            while time.monotonic() < began + 3 * connections.HEAD_S:
                slow.sendall(b"X: y\r\n")
                time.sleep(1)
        assert time.monotonic() < began + 3 * connections.HEAD_S
        time.sleep(max(0.0, began + connections.UNREAD_S + 20 - time.monotonic()))
        assert len(everything(deaf)) < 20 << 20  # cut off in the middle
