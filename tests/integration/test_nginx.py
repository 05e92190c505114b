"""The whole API behind the nginx that is shipped: real nginx, real TLS, real service."""

from __future__ import annotations

import contextlib
import hashlib
import json
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2 as httpx
import pytest

from tests.audio_files import music, write_wav
from tests.faults.service_faults import until
from tests.nginx import Nginx
from tests.service import KEY, Service

MB = 1 << 20


class EchoingUi:
    """Stands where the UI will: takes any upgrade to a WebSocket, and sends back what it is sent."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve)

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                with connection:
                    head = connection.recv(1 << 16).lower()
                    if (
                        b"\r\nupgrade: websocket\r\n" not in head
                        or b"\r\nconnection: upgrade\r\n" not in head
                    ):
                        connection.sendall(
                            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nui"
                        )
                        continue
                    connection.sendall(
                        b"HTTP/1.1 101 Switching Protocols\r\n"
                        b"Upgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
                    )
                    while data := connection.recv(1 << 16):
                        connection.sendall(data)

    def __enter__(self) -> EchoingUi:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    settings = {
        "MAX_FILE_SIZE_MB": "4",
        "PIPELINE_TRUSTED_PROXIES": "127.0.0.1",
        "PIPELINE_ROOT_PATH": "/api",
        "PIPELINE_RATE_REFUSED": "3/hour",
    }
    with Service(tmp_path_factory.mktemp("service"), **settings) as running:
        yield running


@pytest.fixture(scope="module")
def nginx(service: Service, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nginx]:
    api = f"127.0.0.1:{service.port}"
    with (
        EchoingUi() as ui,
        Nginx(tmp_path_factory.mktemp("nginx"), api=api, ui=ui.address, MAX_FILE_SIZE_MB="4") as proxy,
    ):
        yield proxy


@pytest.fixture
def http(nginx: Nginx) -> Iterator[httpx.Client]:
    with nginx.client() as client:
        yield client


@pytest.fixture(scope="module")
def finished(nginx: Nginx, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Address of a job that was submitted through nginx and succeeded."""
    song = write_wav(tmp_path_factory.mktemp("song") / "my song.wav", music(2.0))
    with nginx.client() as client, song.open("rb") as file:
        answer = client.post("/api/process?wait=60", files={"file": (song.name, file)})
    assert answer.status_code == 200, answer.text
    return answer.headers["Location"]


def test_nginx_finds_nothing_wrong_with_its_configuration(nginx: Nginx) -> None:
    said = nginx.check().stderr
    assert "test is successful" in said
    assert "[warn]" not in said and "[emerg]" not in said


def test_plain_http_leads_to_https_and_stays_there(nginx: Nginx, http: httpx.Client) -> None:
    moved = httpx.post(f"{nginx.http_url}/api/process?wait=1", content=b"x")
    assert (moved.status_code, moved.headers["Location"]) == (308, f"{nginx.https_url}/api/process?wait=1")
    posing = httpx.get(nginx.http_url, headers={"Host": "elsewhere.example"})
    assert posing.headers["Location"] == f"{nginx.https_url}/"
    assert "max-age=63072000" in http.get("/api/health").headers["Strict-Transport-Security"]


def test_old_tls_is_refused(nginx: Nginx) -> None:
    host, port = nginx.https_url.removeprefix("https://").split(":")
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
    old.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning):
        old.maximum_version = ssl.TLSVersion.TLSv1_1
    with socket.create_connection((host, int(port))) as plain, pytest.raises(ssl.SSLError):
        old.wrap_socket(plain)


def test_a_job_is_found_where_the_answer_says(http: httpx.Client, finished: str) -> None:
    assert finished.startswith("/api/jobs/")
    assert http.get(finished).json()["status"] == "succeeded"


def test_stems_pass_with_ranges_tags_and_uncompressed(http: httpx.Client, finished: str) -> None:
    whole = http.get(f"{finished}/stems/vocals")
    assert "Content-Encoding" not in whole.headers
    assert hashlib.sha256(whole.content).hexdigest() == whole.headers["ETag"].strip('"')
    part = http.get(f"{finished}/stems/vocals", headers={"Range": "bytes=100-199"})
    assert (part.status_code, part.content) == (206, whole.content[100:200])
    head = http.head(f"{finished}/stems/vocals")
    assert (head.status_code, int(head.headers["Content-Length"])) == (200, len(whole.content))
    again = http.get(f"{finished}/stems/vocals", headers={"If-None-Match": whole.headers["ETag"]})
    assert again.status_code == 304
    assert http.get(f"{finished}/archive").content[:2] == b"PK"


def test_json_is_compressed(http: httpx.Client, finished: str) -> None:
    answer = http.get(f"{finished}/manifest")
    assert answer.headers["Content-Encoding"] == "gzip"
    assert answer.json()["schema_version"]


def test_events_come_while_the_job_runs(http: httpx.Client, tmp_path: Path) -> None:
    song = write_wav(tmp_path / "long.wav", music(6.0, seed=2))
    with song.open("rb") as file:
        job = http.post("/api/process", files={"file": (song.name, file)}, data={"formats": "mp3"})
    assert job.status_code == 202, job.text
    seen: list[str] = []
    with http.stream("GET", f"{job.headers['Location']}/events") as stream:
        for line in stream.iter_lines():
            if line.startswith("event: "):
                seen.append(line.removeprefix("event: "))
                if len(seen) == 1:
                    # It is not held back until the stream ends: that lasts as long as the job.
                    assert http.get(job.headers["Location"]).json()["status"] in ("queued", "running")
    assert (seen[0], seen[-1]) == ("queued", "succeeded")


def test_recordings_of_the_largest_size_pass_and_larger_ones_get_a_problem(http: httpx.Client) -> None:
    passed = http.post("/api/process", files={"file": ("a.wav", b"\0" * (4 * MB))})
    assert passed.json()["code"] == "input_not_audio"  # The service has read all of it.
    # One that only the service, having read it, knows to be too large, and two that nginx refuses unread.
    for size, code in (
        (4 * MB + 4096, "input_too_large"),
        (6 * MB, "payload_too_large"),
        (60 * MB, "payload_too_large"),
    ):
        refused = http.post("/api/process", files={"file": ("a.wav", b"\0" * size)})
        assert (refused.status_code, refused.json()["code"]) == (413, code)
    small = http.post("/api/estimate", content=b" " * (2 * MB))
    assert problem(small)["code"] == "payload_too_large"


def test_what_nginx_refuses_is_a_problem_like_the_services_own(http: httpx.Client) -> None:
    too_large = http.post("/api/estimate", content=b" " * (2 * MB), headers={"X-Request-ID": "mine-1"})
    assert problem(too_large)["request_id"] == "mine-1"
    too_long = http.get("/api/jobs", headers={"X-Long": "x" * 100_000})
    assert problem(too_long)["code"] == "bad_request"
    hidden = [
        http.get(f"/api/{path}") for path in ("metrics", "metrics/", "%6Detrics", "./metrics", "x/../metrics")
    ]
    assert {problem(answer)["status"] for answer in hidden} == {404}


def problem(answer: httpx.Response) -> dict[str, object]:
    assert answer.headers["Content-Type"] == "application/problem+json", answer.text
    assert "Strict-Transport-Security" in answer.headers
    body = json.loads(answer.content)
    assert body["status"] == answer.status_code
    assert body["request_id"] == answer.headers["X-Request-ID"]
    return body


def test_a_service_that_is_not_there_is_a_problem_too(tmp_path: Path) -> None:
    with Nginx(tmp_path, api="127.0.0.1:9", ui="127.0.0.1:9") as proxy, proxy.client() as http:
        down = http.get("/api/health")
        assert (problem(down)["code"], down.status_code) == ("unavailable", 502)
        assert int(down.headers["Retry-After"]) > 0


def test_nobody_gets_more_by_claiming_other_addresses(service: Service, nginx: Nginx) -> None:
    with nginx.client(None) as stranger:
        statuses = [
            stranger.get(
                "/api/jobs",
                headers={
                    "X-Forwarded-For": f"203.0.113.{n}",
                    "X-Real-IP": f"203.0.113.{n}",
                    "Forwarded": f"for=203.0.113.{n}",
                },
            ).status_code
            for n in range(5)
        ]
    assert statuses == [401, 401, 401, 429, 429]
    assert "203.0.113." not in service.said.read_text()
    with nginx.client() as known:
        assert known.get("/api/jobs").status_code == 200


def test_an_upload_can_be_sent_in_pieces(http: httpx.Client, tmp_path: Path) -> None:
    content = write_wav(tmp_path / "a.wav", music(1.0, seed=3)).read_bytes()
    tus = {"Tus-Resumable": "1.0.0"}
    begun = http.post("/api/uploads", headers={**tus, "Upload-Length": str(len(content))})
    where = begun.headers["Location"]
    assert (begun.status_code, where[:13]) == (201, "/api/uploads/")
    for start, piece in ((0, content[:1000]), (1000, content[1000:])):
        headers = {**tus, "Upload-Offset": str(start), "Content-Type": "application/offset+octet-stream"}
        assert http.patch(where, content=piece, headers=headers).status_code == 204
    assert http.head(where, headers=tus).headers["Upload-Offset"] == str(len(content))
    made = http.post("/api/process?wait=60", json={"upload_id": where.rpartition("/")[2]})
    assert made.status_code == 200, made.text


def test_an_upload_reaches_the_service_while_it_is_sent(service: Service, nginx: Nginx) -> None:
    host, port = nginx.https_url.removeprefix("https://").split(":")
    with (
        socket.create_connection((host, int(port))) as plain,
        nginx.tls.wrap_socket(plain, server_hostname="localhost") as client,
    ):
        head = (
            f"POST /api/process HTTP/1.1\r\nHost: localhost\r\nX-API-Key: {KEY}\r\nContent-Length: 9999\r\n"
        )
        client.sendall(head.encode() + b"Content-Type: multipart/form-data; boundary=b\r\n\r\n--b\r\n")
        uploads = service.folder / "uploads"
        deadline = time.monotonic() + 60
        while not list(uploads.glob(".incoming-*")):  # of a body that is not here yet
            assert time.monotonic() < deadline
            time.sleep(0.02)
    while list(uploads.glob(".incoming-*")):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_the_documentation_finds_its_document(http: httpx.Client) -> None:
    assert "'/api/openapi.json'" in http.get("/api/docs").text
    assert http.get("/api/openapi.json").json()["servers"] == [{"url": "/api"}]


def test_the_ui_has_its_websocket_and_the_api_none(nginx: Nginx) -> None:
    assert upgraded(nginx, "/_stcore/stream", "websocket") == (101, b"echo")
    assert upgraded(nginx, "/", "h2c")[0] == 200
    assert upgraded(nginx, "/api/health", "websocket")[0] in (200, 400, 403)


def upgraded(nginx: Nginx, path: str, protocol: str) -> tuple[int, bytes]:
    """Status of the answer to an upgrade, and what comes back of a word sent after it."""
    host, port = nginx.https_url.removeprefix("https://").split(":")
    with (
        socket.create_connection((host, int(port)), timeout=60) as plain,
        nginx.tls.wrap_socket(plain, server_hostname="localhost") as client,
    ):
        client.sendall(
            f"GET {path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: {protocol}\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        status = int(client.recv(1 << 16).split(b" ", 2)[1])
        if status != 101:
            return status, b""
        client.sendall(b"echo")
        return status, client.recv(1 << 16)


def test_the_log_of_nginx_holds_no_ticket_and_one_object_a_line(nginx: Nginx, http: httpx.Client) -> None:
    http.get("/api/jobs?ticket=a-secret-ticket&x=%0a%22%7d")
    http.get("/api/jobs/%0a%22%7b%1b[31m")

    def paths() -> set[str]:
        # Its lines end in one write each, after the client has its answer.
        lines = nginx.said.read_text().splitlines(keepends=True)
        return {json.loads(line)["path"] for line in lines if line[:1] == "{" and line.endswith("\n")}

    until(lambda: paths() >= {"/api/jobs", '/api/jobs/\n"{\x1b[31m'}, "nginx has logged both")
    assert "a-secret-ticket" not in nginx.said.read_text()
