"""What the client makes of answers: good ones pass, problems are raised, and some requests are made again."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx2 as httpx

_WAITS_S: Final = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 30.0)
_LATER: Final = frozenset({408, 409, 423, 502, 503, 504})


@dataclass
class ServiceProblem(Exception):
    """What the service answered instead.

    Attributes:
        status: HTTP's.
        code: stable identifier.
        detail: what is wrong, and what to do.
        request_id: for the operator.
    """

    status: int
    code: str
    detail: str
    request_id: str | None = None

    def __str__(self) -> str:
        return f"{self.detail} ({self.code})"


def checked(answer: httpx.Response) -> httpx.Response:
    """An answer that is no error.

    Raises:
        ServiceProblem: it is one.
    """
    if not answer.is_error:
        return answer
    try:
        problem = answer.json()
    except ValueError:
        problem = {}
    hint = problem.get("hint") or ""
    detail = f"{problem.get('detail') or f'HTTP {answer.status_code}'} {hint}".strip()
    raise ServiceProblem(
        answer.status_code, problem.get("code", "unknown"), detail, problem.get("request_id")
    )


def saved(http: httpx.Client, path: str, target: Path) -> None:
    """Write an answer into a file, as it comes.

    Args:
        http: asks the service.
        path: of what is fetched.
        target: the file; it is not made where the answer is an error.

    Raises:
        ServiceProblem: it is one.
    """
    with http.stream("GET", path) as answer:
        if answer.is_error:
            answer.read()
        checked(answer)
        with target.open("wb") as file:
            for chunk in answer.iter_bytes():
                file.write(chunk)


def patiently(ask: Callable[[], httpx.Response]) -> httpx.Response:
    """Make a request, again and again for 90 s while the service is busy or out of reach.

    Args:
        ask: makes the request; does no harm when it is called again.

    Raises:
        ServiceProblem: the service refused it.
        httpx.TransportError: the service was out of reach all the time.
    """
    for wait_s in _WAITS_S:
        try:
            answer = ask()
        except httpx.TransportError:
            pass
        else:
            if answer.status_code not in _LATER:
                return checked(answer)
        time.sleep(wait_s)
    return checked(ask())
