"""Requests that are made to break in, to confuse or to break down, against a running service."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sys
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import httpx2 as httpx
import pytest

from tests.audio_files import music, write_wav
from tests.service import KEY, Service, ended, submit

CONTENT = "the-content-of-a-file-outside"
TRAVERSALS = [
    "..",
    "%2e%2e",
    "..%2f..%2f..%2fsecret.txt",
    "%2e%2e%2f%2e%2e%2fsecret.txt",
    "..%252f..%252fsecret.txt",
    "..%5c..%5csecret.txt",
    "%00",
    "vocals%00.flac",
    "..%c0%af..%c0%afsecret.txt",
    "%e0%80%ae%e0%80%ae/secret.txt",
    "..;/secret.txt",
    "%ef%bc%8e%ef%bc%8e%ef%bc%8fsecret.txt",
    "%2fsecret.txt",
    "file:%2f%2f%2fsecret.txt",
    "~",
    "%ff%fe",
    "a" * 5000,
    "%0d%0aSet-Cookie:%20a=b",
    "..%2fmanifest.json",
    "%f0%9f%98%80",
]
TEMPLATES = [
    "/jobs/{}",
    "/jobs/{}/manifest",
    "/jobs/{}/archive",
    "/jobs/{job}/stems/{}",
    "/jobs/{job}/artifacts/{}",
    "/jobs/{job}/{}",
    "/uploads/{}",
    "/jobs/{job}/webhooks/{}/replay",
    "/{}",
    "/docs/{}",
    "/static/{}",
]
NAMES = [
    'a"; filename="b.html',
    "a\r\nSet-Cookie: a=b.wav",
    "\u202egpj.wav",
    "../../../etc/x<img src=x onerror=1>.wav",
    "![x](http://x.example/y).wav",
    "\x1b[31mred\x1b[0m.wav",
    "a\u2028b\u2029c\x85d.wav",
    "%0d%0aX: y.wav",
    "n" * 65_000 + ".wav",
    "\x00.wav",
    "{{7*7}}${7*7}.wav",
    "ünï—코드 😀.wav",
    "CON.wav",
    " .wav",
]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("service")
    (folder / "secret.txt").write_text(CONTENT)
    with Service(folder, PIPELINE_RATE_REFUSED="off", PIPELINE_UPLOAD_COUNT="1000") as running:
        yield running
        assert '"level": "error"' not in running.said.read_text()
        for line in running.said.read_text().splitlines():
            if line.startswith("{"):
                assert set(json.loads(line)) >= {"event", "level", "at"}


@pytest.fixture
def http(service: Service) -> Iterator[httpx.Client]:
    with service.client() as client:
        yield client


@pytest.fixture(scope="module")
def job_id(service: Service, tmp_path_factory: pytest.TempPathFactory) -> str:
    song = write_wav(tmp_path_factory.mktemp("song") / "a.wav", music(1.0))
    with service.client() as client:
        made: str = submit(client, song).json()["id"]
        assert ended(client, made)["status"] == "succeeded"
    return made


def raw(service: Service, request: bytes) -> bytes:
    """All that is answered to some bytes until the service closes the connection."""
    said = b""
    connection = socket.create_connection(("127.0.0.1", service.port), timeout=60)
    with connection, contextlib.suppress(ConnectionError):
        connection.sendall(request)
        while part := connection.recv(1 << 16):
            said += part
    return said


def statuses(said: bytes) -> list[int]:
    return [int(part[:3]) for part in said.split(b"HTTP/1.1 ")[1:]]


def refused(answer: httpx.Response) -> str:
    """The code of a refusal, which is a whole problem."""
    assert 400 <= answer.status_code < 500, (answer.status_code, answer.text[:200])
    assert answer.headers["Content-Type"] == "application/problem+json"
    body = answer.json()
    assert body["request_id"] == answer.headers["X-Request-ID"]
    return str(body["code"])


@pytest.mark.parametrize("template", TEMPLATES)
def test_no_path_leads_out_of_the_job(service: Service, job_id: str, template: str) -> None:
    for part in TRAVERSALS:
        path = template.replace("{job}", job_id).replace("{}", part)
        for method in ("GET", "HEAD", "POST", "DELETE", "PATCH"):
            # By hand: a client would tidy the path up.
            said = raw(
                service,
                f"{method} {path} HTTP/1.1\r\nHost: s\r\nX-API-Key: {KEY}\r\nTus-Resumable: 1.0.0\r\n"
                "Connection: close\r\n\r\n".encode(),
            )
            (status,) = statuses(said)
            assert 400 <= status < 500, (method, path, said[:300])
            assert CONTENT.encode() not in said and b"\r\nset-cookie" not in said.lower()
    assert (service.folder / "secret.txt").read_text() == CONTENT
    assert (service.folder / "outputs" / job_id / "manifest.json").is_file()


@pytest.mark.parametrize("name", NAMES)
def test_a_file_name_is_text_and_nothing_else(service: Service, tmp_path: Path, name: str) -> None:
    content = write_wav(tmp_path / "x.wav", music(0.5, seed=len(name))).read_bytes()
    quoted = name.replace("\\", "\\\\").replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")
    body = (
        f'--b\r\nContent-Disposition: form-data; name="file"; filename="{quoted}"\r\n\r\n'.encode()
        + content
        + b"\r\n--b--\r\n"
    )
    with service.client() as http:
        headers = {"Content-Type": "multipart/form-data; boundary=b"}
        answer = http.post("/process?wait=60", content=body, headers=headers)
        assert answer.status_code in (200, 422), answer.text[:300]
        if answer.status_code == 422:
            assert refused(answer)
            return
        where = answer.headers["Location"]
        job = http.get(where).json()
        assert len(job["filename"]) <= 255
        for path in (f"{where}/archive", f"{where}/stems/vocals", f"{where}/stems/vocals?inline=true"):
            with http.stream("GET", path) as download:
                assert download.status_code == 200
                said = download.headers["Content-Disposition"]
                assert said.isascii() and said.isprintable() and len(said) < 1200
                assert said.count(";") == 1 and "<" not in said and "set-cookie" not in download.headers


def test_logs_and_audit_are_one_object_a_line_whatever_was_sent(service: Service, job_id: str) -> None:
    evil = "%0a%7b%22event%22:%22forged%22%7d%1b[2J%e2%80%a8%e2%80%ae"
    for path in (f"/jobs/{evil}", f"/jobs/{job_id}/stems/{evil}", f"/{evil}"):
        raw(
            service,
            f"GET {path} HTTP/1.1\r\nHost: s\r\nX-API-Key: {KEY}\r\nUser-Agent: {evil}\r\n"
            "X-Request-ID: a b\u00ff\r\nConnection: close\r\n\r\n".encode("latin-1"),
        )
    for text in (service.said.read_text(), (service.folder / "logs" / "api.log").read_text()):
        assert text.isascii()
        lines = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
        assert not [line for line in lines if line["event"] == "forged"]
        assert not any(unicodedata.category(c) == "Cc" for c in text if c != "\n")
    said = subprocess.run(
        [sys.executable, "-m", "api", "audit", "export"],
        env=service.environment, cwd=service.folder, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert all(json.loads(line)["action"] for line in said.splitlines())
    assert said.isascii() or not any(unicodedata.category(c) in ("Cc", "Cf", "Zl") for c in said if c != "\n")


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"Authorization": f"Bearer {KEY}"}, 200),
        ({"authorization": f"bearer   {KEY}"}, 200),
        ({"Authorization": f"Basic {KEY}"}, 401),
        ({"Cookie": f"X-API-Key={KEY}; api_key={KEY}; session={KEY}"}, 401),
        ({"X-Api-Keys": KEY}, 401),
        ({"X-API-Key": ""}, 401),
        ({"X-API-Key": KEY.upper()}, 403),
        ({"X-API-Key": KEY + "x"}, 403),
        ({"X-API-Key": KEY[:-1]}, 403),
        ({"X-API-Key": f"{KEY}, {KEY}"}, 403),
        ({"X-API-Key": "x" * 10_000}, 403),
        ({"X-API-Key": KEY, "Authorization": "Bearer another-key-altogether"}, 403),
        ({"X-Original-URL": "/livez", "X-Rewrite-URL": "/livez"}, 401),
        ({"X-HTTP-Method-Override": "OPTIONS"}, 401),
    ],
)
def test_a_key_counts_in_its_two_places_only(
    service: Service, headers: dict[str, str], expected: int
) -> None:
    assert httpx.get(f"{service.url}/jobs", headers=headers, timeout=60).status_code == expected


def test_a_key_in_the_address_or_the_body_is_no_key(service: Service) -> None:
    for query in ("api_key", "X-API-Key", "key", "token", "ticket"):
        answer = httpx.get(f"{service.url}/jobs", params={query: KEY}, timeout=60)
        assert answer.status_code == 401
    assert httpx.post(f"{service.url}/process", data={"X-API-Key": KEY}, timeout=60).status_code == 401
    assert KEY not in service.said.read_text()


def test_more_parameters_than_make_sense_are_no_ticket(service: Service, job_id: str) -> None:
    many = "&".join(["ticket=x", *(f"a{n}=1" for n in range(5000))])
    assert refused(httpx.get(f"{service.url}/jobs/{job_id}/events?{many}", timeout=60)) == "unauthenticated"


@pytest.mark.parametrize(
    "head",
    [
        b"Content-Length: 5\r\nContent-Length: 6\r\n",
        b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
        b"Transfer-Encoding: xchunked\r\n",
        b"Transfer-Encoding : chunked\r\n",
        b"Transfer-Encoding: \x0bchunked\r\n",
        b"Content-Length: +5\r\n",
        b"Content-Length: -1\r\n",
        b"Content-Length: 0x5\r\n",
        b"Content-Length: 5, 5, 6\r\n",
        b"Content-Length: " + b"9" * 50 + b"\r\n",
        b" Folded: x\r\n",
        b"Name Without Colon\r\n",
        b"X: a\rb\r\n",
        b"X: a\x00b\r\n",
    ],
)
def test_no_request_hides_in_another(service: Service, head: bytes) -> None:
    key = b"Host: s\r\nX-API-Key: " + KEY.encode() + b"\r\n"
    hidden = b"GET /metrics HTTP/1.1\r\nConnection: close\r\n" + key + b"\r\n"
    request = b"POST /estimate HTTP/1.1\r\n" + key + head + b"\r\n"
    said = raw(service, request + b"0\r\n\r\n" + hidden)
    assert [status for status in statuses(said) if status < 400] == []
    assert b"application/problem+json" in said
    assert b"# HELP" not in said


@pytest.mark.parametrize(
    "request_",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET / HTTP/9.9\r\nConnection: close\r\n\r\n",
        b"GET /jobs\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET http://elsewhere.example/jobs HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x00" * 1000,
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: s\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: s\r\nX: " + b"a" * 100_000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: s\r\n" + b"X: a\r\n" * 50_000 + b"\r\n",
    ],
)
def test_what_is_no_http_gets_a_problem_and_the_connection_ends(service: Service, request_: bytes) -> None:
    said = raw(service, request_)
    assert set(statuses(said)) <= {400, 404} and statuses(said)
    assert b"application/problem+json" in said


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 100_000,
        b'{"a":' * 20_000,
        b'{"duration_s": NaN}',
        b'{"duration_s": 1e999}',
        b"\xff\xfe",
        b'{"duration_s": 1, "options": {"model": "\\ud800"}}',
        b'{"duration_s": 1, "options": {"model": "\\u0000"}}',
        b'{"duration_s": ' + b"9" * 5000 + b"}",
        b"",
        b"null",
        b"0",
        b'"x"',
        "{}".encode("utf-16"),
        b'{"__proto__": {"x": 1}}',
        b'{"path": "/jobs/../../metrics"}',
        b'{"url": "https://x\\u0000y"}',
        b'{"url": "file:///etc/passwd"}',
        b'{"upload_id": "../../secret.txt"}',
        b'{"path": "//x"}',
    ],
)
@pytest.mark.parametrize("path", ["/estimate", "/tickets", "/process", "/webhooks/test"])
def test_json_that_makes_no_sense_is_refused(http: httpx.Client, path: str, body: bytes) -> None:
    refused(http.post(path, content=body, headers={"Content-Type": "application/json"}))


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("multipart/form-data", b"--b\r\n"),
        ("multipart/form-data; boundary=", b"--b\r\n"),
        ("multipart/form-data; boundary=" + "b" * 5000, b"--b\r\n"),
        ("multipart/form-data; boundary=b; boundary=c", b"--b\r\n"),
        (
            "multipart/form-data; boundary=b",
            b"--b\r\nContent-Disposition: form-data; name=a\r\n\r\nx\r\n" * 10_000,
        ),
        ("multipart/form-data; boundary=b", b"--b\r\n" + b"X: y\r\n" * 20_000),
        ("multipart/form-data; boundary=b", b"--b\r\nX: " + b"y" * 900_000 + b"\r\n\r\n--b--"),
        (
            "multipart/form-data; boundary=b",
            b'--b\r\nContent-Disposition: form-data; name="' + b"n" * 900_000 + b'"\r\n\r\nx\r\n--b--\r\n',
        ),
        (
            "multipart/form-data; boundary=b",
            b"--b\r\nContent-Disposition: form-data; name=file\r\n"
            b"Content-Type: multipart/mixed; boundary=c\r\n\r\n"
            b"--c\r\nContent-Disposition: file; filename=a.wav\r\n\r\nRIFF\r\n--c--\r\n--b--\r\n",
        ),
        ("multipart/mixed; boundary=b", b"--b--"),
        ("application/x-www-form-urlencoded", b"file=x"),
        ("application/json; charset=utf-16", b"{}"),
        ("text/html", b"<form>"),
        ("\u00ff".encode("latin-1"), b"x"),
    ],
)
def test_forms_that_make_no_sense_are_refused(
    service: Service, http: httpx.Client, kind: str | bytes, body: bytes
) -> None:
    refused(http.post("/process", content=body, headers=[(b"Content-Type", kind)]))
    assert not list((service.folder / "uploads").glob(".incoming-*"))


@pytest.mark.parametrize(
    "method", ["TRACE", "CONNECT", "OPTIONS", "PUT", "PROPFIND", "GETX", "get", "x" * 1000]
)
def test_other_methods_do_nothing(service: Service, job_id: str, method: str) -> None:
    for path in ("/jobs", "/process", f"/jobs/{job_id}", "/livez", "/openapi.json"):
        head = f"{method} {path} HTTP/1.1\r\nHost: s\r\nX-API-Key: {KEY}\r\nConnection: close\r\n\r\n"
        said = raw(service, head.encode())
        assert statuses(said) in ([405], [400]), said[:200]
        assert KEY.encode() not in said  # nothing is echoed, as TRACE would


def test_a_host_header_does_not_come_back(service: Service, job_id: str) -> None:
    for path in ("/jobs/", f"/jobs/{job_id}/", "/docs/", "/livez/", "//elsewhere.example/"):
        said = raw(
            service,
            f"GET {path} HTTP/1.1\r\nHost: elsewhere.example\r\nX-API-Key: {KEY}\r\n"
            "X-Forwarded-Host: elsewhere.example\r\nConnection: close\r\n\r\n".encode(),
        )
        assert b"elsewhere.example" not in said
        assert statuses(said) in ([200], [404])


def test_a_forged_address_is_not_believed(service: Service) -> None:
    claims = ("X-Real-IP", "CF-Connecting-IP", "True-Client-IP", "X-Client-IP")
    forged = {"X-Forwarded-For": "203.0.113.7, 198.51.100.1", "Forwarded": "for=203.0.113.7"}
    forged |= dict.fromkeys(claims, "203.0.113.7")
    for headers in (
        forged,
        {"X-Forwarded-For": "x" * 10_000},
        {"X-Forwarded-For": "127.0.0.1, ::1, [::1]:80"},
    ):
        assert httpx.get(f"{service.url}/jobs", headers=headers, timeout=60).status_code == 401
    assert "203.0.113" not in service.said.read_text()
