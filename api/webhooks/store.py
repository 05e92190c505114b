"""The deliveries in the database: claimed one by one, tried again by schedule, kept as a log."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Final

from sqlalchemy import Connection, Engine, and_, delete, exists, func, insert, or_, select, update
from sqlalchemy.sql.elements import ColumnElement

from api.errors import Conflict, NotFound
from api.jobs.totals import WEBHOOKS, count
from api.transactions import DatabaseTime, reading, writing
from api.webhooks.model import (
    INTERRUPTED,
    OPEN,
    Answer,
    Backlog,
    Delivery,
    DeliveryClaim,
    DeliveryStatus,
)
from api.webhooks.outbox import endpoint_of
from api.webhooks.rows import after, claim_of, delivery_of
from api.webhooks.schedule import MOST_TRIES
from api.webhooks.tables import attempts, deliveries, disabled_endpoints

LEASE_S = 60.0
"""How long an attempt may take before its process counts as dead."""

PER_OWNER = 4
"""Attempts for one owner at a time, over all processes; the other slots of a dispatcher are for others."""

PER_RECEIVER = 2
"""Attempts at one host for one owner at a time: a host that is slow holds up no other."""

_OUTCOMES: Final = {
    DeliveryStatus.DELIVERED: "delivered",
    DeliveryStatus.PENDING: "retried",
    DeliveryStatus.FAILED: "failed",
    DeliveryStatus.DISABLED: "disabled",
}


class WebhookStore:
    """Keeps deliveries. Every method is one transaction, safe from any number of threads and processes.

    Besides what stands there, every method raises DatabaseUnavailable, DiskFull or OutputUnwritable like
    `api.jobs.sql_store.SqlJobStore`.

    Args:
        engine: from `api.database.open_database`, its tables made by `api.migrate.upgrade`.
        now: the time by the database, in seconds since 1970.
        chance: 0..1 at random; see `api.webhooks.schedule.pause_s`.
    """

    def __init__(
        self,
        engine: Engine,
        now: ColumnElement[float] | None = None,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._engine = engine
        self._now = select(DatabaseTime() if now is None else now)
        self._chance = chance

    def claim(self, most: int) -> list[DeliveryClaim]:
        """Take what is due, the longest due first. Where nothing is, no lock is taken either.

        Args:
            most: at most so many; fewer where an owner or a receiver has its share already.
        """
        with reading(self._engine) as connection:
            at = self._time(connection)
            due = select(deliveries.c.seq).where(or_(_due(at), _timed_later(at))).limit(1)
            if connection.execute(due).first() is None:
                return []
        with writing(self._engine) as connection:
            at = self._time(connection)
            _follow_clock(connection, at)
            _clear_up(connection, at)
            return list(_claim(connection, at, most))

    def record(self, claim: DeliveryClaim, answer: Answer) -> DeliveryStatus | None:
        """Say what came of an attempt, and when the next one is due.

        Returns:
            What the delivery is now; None when it was claimed by another since, replayed or erased: then
            only the log says what came of this attempt.
        """
        this = select(deliveries.c.seq).where(deliveries.c.id == claim.id).scalar_subquery()
        said = {"status_code": answer.status_code, "error": answer.error, "seconds": answer.seconds}
        with writing(self._engine) as connection:
            own = and_(attempts.c.delivery_seq == this, attempts.c.number == claim.fence)
            connection.execute(update(attempts).where(own).values(said))
            at = self._time(connection)
            values = after(claim, answer, at, self._chance())
            held = and_(
                deliveries.c.id == claim.id,
                deliveries.c.fence == claim.fence,
                deliveries.c.status == DeliveryStatus.SENDING,
            )
            if not connection.execute(update(deliveries).where(held).values(values)).rowcount:
                return None
            status: DeliveryStatus = values["status"]
            count(connection, WEBHOOKS, _OUTCOMES[status])
            if status is DeliveryStatus.DISABLED:
                _disable(connection, endpoint_of(claim.owner, claim.url), at)
            return status

    def of_job(self, job_id: str) -> list[Delivery]:
        """All deliveries of a job with their attempts, in order."""
        with reading(self._engine) as connection:
            return _read(connection, deliveries.c.job_id == job_id)

    def replay(self, job_id: str, delivery_id: str) -> Delivery:
        """Send a delivery again, now and by a schedule of its own, under its id; its URL is taken up again.

        Raises:
            NotFound: the job has no such delivery.
            Conflict: it is just being sent.
        """
        this = and_(deliveries.c.job_id == job_id, deliveries.c.id == delivery_id)
        with writing(self._engine) as connection:
            row = connection.execute(select(deliveries).where(this)).one_or_none()
            if row is None:
                raise NotFound(f"There is no delivery {delivery_id}.", f"See GET /jobs/{job_id}/webhooks.")
            if row.status is DeliveryStatus.SENDING:
                raise Conflict("The delivery is just being sent.", "See what comes of it first.")
            at = self._time(connection)
            values = {"tries": 0, "due_at": at, "timed_at": at, "opened_at": at, "ended_at": None}
            connection.execute(update(deliveries).where(this).values(status=DeliveryStatus.PENDING, **values))
            _enable(connection, row.endpoint)
            return _read(connection, this)[0]

    def enable(self, owner: str, url: str) -> None:
        """Take a URL up again that answered 410 Gone."""
        with writing(self._engine) as connection:
            _enable(connection, endpoint_of(owner, url))

    def backlog(self) -> Backlog:
        """What is still to be delivered."""
        query = select(func.count(), func.min(deliveries.c.opened_at)).where(deliveries.c.status.in_(OPEN))
        with reading(self._engine) as connection:
            count, oldest = connection.execute(query).one()
            return Backlog(count, 0.0 if oldest is None else max(self._time(connection) - oldest, 0.0))

    def forget(self, before: datetime) -> int:
        """Remove deliveries that ended before a time from the log; those that are open stay.

        Returns:
            How many.
        """
        with writing(self._engine) as connection:
            # An end in the future is of before the clock was set back: it ages from when it is seen again.
            old = deliveries.c.ended_at < before.timestamp()
            gone = select(deliveries.c.seq).where(old)
            connection.execute(delete(attempts).where(attempts.c.delivery_seq.in_(gone)))
            return connection.execute(delete(deliveries).where(old)).rowcount

    def _time(self, connection: Connection) -> float:
        return connection.scalars(self._now).one()


def _due(at: float) -> ColumnElement[bool]:
    return and_(deliveries.c.status.in_(OPEN), deliveries.c.due_at <= at)


def _timed_later(at: float) -> ColumnElement[bool]:
    return and_(deliveries.c.status.in_(OPEN), deliveries.c.timed_at > at)


def _follow_clock(connection: Connection, at: float) -> None:
    """Begin pauses and leases anew that were begun in the future: the clock was set back.

    Without this nothing would be sent until the clock has caught up, be it a year.
    """
    again = {"due_at": at + deliveries.c.due_at - deliveries.c.timed_at, "timed_at": at}
    connection.execute(update(deliveries).where(_timed_later(at)).values(again))


def _clear_up(connection: Connection, at: float) -> None:
    """Note attempts that were lost; end what nobody wants, and what brought down its process every time."""
    # A lease that ran out: its process died with the attempt.
    lost = select(deliveries.c.seq).where(_due(at), deliveries.c.status == DeliveryStatus.SENDING)
    unsaid = and_(attempts.c.status_code.is_(None), attempts.c.error.is_(None))
    connection.execute(
        update(attempts).where(attempts.c.delivery_seq.in_(lost), unsaid).values(error=INTERRUPTED)
    )
    wants_none = exists().where(disabled_endpoints.c.endpoint == deliveries.c.endpoint)
    used_up = deliveries.c.tries >= MOST_TRIES
    for status, condition in ((DeliveryStatus.DISABLED, wants_none), (DeliveryStatus.FAILED, used_up)):
        ended = {"status": status, "ended_at": at}
        found = connection.execute(update(deliveries).where(_due(at), condition).values(ended)).rowcount
        if found:
            count(connection, WEBHOOKS, _OUTCOMES[status], by=found)


def _claim(connection: Connection, at: float, most: int) -> Iterator[DeliveryClaim]:
    sent = and_(deliveries.c.status == DeliveryStatus.SENDING, deliveries.c.due_at > at)
    busy = connection.execute(select(deliveries.c.owner, deliveries.c.receiver).where(sent)).all()
    owners, receivers = Counter(row.owner for row in busy), Counter(row.receiver for row in busy)
    for _ in range(most):
        first = (
            select(deliveries)
            .where(_due(at))
            .where(deliveries.c.owner.not_in([one for one, n in owners.items() if n >= PER_OWNER]))
            .where(deliveries.c.receiver.not_in([one for one, n in receivers.items() if n >= PER_RECEIVER]))
            .order_by(deliveries.c.due_at, deliveries.c.seq)
            .limit(1)
        )
        row = connection.execute(first).one_or_none()
        if row is None:
            return
        values = {
            "status": DeliveryStatus.SENDING,
            "fence": row.fence + 1,
            "tries": row.tries + 1,
            "due_at": at + LEASE_S,
            "timed_at": at,
        }
        changed = update(deliveries).where(deliveries.c.seq == row.seq).values(values)
        claim = claim_of(connection.execute(changed.returning(*deliveries.c)).one(), at)
        connection.execute(insert(attempts).values(delivery_seq=row.seq, number=claim.fence, at=at))
        owners[row.owner] += 1
        receivers[row.receiver] += 1
        yield claim


def _disable(connection: Connection, endpoint: str, at: float) -> None:
    _enable(connection, endpoint)
    connection.execute(insert(disabled_endpoints).values(endpoint=endpoint, at=at))


def _enable(connection: Connection, endpoint: str) -> None:
    connection.execute(delete(disabled_endpoints).where(disabled_endpoints.c.endpoint == endpoint))


def _read(connection: Connection, condition: ColumnElement[bool]) -> list[Delivery]:
    rows = connection.execute(select(deliveries).where(condition).order_by(deliveries.c.seq)).all()
    made = select(attempts).where(attempts.c.delivery_seq.in_([row.seq for row in rows]))
    by_delivery = defaultdict(list)
    for row in connection.execute(made.order_by(attempts.c.delivery_seq, attempts.c.number)):
        by_delivery[row.delivery_seq].append(row)
    return [delivery_of(row, by_delivery[row.seq]) for row in rows]
