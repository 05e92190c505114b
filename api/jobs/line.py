"""Who is next: the order in which jobs run, as SQL.

Highest level first, then by turn, then whoever was queued first; `api.jobs.rank` gives levels and turns.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Row, Select, and_, case, func, or_, select
from sqlalchemy.sql.elements import ColumnElement

from api.jobs.model import JobStatus
from api.jobs.tables import jobs


def abandoned(at: float) -> ColumnElement[bool]:
    """Running by name only: the lease ran out.

    Args:
        at: seconds since 1970 by the database's clock.
    """
    return and_(jobs.c.status == JobStatus.RUNNING, jobs.c.lease_until <= at)


def due(at: float) -> ColumnElement[bool]:
    """Not resting after a failed attempt.

    Args:
        at: seconds since 1970 by the database's clock.
    """
    return or_(jobs.c.not_before.is_(None), jobs.c.not_before <= at)


def waiting(at: float) -> ColumnElement[bool]:
    """To be claimed: queued and due, or abandoned.

    Args:
        at: seconds since 1970 by the database's clock.
    """
    return or_(and_(jobs.c.status == JobStatus.QUEUED, due(at)), abandoned(at))


def top_level(connection: Connection, at: float) -> int | None:
    """The highest level of the jobs that are queued and due; None when there are none.

    Args:
        connection: to read with.
        at: seconds since 1970 by the database's clock.
    """
    queued = and_(jobs.c.status == JobStatus.QUEUED, due(at))
    level: int | None = connection.scalar(
        select(jobs.c.level).where(queued).order_by(jobs.c.level.desc()).limit(1)
    )
    return level


def first_in_line(connection: Connection, at: float) -> Row[Any] | None:
    """The row of the job that is next; None when none waits.

    Args:
        connection: to read with.
        at: seconds since 1970 by the database's clock.
    """
    # Each is the first entry of an index, however many wait; abandoned jobs are few.
    queued = and_(jobs.c.status == JobStatus.QUEUED, due(at), jobs.c.level == top_level(connection, at))
    order = (jobs.c.turn, jobs.c.place)
    queries = (
        select(jobs).where(queued).order_by(*order).limit(1),
        select(jobs).where(abandoned(at)).order_by(jobs.c.level.desc(), *order).limit(1),
    )
    found = [row for query in queries for row in connection.execute(query)]
    return min(found, key=lambda row: (-row.level, row.turn, row.place), default=None)


def whole_line(at: float) -> Select[Any]:
    """The rows of all queued jobs as `first_in_line` would name them; those that rest come last.

    Args:
        at: seconds since 1970 by the database's clock.
    """
    rests_until = case((due(at), 0.0), else_=jobs.c.not_before)
    queued = select(jobs).where(jobs.c.status == JobStatus.QUEUED)
    return queued.order_by(rests_until, jobs.c.level.desc(), jobs.c.turn, jobs.c.place)


def count_before(job: Row[Any], at: float) -> Select[Any]:
    """How many jobs `first_in_line` names before it names this one, as things stand.

    Args:
        job: row of a queued job. One that rests goes behind all that wait, and those that rest less long.
        at: seconds since 1970 by the database's clock.
    """
    if job.not_before is None or job.not_before <= at:
        earlier = and_(jobs.c.turn == job.turn, jobs.c.place < job.place)
        sooner = and_(jobs.c.level == job.level, or_(jobs.c.turn < job.turn, earlier))
        return select(func.count()).where(waiting(at), or_(jobs.c.level > job.level, sooner))
    rests_less = or_(
        jobs.c.not_before < job.not_before,
        and_(jobs.c.not_before == job.not_before, jobs.c.place < job.place),
    )
    resting = and_(jobs.c.status == JobStatus.QUEUED, rests_less)
    return select(func.count()).where(or_(waiting(at), resting))
