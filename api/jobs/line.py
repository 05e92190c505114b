"""Who is next: the order in which jobs run, as SQL.

Highest priority first; among equals the owner with the fewest running jobs, then whoever has waited longest.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import FromClause, ScalarSelect, Select, and_, func, or_, select
from sqlalchemy.sql.elements import ColumnElement

from api.jobs.model import JobStatus
from api.jobs.tables import jobs


def abandoned(at: float, table: FromClause = jobs) -> ColumnElement[bool]:
    """Running by name only: the lease ran out.

    Args:
        at: seconds since 1970 by the database's clock.
        table: `jobs` or an alias of it.
    """
    return and_(table.c.status == JobStatus.RUNNING, table.c.lease_until <= at)


def waiting(at: float, table: FromClause = jobs) -> ColumnElement[bool]:
    """To be claimed: queued, or abandoned.

    Args:
        at: seconds since 1970 by the database's clock.
        table: `jobs` or an alias of it.
    """
    return or_(table.c.status == JobStatus.QUEUED, abandoned(at, table))


def first_in_line(at: float) -> ScalarSelect[Any]:
    """The `seq` of the job that is next.

    Args:
        at: seconds since 1970 by the database's clock.
    """
    candidate, busy = jobs.alias("candidate"), _running_by_owner(at)
    return (
        select(candidate.c.seq)
        .outerjoin(busy, busy.c.owner == candidate.c.owner)
        .where(waiting(at, candidate))
        .order_by(candidate.c.priority.desc(), func.coalesce(busy.c.running, 0), candidate.c.place)
        .limit(1)
        .scalar_subquery()
    )


def count_before(job_id: str, at: float) -> Select[int]:
    """How many jobs `first_in_line` names before it names this one, as long as none ends.

    A job's turn is the number of jobs that its owner has running when it is claimed: those that run now, and
    the owner's own that go before it. Of an owner's jobs the turns rise, so that always taking the least turn
    of all owners' next jobs gives all jobs by turn.

    Args:
        job_id: of a waiting job.
        at: seconds since 1970 by the database's clock.
    """
    candidate, busy = jobs.alias("candidate"), _running_by_owner(at)
    own = func.row_number().over(
        partition_by=candidate.c.owner, order_by=(candidate.c.priority.desc(), candidate.c.place)
    )
    line = (
        select(
            candidate.c.id,
            candidate.c.priority,
            candidate.c.place,
            (own + func.coalesce(busy.c.running, 0)).label("turn"),
        )
        .outerjoin(busy, busy.c.owner == candidate.c.owner)
        .where(waiting(at, candidate))
        .cte("line")
    )
    other, this = line.alias("other"), line.alias("this")
    sooner = or_(other.c.turn < this.c.turn, and_(other.c.turn == this.c.turn, other.c.place < this.c.place))
    before = or_(other.c.priority > this.c.priority, and_(other.c.priority == this.c.priority, sooner))
    return select(func.count()).select_from(other.join(this, before)).where(this.c.id == job_id)


def _running_by_owner(at: float) -> FromClause:
    return (
        select(jobs.c.owner, func.count().label("running"))
        .where(jobs.c.status == JobStatus.RUNNING, jobs.c.lease_until > at)
        .group_by(jobs.c.owner)
        .subquery("busy")
    )
