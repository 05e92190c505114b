"""Who makes which stretch of a long separation, in the database: see `pipeline.stretches` and decision 27.

A stretch is free, somebody's as long as his lease lasts, or made. The worker whose job it is takes free ones
by removing them from here: nobody else needs to know of them.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, Engine, and_, delete, insert, or_, select, update
from sqlalchemy.sql.elements import ColumnElement

from api.jobs.model import JobStatus
from api.jobs.tables import jobs, stretches
from api.transactions import DatabaseTime, reading, writing
from pipeline.stretches import State


class StretchStore:
    """The stretches of all jobs. Safe from any number of processes; a stretch is named by its first sample.

    Every method raises DatabaseUnavailable, DiskFull or OutputUnwritable as `api.transactions` says.

    Args:
        engine: of the database.
        now: the time by the database, in seconds since 1970.
    """

    def __init__(self, engine: Engine, now: ColumnElement[float] | None = None) -> None:
        self._engine = engine
        self._now = select(DatabaseTime() if now is None else now)

    def offer(self, job_id: str, fence: int, identity: str, begins: Sequence[int]) -> None:
        """Offer the stretches of a separation; those that an attempt before has offered stay as they are."""
        these = _of(job_id, identity)
        with writing(self._engine) as connection:
            there = set(connection.scalars(select(stretches.c.begin).where(these)))
            connection.execute(update(stretches).where(these).values(fence=fence))
            new = [
                {"job_id": job_id, "identity": identity, "begin": begin, "fence": fence, "made": False}
                for begin in begins
                if begin not in there
            ]
            if new:
                connection.execute(insert(stretches), new)

    def take(self, job_id: str, identity: str, begin: int) -> State:
        """Take a stretch for the job's own worker, unless another makes it or has."""
        this = and_(_of(job_id, identity), stretches.c.begin == begin)
        with writing(self._engine) as connection:
            if connection.execute(delete(stretches).where(this, _free(self._time(connection)))).rowcount:
                return State.OURS
            made = connection.scalar(select(stretches.c.made).where(this))
        if made is None:
            return State.OURS
        return State.MADE if made else State.THEIRS

    def take_after(self, job_id: str, identity: str, begin: int) -> int | None:
        """Take the first free stretch behind another, likewise."""
        later = and_(_of(job_id, identity), stretches.c.begin > begin)
        with writing(self._engine) as connection:
            first = self._first(connection, later)
            if first is not None:
                this = and_(_of(job_id, identity), stretches.c.begin == first)
                connection.execute(delete(stretches).where(this))
        return first

    def offered(self, job_id: str, identity: str) -> bool:
        """Whether stretches of this separation were offered."""
        with reading(self._engine) as connection:
            return (
                connection.scalar(select(stretches.c.begin).where(_of(job_id, identity)).limit(1)) is not None
            )

    def wanting(self) -> Sequence[str]:
        """Ids of running jobs with stretches that are free, the oldest first."""
        with reading(self._engine) as connection:
            query = (
                select(jobs.c.id)
                .join(stretches, and_(stretches.c.job_id == jobs.c.id, stretches.c.fence == jobs.c.fence))
                .where(jobs.c.status == JobStatus.RUNNING, jobs.c.cancel_requested.is_(False))
                .where(_free(self._time(connection)))
                .group_by(jobs.c.id, jobs.c.seq)
                .order_by(jobs.c.seq)
            )
            return list(connection.scalars(query))

    def claim(self, job_id: str, identity: str, worker: str, lease_s: float) -> int | None:
        """Take the first free stretch of a job that runs, for a helper."""
        running = select(jobs.c.fence).where(jobs.c.id == job_id, jobs.c.status == JobStatus.RUNNING)
        with writing(self._engine) as connection:
            offered = and_(_of(job_id, identity), stretches.c.fence == running.scalar_subquery())
            first = self._first(connection, offered)
            if first is not None:
                this = and_(_of(job_id, identity), stretches.c.begin == first)
                taken = {"worker": worker, "lease_until": self._time(connection) + lease_s}
                connection.execute(update(stretches).where(this).values(taken))
        return first

    def beat(self, job_id: str, worker: str, lease_s: float) -> bool:
        """Renew the lease of what a helper makes.

        Returns:
            Whether the job still wants it.
        """
        alive = and_(
            jobs.c.id == job_id,
            jobs.c.status.in_((JobStatus.RUNNING, JobStatus.QUEUED)),
            jobs.c.cancel_requested.is_(False),
        )
        with reading(self._engine) as connection:
            if connection.scalar(select(jobs.c.seq).where(alive)) is None:
                return False
        with writing(self._engine) as connection:
            until = self._time(connection) + lease_s
            connection.execute(update(stretches).where(_makes(worker)).values(lease_until=until))
        return True

    def finish(self, job_id: str, identity: str, begin: int, worker: str) -> bool:
        """Say that a stretch can be fetched. False when it is another's by now, or nobody wants it."""
        this = and_(_of(job_id, identity), stretches.c.begin == begin, _makes(worker))
        with writing(self._engine) as connection:
            done = {"made": True, "lease_until": None}
            return connection.execute(update(stretches).where(this).values(done)).rowcount == 1

    def release(self, worker: str) -> None:
        """Hand back what a helper has taken and not made."""
        with writing(self._engine) as connection:
            free = {"worker": None, "lease_until": None}
            connection.execute(update(stretches).where(_makes(worker)).values(free))

    def _first(self, connection: Connection, which: ColumnElement[bool]) -> int | None:
        free = _free(self._time(connection))
        query = select(stretches.c.begin).where(which, free).order_by(stretches.c.begin).limit(1)
        first: int | None = connection.scalar(query)
        return first

    def _time(self, connection: Connection) -> float:
        return connection.scalars(self._now).one()


def _of(job_id: str, identity: str) -> ColumnElement[bool]:
    return and_(stretches.c.job_id == job_id, stretches.c.identity == identity)


def _free(at: float) -> ColumnElement[bool]:
    idle = or_(stretches.c.lease_until.is_(None), stretches.c.lease_until <= at)
    return and_(stretches.c.made.is_(False), idle)


def _makes(worker: str) -> ColumnElement[bool]:
    return and_(stretches.c.worker == worker, stretches.c.made.is_(False))
