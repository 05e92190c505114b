"""Which route needs what: one table, and whatever is not in it does not exist."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fastapi.routing import iter_route_contexts

from api.security.principal import Scope


@dataclass(frozen=True, slots=True)
class Rule:
    """What a route needs.

    Attributes:
        scope: that the key must have; None: no key at all.
        ticket: whether a ticket does instead of a key.
        upload: whether its body may be as large as a recording.
        action: what it is called in the audit log; None: it changes nothing and hands no recording out.
    """

    scope: Scope | None
    ticket: bool = False
    upload: bool = False
    action: str | None = None


_PUBLIC = Rule(None)
_READ = Rule(Scope.READ)

ROUTE_SCOPES: Mapping[str, Rule] = {
    "GET /livez": _PUBLIC,
    "GET /readyz": _PUBLIC,
    "GET /health": _PUBLIC,
    "GET /docs": _PUBLIC,
    "GET /docs/oauth2-redirect": _PUBLIC,
    "GET /redoc": _PUBLIC,
    "GET /openapi.json": _PUBLIC,
    "GET /metrics": Rule(Scope.METRICS),
    "GET /workers": Rule(Scope.ADMIN),
    "GET /admin/keys": Rule(Scope.ADMIN),
    "POST /admin/keys": Rule(Scope.ADMIN, action="key.create"),
    "DELETE /admin/keys/{key_id}": Rule(Scope.ADMIN, action="key.revoke"),
    "GET /admin/queue": Rule(Scope.ADMIN),
    "GET /admin/disks": Rule(Scope.ADMIN),
    "GET /admin/holds": Rule(Scope.ADMIN),
    "POST /admin/holds": Rule(Scope.ADMIN, action="hold.place"),
    "DELETE /admin/holds/{hold_id}": Rule(Scope.ADMIN, action="hold.release"),
    "POST /admin/erasures": Rule(Scope.ADMIN, action="erasure"),
    "GET /admin/audit": Rule(Scope.ADMIN),
    "GET /admin/audit/verify": Rule(Scope.ADMIN),
    "POST /process": Rule(Scope.SUBMIT, ticket=True, upload=True, action="process"),
    "GET /batches": _READ,
    "POST /batches": Rule(Scope.SUBMIT, ticket=True, action="batch"),
    "POST /batches/{batch_id}/items": Rule(Scope.SUBMIT, ticket=True, action="batch"),
    "GET /batches/{batch_id}": _READ,
    "GET /batches/{batch_id}/events": Rule(Scope.READ, ticket=True),
    "GET /batches/{batch_id}/archive": Rule(Scope.READ, ticket=True, action="download"),
    "POST /batches/{batch_id}/cancel": Rule(Scope.SUBMIT, action="batch.cancel"),
    "POST /direct-uploads": Rule(Scope.SUBMIT, action="upload.direct"),
    "OPTIONS /uploads": _PUBLIC,
    "GET /uploads": Rule(Scope.SUBMIT),
    "POST /uploads": Rule(Scope.SUBMIT, ticket=True, upload=True, action="upload"),
    "GET /uploads/{upload_id}": Rule(Scope.SUBMIT),
    "HEAD /uploads/{upload_id}": Rule(Scope.SUBMIT, ticket=True),
    # No entry for each piece of a recording: there is one for its beginning, and one for its job.
    "PATCH /uploads/{upload_id}": Rule(Scope.SUBMIT, ticket=True, upload=True),
    "DELETE /uploads/{upload_id}": Rule(Scope.SUBMIT, ticket=True, action="upload.delete"),
    "POST /estimate": Rule(Scope.SUBMIT),
    "GET /models": _READ,
    "GET /usage": _READ,
    "POST /tickets": Rule(Scope.READ, action="ticket"),
    "GET /jobs": _READ,
    "GET /jobs/{job_id}": _READ,
    "DELETE /jobs/{job_id}": Rule(Scope.SUBMIT, action="delete"),
    "POST /jobs/{job_id}/cancel": Rule(Scope.SUBMIT, action="cancel"),
    "POST /jobs/{job_id}/retry": Rule(Scope.SUBMIT, action="retry"),
    "GET /jobs/{job_id}/events": Rule(Scope.READ, ticket=True),
    "GET /jobs/{job_id}/manifest": Rule(Scope.READ, ticket=True, action="download"),
    "GET /jobs/{job_id}/stems/{name}": Rule(Scope.READ, ticket=True, action="download"),
    "GET /jobs/{job_id}/artifacts/{name}": Rule(Scope.READ, ticket=True, action="download"),
    "GET /jobs/{job_id}/archive": Rule(Scope.READ, ticket=True, action="download"),
    "GET /jobs/{job_id}/peaks": Rule(Scope.READ, ticket=True),
    "GET /jobs/{job_id}/spectrogram": Rule(Scope.READ, ticket=True),
    "GET /jobs/{job_id}/similar": _READ,
    "GET /jobs/{job_id}/audio": Rule(Scope.READ, ticket=True),
    "GET /jobs/{job_id}/audio/{name}/{number}": Rule(Scope.READ, ticket=True, action="listen"),
    "GET /jobs/{job_id}/webhooks": _READ,
    "POST /jobs/{job_id}/webhooks/{delivery_id}/replay": Rule(Scope.SUBMIT, action="webhook.replay"),
    "GET /webhooks/secret": Rule(Scope.SUBMIT, action="webhook.secret"),
    "POST /webhooks/secret/rotate": Rule(Scope.SUBMIT, action="webhook.rotate"),
    "POST /webhooks/test": Rule(Scope.SUBMIT, action="webhook.test"),
}
"""Method and path template -> what it needs. GET stands for HEAD too."""


@dataclass(frozen=True, slots=True)
class Found:
    """A route that a request is for.

    Attributes:
        route: as in the table, such as ``GET /jobs/{job_id}``.
        rule: what it needs.
    """

    route: str
    rule: Rule


class RouteTable:
    """Finds the rule of a request.

    Args:
        rules: such as `ROUTE_SCOPES`.
    """

    def __init__(self, rules: Mapping[str, Rule] = ROUTE_SCOPES) -> None:
        self._rules = rules
        paths: dict[str, list[str]] = {}
        for route in rules:
            method, _, path = route.partition(" ")
            paths.setdefault(path, []).append(method)
        # Literal paths before templates, so that /jobs/latest would not be taken for a job.
        ordered = sorted(paths, key=lambda path: path.count("{"))
        self._paths = [(_pattern(path), path, frozenset(paths[path])) for path in ordered]

    def find(self, method: str, path: str) -> Found | None:
        """The route that a request is for; None where the table has none.

        A slash at the end makes no difference.
        """
        asked = {method, "GET"} if method == "HEAD" else {method}
        for pattern, template, methods in self._paths:
            if pattern.fullmatch(path):
                for name in sorted(asked & methods, reverse=True):
                    route = f"{name} {template}"
                    return Found(route, self._rules[route])
        return None

    def methods(self, path: str) -> frozenset[str]:
        """The methods that some route takes at a path; none where there is no such path."""
        found: set[str] = set()
        for pattern, _, methods in self._paths:
            if pattern.fullmatch(path):
                found |= methods | ({"HEAD"} if "GET" in methods else set())
        return frozenset(found)


def route_path(scope: Mapping[str, Any]) -> str:
    """The path of a request below the place where the application is mounted."""
    path, root = str(scope["path"]), str(scope.get("root_path", ""))
    if root and (path == root or path.startswith(root + "/")):
        path = path[len(root) :]
    return path or "/"


def check_every_route_has_a_scope(app: Any, rules: Mapping[str, Rule] = ROUTE_SCOPES) -> list[str]:
    """Walk all routes of an application.

    Args:
        app: a FastAPI application.
        rules: what it is checked against.

    Returns:
        What is wrong, a line each: routes without a rule, and mounted applications, which no rule sees into.
    """
    shapes = {_shape(name) for name in rules}
    wrong = []
    for route in iter_route_contexts(app.routes):
        if route.path is None or not route.methods:
            wrong.append(f"{route.path or route.route!r} is no plain route: no rule can be given for it")
            continue
        for method in sorted(route.methods):
            names = {method, "GET"} if method == "HEAD" else {method}
            if not any(_shape(f"{name} {route.path}") in shapes for name in names):
                wrong.append(f"{method} {route.path} has no rule")
    return wrong


def _shape(route: str) -> str:
    return re.sub(r"\{\w+(:\w+)?\}", "{}", route)


def _pattern(template: str) -> re.Pattern[str]:
    parts = re.split(r"(\{\w+\})", template.rstrip("/"))
    body = "".join("[^/]+" if part.startswith("{") else re.escape(part) for part in parts)
    return re.compile(body + "/?")
