"""The real blackbox exporter and a real HTTPS server: how long is its certificate good, does it answer?"""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import trustme

from tests.monitors import Blackbox, Prometheus
from tests.service import free_port
from tests.sinks import awaited


class Answering(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def https_server(authority: trustme.CA, good_for: timedelta) -> Iterator[str]:
    """A server whose certificate is good for so long; its URL."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1", not_after=datetime.now(UTC) + good_for).configure_cert(context)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Answering)
    server.handle_error = lambda *_: None  # type: ignore[method-assign]  # a client that hangs up
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"https://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.slow
def test_a_certificate_that_is_not_renewed_is_told_before_its_end_and_the_end_is_told_too(
    tmp_path: Path,
) -> None:
    authority = trustme.CA()
    trusted = tmp_path / "authority.pem"
    authority.cert_pem.write_to_path(str(trusted))
    ends = {"good": timedelta(days=40), "old": timedelta(days=10), "expired": timedelta(days=-1)}
    fires = {
        "good": set(),
        "old": {"AudioCertificateExpiring"},
        "expired": {"AudioSiteDown"},
    }  # type: dict[str, set[str]]
    with ExitStack() as stack:
        blackbox = stack.enter_context(Blackbox(tmp_path / "blackbox", trusted))
        for name, good_for in ends.items():
            site = stack.enter_context(https_server(authority, good_for))
            nobody = f"127.0.0.1:{free_port()}"
            watching = Prometheus(
                tmp_path / name, nobody, "no-key", site=(site, blackbox.address), faster=3600
            )
            with watching as prometheus:
                seen = prometheus.value
                awaited(lambda seen=seen: seen("probe_success") is not None, "the first probe")
                expected = fires[name]
                if expected:
                    awaited(lambda p=prometheus, e=expected: e <= p.firing(), f"{expected}")
                of_site = {"AudioCertificateExpiring", "AudioCertificateEnds", "AudioSiteDown"}
                assert prometheus.firing() & of_site == expected, name
                assert seen("probe_success") == (name != "expired")
