from __future__ import annotations

from pathlib import Path

import pytest
from fastapi import APIRouter, FastAPI
from starlette.routing import Mount

from api.security.access import ROUTE_SCOPES, check_every_route_has_a_scope
from api.security.principal import Scope
from tests.guarded_app import JOB, Guarded, ask, checked, guarded_app, issue

PUBLIC = {
    "GET /livez", "GET /readyz", "GET /health", "GET /docs", "GET /docs/oauth2-redirect", "GET /redoc",
    "GET /openapi.json", "OPTIONS /uploads",
}  # fmt: skip
SOME = {
    "job_id": "j", "name": "n", "number": "0", "delivery_id": "d", "upload_id": "u", "key_id": "k",
    "hold_id": "h", "batch_id": "b",
}  # fmt: skip
"""Stand in for what routes have in their paths."""


@pytest.fixture
def guarded(tmp_path: Path) -> Guarded:
    return guarded_app(tmp_path, rate_process=None)


def test_what_needs_no_key_is_named() -> None:
    assert {route for route, rule in ROUTE_SCOPES.items() if rule.scope is None} == PUBLIC


def test_health_needs_no_key(guarded: Guarded) -> None:
    assert ask(guarded.app, "GET", "/health").json() == {"status": "ok"}


@pytest.mark.parametrize("route", sorted(set(ROUTE_SCOPES) - PUBLIC))
def test_every_other_route_refuses_who_has_no_key(guarded: Guarded, route: str) -> None:
    method, _, path = route.partition(" ")
    response = ask(guarded.app, method, path.format(**SOME))
    assert response.status_code == 401
    assert method == "HEAD" or checked(response)["code"] == "unauthenticated"
    assert "www-authenticate" in response.headers
    assert not guarded.reached


@pytest.mark.parametrize("route", sorted(set(ROUTE_SCOPES) - PUBLIC))
def test_every_other_route_refuses_a_key_without_its_scope(guarded: Guarded, route: str) -> None:
    method, _, path = route.partition(" ")
    key = guarded.new_key(*(scope for scope in Scope if scope != ROUTE_SCOPES[route].scope))
    response = ask(guarded.app, method, path.format(**SOME), headers={"X-API-Key": key})
    assert response.status_code == 403
    assert method == "HEAD" or checked(response)["code"] == "forbidden"
    assert not guarded.reached


def test_a_route_without_a_rule_is_not_there_even_with_every_scope(guarded: Guarded) -> None:
    response = ask(guarded.app, "GET", "/unlisted", headers={"X-API-Key": guarded.key})
    assert (response.status_code, guarded.reached) == (404, [])


def test_routes_without_a_rule_are_found() -> None:
    app, below, inner = FastAPI(), APIRouter(prefix="/jobs"), APIRouter(prefix="/deep")

    @below.get("/{identifier}")
    def known(identifier: str) -> None: ...

    @inner.post("/{identifier}/explode")
    def unknown(identifier: str) -> None: ...

    below.include_router(inner)
    app.include_router(below)
    assert check_every_route_has_a_scope(app) == ["POST /jobs/deep/{identifier}/explode has no rule"]
    app.router.routes.append(Mount("/static", FastAPI()))
    assert len(check_every_route_has_a_scope(app)) == 2


@pytest.mark.parametrize(
    "headers", [{"X-API-Key": "{}"}, {"Authorization": "Bearer {}"}, {"authorization": "bearer {}"}]
)
def test_a_key_comes_in_either_header(guarded: Guarded, headers: dict[str, str]) -> None:
    filled = {name: value.format(guarded.key) for name, value in headers.items()}
    assert ask(guarded.app, "GET", "/jobs", headers=filled).json()["key_id"] == guarded.key_id


@pytest.mark.parametrize(
    "headers", [{"X-API-Key": ""}, {"Authorization": "Bearer "}, {"Authorization": "Basic eDp5"}]
)
def test_an_empty_header_is_no_key(guarded: Guarded, headers: dict[str, str]) -> None:
    assert ask(guarded.app, "GET", "/jobs", headers=headers).status_code == 401


def test_two_keys_in_one_request_are_refused(guarded: Guarded) -> None:
    response = ask(guarded.app, "GET", "/jobs", headers=[("X-API-Key", "wrong"), ("X-API-Key", guarded.key)])
    assert response.status_code == 403


def test_a_key_in_the_query_is_no_key(guarded: Guarded) -> None:
    assert ask(guarded.app, "GET", "/jobs", params={"api_key": guarded.key}).status_code == 401


@pytest.mark.parametrize(
    "path", ["/jobs/", "//jobs", "/./jobs", "/jobs/x/../../jobs", "/JOBS", "/jobs%2F", "/jobs;x"]
)
def test_no_other_spelling_of_a_path_gets_around_the_table(guarded: Guarded, path: str) -> None:
    assert ask(guarded.app, "GET", path).status_code in (401, 404)
    assert not guarded.reached


def test_a_ticket_does_instead_of_a_key_where_a_browser_plays(guarded: Guarded) -> None:
    ticket = issue(guarded, JOB)
    stem = f"{JOB}/stems/vocals"
    assert ask(guarded.app, "GET", stem, params={"ticket": ticket}).status_code == 200
    assert ask(guarded.app, "GET", stem, headers={"X-Ticket": ticket}).status_code == 200
    assert ask(guarded.app, "GET", f"{JOB}0/stems/vocals", params={"ticket": ticket}).status_code == 403


def test_a_ticket_does_nowhere_else(guarded: Guarded) -> None:
    for method, path in (("GET", "/jobs"), ("DELETE", JOB)):
        ticket = issue(guarded, path, method)
        assert ask(guarded.app, method, path, params={"ticket": ticket}).status_code == 401


def test_a_ticket_is_refused_when_its_time_is_over(guarded: Guarded) -> None:
    ticket = issue(guarded, JOB, seconds=-1)
    assert ask(guarded.app, "GET", f"{JOB}/stems/v", params={"ticket": ticket}).status_code == 403


def test_a_ticket_falls_with_its_key(guarded: Guarded) -> None:
    ticket = issue(guarded, JOB)
    guarded.keys.revoke(guarded.key_id)
    assert ask(guarded.app, "GET", f"{JOB}/stems/v", params={"ticket": ticket}).status_code == 403


def test_two_tickets_in_one_request_are_none(guarded: Guarded) -> None:
    ticket = issue(guarded, JOB)
    assert ask(guarded.app, "GET", f"{JOB}/stems/v?ticket={ticket}&ticket={ticket}").status_code == 401


def test_every_action_and_every_forbidden_request_is_in_the_audit_log(guarded: Guarded) -> None:
    headers = {"X-API-Key": guarded.key, "X-Request-ID": "mine-1"}
    ask(guarded.app, "POST", "/process", headers=headers)
    ask(guarded.app, "DELETE", JOB, headers=headers)
    ask(guarded.app, "GET", f"{JOB}/stems/v", headers=headers)
    ask(guarded.app, "GET", f"{JOB}/stems/v", headers={**headers, "Range": "bytes=1000-"})  # goes on playing
    ask(guarded.app, "GET", "/jobs", headers=headers)
    ask(guarded.app, "DELETE", JOB, headers={"X-API-Key": guarded.new_key(Scope.READ)})
    ask(guarded.app, "GET", "/jobs", headers={"X-API-Key": "guessed"})
    entries = [*guarded.audit.entries()]
    assert [(e.action, e.user, e.status, e.input) for e in entries] == [
        ("process", "tester", "accepted", "POST /process"),
        ("delete", "tester", "done", f"DELETE {JOB}"),
        ("download", "tester", "done", f"GET {JOB}/stems/v"),
        ("delete", "tester", "forbidden", f"DELETE {JOB}"),
        ("access", "unknown", "forbidden", "GET /jobs"),
    ]
    assert (entries[1].job_id, entries[0].request_id) == (JOB.removeprefix("/jobs/"), "mine-1")
    assert guarded.audit.verify().broken_at is None


@pytest.mark.parametrize("sent", ["", "a b", "x" * 65, "a\\nb", "<script>", "é"])
def test_a_request_id_that_is_not_sane_is_replaced(guarded: Guarded, sent: str) -> None:
    headers = [(b"X-Request-ID", sent.encode())]
    assert len(ask(guarded.app, "GET", "/health", headers=headers).headers["x-request-id"]) == 36


def test_a_sane_request_id_is_kept(guarded: Guarded) -> None:
    response = ask(guarded.app, "GET", "/health", headers={"X-Request-ID": "trace-01.a_b"})
    assert response.headers["x-request-id"] == "trace-01.a_b"


def test_a_page_of_an_allowed_origin_may_ask_before_it_has_a_key(tmp_path: Path) -> None:
    guarded = guarded_app(tmp_path, cors_origins=("https://ui.example.org",))
    asked = {"Origin": "https://ui.example.org", "Access-Control-Request-Method": "POST"}
    assert ask(guarded.app, "OPTIONS", "/process", headers=asked).status_code == 200
    refused = ask(guarded.app, "POST", "/process", headers={"Origin": "https://ui.example.org"})
    assert refused.status_code == 401  # and the page may read why:
    assert refused.headers["access-control-allow-origin"] == "https://ui.example.org"
    asked["Origin"] = "https://evil.example.org"
    assert ask(guarded.app, "OPTIONS", "/process", headers=asked).status_code == 400
