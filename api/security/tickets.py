"""Tickets: short-lived permissions that fit into a URL, for what cannot send ``X-API-Key``.

An ``EventSource``, an ``<audio>`` element or a download link sends no header of ours. A ticket stands for the
key that it was made with, but only for some methods, below one path, and for minutes.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime

from api.errors import Forbidden, InvalidRequest
from api.security.principal import Principal
from api.security.secret import ServerSecret

_MAX_LENGTH = 2048
_VERSION = "1"


@dataclass(frozen=True, slots=True)
class Ticket:
    """What a ticket says.

    Attributes:
        key_id: of the API key that it stands for.
        methods: HTTP methods that it opens; GET opens HEAD too.
        path: what it opens: this path and those below it.
        expires_at: seconds since 1970 from which on it is refused.
    """

    key_id: str
    methods: frozenset[str]
    path: str
    expires_at: float

    def opens(self, method: str, path: str) -> bool:
        """Whether it is for this."""
        asked = "GET" if method == "HEAD" and "GET" in self.methods else method
        return asked in self.methods and (path == self.path or path.startswith(self.path + "/"))


class Tickets:
    """Makes tickets and checks them; keeps nothing.

    Args:
        secret: the server's.
        now: seconds since 1970.
    """

    def __init__(self, secret: ServerSecret, now: Callable[[], float] = time.time) -> None:
        self._key = secret.key("tickets")
        self._now = now

    def issue(
        self, principal: Principal, method: str | Iterable[str], path: str, expires_at: datetime
    ) -> str:
        """Make a ticket.

        Args:
            principal: whose key it stands for.
            method: that it opens, or several.
            path: that it opens, with those below it.
            expires_at: from when on it is refused; to the second.

        Returns:
            The ticket as it goes into a URL: letters, digits, ``-``, ``_`` and a point.

        Raises:
            InvalidRequest: the path is not absolute, is everything, or has empty or dotted parts.
        """
        path = path.rstrip("/")
        if not path.startswith("/") or any(part in {"", ".", ".."} for part in path[1:].split("/")):
            raise InvalidRequest("A ticket cannot be for that path.", "Give the path of a job or an upload.")
        methods = sorted({method} if isinstance(method, str) else set(method))
        said = json.dumps(
            [_VERSION, principal.key_id, methods, path, int(expires_at.timestamp())], separators=(",", ":")
        ).encode()
        return f"{_coded(said)}.{_coded(self._seal(said))}"

    def read(self, text: str) -> Ticket:
        """Check a ticket.

        Raises:
            Forbidden: it was not made here, or it is no longer valid.
        """
        said, _, seal = text.partition(".")
        if len(text) > _MAX_LENGTH or not text.isascii() or not seal:
            raise _refused()
        try:
            raw, sealed = _decoded(said), _decoded(seal)
        except ValueError as exc:
            raise _refused() from exc
        # Before anything of it is believed, or even parsed.
        if not hmac.compare_digest(self._seal(raw), sealed):
            raise _refused()
        version, key_id, methods, path, expires_at = json.loads(raw)
        ticket = Ticket(key_id, frozenset(methods), path, float(expires_at))
        if version != _VERSION or self._now() >= ticket.expires_at:
            raise Forbidden("The ticket is no longer valid.", "Ask for a new one: POST /tickets.")
        return ticket

    def _seal(self, said: bytes) -> bytes:
        return hmac.digest(self._key, said, hashlib.sha256)


def _refused() -> Forbidden:
    return Forbidden("The ticket is not valid.", "Ask for a new one: POST /tickets.")


def _coded(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _decoded(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
