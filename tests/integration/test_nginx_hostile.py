"""What the outside may try at the proxy: hidden paths, smuggled requests, false names, slow clients."""

from __future__ import annotations

import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import httpx2 as httpx
import pytest

from tests.faults.service_faults import until
from tests.nginx import Nginx
from tests.service import KEY, Service


class Recorder:
    """Stands where the API or the UI is and answers everything. A context manager.

    Attributes:
        heads: of the requests that came, until the blank line.
    """

    def __init__(self) -> None:
        self.heads: list[str] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._accept, daemon=True)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        said = b""
        with connection:
            while b"\r\n\r\n" not in said:
                part = connection.recv(1 << 16)
                if not part:
                    return
                said += part
            self.heads.append(said.partition(b"\r\n\r\n")[0].decode("latin-1"))
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nfound")

    def __enter__(self) -> Recorder:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


@pytest.fixture(scope="module")
def behind() -> Iterator[Recorder]:
    with Recorder() as recorder:
        yield recorder


@pytest.fixture(scope="module")
def nginx(behind: Recorder, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nginx]:
    """A proxy by plain HTTP, as raw bytes are sent to it, with the same site as by TLS."""
    folder = tmp_path_factory.mktemp("nginx")
    with Nginx(folder, api=behind.address, ui=behind.address, certified=False) as proxy:
        yield proxy


def raw(nginx: Nginx, request: str) -> str:
    """Everything that comes back for bytes as they are, until nginx closes the connection."""
    address = urlsplit(nginx.http_url)
    with socket.create_connection((address.hostname, address.port or 80), timeout=60) as connection:
        connection.sendall(request.replace("\n", "\r\n").encode("latin-1"))
        said = b""
        while part := connection.recv(1 << 16):
            said += part
    return said.decode("latin-1")


@pytest.mark.parametrize(
    "path",
    """
        /api/metrics /api/metrics/ /api/metrics?x=1 /api//metrics //api/metrics /api///metrics//
        /api/%6Detrics /api/%6d%65trics /api%2fmetrics /api/%2fmetrics /api/metrics%2f
        /api/./metrics /api/%2e/metrics /api/x/../metrics /api/x%2f..%2fmetrics /x/../api/metrics
        /api/docs/%2e%2e/metrics /api/api/metrics /api/api/api/metrics /api/api /api/api/jobs
        /metrics /metrics/ //metrics /_stcore/metrics /_stcore//metrics /_stcore/%6Detrics
        /api/metrics/x /api/process/../metrics /api/uploads%2f..%2fmetrics /api/jobs/..%2fmetrics
    """.split(),  # noqa: SIM905 - a list of so many strings reads worse
)  # fmt: skip
def test_figures_are_not_shown_outside(nginx: Nginx, behind: Recorder, path: str) -> None:
    before = len(behind.heads)
    said = raw(nginx, f"GET {path} HTTP/1.1\nHost: localhost\nX-API-Key: {KEY}\nConnection: close\n\n")
    assert said.startswith("HTTP/1.1 404 ") and "application/problem+json" in said
    assert len(behind.heads) == before


def test_a_path_that_nginx_lets_pass_is_none_of_the_services_figures(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    settings = {"PIPELINE_ROOT_PATH": "/api", "PIPELINE_WORKERS": "0"}
    with Service(tmp_path_factory.mktemp("service"), **settings) as service:
        api = f"127.0.0.1:{service.port}"
        with Nginx(tmp_path_factory.mktemp("nginx"), api=api, ui=api, certified=False) as proxy:
            for path in ("/api/metrics;x", "/api/metrics%00", "/api/\\metrics", "/api/%252fmetrics"):
                fields = f"Host: localhost\nX-API-Key: {KEY}\nConnection: close\n\n"
                said = raw(proxy, f"GET {path} HTTP/1.1\n{fields}")
                assert int(said.split(" ", 2)[1]) in (400, 404), path
                assert "audio_queue_depth" not in said


HIDDEN = "GET /api/hidden HTTP/1.1\nHost: localhost\n\n"


@pytest.mark.parametrize(
    "fields",
    [
        "Content-Length: 4\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\nContent-Length: 4",
        "Content-Length: 4\nContent-Length: 50",
        "Content-Length: 4, 50",
        "Content-Length: +4",
        "Content-Length: 0x4",
        "Content-Length: -1",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding: chunked, identity",
        "Transfer-Encoding: chunked\nTransfer-Encoding: chunked",
    ],
)
def test_a_request_with_two_ends_is_refused_and_nothing_behind_it_is_served(
    nginx: Nginx, behind: Recorder, fields: str
) -> None:
    before = len(behind.heads)
    said = raw(nginx, f"POST /api/process HTTP/1.1\nHost: localhost\n{fields}\n\n0\n\n{HIDDEN}")
    assert int(said.split(" ", 2)[1]) in (400, 501)
    assert said.count("HTTP/1.1 ") == 1
    assert len(behind.heads) == before


@pytest.mark.parametrize(
    "field", ["Transfer-Encoding : chunked", "Transfer-Encoding\x0b: chunked", "X_Forwarded_For: 203.0.113.9"]
)
def test_a_header_with_a_strange_name_does_not_get_through(
    nginx: Nginx, behind: Recorder, field: str
) -> None:
    before = len(behind.heads)
    said = raw(nginx, f"GET /api/jobs HTTP/1.1\nHost: localhost\n{field}\nConnection: close\n\n")
    passed = behind.heads[before:]
    assert (said.startswith("HTTP/1.1 200") and len(passed) == 1) or (
        said.startswith("HTTP/1.1 400") and not passed
    )
    assert not [head for head in passed if "chunked" in head or "203.0.113.9" in head]


def test_what_a_client_says_of_itself_is_overwritten(nginx: Nginx, behind: Recorder) -> None:
    claims = {
        name: "203.0.113.9"
        for name in ("X-Forwarded-For", "X-Real-IP", "Forwarded", "X-Forwarded-Host", "X-Forwarded-Port")
    }
    assert (
        httpx.get(f"{nginx.http_url}/api/jobs", headers=claims | {"X-Forwarded-Proto": "https"}).text
        == "found"
    )
    head = behind.heads[-1].lower().split("\r\n")
    assert [line for line in head if line.startswith(("x-f", "x-r", "forw"))] == [
        "x-forwarded-for: 127.0.0.1",
        "x-forwarded-proto: http",
        *(line for line in head if line.startswith("x-request-id: ")),
    ]


@pytest.mark.parametrize("path", ["/api/health", "/"])
def test_names_that_are_not_ours_are_refused(nginx: Nginx, behind: Recorder, path: str) -> None:
    before = len(behind.heads)
    for host in (
        "elsewhere.example",
        "localhost.elsewhere.example",
        "localhost@elsewhere.example",
        "127.0.0.2",
    ):
        refused = raw(nginx, f"GET {path} HTTP/1.1\nHost: {host}\nConnection: close\n\n")
        assert int(refused.split(" ", 2)[1]) in (400, 421), host
    twice = raw(
        nginx, f"GET {path} HTTP/1.1\nHost: localhost\nHost: elsewhere.example\nConnection: close\n\n"
    )
    none = raw(nginx, f"GET {path} HTTP/1.1\nConnection: close\n\n")
    assert [said.split(" ", 2)[1] for said in (twice, none)] == ["400", "400"]
    assert len(behind.heads) == before


@pytest.mark.parametrize("path", ["/", "/api/jobs", "/api/metrics"])
def test_every_answer_tells_browsers_to_be_careful(nginx: Nginx, path: str) -> None:
    answer = httpx.get(nginx.http_url + path)
    for name in (
        *("Content-Security-Policy", "X-Frame-Options", "X-Content-Type-Options", "Referrer-Policy"),
        *("Permissions-Policy", "Cross-Origin-Opener-Policy"),
    ):
        assert len(answer.headers.get_list(name)) == 1, name
    assert "unsafe-eval'" not in answer.headers["Content-Security-Policy"].replace("wasm-unsafe-eval'", "")
    assert "nginx/" not in answer.headers["Server"]


def test_a_page_that_asks_for_a_hundred_parts_at_once_gets_them(nginx: Nginx) -> None:
    with httpx.Client(base_url=nginx.http_url, timeout=60) as http, ThreadPoolExecutor(40) as pool:
        parts = [pool.submit(http.get, f"/api/jobs/x/stems/v?{n}") for n in range(120)]
        assert {part.result().status_code for part in parts} == {200}


def test_a_flood_is_refused(tmp_path: Path) -> None:
    one = "GET /api/jobs HTTP/1.1\nHost: localhost\n"
    # Before a service that is not there, nginx answers as fast as it can.
    with Nginx(tmp_path, api="127.0.0.1:9", ui="127.0.0.1:9", certified=False) as proxy:
        said = raw(proxy, f"{one}\n" * 800 + f"{one}Connection: close\n\n")
    assert said.count("HTTP/1.1 429 ") > 100


@pytest.mark.slow
@pytest.mark.parametrize(
    "attack",
    [
        pytest.param(["-H", "-i", "2", "-x", "24"], id="slow headers"),
        pytest.param(["-B", "-i", "2", "-s", "100000", "-x", "10"], id="slow body"),
        pytest.param(["-X", "-w", "1", "-y", "8", "-n", "2", "-z", "8", "-k", "3"], id="slow reading"),
        pytest.param(["-R", "-a", "5", "-b", "3000", "-r", "100"], id="many ranges"),
    ],
)
def test_others_are_served_while_slowhttptest_attacks(tmp_path: Path, attack: list[str]) -> None:
    """By address: the attacker's own connections are limited, so the others come from another address."""
    program = shutil.which("slowhttptest")
    assert program is not None, "there is no slowhttptest: scripts/setup.sh tests installs it"
    with Service(
        tmp_path, PIPELINE_WORKERS="0", PIPELINE_ROOT_PATH="/api", PIPELINE_RATE_REFUSED="off"
    ) as service:
        api = f"127.0.0.1:{service.port}"
        folder = tmp_path / "nginx"
        folder.mkdir()
        with Nginx(folder, api=api, ui=api, certified=False) as proxy:
            url = f"{proxy.http_url}/api/process" if "-B" in attack else f"{proxy.http_url}/api/openapi.json"
            command = [program, *attack, "-c", "800", "-r", "200", "-l", "12", "-u", url]
            attacker = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT)
            try:
                other = httpx.HTTPTransport(local_address="127.0.0.2")
                with httpx.Client(base_url=proxy.http_url, transport=other, timeout=60) as http:
                    seen: list[int] = []
                    while attacker.poll() is None:
                        seen.append(http.get("/api/livez").status_code)
            finally:
                attacker.kill()
                attacker.wait()
            assert set(seen) == {200}
            # What was promised to slow clients is not kept from the next one.
            until(lambda: httpx.get(f"{proxy.http_url}/api/livez").status_code == 200, "he is served as well")
