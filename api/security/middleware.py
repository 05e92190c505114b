"""Who may come in, how often, and with how much: decided in pure ASGI, before the body of a request is read.

FastAPI reads all of a body before its dependencies run, so a check there would take in 300 MB to say no.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar
from urllib.parse import parse_qsl

import anyio
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.errors import Forbidden, PayloadTooLarge, Unauthenticated, UploadStalled
from api.limits import LimitExceeded, RateLimits
from api.problems import error_response, request_id_of, response_of, status_problem
from api.security.access import Found, RouteTable, route_path
from api.security.keys import KeyStore
from api.security.principal import Principal
from api.security.refusal import refuse
from api.security.tickets import Tickets
from api.telemetry import bound
from pipeline.errors import PipelineError

SMALL_BODY_BYTES = 1 << 20
"""The most that a body may hold that is no recording."""
UPLOAD_OVERHEAD_BYTES = 1 << 20
"""What the form around a recording may take."""
_MOST_PARAMETERS = 100

_T = TypeVar("_T")


class Access:
    """Finds the rule of a request, and lets it pass only with a key or a ticket that the rule asks for.

    Puts ``route`` and ``rule`` into the state of the request, and ``principal`` unless the route is public. A
    request for which the table has no rule goes no further.

    Args:
        app: the rest.
        table: the rules.
        keys: the API keys.
        tickets: the tickets.
        limits: how often an address may be refused.
    """

    def __init__(
        self, app: ASGIApp, *, table: RouteTable, keys: KeyStore, tickets: Tickets, limits: RateLimits
    ) -> None:
        self._app = app
        self._table = table
        self._keys = keys
        self._tickets = tickets
        self._limits = limits
        self._threads = anyio.CapacityLimiter(8)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a connection."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path = route_path(scope)
        found = self._table.find(scope["method"], path)
        if found is None:
            await _no_route(self._table, path, scope, receive, send)
            return
        if path != "/" and path.endswith("/"):
            scope = {**scope, "path": scope["path"][:-1]}
        state = scope["state"]
        state["route"], state["rule"] = found.route, found.rule
        if found.rule.scope is None:
            await self._app(scope, receive, send)
            return
        try:
            principal = await self._principal(scope, path, found)
        except PipelineError as exc:
            await refuse(await self._refusal(exc, scope), scope, receive, send)
            return
        state["principal"] = principal
        with bound(key_id=principal.key_id):
            await self._app(scope, receive, send)

    async def _principal(self, scope: Scope, path: str, found: Found) -> Principal:
        headers = Headers(scope=scope)
        key = _api_key(headers)
        ticket = _ticket(scope, headers) if key is None and found.rule.ticket else None
        if key is not None:
            principal = await self._in_thread(self._keys.authenticate, key)
        elif ticket is not None:
            said = self._tickets.read(ticket)
            if not said.opens(scope["method"], path):
                raise Forbidden("The ticket is for something else.", "Ask for a new one: POST /tickets.")
            principal = await self._in_thread(self._keys.principal, said.key_id)
        else:
            raise Unauthenticated(
                "The request carries no API key.", "Send it as the header X-API-Key, or as a Bearer token."
            )
        scope["state"]["suspect"] = principal
        if found.rule.scope not in principal.scopes:
            raise Forbidden(f"This key lacks the scope {found.rule.scope}.", "Ask for a key that has it.")
        return principal

    async def _in_thread(self, function: Callable[[str], _T], argument: str) -> _T:
        return await anyio.to_thread.run_sync(function, argument, limiter=self._threads)

    async def _refusal(self, error: PipelineError, scope: Scope) -> Response:
        request_id = request_id_of(scope)
        if isinstance(error, Forbidden | Unauthenticated):
            try:
                await anyio.to_thread.run_sync(self._limits.take_refusal, scope, limiter=self._threads)
            except LimitExceeded as exc:
                return limited_response(exc, request_id)
        return error_response(error, request_id)


class BodyLimit:
    """Refuses a body that says that it is too long, and cuts one that turns out to be, or that stalls.

    Args:
        app: the rest.
        upload_bytes: size of the largest recording.
        idle_s: seconds without a byte after which a body has stalled.
    """

    def __init__(self, app: ASGIApp, *, upload_bytes: int, idle_s: float) -> None:
        self._app = app
        self._upload_bytes = upload_bytes
        self._idle_s = idle_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        rule = scope["state"].get("rule")
        upload = rule is not None and rule.upload
        most = self._upload_bytes + UPLOAD_OVERHEAD_BYTES if upload else SMALL_BODY_BYTES
        headers = Headers(scope=scope)
        if "content-length" in headers and "transfer-encoding" in headers:
            # Who stands before us may believe the other one, and see another request (RFC 9112, section 6.3).
            problem = status_problem(400, request_id_of(scope), "The request states its length in two ways.")
            await refuse(response_of(problem), scope, receive, send)
            return
        said = headers.get("content-length", "")
        too_large = _too_large(self._upload_bytes if upload else most)
        if said.isdecimal() and int(said) > most:
            await refuse(error_response(too_large, request_id_of(scope)), scope, receive, send)
            return
        body = _WatchedBody(scope, receive, send, most, self._idle_s, too_large)
        try:
            await self._app(scope, body.receive, body.send)
        except (PayloadTooLarge, UploadStalled):
            if body.fault is None or body.started:
                raise
        if body.fault is not None and not body.started:
            await refuse(error_response(body.fault, request_id_of(scope)), scope, receive, send)


class _WatchedBody:
    """The body of one request, which ends in an error where it grows too long or stalls."""

    def __init__(
        self, scope: Scope, receive: Receive, send: Send, most: int, idle_s: float, too_large: PipelineError
    ) -> None:
        self._scope, self._receive, self._send = scope, receive, send
        self._most = most
        self._idle_s = idle_s
        self._too_large = too_large
        self._taken = 0
        self._whole = False
        self.fault: PipelineError | None = None
        self.started = False
        self._replaced = False

    async def receive(self) -> Message:
        if self._whole:
            return await self._receive()  # Nothing comes any more but the end of the connection.
        try:
            with anyio.fail_after(self._idle_s):
                message = await self._receive()
        except TimeoutError as exc:
            self.fault = UploadStalled(f"Nothing came for {self._idle_s:.0f} s.", "Send it again.")
            raise self.fault from exc
        self._taken += len(message.get("body", b""))
        if self._taken > self._most:
            self.fault = self._too_large
            raise self.fault
        self._whole = not message.get("more_body", False)
        return message

    async def send(self, message: Message) -> None:
        if self.fault is not None and not self.started:
            # Whatever the application makes of a body that broke off, this is the reason.
            self.started = self._replaced = True
            answer = error_response(self.fault, request_id_of(self._scope))
            await refuse(answer, self._scope, self._receive, self._send)
        elif not self._replaced:
            self.started = True
            await self._send(message)


class RateLimit:
    """Refuses a key that asks too often, and tells it how much is left.

    Args:
        app: the rest.
        limits: of every route.
    """

    def __init__(self, app: ASGIApp, *, limits: RateLimits) -> None:
        self._app = app
        self._limits = limits
        self._threads = anyio.CapacityLimiter(8)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a connection."""
        if scope["type"] != "http" or scope["state"].get("principal") is None:
            await self._app(scope, receive, send)
            return
        route = scope["state"]["route"]
        try:
            if self._limits.blocks:
                left = await anyio.to_thread.run_sync(self._limits.take, scope, route, limiter=self._threads)
            else:
                left = self._limits.take(scope, route)
        except LimitExceeded as exc:
            await refuse(limited_response(exc, request_id_of(scope)), scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start" and left is not None:
                MutableHeaders(scope=message).update(left.headers)
            await send(message)

        await self._app(scope, receive, send_with_headers)


def limited_response(error: LimitExceeded, request_id: str) -> Response:
    """The answer to who asks too often."""
    response = error_response(error, request_id)
    response.headers.update(error.allowance.headers)
    return response


def _too_large(most: int) -> PayloadTooLarge:
    return PayloadTooLarge(
        f"The body may hold {most / (1 << 20):.0f} MB.", "Send a shorter or a compressed recording."
    )


async def _no_route(table: RouteTable, path: str, scope: Scope, receive: Receive, send: Send) -> None:
    methods = table.methods(path)
    request_id = request_id_of(scope)
    if methods:
        allowed = ", ".join(sorted(methods))
        problem = status_problem(405, request_id, hint=f"It takes {allowed}.")
        response = response_of(problem, {"Allow": allowed})
    else:
        response = response_of(
            status_problem(404, request_id, "There is nothing at this path.", "See /docs.")
        )
    await refuse(response, scope, receive, send)


def _api_key(headers: Headers) -> str | None:
    """The key that a request carries; None without one.

    Raises:
        Forbidden: it carries several.
    """
    bearers = [
        value[7:].strip() for value in headers.getlist("authorization") if value[:7].lower() == "bearer "
    ]
    keys = {key for key in (*headers.getlist("x-api-key"), *bearers) if key}
    if len(keys) > 1:
        # A proxy and we might each take another one for the key.
        raise Forbidden("The request carries several API keys.", "Send one.")
    return keys.pop() if keys else None


def _ticket(scope: Scope, headers: Headers) -> str | None:
    given = headers.get("x-ticket")
    if given:
        return given
    query = scope.get("query_string", b"").decode("latin-1")
    if query.count("&") >= _MOST_PARAMETERS:
        return None
    values = [value for name, value in parse_qsl(query) if name == "ticket"]
    return values[0] if len(values) == 1 else None
