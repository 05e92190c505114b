"""A receiver of webhooks: a real HTTP server that keeps what it gets and answers as it is told."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

from standardwebhooks import Webhook


@dataclass(frozen=True)
class Got:
    """One request.

    Attributes:
        path: with its query.
        headers: names in lower case.
        body: as it came.
    """

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def webhook_id(self) -> str:
        return self.headers["webhook-id"]

    def verified(self, secret: str) -> Any:
        """The message, after its signature was checked as receivers check it."""
        return Webhook(secret).verify(self.body, self.headers)


Reply = int | tuple[int, dict[str, str]]
"""HTTP status, with headers or without."""


class Receiver:
    """Listens on a free port of 127.0.0.1. A context manager.

    Args:
        replies: one after another; the last one for ever. 204 where there are none.
        before: called with each request before it is answered.
    """

    def __init__(self, replies: Sequence[Reply] = (), before: Callable[[Got], None] | None = None) -> None:
        self.got: list[Got] = []
        self.replies = list(replies)
        self.arrived = threading.Condition()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                got = Got(self.path, headers, body)
                with receiver.arrived:
                    receiver.got.append(got)
                    receiver.arrived.notify_all()
                if before is not None:
                    before(got)
                reply = receiver._next()
                status, more = reply if isinstance(reply, tuple) else (reply, {})
                self.send_response(status)
                for name, value in {"content-length": "0", **more}.items():
                    self.send_header(name, value)
                self.end_headers()

            do_GET = do_POST

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.handle_error = lambda *_: None  # type: ignore[method-assign]  # A client that has gone.
        self.url = f"http://127.0.0.1:{self._server.server_port}/hook"

    def wait_for(self, count: int) -> list[Got]:
        """What came, as soon as there is so much of it."""
        with self.arrived:
            assert self.arrived.wait_for(lambda: len(self.got) >= count, 60), f"{len(self.got)} of {count}"
            return list(self.got)

    def _next(self) -> Reply:
        with self.arrived:
            if not self.replies:
                return 204
            return self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]

    def __enter__(self) -> Receiver:
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
