"""Requests that are sent twice and must act once: the Idempotency-Key."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Engine, and_, delete, insert, select, update
from sqlalchemy.sql.elements import ColumnElement

from api.errors import IdempotencyInFlight, IdempotencyMismatch
from api.jobs.tables import idempotency_keys as keys
from api.transactions import DatabaseTime, reading, writing

KEPT_S = 24 * 3600.0
"""How long an answer is kept."""

LEASE_S = 60.0
"""How long a request may take before the process that handles it counts as dead."""


@dataclass(frozen=True, slots=True)
class Begun:
    """The right to handle a request.

    Attributes:
        owner: id of the API key.
        key: as the client sent it.
        job_id: UUID for the job that this request makes. It is the same when the request is begun again
            because its process died: then the job may be there already, and is to be looked up first.
        fence: of this beginning; an older one may write nothing.
    """

    owner: str
    key: str
    job_id: str
    fence: int


@dataclass(frozen=True, slots=True)
class Replay:
    """The answer that the request got when it came first.

    Attributes:
        status: HTTP's.
        headers: by name.
        body: as it was kept.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes


class IdempotencyStore:
    """Remembers requests by owner and key. Every method is one transaction.

    Besides what stands there, every method raises DatabaseUnavailable, DiskFull or OutputUnwritable like
    `api.jobs.sql_store.SqlJobStore`.

    Args:
        engine: from `api.database.open_database`, its tables made by `api.migrate.upgrade`.
        kept_s: how long an answer is kept.
        lease_s: how long a request may take before the process that handles it counts as dead.
        now: the time by the database, in seconds since 1970.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        kept_s: float = KEPT_S,
        lease_s: float = LEASE_S,
        now: ColumnElement[float] | None = None,
    ) -> None:
        self._engine = engine
        self._kept_s = kept_s
        self._lease_s = lease_s
        self._now = select(DatabaseTime() if now is None else now)

    def begin(self, owner: str, key: str, fingerprint: str) -> Begun | Replay:
        """Ask whether a request is to be handled.

        Args:
            owner: id of the API key.
            key: as the client sent it, at most 255 characters.
            fingerprint: equal for equal requests, at most 128 characters.

        Returns:
            `Begun`: handle it, then `finish` or `abandon`. `Replay`: give that answer.

        Raises:
            IdempotencyInFlight: the first request is still being handled.
            IdempotencyMismatch: the key was used for another request.
        """
        this = and_(keys.c.owner == owner, keys.c.key == key)
        with writing(self._engine) as connection:
            at = connection.scalars(self._now).one()
            connection.execute(delete(keys).where(keys.c.expires_at <= at))
            known = connection.execute(select(keys).where(this)).one_or_none()
            times = {"lease_until": at + self._lease_s, "expires_at": at + self._kept_s}
            if known is None:
                begun = Begun(owner, key, str(uuid.uuid4()), 1)
                row = {"owner": owner, "key": key, "fingerprint": fingerprint, "job_id": begun.job_id}
                connection.execute(insert(keys).values(**row, fence=begun.fence, **times))
                return begun
            if known.fingerprint != fingerprint:
                raise IdempotencyMismatch(
                    "This Idempotency-Key was used for another request.", "Use a new key for a new request."
                )
            if known.status is not None:
                return Replay(known.status, known.headers, known.body)
            # More than a lease ahead: the clock was set back, and nobody knows how long it has been.
            if at < known.lease_until <= at + self._lease_s:
                raise IdempotencyInFlight(
                    "The same request is still being handled.",
                    "Send it again in a moment.",
                    retry_after_s=min(known.lease_until - at, 2.0),
                )
            connection.execute(update(keys).where(this).values(fence=known.fence + 1, **times))
            return Begun(owner, key, known.job_id, known.fence + 1)

    def finish(self, begun: Begun, status: int, headers: Mapping[str, str], body: bytes) -> bool:
        """Keep the answer for whoever sends the request again. False when another has begun it since."""
        answer = {"status": status, "headers": dict(headers), "body": body}
        with writing(self._engine) as connection:
            return connection.execute(update(keys).where(_unfinished(begun)).values(answer)).rowcount == 1

    def holds(self, begun: Begun) -> bool:
        """Whether the request is ours to handle: nobody has begun it again since."""
        with reading(self._engine) as connection:
            return connection.execute(select(keys.c.fence).where(_unfinished(begun))).first() is not None

    def abandon(self, begun: Begun) -> bool:
        """Forget a request that failed without effect, so that it can be sent again at once."""
        with writing(self._engine) as connection:
            return connection.execute(delete(keys).where(_unfinished(begun))).rowcount == 1


def _unfinished(begun: Begun) -> ColumnElement[bool]:
    return and_(
        keys.c.owner == begun.owner,
        keys.c.key == begun.key,
        keys.c.job_id == begun.job_id,
        keys.c.fence == begun.fence,
        keys.c.status.is_(None),
    )
