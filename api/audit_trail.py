"""Writes an audit entry for every request that does something, whether or not its route thinks of it."""

from __future__ import annotations

import anyio
import structlog
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.audit import Audit
from api.security.access import route_path
from api.security.principal import Principal
from pipeline.errors import PipelineError

logger = structlog.get_logger(__name__)

_STATUS = {200: "done", 201: "done", 202: "accepted", 204: "done", 206: "done", 304: "unchanged"}


def note(request: Request, *, input: str = "", output: str = "", job_id: str = "") -> None:
    """Say more about what a request does than its path does.

    Args:
        request: the one being handled.
        input: such as the file name and the options.
        output: such as what was made.
        job_id: the job that it is about.
    """
    request.scope["state"].setdefault("audit", {}).update(
        {k: v for k, v in {"input": input, "output": output, "job_id": job_id}.items() if v}
    )


def goes_on(request: Request) -> None:
    """Say that a request goes on with what an earlier one began, and needs no entry of its own."""
    request.scope["state"]["goes_on"] = True


class AuditTrail:
    """Writes the entry before the answer goes out, so that nothing was answered that is not in the log.

    Recorded is every request whose rule has an action, and every one that was forbidden. Of a file that a
    player fetches in ranges, the first range counts; of one that it fetches in parts, the first part.

    Args:
        app: the rest; `api.security.middleware.Access` is inside.
        audit: the log.
    """

    def __init__(self, app: ASGIApp, *, audit: Audit) -> None:
        self._app = app
        self._audit = audit
        self._threads = anyio.CapacityLimiter(4)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_recorded(message: Message) -> None:
            if message["type"] == "http.response.start" and _counts(scope, message["status"]):
                await self._record(scope, message["status"])
            await send(message)

        await self._app(scope, receive, send_recorded)

    async def _record(self, scope: Scope, status: int) -> None:
        state = scope["state"]
        principal: Principal | None = state.get("principal") or state.get("suspect")
        said, rule = state.get("audit", {}), state.get("rule")

        def record() -> None:
            self._audit.record(
                rule.action or "access",
                user=principal.owner if principal else "unknown",
                key_id=principal.key_id if principal else "",
                input=said.get("input") or f"{scope['method']} {scope['path']}",
                output=said.get("output", ""),
                status=_STATUS.get(status, "forbidden" if status == 403 else f"refused {status}"),
                job_id=said.get("job_id") or _job_id(scope),
                request_id=state.get("request_id", ""),
                address=state.get("address", ""),
            )

        try:
            # Also when the client has gone: what was done was done.
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(record, limiter=self._threads)
        except PipelineError as exc:
            logger.critical("an action could not be recorded", action=rule.action, reason=exc.message)


def _counts(scope: Scope, status: int) -> bool:
    rule = scope["state"].get("rule")
    if rule is None or rule.scope is None:
        return False
    if status == 403:
        return True
    if rule.action is None or scope["state"].get("principal") is None or scope["state"].get("goes_on"):
        return False
    wanted = Headers(scope=scope).get("range", "bytes=0-")
    return scope["method"] not in {"GET", "HEAD"} or (
        scope["method"] == "GET" and wanted.replace(" ", "").startswith("bytes=0-")
    )


def _job_id(scope: Scope) -> str:
    parts = route_path(scope).split("/")
    return parts[2] if len(parts) > 2 and parts[1] == "jobs" else ""
