from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from scripts.health import main
from tests.service import free_port


class _Half(BaseHTTPRequestHandler):
    """Answers what the API and the UI answer to a health check, and 503 on a path of its own."""

    def do_GET(self) -> None:
        self.send_response(200 if self.path in ("/health", "/_stcore/health") else 503)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def port() -> Iterator[int]:
    with HTTPServer(("127.0.0.1", 0), _Half) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def test_both_are_asked_unless_one_is_named(
    port: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("API_PORT", str(port))
    monkeypatch.setenv("UI_PORT", str(free_port()))
    assert (main(["api"]), capsys.readouterr().out) == (0, "ok\n")
    assert main([]) == main(["ui"]) == 1
    assert "ui does not answer" in capsys.readouterr().out
    monkeypatch.setenv("UI_PORT", str(port))
    assert main([]) == main(["api", "ui"]) == 0


def test_an_unknown_name_is_refused() -> None:
    assert main(["worker"]) == 2
