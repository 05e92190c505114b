"""A job's rank among those that wait: its level, and its owner's turn.

Owners take turns. A job that is queued gets the turn after its owner's last one, and never one that has
passed: who comes late gets the turn of whoever is first in line, not the turns that he missed. So the jobs of
an owner with a hundred and of one with three run alternately, however many workers there are. Turns are
numbers, not times: no clock can change the order within a level.

A level is a priority, until jobs of a higher one keep overtaking. A job that was passed over for `AGEING_S`
rises by one level and takes a turn there: no stream of urgent jobs keeps others waiting for ever. Where
nobody is of a higher level nothing rises, and turns alone decide.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import Connection, and_, func, select, update

from api.jobs.line import due, top_level
from api.jobs.model import JobStatus
from api.jobs.tables import jobs

AGEING_S: Final = 600.0
"""Seconds after which a job that others overtake by their level rises by one level."""


def ranked(connection: Connection, owner: str, level: int, at: float) -> dict[str, Any]:
    """The rank of a job that joins a level now.

    Args:
        connection: of a transaction that writes, so that nobody else is given the same.
        owner: whose job it is.
        level: that it joins; its priority at first.
        at: seconds since 1970 by the database's clock.
    """
    queued, running = jobs.c.status == JobStatus.QUEUED, jobs.c.status == JobStatus.RUNNING
    there = jobs.c.level == level
    first = select(func.min(jobs.c.turn)).where(queued, there, due(at)).scalar_subquery()
    latest = select(func.max(jobs.c.turn)).where(running, there).scalar_subquery()
    now: int = connection.execute(select(func.coalesce(first, latest, 0))).scalar_one()
    active = jobs.c.status.in_((JobStatus.QUEUED, JobStatus.RUNNING))
    last = connection.scalar(select(func.max(jobs.c.turn)).where(active, there, jobs.c.owner == owner))
    return {"level": level, "turn": now if last is None else max(now, last + 1), "ranked_at": at}


def raise_overtaken(connection: Connection, at: float) -> None:
    """Give jobs that were passed over for long enough the next higher level.

    Args:
        connection: of a transaction that writes.
        at: seconds since 1970 by the database's clock.
    """
    top = top_level(connection, at)
    if top is None:
        return
    overtaken = and_(jobs.c.status == JobStatus.QUEUED, due(at), jobs.c.ranked_at <= at - AGEING_S)
    query = select(jobs.c.seq, jobs.c.owner, jobs.c.level).where(overtaken, jobs.c.level < top)
    for row in connection.execute(query.order_by(jobs.c.turn, jobs.c.place)).all():
        rank = ranked(connection, row.owner, row.level + 1, at)
        connection.execute(update(jobs).where(jobs.c.seq == row.seq).values(rank))
