"""Puts everything that stands between the network and the routes around an application, in its order."""

from __future__ import annotations

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

from api.audit import Audit
from api.audit_trail import AuditTrail
from api.limits import RateLimits
from api.problems import install_problems
from api.request_log import Observe, RequestLog
from api.security.access import ROUTE_SCOPES, RouteTable
from api.security.keys import KeyStore
from api.security.middleware import Access, BodyLimit, RateLimit
from api.security.tickets import Tickets
from api.settings import Settings
from api.uploads.protocol import TusProtocol

_EXPOSED = (
    "Location", "Retry-After", "X-Request-ID", "X-Repeated", "RateLimit", "RateLimit-Policy",
    "ETag", "Content-Disposition", "Accept-Ranges", "Content-Range",
    "Upload-Offset", "Upload-Length", "Upload-Metadata", "Upload-Expires", "Tus-Resumable", "Tus-Version",
    "Tus-Extension", "Tus-Max-Size", "Tus-Checksum-Algorithm",
)  # fmt: skip


def install_guards(
    app: FastAPI,
    settings: Settings,
    *,
    keys: KeyStore,
    tickets: Tickets,
    audit: Audit,
    limits: RateLimits | None = None,
    observe: Observe | None = None,
) -> None:
    """Guard an application.

    A request passes, from the outside: id and log, CORS, tus, audit, key, size, rate.

    Args:
        app: with or without its routes yet.
        settings: rates, sizes, proxies, origins.
        keys: the API keys.
        tickets: the tickets.
        audit: the audit log.
        limits: that are counted elsewhere too; None: the settings'.
        observe: is told method, route, status and seconds of each request, for metrics.

    Raises:
        SettingsInvalid: a rate is for a route that there is not.
    """
    limits = limits or RateLimits(settings)
    install_problems(app)
    # The last one added is the outermost.
    app.add_middleware(RateLimit, limits=limits)
    app.add_middleware(BodyLimit, upload_bytes=settings.max_file_bytes, idle_s=settings.body_idle_s)
    app.add_middleware(Access, table=RouteTable(ROUTE_SCOPES), keys=keys, tickets=tickets, limits=limits)
    app.add_middleware(AuditTrail, audit=audit)
    app.add_middleware(TusProtocol)
    if settings.cors_origins:
        # Keys go in a header, so no cookies and no credentials.
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            # OPTIONS too: how a page learns what uploads may hold.
            allow_methods=("GET", "HEAD", "POST", "PATCH", "DELETE", "OPTIONS"),
            allow_headers=("*",),
            expose_headers=_EXPOSED,
        )
    app.add_middleware(RequestLog, trusted=settings.trusted_proxies, observe=observe)
