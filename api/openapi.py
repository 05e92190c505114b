"""The OpenAPI document: what FastAPI sees of the routes, and what the guards before them add."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from fastapi import FastAPI

from api.problems import MEDIA_TYPE, Problem, meaning_of
from api.security.access import ROUTE_SCOPES, Rule

_SCHEMAS: Final = "#/components/schemas/"
_KEYED: Final = (401, 403, 429, 503)
_BODY: Final = (400, 413, 415, 422)
_UPLOAD: Final = (408, 507)
_NAMED: Final = (404, 410)
_ANYWHERE: Final = (*_KEYED, *_BODY, *_UPLOAD, *_NAMED, 409)
_PROBLEM: Final = {MEDIA_TYPE: {"schema": {"$ref": _SCHEMAS + "Problem"}}}
_FASTAPI_OWN: Final = ("HTTPValidationError", "ValidationError")
_SECURITY: Final = {
    "ApiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    "Bearer": {"type": "http", "scheme": "bearer", "description": "The same key."},
    "Ticket": {
        "type": "apiKey",
        "in": "query",
        "name": "ticket",
        "description": "From POST /tickets, for one job, upload or submission. The header X-Ticket does too.",
    },
}
_HEADERS: Final = {
    "X-Request-ID": {
        "description": "Names this request in the logs. The client's own is taken where it is sane.",
        "schema": {"type": "string"},
        "required": True,
    },
    "Retry-After": {
        "description": "Seconds after which the same request may succeed.",
        "schema": {"type": "integer", "minimum": 1},
    },
    "RateLimit": {
        "description": "What is left of the key's limit: draft-ietf-httpapi-ratelimit-headers-10.",
        "schema": {"type": "string"},
    },
    "RateLimit-Policy": {"description": "The key's limits.", "schema": {"type": "string"}},
    "WWW-Authenticate": {"description": "How to identify oneself.", "schema": {"type": "string"}},
    "Location": {"description": "Where it is.", "schema": {"type": "string", "format": "uri-reference"}},
}


class DocumentedApp(FastAPI):
    """An application whose OpenAPI document tells of keys, limits and problems too."""

    def openapi(self) -> dict[str, Any]:
        """The document; made once."""
        if self.openapi_schema is None:
            self.openapi_schema = completed(super().openapi(), ROUTE_SCOPES)
        return self.openapi_schema


def completed(document: dict[str, Any], rules: Mapping[str, Rule]) -> dict[str, Any]:
    """Add to a document what routes do not know of themselves.

    Args:
        document: as FastAPI makes it; is changed.
        rules: what each route needs.

    Returns:
        The same document.
    """
    for path, method, operation in _operations(document):
        rule = rules.get(f"{method} {path}") or rules[f"GET {path}"]
        # The names behind a scheme are the scopes that the key must have (OpenAPI 3.1, section 4.8.30).
        scopes = [] if rule.scope is None else [rule.scope.value]
        schemes = ["ApiKey", "Bearer", *(["Ticket"] if rule.ticket else [])]
        operation["security"] = [{name: scopes} for name in schemes] if rule.scope else []
        _answer(operation, sorted({*_statuses(path, operation, rule)}), limited=rule.scope is not None)
    for methods in document.get("webhooks", {}).values():
        for message in methods.values():
            message["responses"].pop("422", None)  # Receivers answer as they like.
    components = document.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    for name in _FASTAPI_OWN:
        schemas.pop(name, None)
    problem = Problem.model_json_schema(ref_template=_SCHEMAS + "{model}")
    schemas |= {**problem.pop("$defs"), "Problem": problem}
    components["responses"] = {
        str(status): {
            "description": meaning_of(status),
            "content": _PROBLEM,
            "headers": _headers(status, limited=True),
        }
        for status in _ANYWHERE
    }
    components["headers"] = _HEADERS
    components["securitySchemes"] = _SECURITY
    return document


def _operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield path, method.upper(), operation


def _statuses(path: str, operation: dict[str, Any], rule: Rule) -> Iterator[int]:
    """The problems that any request to a route may meet; its own are named where it is declared."""
    if rule.scope is not None:
        yield from _KEYED
    if operation.get("parameters"):
        yield 422
    if "{" in path:
        yield from _NAMED
    if "requestBody" in operation or rule.upload:
        yield from _BODY
    if rule.upload:
        yield from _UPLOAD
    if any(parameter["name"] == "idempotency-key" for parameter in operation.get("parameters", [])):
        yield 409


def _answer(operation: dict[str, Any], statuses: list[int], *, limited: bool) -> None:
    answers = operation["responses"]
    for status in statuses:
        # What FastAPI says of 422 is not what it answers here.
        if status == 422 or str(status) not in answers:
            answers[str(status)] = {"$ref": f"#/components/responses/{status}"}
    for status, answer in answers.items():
        if "$ref" not in answer:
            if int(status) >= 400:
                answer.setdefault("content", _PROBLEM)
            answer["headers"] = _headers(int(status), limited=limited)
    operation["responses"] = dict(sorted(answers.items()))


def _headers(status: int, *, limited: bool) -> dict[str, Any]:
    names = ["X-Request-ID"]
    if status in (201, 202):
        names.append("Location")
    if status in (202, 408, 429, 503, 507):
        names.append("Retry-After")
    if status == 401:
        names.append("WWW-Authenticate")
    if limited:
        names += ["RateLimit", "RateLimit-Policy"]
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}
