"""The outermost middleware: gives each request an id, logs it, and answers for what nobody has caught."""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Callable, Sequence

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.problems import internal_error
from api.security.access import route_path
from api.security.address import client_address
from api.settings_types import Network
from api.telemetry import bound

logger = structlog.get_logger(__name__)

_SANE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_NOISE = frozenset({"/livez", "/readyz", "/health", "/metrics"})

Observe = Callable[[str, str, int, float], None]
"""Is told method, route, status and seconds of every request."""


class RequestLog:
    """Puts ``request_id`` and ``address`` into each request's state, and ``X-Request-ID`` on each answer.

    Args:
        app: the rest.
        trusted: networks of proxies whose ``X-Forwarded-For`` is believed.
        observe: is told of every request when it ends.
    """

    def __init__(
        self, app: ASGIApp, *, trusted: Sequence[Network] = (), observe: Observe | None = None
    ) -> None:
        self._app = app
        self._trusted = trusted
        self._observe = observe

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        state = scope.setdefault("state", {})
        state["request_id"] = _request_id(Headers(scope=scope))
        state["address"] = client_address(scope, self._trusted)
        with bound(request_id=state["request_id"]):
            await _Exchange(scope, receive, send).run(self._app, self._observe)


class _Exchange:
    """One request and its answer, counted."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._scope, self._receive, self._send = scope, receive, send
        self._id = scope["state"]["request_id"]
        self._status: int | None = None
        self._complete = False
        self._bytes_in = self._bytes_out = 0

    async def run(self, app: ASGIApp, observe: Observe | None) -> None:
        began = time.perf_counter()
        try:
            await app(self._scope, self.receive, self.send)
        except Exception:
            # Nothing below has caught it: it is a mistake of ours.
            logger.exception("unexpected error")
            if self._status is None:
                await internal_error(self._id)(self._scope, self.receive, self.send)
            elif not self._complete:
                raise  # The server closes the connection: the client must not take half an answer for all.
        finally:
            self._log(time.perf_counter() - began, observe)

    async def receive(self) -> Message:
        message = await self._receive()
        self._bytes_in += len(message.get("body", b""))
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._status = message["status"]
            MutableHeaders(scope=message)["X-Request-ID"] = self._id
        elif message["type"] == "http.response.body":
            self._bytes_out += len(message.get("body", b""))
            self._complete = not message.get("more_body", False)
        await self._send(message)

    def _log(self, seconds: float, observe: Observe | None) -> None:
        state, path = self._scope["state"], route_path(self._scope)
        principal = state.get("principal")
        # No query: it may hold a ticket. 499 as in nginx: the client went away before an answer.
        status = self._status or 499
        (logger.debug if path in _NOISE and status < 500 else logger.info)(
            "request",
            method=self._scope["method"],
            path=path,
            status=status,
            seconds=round(seconds, 4),
            bytes_in=self._bytes_in,
            bytes_out=self._bytes_out,
            complete=self._complete,
            address=state["address"],
            key_id=principal.key_id if principal else None,
        )
        if observe is not None:
            observe(self._scope["method"], state.get("route", "unknown"), status, seconds)


def _request_id(headers: Headers) -> str:
    given = headers.get("x-request-id", "")
    return given if _SANE_ID.fullmatch(given) else str(uuid.uuid4())
