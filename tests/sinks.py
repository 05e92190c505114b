"""Receivers of messages: an HTTP server and a mail server of this machine that keep what they are sent."""

from __future__ import annotations

import email
import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from email.message import EmailMessage
from email.policy import default
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, TypeVar

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from tests.service import free_port

_Found = TypeVar("_Found")
_WAIT_S = 60


@dataclass(frozen=True)
class Posted:
    """What an HTTP sink was sent.

    Attributes:
        path: of the request.
        body: as it came.
    """

    path: str
    body: bytes

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)

    @property
    def text(self) -> str:
        """The body as text, whatever its form, with JSON's escapes read."""
        return json.dumps(self.json, ensure_ascii=False)


class HttpSink:
    """An HTTP server that answers every request with one status. A context manager.

    Attributes:
        url: without a path.
        status: of its answers; may be changed at any time.
        posted: what it was sent, in order.
    """

    def __init__(self, status: int = 200) -> None:
        self.status = status
        self.posted: list[Posted] = []
        sink = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                sink.posted.append(Posted(self.path, body))
                answer = b"ok" if self.path.startswith("/services") else b'{"status":"success"}'
                self.send_response(sink.status)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_port
        self.url = f"http://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever)

    def __enter__(self) -> HttpSink:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class MailSink:
    """A mail server that takes everything. A context manager.

    Attributes:
        port: that it listens on.
        mails: what it was sent, in order.
    """

    def __init__(self) -> None:
        self.port = free_port()
        self.mails: list[EmailMessage] = []
        self._controller = Controller(self, hostname="127.0.0.1", port=self.port)

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:
        """Keep a mail: aiosmtpd calls this."""
        assert isinstance(envelope.content, bytes)
        message = email.message_from_bytes(envelope.content, policy=default)
        assert isinstance(message, EmailMessage)
        self.mails.append(message)
        return "250 Message accepted"

    def __enter__(self) -> MailSink:
        self._controller.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._controller.stop()


def text_of(mail: EmailMessage) -> str:
    """The text of a mail."""
    body = mail.get_body(("plain", "html"))
    assert isinstance(body, EmailMessage)
    return str(body.get_content())


def awaited(
    look: Callable[[], _Found], what: str = "what was waited for", within_s: float = _WAIT_S
) -> _Found:
    """What `look` finds, as soon as that is something."""
    deadline = time.monotonic() + within_s
    while not (found := look()):
        assert time.monotonic() < deadline, f"{what} did not come"
        time.sleep(0.05)
    return found
