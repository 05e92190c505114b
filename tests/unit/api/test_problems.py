from __future__ import annotations

from pathlib import Path

import pytest
from fastapi import FastAPI, Request
from fastapi.testclient import TestClient
from limits import parse
from slowapi.errors import RateLimitExceeded
from slowapi.wrappers import Limit
from starlette.exceptions import HTTPException

from api import errors as service_errors
from api import problems
from api.errors import QueueFull, Unauthenticated
from api.problems import headers_of, install_problems, problem_of, status_of
from pipeline import errors as pipeline_errors
from pipeline.errors import DiskFull, InputNotAudio, PipelineError
from tests.guarded_app import ask, checked, guarded_app


def below(kind: type[PipelineError]) -> list[type[PipelineError]]:
    children = [
        c
        for c in kind.__subclasses__()
        if c.__module__ in {service_errors.__name__, pipeline_errors.__name__}
    ]
    return [*children, *(leaf for child in children for leaf in below(child))]


@pytest.mark.parametrize("kind", below(PipelineError), ids=lambda kind: kind.code)
def test_every_error_is_a_problem_with_a_fitting_status(kind: type[PipelineError]) -> None:
    error = kind("It went wrong.", "Do better.")
    problem = problem_of(error, "r-1")
    assert 400 <= problem.status <= 599
    assert (problem.code, problem.detail, problem.hint) == (kind.code, "It went wrong.", "Do better.")
    assert problem.retryable == kind.retryable
    assert "``" not in problem.title and not problem.title.endswith(".")


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        (Unauthenticated, 401),
        (service_errors.Forbidden, 403),
        (service_errors.NotFound, 404),
        (QueueFull, 503),
        (service_errors.StorageFull, 507),
        (InputNotAudio, 415),
        (pipeline_errors.AudioTooLong, 422),
        (DiskFull, 507),
    ],
)
def test_statuses_are_those_that_clients_expect(kind: type[PipelineError], status: int) -> None:
    assert status_of(kind) == status


def test_what_may_be_tried_again_says_when() -> None:
    assert headers_of(QueueFull("Full.", retry_after_s=7.2)) == {"Retry-After": "8"}
    assert int(headers_of(QueueFull("Full."))["Retry-After"]) > 0
    assert "Retry-After" not in headers_of(InputNotAudio("No."))


def test_who_asks_for_a_range_behind_the_end_is_told_where_that_is() -> None:
    assert headers_of(service_errors.RangeUnsatisfiable("No.", size=5)) == {"Content-Range": "bytes */5"}


def test_who_has_no_key_is_told_how_to_identify_oneself() -> None:
    assert "Bearer" in headers_of(Unauthenticated("No."))["WWW-Authenticate"]


def test_a_path_that_is_not_there(tmp_path: Path) -> None:
    assert checked(ask(guarded_app(tmp_path).app, "GET", "/nowhere"))["code"] == "not_found"


def test_a_method_that_a_path_does_not_take(tmp_path: Path) -> None:
    response = ask(guarded_app(tmp_path).app, "PUT", "/jobs")
    assert checked(response)["code"] == "method_not_allowed"
    assert response.headers["allow"] == "GET, HEAD"


def test_a_request_that_makes_no_sense_is_told_what_without_being_quoted(tmp_path: Path) -> None:
    guarded = guarded_app(tmp_path)
    body = checked(
        ask(guarded.app, "POST", "/estimate", json={"size": "canary-777"}, headers={"X-API-Key": guarded.key})
    )
    assert (body["status"], body["code"]) == (422, "invalid_request")
    assert body["errors"][0]["where"] == "body.size"
    assert "canary-777" not in str(body)


def test_broken_json_is_a_problem(tmp_path: Path) -> None:
    guarded = guarded_app(tmp_path)
    headers = {"X-API-Key": guarded.key, "Content-Type": "application/json"}
    assert checked(ask(guarded.app, "POST", "/estimate", content=b"{", headers=headers))["status"] == 422


def test_a_body_that_is_not_declared_as_json_is_told_so(tmp_path: Path) -> None:
    guarded = guarded_app(tmp_path)
    headers = {"X-API-Key": guarded.key, "Content-Type": "application/x-www-form-urlencoded"}
    body = checked(ask(guarded.app, "POST", "/estimate", content=b'{"size": 1}', headers=headers))
    assert (body["status"], body["code"]) == (415, "unsupported_media_type")
    assert "Content-Type: application/json" in body["hint"]


def test_a_mistake_of_ours_tells_nothing_of_itself(tmp_path: Path) -> None:
    guarded = guarded_app(tmp_path)
    response = ask(guarded.app, "GET", "/models", headers={"X-API-Key": guarded.key})
    assert checked(response)["code"] == "internal_error"
    assert "canary" not in response.text and "ZeroDivision" not in response.text


def test_errors_without_our_middleware_are_problems_too() -> None:
    app = FastAPI()
    install_problems(app)

    @app.get("/full")
    def full() -> None:
        raise QueueFull("All places are taken.", "Come back later.", retry_after_s=3)

    @app.get("/limited")
    def limited(request: Request) -> None:
        item = parse("10/hour")
        raise RateLimitExceeded(Limit(item, str, None, False, None, None, None, 1, False))

    @app.get("/teapot")
    def teapot() -> None:
        raise HTTPException(418, "short and stout")

    client = TestClient(app)
    response = client.get("/full")
    assert (response.status_code, response.headers["retry-after"]) == (503, "3")
    assert client.get("/limited").json()["code"] == "rate_limited"
    assert client.get("/teapot").json() | {"title": ""} == {
        "type": "urn:audio-pipeline:problem:http_418",
        "title": "",
        "status": 418,
        "detail": "short and stout",
        "code": "http_418",
        "hint": "",
        "request_id": "",
        "retryable": False,
    }


def test_a_problem_is_one_line_of_ascii(tmp_path: Path) -> None:
    response = problems.error_response(InputNotAudio("'a\n\x1b[2J\u202e.wav' is no audio."), "r")
    assert (
        bytes(response.body).isascii()
        and b"\n" not in bytes(response.body)
        and b"\x1b" not in bytes(response.body)
    )
