"""Recordings submitted by their URL to the real service, from a real server."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import httpx2 as httpx
import pytest

from tests.audio_files import music, write_wav
from tests.https_server import HttpsServer, head, redirect, whole
from tests.service import Service, ended


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HttpsServer]:
    song = write_wav(tmp_path_factory.mktemp("song") / "song.wav", music(1.0)).read_bytes()
    with HttpsServer() as running:
        running.answers["/a%20song.wav"] = whole(song)
        running.answers["/moved"] = redirect("/a%20song.wav?canary=1")
        running.answers["/gone"] = lambda: [head("404 Not Found", content_length="0")]
        running.answers["/page"] = whole(b"<html>", content_type="text/html")
        running.answers["/text"] = whole(b"This is no music, whatever it is called.")
        running.answers["/cut"] = lambda: [head(content_length=str(len(song))), song[:1000]]
        running.answers["/inside"] = redirect("https://10.0.0.1/canary")
        yield running


@pytest.fixture(scope="module")
def service(server: HttpsServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("service")
    server.authority.cert_pem.write_to_path(folder / "ca.pem")
    with Service(
        folder,
        SSL_CERT_FILE=str(folder / "ca.pem"),
        HTTPS_PROXY="http://127.0.0.1:9",
        PIPELINE_URL_INGEST="on",
        PIPELINE_URL_HOSTS="localhost, 10.0.0.1",
        PIPELINE_OUTBOUND_NETWORKS="127.0.0.0/8, ::1",
        LOGGING_LEVEL="DEBUG",
    ) as running:
        yield running


@pytest.fixture
def http(service: Service) -> Iterator[httpx.Client]:
    with service.client() as client:
        yield client


def test_a_url_becomes_a_job_like_any_other(http: httpx.Client, server: HttpsServer) -> None:
    url = server.url("/moved?canary=1", host="localhost")
    answer = http.post("/process", json={"url": url, "stems": ["vocals"]})
    assert answer.status_code == 202, answer.text
    job = ended(http, answer.json()["id"])
    assert (job["status"], job["filename"]) == ("succeeded", "a song.wav")
    manifest = http.get(f"/jobs/{job['id']}/manifest").json()
    song = b"".join(server.answers["/a%20song.wav"]()).partition(b"\r\n\r\n")[2]
    assert manifest["input"]["sha256"] == hashlib.sha256(song).hexdigest()


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/gone", 422, "url_answer_refused"),
        ("/page", 415, "input_is_web_page"),
        ("/text", 415, "input_not_audio"),
        ("/cut", 502, "url_broken"),
        ("/inside", 422, "url_address_refused"),
    ],
)
def test_what_cannot_be_fetched_is_told_at_once_and_leaves_nothing(
    http: httpx.Client, service: Service, server: HttpsServer, path: str, status: int, code: str
) -> None:
    before = sorted(folder.name for folder in (service.folder / "uploads").iterdir())
    answer = http.post("/process", json={"url": server.url(f"{path}?canary=1", host="localhost")})
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    assert answer.json()["retryable"] is (status == 502)
    assert "canary" not in answer.text
    assert sorted(folder.name for folder in (service.folder / "uploads").iterdir()) == before


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("http://localhost/canary", "url_refused"),
        ("https://canary:canary@localhost/", "url_refused"),
        ("https://example.org/canary", "url_host_refused"),
        ("https://10.0.0.1/canary", "url_address_refused"),
        ("https://2130706433/canary", "url_refused"),
        ("file:///etc/passwd?canary", "url_refused"),
    ],
)
def test_a_url_that_may_not_be_fetched_is_refused(http: httpx.Client, url: str, code: str) -> None:
    answer = http.post("/process", json={"url": url})
    assert (answer.status_code, answer.json()["code"]) == (422, code), answer.text
    assert "canary" not in answer.text


def test_neither_log_nor_audit_holds_more_of_a_url_than_its_host(
    http: httpx.Client, service: Service, server: HttpsServer
) -> None:
    http.post("/process", json={"url": server.url("/cut?canary=1", host="localhost")})
    files = [path for path in service.folder.rglob("*") if path.is_file() and path.name != "ca.pem"]
    assert service.folder / "pipeline.db" in files
    assert not [path for path in files if b"canary" in path.read_bytes()]
