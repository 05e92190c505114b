"""Errors on the wire: RFC 9457 problems, and the only table that says which error is which HTTP status."""

from __future__ import annotations

import inspect
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from slowapi.errors import RateLimitExceeded
from starlette.exceptions import HTTPException
from starlette.responses import Response

from api import errors as service
from pipeline import errors as pipeline
from pipeline.errors import PipelineError

logger = structlog.get_logger(__name__)

MEDIA_TYPE = "application/problem+json"
_TYPE = "urn:audio-pipeline:problem:"
_LATER_S = 10.0

STATUS: Mapping[type[PipelineError], int] = {
    PipelineError: 500,
    pipeline.ConfigError: 422,
    pipeline.InputError: 422,
    pipeline.InputTooLarge: 413,
    pipeline.InputIsWebPage: 415,
    pipeline.InputIsPlaylist: 415,
    pipeline.InputNotAudio: 415,
    pipeline.AudioCodecUnsupported: 415,
    pipeline.WeightsError: 503,
    pipeline.EnvironmentFailure: 500,
    pipeline.DiskFull: 507,
    pipeline.OutputUnwritable: 503,
    pipeline.MemoryExhausted: 503,
    pipeline.Cancelled: 409,
    service.Unauthenticated: 401,
    service.Forbidden: 403,
    service.NotFound: 404,
    service.Gone: 410,
    service.InvalidRequest: 422,
    service.PayloadTooLarge: 413,
    service.UnsupportedMedia: 415,
    service.LengthRequired: 411,
    service.RangeUnsatisfiable: 416,
    service.Conflict: 409,
    service.IdempotencyInFlight: 409,
    service.IdempotencyMismatch: 422,
    service.RateLimited: 429,
    service.QuotaExceeded: 429,
    service.QueueFull: 503,
    service.Draining: 503,
    service.StorageFull: 507,
    service.StorageUnavailable: 503,
    service.DatabaseUnavailable: 503,
    service.UploadUnknown: 404,
    service.UploadUnfinished: 409,
    service.UploadBusy: 423,
    service.UploadStalled: 408,
    service.OffsetMismatch: 409,
    service.ChecksumMismatch: 460,
    service.TusVersionUnsupported: 412,
    service.UrlRefused: 422,
    service.UrlFailed: 502,
    service.UrlTimedOut: 504,
    service.UrlAnswerRefused: 422,
}
"""Error class -> HTTP status; a class that is not named has that of the nearest class above it."""

_OF_STATUS = {
    400: ("bad_request", "The request cannot be read"),
    401: (service.Unauthenticated.code, "The request carries no API key, ticket or signature"),
    403: (service.Forbidden.code, "The key is not valid, or may not do this"),
    404: (service.NotFound.code, "There is no such thing"),
    405: ("method_not_allowed", "This path does not take this method"),
    406: ("not_acceptable", "There is no answer of that type"),
    408: ("request_timeout", "The request took too long to come"),
    409: (service.Conflict.code, "The state of things does not allow it"),
    410: (service.Gone.code, "It is gone"),
    411: (service.LengthRequired.code, "The request must state its length"),
    412: ("precondition_failed", "It has changed"),
    413: (service.PayloadTooLarge.code, "More bytes than allowed"),
    415: (service.UnsupportedMedia.code, "The body is of a type that this route does not read"),
    416: (service.RangeUnsatisfiable.code, "The file has no such range"),
    422: (service.InvalidRequest.code, "The body or a parameter makes no sense"),
    429: (service.RateLimited.code, "Too many requests in a time"),
    500: ("internal_error", "The service failed"),
    503: ("unavailable", "The service cannot take it now"),
    507: (service.StorageFull.code, "There is no room for it"),
}


class FieldError(BaseModel):
    """One thing that is wrong with a request."""

    where: str = Field(description="Such as body.options.shifts or query.limit.")
    message: str


class Problem(BaseModel):
    """An error: RFC 9457."""

    type: str = Field(description="Names the kind of error; a name, not an address.")
    title: str = Field(description="What the kind means.")
    status: int
    detail: str = Field(description="What is wrong, for people.")
    code: str = Field(description="The kind, for programs: stable.")
    hint: str = Field(description="What to do about it; may be empty.")
    request_id: str = Field(description="Names this request in the logs.")
    retryable: bool = Field(description="Whether the same request can succeed later.")
    errors: list[FieldError] | None = Field(default=None, description="Of a request that makes no sense.")


def status_of(kind: type[PipelineError]) -> int:
    """The HTTP status of an error class."""
    return next(STATUS[base] for base in kind.__mro__ if base in STATUS)


def meaning_of(status: int) -> str:
    """What an HTTP status from 400 on means here."""
    return _OF_STATUS[status][1]


def refusals(*kinds: type[PipelineError]) -> dict[int | str, dict[str, Any]]:
    """How a route may refuse a request, for its OpenAPI document; not what any route may answer."""
    told: dict[int | str, dict[str, Any]] = {}
    for kind in kinds:
        before = told.get(status_of(kind), {}).get("description")
        told[status_of(kind)] = {"description": f"{before}; or: {_title(kind)}" if before else _title(kind)}
    return told


def problem_of(error: PipelineError, request_id: str) -> Problem:
    """An error as it goes over the wire."""
    return Problem(
        type=_TYPE + error.code,
        title=_title(type(error)),
        status=status_of(type(error)),
        detail=error.message,
        code=error.code,
        hint=error.hint,
        request_id=request_id,
        retryable=error.retryable,
    )


def headers_of(error: PipelineError) -> dict[str, str]:
    """The headers that go with an error: when to try again, how to identify oneself, how long a file is."""
    headers = {}
    status = status_of(type(error))
    after = getattr(error, "retry_after_s", None)
    if after is None and error.retryable and status in (429, 503, 507):
        after = _LATER_S
    if after is not None:
        headers["Retry-After"] = str(max(1, math.ceil(after)))
    if isinstance(error, service.RangeUnsatisfiable):
        headers["Content-Range"] = f"bytes */{error.size}"
    if status == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="audio-pipeline", ApiKey realm="audio-pipeline"'
    return headers


def response_of(problem: Problem, headers: Mapping[str, str] | None = None) -> Response:
    """A problem as an HTTP response."""
    # ASCII: nothing in a file name can then be more than text to whatever shows it.
    body = json.dumps(problem.model_dump(exclude_none=True))
    return Response(
        body,
        problem.status,
        {"Cache-Control": "no-store", **(headers or {})},
        media_type=MEDIA_TYPE,
    )


def error_response(error: PipelineError, request_id: str) -> Response:
    """An error as an HTTP response."""
    return response_of(problem_of(error, request_id), headers_of(error))


def status_problem(status: int, request_id: str, detail: str = "", hint: str = "") -> Problem:
    """A problem that has nothing to it but an HTTP status."""
    code, title = _OF_STATUS.get(status, (f"http_{status}", "The request failed"))
    return Problem(
        type=_TYPE + code,
        title=title,
        status=status,
        detail=detail or f"{title}.",
        code=code,
        hint=hint,
        request_id=request_id,
        retryable=status in (429, 503),
    )


def internal_error(request_id: str) -> Response:
    """What is told of a mistake of ours: where to look it up, and nothing else."""
    hint = "Tell whoever runs the service the request_id: the log says more."
    return response_of(status_problem(500, request_id, hint=hint))


def install_problems(app: FastAPI) -> None:
    """Answer every error of an application with a problem."""
    app.add_exception_handler(PipelineError, _on_error)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(RateLimitExceeded, _on_limit)
    app.add_exception_handler(HTTPException, _on_http)


def request_id_of(scope: Mapping[str, Any]) -> str:
    """The id that the outermost middleware gave a request; empty without it."""
    return str(scope.get("state", {}).get("request_id", ""))


async def _on_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, PipelineError)
    if status_of(type(error)) >= 500:
        logger.warning("refused", code=error.code, reason=error.message, exc_info=error.__cause__)
    return error_response(error, request_id_of(request.scope))


async def _on_invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    places = {found["loc"][0] for found in error.errors()}
    if places == {"path"}:
        # An id that none can be is an id that there is not.
        return error_response(
            service.NotFound("There is nothing at this path.", "See /docs."), request_id_of(request.scope)
        )
    if "body" in places and _is_declared_otherwise(request):
        refused = service.UnsupportedMedia(
            "The body is not declared as JSON.", "Send it with Content-Type: application/json."
        )
        return error_response(refused, request_id_of(request.scope))
    found = _field_errors(error.errors())
    detail = f"{found[0].where}: {found[0].message}." if found else "The request makes no sense."
    problem = status_problem(422, request_id_of(request.scope), detail, "See /docs for what is expected.")
    return response_of(problem.model_copy(update={"errors": found}))


def _is_declared_otherwise(request: Request) -> bool:
    """Whether a request says that its body is something else than JSON, as curl does by itself."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    return kind not in {"", "application/json"} and not kind.endswith("+json")


async def _on_limit(request: Request, error: Exception) -> Response:
    assert isinstance(error, RateLimitExceeded)
    refused = service.RateLimited(f"Only {error.detail} are allowed.", "Try again later.")
    return error_response(refused, request_id_of(request.scope))


async def _on_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    standard = HTTPException(error.status_code).detail
    detail = "" if error.detail == standard or not isinstance(error.detail, str) else error.detail
    if error.status_code < 400:
        return Response(status_code=error.status_code, headers=error.headers)
    return response_of(status_problem(error.status_code, request_id_of(request.scope), detail), error.headers)


def _title(kind: type[PipelineError]) -> str:
    return (inspect.getdoc(kind) or kind.code).splitlines()[0].rstrip(".").replace("``", "")


def _field_errors(errors: Sequence[Any]) -> list[FieldError]:
    """What was wrong where. What was sent is left out: it may be a secret, or as long as a recording."""
    return [
        FieldError(
            where=".".join(str(part) for part in error["loc"]),
            message=str(error["msg"]).removeprefix("Value error, "),
        )
        for error in errors
    ]
