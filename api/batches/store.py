"""Batches in the database: what was asked for, and what has become of it."""

from __future__ import annotations

import json
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, Final

from cryptography.fernet import Fernet
from sqlalchemy import Connection, Engine, Row, and_, delete, exists, func, insert, or_, select, update
from sqlalchemy.sql.elements import ColumnElement

from api.batches.model import Batch, Hold, Item, ItemState, NewItem
from api.batches.tables import batch_items as items
from api.batches.tables import batches
from api.errors import Conflict, PayloadTooLarge, QuotaExceeded
from api.jobs.model import JobError, JobEvent, JobStatus
from api.jobs.rows import event_of, job_of
from api.jobs.tables import job_events, jobs
from api.security.secret import ServerSecret
from api.transactions import DatabaseTime, reading, writing

_FINAL: Final = tuple(status for status in JobStatus if status.final)
_DECIDED: Final = {"submission": None, "subject": None, "lease_until": None, "not_before": None}
"""What is forgotten of an item that waits no longer: its job holds what there is to know."""


class BatchStore:
    """Keeps batches. Every method is one transaction, safe from any number of threads and processes.

    Besides what stands there, every method raises DatabaseUnavailable, DiskFull or OutputUnwritable like
    `api.jobs.sql_store.SqlJobStore`.

    Args:
        engine: from `api.database.open_database`, its tables made by `api.migrate.upgrade`.
        secret: the server's: what is asked for may hold signed URLs, and is kept encrypted while it waits.
        most_waiting: items of an owner that may wait at a time.
        now: the time by the database, in seconds since 1970.
    """

    def __init__(
        self,
        engine: Engine,
        secret: ServerSecret,
        *,
        most_waiting: int = 10_000,
        now: ColumnElement[float] | None = None,
    ) -> None:
        self._engine = engine
        self._box = Fernet(urlsafe_b64encode(secret.key("batches")))
        self._most_waiting = most_waiting
        self._now = select(DatabaseTime() if now is None else now)

    def add(self, batch_id: str, owner: str, key_id: str, new: Sequence[NewItem]) -> bool:
        """Accept a batch. Durable when it returns.

        Returns:
            Whether it is new; False: a batch of this id is there already.

        Raises:
            QuotaExceeded: too many items of this owner wait already.
        """
        with writing(self._engine) as connection:
            if connection.scalar(select(exists().where(batches.c.id == batch_id))):
                return False
            self._check_share(connection, owner, new)
            row = {"id": batch_id, "owner": owner, "key_id": key_id, "created_at": self._time(connection)}
            seq = connection.scalar(insert(batches).values(row).returning(batches.c.seq))
            connection.execute(insert(items), list(self._rows(seq, 0, batch_id, new)))
            return True

    def extend(self, batch: Batch, token: str, new: Sequence[NewItem], *, most: int) -> bool:
        """Add items to a batch. Durable when it returns.

        Args:
            batch: which.
            token: UUID of this addition.
            new: the items.
            most: items that a batch may have.

        Returns:
            Whether they are new; False: this addition was made already.

        Raises:
            Conflict: the batch was cancelled.
            PayloadTooLarge: it would have too many items.
            QuotaExceeded: too many items of this owner wait already.
        """
        with writing(self._engine) as connection:
            row = connection.execute(select(batches).where(batches.c.id == batch.id)).one()
            mine = items.c.batch_seq == row.seq
            first = str(uuid.uuid5(uuid.UUID(token), "0"))
            if connection.scalar(select(exists().where(mine, items.c.new_job_id == first))):
                return False
            if row.cancelled_at is not None:
                raise Conflict(f"The batch {batch.id} was cancelled.", "Begin another one: POST /batches.")
            next_number = connection.scalar(select(func.max(items.c.number)).where(mine)) + 1
            if next_number + len(new) > most:
                raise PayloadTooLarge(f"A batch may have {most} items.", "Begin another one: POST /batches.")
            self._check_share(connection, row.owner, new)
            connection.execute(insert(items), list(self._rows(row.seq, next_number, token, new)))
            return True

    def get(self, batch_id: str) -> Batch | None:
        """Look a batch up."""
        with reading(self._engine) as connection:
            row = connection.execute(select(batches).where(batches.c.id == batch_id)).one_or_none()
        return None if row is None else _batch_of(row)

    def find(self, owner: str, *, after: str | None = None, limit: int = 50) -> Sequence[Batch]:
        """An owner's batches, newest first.

        Args:
            owner: whose.
            after: id of the last batch of the page before.
            limit: at most so many.
        """
        query = select(batches).where(batches.c.owner == owner).order_by(batches.c.seq.desc()).limit(limit)
        if after is not None:
            last = select(batches.c.seq).where(batches.c.id == after).correlate(None).scalar_subquery()
            query = query.where(batches.c.seq < last)
        with reading(self._engine) as connection:
            return [_batch_of(row) for row in connection.execute(query)]

    def items(self, batch_id: str) -> Sequence[Item]:
        """The items of a batch, in order, with their jobs."""
        seq = select(batches.c.seq).where(batches.c.id == batch_id).scalar_subquery()
        mine = select(items).where(items.c.batch_seq == seq).order_by(items.c.number)
        theirs = select(jobs).where(
            jobs.c.id.in_(select(items.c.job_id).where(items.c.batch_seq == seq, items.c.job_id.is_not(None)))
        )
        with reading(self._engine) as connection:
            known = {row.id: job_of(row) for row in connection.execute(theirs)}
            return [
                Item(
                    row.number,
                    ItemState(row.state),
                    row.source,
                    known.get(row.job_id),
                    row.repeated,
                    JobError(**row.error) if row.error else None,
                    None if row.not_before is None else _datetime(row.not_before),
                )
                for row in connection.execute(mine)
            ]

    def events(self, batch_id: str, after: int, limit: int = 200) -> Sequence[JobEvent]:
        """What happened to the jobs of a batch after an event, in order."""
        seq = select(batches.c.seq).where(batches.c.id == batch_id).scalar_subquery()
        theirs = select(items.c.job_id).where(items.c.batch_seq == seq, items.c.job_id.is_not(None))
        query = select(job_events).where(job_events.c.id > after, job_events.c.job_id.in_(theirs))
        with reading(self._engine) as connection:
            return [event_of(row) for row in connection.execute(query.order_by(job_events.c.id).limit(limit))]

    def waits(self, places: Collection[str]) -> bool:
        """Whether there is something to hold."""
        with reading(self._engine) as connection:
            return connection.execute(_next(self._time(connection), places)).first() is not None

    def hold(self, places: Collection[str], lease_s: float) -> Hold | None:
        """Take the next item that waits: one atomic update.

        The first items of all batches come before the second ones: a long batch keeps no short one waiting.

        Args:
            places: folders of uploads that can be read here.
            lease_s: seconds after which another may take it, unless renewed.
        """
        with writing(self._engine) as connection:
            at = self._time(connection)
            row = connection.execute(_next(at, places)).one_or_none()
            if row is None:
                return None
            this = and_(items.c.batch_seq == row.batch_seq, items.c.number == row.number)
            taken = {"fence": row.fence + 1, "lease_until": at + lease_s}
            connection.execute(update(items).where(this).values(taken))
            batch = connection.execute(select(batches).where(batches.c.seq == row.batch_seq)).one()
            return Hold(
                _batch_of(batch),
                batch.key_id,
                row.number,
                row.fence + 1,
                row.new_job_id,
                json.loads(self._box.decrypt(row.submission)),
                row.source,
                row.tries,
            )

    def renew(self, hold: Hold, lease_s: float) -> bool:
        """Renew a lease. False: it was lost, or the batch was cancelled: stop."""
        with writing(self._engine) as connection:
            until = {"lease_until": self._time(connection) + lease_s}
            return connection.execute(update(items).where(_held(hold)).values(until)).rowcount == 1

    def take(self, hold: Hold, job_id: str, *, repeated: bool) -> bool:
        """Say which job an item has become. False: it was cancelled meanwhile, or another has said it."""
        values = {"state": ItemState.TAKEN.value, "job_id": job_id, "repeated": repeated, "error": None}
        return self._decide(hold, values | _DECIDED)

    def refuse(self, hold: Hold, error: JobError) -> bool:
        """Say why an item will be no job. False: another has decided meanwhile."""
        return self._decide(hold, {"state": ItemState.REFUSED.value, "error": asdict(error), **_DECIDED})

    def rest(self, hold: Hold, error: JobError, pause_s: float, *, counts: bool) -> bool:
        """Let an item wait for better times.

        Args:
            hold: of it.
            error: why.
            pause_s: for how long.
            counts: whether this was a try that failed.
        """
        with writing(self._engine) as connection:
            values = {
                "lease_until": None,
                "not_before": self._time(connection) + pause_s,
                "tries": items.c.tries + int(counts),
                "error": asdict(error),
            }
            return connection.execute(update(items).where(_held(hold)).values(values)).rowcount == 1

    def release(self, hold: Hold) -> bool:
        """Let another take an item in, at once."""
        return self._decide(hold, {"lease_until": None})

    def cancel(self, batch_id: str) -> list[str]:
        """Ask a batch to stop: what waits becomes no job any more.

        Returns:
            Ids of the jobs that it has made and that have not ended: theirs is to be stopped too. Jobs that
            were there before the batch stay as they are.
        """
        with writing(self._engine) as connection:
            at = self._time(connection)
            this = batches.c.id == batch_id
            seq = connection.scalar(select(batches.c.seq).where(this))
            fresh = update(batches).where(this, batches.c.cancelled_at.is_(None))
            connection.execute(fresh.values(cancelled_at=at))
            waits = and_(items.c.batch_seq == seq, items.c.state == ItemState.WAITING.value)
            stopped = {"state": ItemState.CANCELLED.value, "error": None, **_DECIDED}
            connection.execute(update(items).where(waits).values(stopped))
            mine = and_(items.c.batch_seq == seq, items.c.repeated.is_(False))
            query = select(jobs.c.id).join(items, items.c.job_id == jobs.c.id)
            return list(connection.scalars(query.where(mine, jobs.c.status.not_in(_FINAL))))

    def forget(self, before: datetime) -> int:
        """Forget old batches of which nothing waits; their jobs stay. How many batches."""
        waits = exists().where(items.c.batch_seq == batches.c.seq, items.c.state == ItemState.WAITING.value)
        old = select(batches.c.seq).where(batches.c.created_at < before.timestamp(), ~waits)
        with writing(self._engine) as connection:
            seqs = list(connection.scalars(old.limit(1000)))
            drop(connection, seqs)
        return len(seqs)

    def _check_share(self, connection: Connection, owner: str, new: Sequence[NewItem]) -> None:
        query = select(func.count()).join(batches, batches.c.seq == items.c.batch_seq)
        waits = and_(items.c.state == ItemState.WAITING.value, batches.c.owner == owner)
        held = connection.scalar(query.select_from(items).where(waits)) or 0
        if held + sum(item.error is None for item in new) > self._most_waiting:
            raise QuotaExceeded(
                f"{held} items of batches wait already; {self._most_waiting} may.",
                "Send the rest when some of them have become jobs.",
                retry_after_s=600,
            )

    def _rows(
        self, seq: int | None, first: int, token: str, new: Sequence[NewItem]
    ) -> Iterator[dict[str, Any]]:
        """The rows of items that are accepted now; by the token their jobs get the same ids again."""
        for offset, item in enumerate(new):
            said = None if item.submission is None else json.dumps(dict(item.submission)).encode()
            yield {
                "batch_seq": seq,
                "number": first + offset,
                "state": (ItemState.WAITING if item.error is None else ItemState.REFUSED).value,
                "source": item.source,
                "subject": item.subject,
                "submission": None if said is None else self._box.encrypt(said).decode(),
                "place": item.place,
                "new_job_id": str(uuid.uuid5(uuid.UUID(token), str(offset))),
                "job_id": None,
                "repeated": False,
                "tries": 0,
                "fence": 0,
                "lease_until": None,
                "not_before": None,
                "error": None if item.error is None else asdict(item.error),
            }

    def _decide(self, hold: Hold, values: dict[str, Any]) -> bool:
        with writing(self._engine) as connection:
            return connection.execute(update(items).where(_held(hold)).values(values)).rowcount == 1

    def _time(self, connection: Connection) -> float:
        return round(connection.scalars(self._now).one(), 6)


def drop(connection: Connection, seqs: Iterable[int]) -> None:
    """Delete batches, and no job of theirs.

    Args:
        connection: of a transaction that writes.
        seqs: theirs.
    """
    numbers = list(seqs)
    connection.execute(delete(items).where(items.c.batch_seq.in_(numbers)))
    connection.execute(delete(batches).where(batches.c.seq.in_(numbers)))


def erase_job(connection: Connection, job_id: str) -> None:
    """Forget what batches say of a job that is erased.

    Args:
        connection: of a transaction that writes.
        job_id: of it.
    """
    this = or_(items.c.job_id == job_id, items.c.new_job_id == job_id)
    connection.execute(update(items).where(this).values({"source": "", "error": None, **_DECIDED}))


def erase_owner(connection: Connection, owner: str) -> None:
    """Delete an owner's batches.

    Args:
        connection: of a transaction that writes.
        owner: his name.
    """
    drop(connection, connection.scalars(select(batches.c.seq).where(batches.c.owner == owner)))


def _next(at: float, places: Collection[str]) -> Any:
    here = or_(items.c.place.is_(None), items.c.place.in_(places))
    due = or_(items.c.not_before.is_(None), items.c.not_before <= at)
    free = or_(items.c.lease_until.is_(None), items.c.lease_until <= at)
    waits = and_(items.c.state == ItemState.WAITING.value, here, due, free)
    return select(items).where(waits).order_by(items.c.number, items.c.batch_seq).limit(1)


def waits_about(engine: Engine, subject: str) -> bool:
    """Whether something waits that is about somebody."""
    with reading(engine) as connection:
        return bool(connection.scalar(select(exists().where(_about(subject)))))


def forget_subject(engine: Engine, subject: str) -> int:
    """Drop what waits and is about somebody; how many items."""
    gone = {"state": ItemState.CANCELLED.value, "source": "", "error": None, **_DECIDED}
    with writing(engine) as connection:
        return connection.execute(update(items).where(_about(subject)).values(gone)).rowcount


def _about(subject: str) -> ColumnElement[bool]:
    # By the index of the state: what waits is little.
    return and_(items.c.state == ItemState.WAITING.value, items.c.subject == subject)


def _held(hold: Hold) -> ColumnElement[bool]:
    seq = select(batches.c.seq).where(batches.c.id == hold.batch.id).scalar_subquery()
    return and_(
        items.c.batch_seq == seq,
        items.c.number == hold.number,
        items.c.fence == hold.fence,
        items.c.state == ItemState.WAITING.value,
    )


def _batch_of(row: Row[Any]) -> Batch:
    cancelled = None if row.cancelled_at is None else _datetime(row.cancelled_at)
    return Batch(row.id, row.owner, _datetime(row.created_at), cancelled)


def _datetime(at: float) -> datetime:
    return datetime.fromtimestamp(at, UTC)
