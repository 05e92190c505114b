"""Asks the API and the browser interface of this machine whether they answer: a container's health check.

``python scripts/health.py [api] [ui]``: those named, else both. Exit status 0: all answer. It imports the
standard library alone, because it runs every half minute for as long as the container lives.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from http.client import HTTPConnection, HTTPException

_TIMEOUT_S = 5
_PLACES = {"api": ("API_PORT", 8000, "/health"), "ui": ("UI_PORT", 8501, "/_stcore/health")}
"""Variable of the port, the port without it, and the path."""


def problem(name: str) -> str | None:
    """What is wrong with one of them; None where it answers."""
    variable, default, path = _PLACES[name]
    connection = HTTPConnection("127.0.0.1", int(os.environ.get(variable) or default), timeout=_TIMEOUT_S)
    try:
        connection.request("GET", path)
        status = connection.getresponse().status
    except (OSError, HTTPException) as exc:
        return f"{name} does not answer: {exc}"
    finally:
        connection.close()
    return None if status == 200 else f"{name} answers {status}"


def main(names: Sequence[str]) -> int:
    """Print what is wrong.

    Returns:
        The exit status.
    """
    unknown = sorted(set(names) - _PLACES.keys())
    if unknown:
        print(f"{unknown[0]} is neither api nor ui")
        return 2
    problems = [said for said in map(problem, names or list(_PLACES)) if said]
    print("\n".join(problems) or "ok")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
