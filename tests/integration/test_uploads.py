"""Resumable uploads as clients meet them: a real service, and a tus client that others wrote."""

from __future__ import annotations

import base64
import hashlib
import os
import random
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2 as httpx
import psutil
import pytest

from api.client import Client
from tests.audio_files import music, write_wav
from tests.service import KEY, ROOT, Service, ended
from tests.tus import TUS, begin, begun, data, half_a_piece, offset, patch, uploader

MB = 1 << 20
PAGE = "https://ui.example.org"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("uploads")
    with Service(
        folder,
        MAX_FILE_SIZE_MB="250",
        PIPELINE_UPLOAD_TOTAL_MB="600",
        PIPELINE_CORS_ORIGINS=PAGE,
        PIPELINE_RATE_PROCESS="20/hour",
    ) as running:
        yield running


@pytest.fixture
def http(service: Service) -> Iterator[httpx.Client]:
    with service.client() as client:
        yield client
        for upload in client.get("/uploads").json():
            client.delete(f"/uploads/{upload['id']}", headers=TUS)


@pytest.fixture(scope="module")
def neighbour(service: Service) -> Iterator[httpx.Client]:
    """A client with a key of another owner."""
    made = subprocess.run(
        [sys.executable, "-m", "api", "keys", "create", "neighbour"],
        cwd=service.folder,
        env=service.environment,
        capture_output=True,
        text=True,
        check=True,
    )
    with service.client(made.stdout.strip()) as client:
        yield client


def noise(size: int, seed: int = 0) -> bytes:
    return random.Random(seed).randbytes(size)


def test_a_client_of_others_uploads_20_mb_in_pieces(
    service: Service, http: httpx.Client, tmp_path: Path
) -> None:
    content = noise(20 * MB)
    (tmp_path / "söng.wav").write_bytes(content)
    with uploader(service, tmp_path / "söng.wav", chunk_size=3 * MB) as sent:
        sent.upload()
    state = http.get(sent.url.removeprefix(service.url)).json()
    assert (state["filename"], state["offset"], state["finished"]) == ("söng.wav", 20 * MB, True)
    assert data(service.folder, sent.url).read_bytes() == content


def test_a_client_of_others_sends_checksums(service: Service, tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(noise(MB))
    with uploader(service, tmp_path / "a.wav", chunk_size=MB // 3, upload_checksum=True) as sent:
        sent.upload()
    assert data(service.folder, sent.url).read_bytes() == noise(MB)


def test_an_upload_goes_on_where_its_connection_broke(
    service: Service, http: httpx.Client, tmp_path: Path
) -> None:
    content = noise(8 * MB)
    (tmp_path / "a.wav").write_bytes(content)
    place = begun(http, len(content))
    half_a_piece(service, place, 0, content[: 5 * MB], promised=len(content)).close()
    # The service may notice only later, and need not: the client that comes back is let in at once.
    deadline = time.monotonic() + 60
    while offset(http, place) < 4 * MB:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    with uploader(service, tmp_path / "a.wav", url=service.url + place, retries=3, retry_delay=0) as sent:
        sent.upload()
    assert data(service.folder, place).read_bytes() == content


def test_a_connection_that_hangs_does_not_keep_its_client_out(service: Service, http: httpx.Client) -> None:
    place = begun(http, 10)
    with half_a_piece(service, place, 0, b"01234", promised=10) as hanging:
        while offset(http, place) < 5:
            patch(http, place, offset(http, place), b"")
        assert patch(http, place, 5, b"56789").status_code == 204
        assert b" 423 " in hanging.recv(1000)
    assert data(service.folder, place).read_bytes() == b"0123456789"


def test_two_clients_on_one_upload_make_no_byte_that_nobody_sent(
    service: Service, http: httpx.Client
) -> None:
    content = noise(4 * MB)
    place = begun(http, len(content))
    statuses: list[int] = []

    def send() -> None:
        with service.client() as own:
            while (at := offset(own, place)) < len(content):
                statuses.append(patch(own, place, at, content[at : at + MB]).status_code)

    threads = [threading.Thread(target=send) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(statuses) <= {204, 409, 423}
    assert data(service.folder, place).read_bytes() == content


def test_an_answer_says_where_the_upload_is_and_how_it_stands(http: httpx.Client) -> None:
    # Whatever the client believes the service's name to be.
    answer = begin(http, 10, Host="evil.example.org", **{"X-Forwarded-Host": "evil.example.org"})
    place = answer.headers["Location"]
    assert place == f"/uploads/{uuid.UUID(place.rpartition('/')[2])}"
    first = patch(http, place, 0, b"0123")
    assert (first.status_code, first.headers["Upload-Offset"]) == (204, "4")
    state = http.head(place, headers=TUS)
    told = {name: state.headers[name] for name in ("Upload-Offset", "Upload-Length", "Cache-Control")}
    assert told == {"Upload-Offset": "4", "Upload-Length": "10", "Cache-Control": "no-store"}
    assert base64.b64decode(state.headers["Upload-Metadata"].removeprefix("filename ")) == b"song.wav"
    for one in (answer, first, state):
        assert one.headers["Tus-Resumable"] == "1.0.0"
        assert one.headers["Upload-Expires"].endswith(" GMT")
    assert http.delete(place, headers=TUS).status_code == 204
    assert http.head(place, headers=TUS).status_code == 404


def test_the_first_bytes_may_come_with_the_beginning(service: Service, http: httpx.Client) -> None:
    headers = {**TUS, "Content-Type": "application/offset+octet-stream", "Upload-Length": "10"}
    answer = http.post("/uploads", headers=headers, content=b"01234")
    assert (answer.status_code, answer.headers["Upload-Offset"]) == (201, "5")
    refused = http.post("/uploads", headers=headers, content=b"0123456789x")
    assert (refused.status_code, len(http.get("/uploads").json())) == (413, 1)


def test_what_is_wrong_is_told_as_everywhere(service: Service, http: httpx.Client) -> None:
    place = begun(http, 10)
    sha1 = base64.b64encode(hashlib.sha1(b"other", usedforsecurity=False).digest()).decode()
    wrong = {
        "offset_mismatch": (409, patch(http, place, 3, b"x")),
        "invalid_request": (422, patch(http, place, -1, b"x")),
        "payload_too_large": (413, patch(http, place, 0, b"0123456789x")),
        "unsupported_media_type": (415, patch(http, place, 0, b"x", **{"Content-Type": "audio/wav"})),
        "tus_version_unsupported": (412, patch(http, place, 0, b"x", **{"Tus-Resumable": "0.2"})),
        "checksum_mismatch": (460, patch(http, place, 0, b"x", **{"Upload-Checksum": f"sha1 {sha1}"})),
        "upload_unknown": (404, patch(http, f"/uploads/{uuid.uuid4()}", 0, b"x")),
        "length_required": (411, http.post("/uploads", headers={**TUS, "Upload-Defer-Length": "1"})),
        "quota_exceeded": (429, _last([begin(http, 250 * MB) for _ in range(3)])),
    }
    for code, (status, answer) in wrong.items():
        problem = answer.json()
        assert (problem["code"], problem["status"], answer.status_code) == (code, status, status)
        assert problem["request_id"] == answer.headers["X-Request-ID"]
        assert answer.headers["Tus-Resumable"] == "1.0.0"
        assert answer.headers["Content-Type"] == "application/problem+json"
    assert wrong["tus_version_unsupported"][1].headers["Tus-Version"] == "1.0.0"
    assert offset(http, place) == 0


def _last(answers: list[httpx.Response]) -> httpx.Response:
    return answers[-1]


def test_what_would_be_too_large_is_refused_before_a_byte_of_it(service: Service, http: httpx.Client) -> None:
    taken = 0

    def endless() -> Iterator[bytes]:
        nonlocal taken
        while True:
            taken += MB
            yield bytes(MB)

    headers = {**TUS, "Content-Type": "application/offset+octet-stream", "Upload-Length": str(251 * MB)}
    answer = http.post("/uploads", headers=headers, content=endless())
    assert (answer.status_code, answer.json()["code"]) == (413, "payload_too_large")
    assert taken < 32 * MB
    assert http.get("/uploads").json() == []


@pytest.mark.parametrize("method", ["GET", "HEAD", "PATCH", "DELETE"])
def test_another_owner_s_upload_is_not_there(
    http: httpx.Client, neighbour: httpx.Client, method: str
) -> None:
    place = begun(http, 10)
    headers = {**TUS, "Content-Type": "application/offset+octet-stream", "Upload-Offset": "0"}
    assert neighbour.request(method, place, headers=headers, content=b"x").status_code == 404
    taken = neighbour.post("/process", json={"upload_id": place.rpartition("/")[2]})
    assert (taken.status_code, taken.json()["code"]) == (404, "upload_unknown")
    assert neighbour.get("/uploads").json() == []
    assert offset(http, place) == 0


@pytest.mark.parametrize(
    "name", ["..", "%2e%2e", "..%2f..%2fpipeline.db", "x%00", "{}%2fdata", "%7E", "A" * 300]
)
def test_no_id_leads_anywhere_else(http: httpx.Client, name: str) -> None:
    place = begun(http, 10).rpartition("/")[2]
    for method in ("GET", "HEAD", "PATCH", "DELETE"):
        answer = http.request(
            method,
            f"/uploads/{name.format(place)}",
            headers={**TUS, "Content-Type": "application/offset+octet-stream", "Upload-Offset": "0"},
        )
        assert answer.status_code in (404, 405)


def test_a_method_in_a_header_is_judged_like_any_other(service: Service, http: httpx.Client) -> None:
    place = begun(http, 3)
    headers = {**TUS, "Content-Type": "application/offset+octet-stream", "X-HTTP-Method-Override": "PATCH"}
    assert http.post(place, headers={**headers, "Upload-Offset": "0"}, content=b"abc").status_code == 204
    with service.client(None) as nobody:
        answer = nobody.post(place, headers={**TUS, "X-HTTP-Method-Override": "DELETE"})
        assert answer.status_code == 401
    # Of what only reads, it makes nothing else.
    assert http.get(place, headers={"X-HTTP-Method-Override": "DELETE"}).json()["finished"]


def test_a_browser_uploads_with_a_ticket_and_nothing_more(
    service: Service, http: httpx.Client, neighbour: httpx.Client
) -> None:
    other = begun(neighbour, 10)
    ticket = http.post("/tickets", json={"path": "/uploads"}).json()["ticket"]
    with service.client(None) as browser:
        browser.headers["X-Ticket"] = ticket
        place = begun(browser, 10)
        assert patch(browser, place, 0, b"01234").status_code == 204
        assert offset(browser, place) == 5
        assert browser.head(other, headers=TUS).status_code == 404
        assert browser.get("/uploads").status_code == 401
        assert browser.post("/process", json={"upload_id": place}).status_code == 403
        assert browser.delete(place, headers=TUS).status_code == 204
        del browser.headers["X-Ticket"]
        assert begin(browser, 10).status_code == 401
        browser.headers["X-Ticket"] = http.post("/tickets", json={"path": "/process"}).json()["ticket"]
        theirs = browser.post("/process", json={"upload_id": other.rpartition("/")[2]})
        assert (theirs.status_code, theirs.json()["code"]) == (404, "upload_unknown")
        assert begin(browser, 10).status_code == 403
    one = http.post("/tickets", json={"path": other}).json()["ticket"]
    with service.client(None) as browser:
        assert browser.head(f"{other}?ticket={one}", headers=TUS).status_code == 404
        assert browser.post(f"/uploads?ticket={one}", headers=TUS).status_code == 403


def test_a_page_may_upload_and_read_the_answers(service: Service, http: httpx.Client) -> None:
    place = begun(http, 10)
    with service.client(None) as browser:
        for path, method in (("/uploads", "POST"), (place, "PATCH"), (place, "HEAD"), (place, "DELETE")):
            asked = {
                "Origin": PAGE,
                "Access-Control-Request-Method": method,
                "Access-Control-Request-Headers": "tus-resumable,upload-offset,upload-checksum,x-ticket",
            }
            allowed = browser.options(path, headers=asked)
            assert allowed.status_code == 200
            assert method in allowed.headers["Access-Control-Allow-Methods"]
            assert "upload-checksum" in allowed.headers["Access-Control-Allow-Headers"]
    read = http.head(place, headers={**TUS, "Origin": PAGE}).headers["Access-Control-Expose-Headers"]
    assert {"Location", "Upload-Offset", "Upload-Length", "Upload-Expires"} <= set(read.split(", "))


def test_whoever_asks_is_told_what_is_offered(service: Service) -> None:
    with service.client(None) as nobody:
        answer = nobody.options("/uploads")
    assert answer.status_code == 204
    assert answer.headers["Tus-Version"] == "1.0.0"
    assert answer.headers["Tus-Max-Size"] == str(250 * MB)
    assert answer.headers["Tus-Checksum-Algorithm"] == "sha1,sha256"
    assert answer.headers["Tus-Extension"] == "creation,creation-with-upload,termination,expiration,checksum"


def test_an_upload_that_is_left_alone_is_gone_after_a_day(service: Service, http: httpx.Client) -> None:
    place = begun(http, 10)
    long_ago = time.time() - 86401
    os.utime(data(service.folder, place), (long_ago, long_ago))
    for answer in (http.get(place), patch(http, place, 0, b"x")):
        assert (answer.status_code, answer.json()["code"]) == (410, "gone")


def test_200_mb_pass_through_little_memory(service: Service, http: httpx.Client) -> None:
    assert service.process is not None
    process = psutil.Process(service.process.pid)
    place = begun(http, 200 * MB)
    block = bytes(MB)
    patch(http, place, 0, block)
    before = most = process.memory_info().rss

    def blocks() -> Iterator[bytes]:
        nonlocal most
        for _ in range(199):
            most = max(most, process.memory_info().rss)
            yield block

    assert patch(http, place, MB, blocks()).headers["Upload-Offset"] == str(200 * MB)
    assert (most - before) / MB < 50


def test_a_finished_upload_becomes_a_job_and_is_gone(
    service: Service, http: httpx.Client, tmp_path: Path
) -> None:
    path = write_wav(tmp_path / "my song.wav", music(1.0, seed=41))
    with uploader(service, path, chunk_size=100_000) as sent:
        sent.upload(stop_at=100_000)
        upload_id = sent.url.rpartition("/")[2]
        early = http.post("/process", json={"upload_id": upload_id})
        assert (early.status_code, early.json()["code"]) == (409, "upload_unfinished")
        sent.upload()
    refused = http.post("/process", json={"upload_id": upload_id, "model": "nope"})
    assert refused.json()["code"] == "model_unknown"
    assert len(http.get("/uploads").json()) == 1  # The refusal has cost nothing.
    answer = http.post("/process", json={"upload_id": upload_id, "estimators": "none"})
    assert answer.status_code == 202, answer.text
    job = ended(http, answer.json()["id"])
    assert (job["status"], job["filename"]) == ("succeeded", "my song.wav")
    assert job["input_sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert http.get("/uploads").json() == []
    again = http.post("/process", json={"upload_id": upload_id})
    assert (again.status_code, again.json()["code"]) == (404, "upload_unknown")
    assert not list((service.folder / "uploads").glob(".incoming-*"))


def test_the_client_and_the_command_line_send_resumably(
    service: Service, http: httpx.Client, tmp_path: Path
) -> None:
    path = write_wav(tmp_path / "by client.wav", music(1.0, seed=42))
    with Client(service.url, KEY) as client:
        options: dict[str, Any] = {"estimators": "none", "metadata": {"album": "x"}}
        first = client.submit(path, resumable=True, **options)
        assert (first.filename, first.metadata) == ("by client.wav", {"album": "x"})
        assert client.wait(first.id).status == "succeeded"
        assert client.submit(path, resumable=True, **options).id == first.id
    path = write_wav(tmp_path / "by command.wav", music(1.0, seed=43))
    said = subprocess.run(
        [sys.executable, "-m", "api", "submit", path, "--url", service.url, "--key", KEY, "--resumable"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert http.get(f"/jobs/{said.stdout.strip()}").json()["filename"] == "by command.wav"
    assert http.get("/uploads").json() == []
