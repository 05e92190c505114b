"""One of several replicas does what must be done once: it holds a lock of the database while it lives."""

from __future__ import annotations

import hashlib
import logging
import threading
from contextlib import suppress
from types import TracebackType

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import SQLAlchemyError

log = logging.getLogger(__name__)


class Leadership:
    """Whether this process leads in a matter. A context manager: leaving it lets another lead.

    On PostgreSQL the leader holds an advisory lock by a connection of its own; when its process, machine or
    network dies, the server ends the connection and the next one to ask leads. With SQLite there is one
    machine, and every process leads: what they do is safe side by side.

    Args:
        engine: of the database.
        matter: what is led; the same in all replicas.
    """

    def __init__(self, engine: Engine, matter: str) -> None:
        self._engine, self._matter = engine, matter
        # 63 bits: PostgreSQL's locks are known by a signed number.
        digest = hashlib.sha256(f"audio-pipeline leads {matter}".encode()).digest()
        self._number = int.from_bytes(digest[:8], "big") >> 1
        self._connection: Connection | None = None
        self._lock = threading.Lock()

    def leads(self) -> bool:
        """Whether this process leads, now that it has asked. Without a database nobody does."""
        if self._engine.dialect.name != "postgresql":
            return True
        with self._lock:
            try:
                return self._holds() or self._take()
            except SQLAlchemyError as exc:
                said = {"action": "leadership_lost", "matter": self._matter, "error": type(exc).__name__}
                log.info("the database does not say who leads", extra=said)
                self._leave()
                return False

    def _holds(self) -> bool:
        if self._connection is None:
            return False
        # Also keeps the connection from being idle for so long that a router between forgets it.
        self._connection.execute(text("SELECT 1"))
        return True

    def _take(self) -> bool:
        # AUTOCOMMIT: no transaction stays open, which would keep old rows from being cleared away.
        connection = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        try:
            query = text("SELECT pg_try_advisory_lock(:number)")
            taken = bool(connection.scalar(query, {"number": self._number}))
        except BaseException:
            connection.invalidate()
            raise
        if not taken:
            connection.close()
            return False
        connection.detach()  # It is no connection of the pool any more: nobody else is given it.
        self._connection = connection
        log.info("leads in %s", self._matter, extra={"action": "leads", "matter": self._matter})
        return True

    def _leave(self) -> None:
        if self._connection is not None:
            with suppress(SQLAlchemyError):
                self._connection.close()
            self._connection = None

    def __enter__(self) -> Leadership:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            self._leave()
