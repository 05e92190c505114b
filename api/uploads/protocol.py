"""What tus asks of every request and answer, whichever guard or route answers."""

from __future__ import annotations

from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.security.access import route_path
from api.uploads.headers import VERSION

_UNSUPPORTED: Final = 412
_OVERRIDABLE: Final = frozenset({"PATCH", "DELETE"})


class TusProtocol:
    """Names the version on all answers below /uploads, and takes a POST for what X-HTTP-Method-Override says.

    It stands before all that judges a request by its method.

    Args:
        app: the rest.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a connection."""
        if scope["type"] != "http" or route_path(scope).split("/")[1:2] != ["uploads"]:
            await self._app(scope, receive, send)
            return
        wanted = Headers(scope=scope).get("x-http-method-override", "").upper()
        if scope["method"] == "POST" and wanted in _OVERRIDABLE:
            scope = {**scope, "method": wanted}

        async def send_named(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["Tus-Resumable"] = VERSION
                if message["status"] == _UNSUPPORTED:
                    headers["Tus-Version"] = VERSION
            await send(message)

        await self._app(scope, receive, send_named)
