"""Refuses a request without reading its body."""

from __future__ import annotations

import anyio
from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

_LINGER_BYTES = 1 << 20
_LINGER_S = 1.0


async def refuse(response: Response, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer, and let go of a connection whose client is still sending.

    Without ``Connection: close`` the server would take in all of the body, to get at the next request. A
    little of it is taken before the connection is closed, since a client that is reset while it sends may
    never see the answer (RFC 9112, section 9.6).

    Args:
        response: small and whole.
        scope: of the connection.
        receive: of the connection; nothing, or only a part, of the body has been read.
        send: of the connection.
    """
    headers = Headers(scope=scope)
    if headers.get("content-length", "0") == "0" and "transfer-encoding" not in headers:
        await response(scope, receive, send)
        return
    response.headers["Connection"] = "close"

    async def send_and_linger(message: Message) -> None:
        last = message["type"] == "http.response.body"
        if not last or "expect" in headers:  # who waits for 100 Continue has sent nothing and will not
            await send(message)
            return
        await send({**message, "more_body": True})
        await _linger(receive)
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    await response(scope, receive, send_and_linger)


async def _linger(receive: Receive) -> None:
    taken = 0
    with anyio.move_on_after(_LINGER_S):
        while taken < _LINGER_BYTES:
            message = await receive()
            taken += len(message.get("body", b""))
            if message["type"] != "http.request" or not message.get("more_body", False):
                return
