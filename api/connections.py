"""Connections of clients that are slow, silent or speak no HTTP: uvicorn alone would keep them for ever."""

from __future__ import annotations

import asyncio
import os
import resource
import socket
import uuid
from typing import Final

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

from api.errors import SettingsInvalid
from api.problems import response_of, status_problem

HEAD_S: Final = 20.0
"""Seconds that a client may take until the head of its request is here."""
UNREAD_S: Final = 60.0
"""Seconds after which a client that takes nothing of its answer counts as gone."""


_BACKLOG: Final = 2048
"""Connections that the kernel takes while the service starts or is busy; uvicorn's default."""


class Connection(H11Protocol):
    """A connection that ends when its client stalls between requests, or in reading an answer.

    One that stalls in the body of a request is the business of `api.security.middleware.BodyLimit`, which can
    still answer it.
    """

    _timer: asyncio.TimerHandle | None = None
    _waits_since = 0.0
    _unsent = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take in a new client; where there are too many, in place of the one that has waited longest."""
        super().connection_made(transport)
        self._watch()
        waiting = [other for other in self.connections if isinstance(other, Connection) and other._timer]
        if len(self.connections) > _most_connections() and waiting:
            min(waiting, key=lambda other: other._waits_since).transport.abort()

    def data_received(self, data: bytes) -> None:
        """Take in bytes of a request."""
        super().data_received(data)
        self._watch()

    def on_response_complete(self) -> None:
        """Wait for the next request, or for the rest of the one that was answered."""
        super().on_response_complete()
        self._watch()

    def pause_writing(self) -> None:
        """The client does not take the answer as fast as it is made."""
        super().pause_writing()
        self._watch()

    def resume_writing(self) -> None:
        """The client has taken what was sent."""
        super().resume_writing()
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the client."""
        super().connection_lost(exc)
        self._rest()

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP with a problem, and close the connection."""
        problem = status_problem(400, str(uuid.uuid4()), msg)
        answer = response_of(problem, {"X-Request-ID": problem.request_id, "Connection": "close"})
        head = h11.Response(status_code=400, headers=answer.raw_headers, reason=b"Bad Request")
        for event in (head, h11.Data(data=bytes(answer.body)), h11.EndOfMessage()):
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

    def _watch(self) -> None:
        # Before the first request there is no cycle, whatever uvicorn's annotation says.
        cycle: RequestResponseCycle | None = self.cycle
        handled = cycle is not None and not cycle.response_complete
        if handled and not self.flow.write_paused:
            self._rest()
        elif self._timer is None:
            self._waits_since = self.loop.time()
            self._unsent = self.transport.get_write_buffer_size()
            self._timer = self.loop.call_later(UNREAD_S if self._unsent else HEAD_S, self._judge)

    def _judge(self) -> None:
        unsent = self.transport.get_write_buffer_size()
        self._timer = None
        if unsent < self._unsent:
            self._watch()  # Slow, but not gone.
        else:
            self.transport.abort()

    def _rest(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def listen(host: str, port: int) -> socket.socket:
    """Take the address that the service is to listen on.

    Args:
        host: address, or a name of this machine.
        port: 0: any that is free.

    Raises:
        SettingsInvalid: it is taken, or not this machine's.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, *_, address = min(found, key=lambda one: one[0])  # IPv4 where a name has both.
        return socket.create_server(address, family=family, backlog=_BACKLOG)
    except (OSError, UnicodeError) as exc:
        # Python's own text repeats the address; names that are not found have numbers below zero.
        number = exc.errno if isinstance(exc, OSError) else None
        reason = os.strerror(number) if number is not None and number > 0 else "it is no name of a machine"
        raise SettingsInvalid(
            f"API_HOST, API_PORT: {host} port {port} cannot be listened on: {reason}.",
            "Stop what uses it, or set another.",
        ) from exc


def raise_file_limit() -> None:
    """Allow this process as many open files as it may have: every connection is one."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _most_connections() -> int:
    # The other half is for the database, uploads, stems and workers.
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2
