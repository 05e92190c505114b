"""The audit of dependencies: the real pip-audit against a database of advisories that runs here."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from api.errors import ServiceError
from api.keeping.dependencies import Audited, audit_dependencies
from api.keeping.errors import AdvisoriesUnavailable
from tests.service import free_port

PINS = "jinja2==2.4.1\nidna==3.11\n"
ADVISORY = {
    "id": "GHSA-462w-v97r-4m45",
    "modified": "2024-09-20T00:00:00Z",
    "affected": [
        {
            "package": {"name": "jinja2", "ecosystem": "PyPI"},
            "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "2.10.1"}]}],
            "versions": ["2.4.1"],
        }
    ],
}


@contextmanager
def advisories(answer: Callable[[dict[str, object]], tuple[int, bytes]]) -> Iterator[str]:
    """A service that speaks like OSV; gives its URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            status, body = answer(asked)
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1/query"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def knows(asked: dict[str, object]) -> tuple[int, bytes]:
    package = asked["package"]
    assert isinstance(package, dict)
    found = {"vulns": [ADVISORY]} if package["name"] == "jinja2" else {}
    return 200, json.dumps(found).encode()


@pytest.fixture
def pins(tmp_path: Path) -> Path:
    (tmp_path / "requirements.txt").write_text(PINS)
    return tmp_path / "requirements.txt"


@pytest.mark.long
def test_a_vulnerable_package_is_named_and_a_sound_one_is_not(pins: Path) -> None:
    with advisories(knows) as url:
        assert audit_dependencies(pins, url) == Audited(2, [], {"jinja2": ["GHSA-462w-v97r-4m45"]})
    with advisories(lambda _: (200, b"{}")) as url:
        assert audit_dependencies(pins, url).vulnerable == {}


@pytest.mark.long
@pytest.mark.parametrize(
    "answer", [(503, b"busy"), (200, b"<html>not json"), (200, b'{"vulns": 7}')], ids=str
)
def test_a_database_that_answers_nonsense_is_not_taken_for_one_that_knows_nothing(
    answer: tuple[int, bytes], pins: Path
) -> None:
    with advisories(lambda _: answer) as url, pytest.raises(AdvisoriesUnavailable) as failed:
        audit_dependencies(pins, url)
    assert_told(failed.value)


@pytest.mark.long
def test_a_database_that_cannot_be_reached_is_told_by_a_code(pins: Path) -> None:
    with pytest.raises(AdvisoriesUnavailable) as failed:
        audit_dependencies(pins, f"http://127.0.0.1:{free_port()}/v1/query")
    assert_told(failed.value)


@pytest.mark.long
def test_a_database_that_never_answers_is_given_up(pins: Path) -> None:
    let_go = threading.Event()

    def hangs(_: dict[str, object]) -> tuple[int, bytes]:
        let_go.wait(60)
        return 200, b"{}"

    with advisories(hangs) as url, pytest.raises(AdvisoriesUnavailable, match="within 5 s"):
        try:
            audit_dependencies(pins, url, timeout_s=5.0)
        finally:
            let_go.set()


def assert_told(error: ServiceError) -> None:
    assert error.code == "advisories_unavailable" and error.retryable
    assert "nothing is known of vulnerabilities" in error.message and "\n" not in error.message
