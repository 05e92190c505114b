"""The steps that changes of jobs are made of, each within the caller's transaction."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from sqlalchemy import Connection, and_, delete, func, insert, select, update
from sqlalchemy.sql.elements import ColumnElement

from api.errors import AttemptsExhausted
from api.jobs import totals
from api.jobs.line import abandoned
from api.jobs.model import Job, JobError, JobStatus
from api.jobs.rows import job_of, told
from api.jobs.store import Claim
from api.jobs.tables import job_events, jobs, stretches
from api.webhooks import outbox

PROGRESS_EVENT_S = 0.5
"""Progress is told no more often than so, except when the stage changes."""

PROGRESS_EVENT_STEP = 0.005
"""Progress is told when it moved by so much: a job of any length leaves a few hundred events at most."""

Values = Mapping[str, Any]
"""Columns and what they are set to."""


def held(claim: Claim) -> ColumnElement[bool]:
    """Whether nobody has taken or ended the job since it was claimed."""
    return and_(jobs.c.id == claim.job.id, jobs.c.fence == claim.fence, jobs.c.status == JobStatus.RUNNING)


def leased_later(at: float) -> ColumnElement[bool]:
    """Whether a lease was renewed in the future: the clock was set back.

    Args:
        at: seconds since 1970.
    """
    return and_(jobs.c.status == JobStatus.RUNNING, jobs.c.leased_at > at)


def queued_later(at: float) -> ColumnElement[bool]:
    """Whether a job was queued, or rose, in the future: the clock was set back.

    Args:
        at: seconds since 1970.
    """
    return and_(jobs.c.status == JobStatus.QUEUED, jobs.c.ranked_at > at)


def ended(at: float) -> dict[str, Any]:
    """What is true of every job that has ended.

    Args:
        at: when, in seconds since 1970.
    """
    return {"finished_at": at, "leased_at": None, "lease_until": None, "eta_s": None}


def last_place(connection: Connection) -> int:
    """A place behind all others: nobody else can be given it, as there is one writer at a time."""
    last: int = connection.execute(select(func.coalesce(func.max(jobs.c.place), 0))).scalar_one()
    return last + 1


def change(connection: Connection, condition: ColumnElement[bool], values: Values) -> Job | None:
    """Change the one job that meets a condition, in one statement; None when there is none."""
    row = connection.execute(update(jobs).where(condition).values(values).returning(*jobs.c)).one_or_none()
    return None if row is None else job_of(row)


def tell(connection: Connection, job: Job, kind: str, at: float, more: Values | None = None) -> Job:
    """Append an event to what happened to a job; `more` is added to what `told` says.

    An end is counted, and its receiver is going to be told.
    """
    data = {**told(job), **(more or {})}
    connection.execute(insert(job_events).values(job_id=job.id, kind=str(kind), data=data, at=at))
    if kind in totals.ENDED:
        connection.execute(delete(stretches).where(stretches.c.job_id == job.id))
        totals.count_end(connection, job)
        outbox.enqueue(connection, job, at)
    return job


def is_progress_news(before: Values, values: Values, at: float) -> bool:
    """Whether progress is worth an event.

    Args:
        before: the job's row.
        values: what it is about to become.
        at: seconds since 1970.
    """
    if "stage" in values and values["stage"] != before["stage"]:
        return True
    moved: float = abs(values.get("progress", before["progress"]) - before["told_progress"])
    # abs: a clock that was set back must not silence a job.
    rested = before["told_at"] is None or abs(at - before["told_at"]) >= PROGRESS_EVENT_S
    return rested and moved >= PROGRESS_EVENT_STEP


def follow_clock(connection: Connection, at: float) -> None:
    """Begin leases anew that were renewed in the future, and bring rests and ages back to the present.

    Without this a dead worker's job would stay taken until the clock has caught up, be it a year, and a job
    would rest as long.
    """
    length = jobs.c.lease_until - jobs.c.leased_at
    renewed = {"lease_until": at + length, "leased_at": at}
    connection.execute(update(jobs).where(leased_later(at)).values(renewed))
    lost = jobs.c.ranked_at - at
    moved = {"queued_at": jobs.c.queued_at - lost, "not_before": jobs.c.not_before - lost, "ranked_at": at}
    connection.execute(update(jobs).where(queued_later(at)).values(moved))


def begin_leases_anew(connection: Connection, at: float) -> None:
    """Give every running job a whole lease from now: the clock was set forward.

    Without this every job would count as abandoned at once and run a second time, while its worker is alive.
    The job of a dead worker waits one lease longer.
    """
    length = jobs.c.lease_until - jobs.c.leased_at
    renewed = {"lease_until": at + length, "leased_at": at}
    connection.execute(update(jobs).where(jobs.c.status == JobStatus.RUNNING).values(renewed))


def end_abandoned(connection: Connection, at: float) -> None:
    """End abandoned jobs that must not run again: their owner asked to stop, or all attempts are used up."""
    endless = and_(abandoned(at), (jobs.c.attempt >= jobs.c.max_attempts) | jobs.c.cancel_requested)
    for row in connection.execute(select(jobs).where(endless).order_by(jobs.c.place)).all():
        totals.count(connection, totals.ABANDONED)
        deaths = row.deaths + 1
        values: dict[str, Any] = {"status": JobStatus.CANCELLED, "deaths": deaths, **ended(at)}
        if not row.cancel_requested:
            values |= {"status": JobStatus.FAILED, "error": asdict(_died(deaths, row.attempt))}
        job = change(connection, and_(jobs.c.seq == row.seq, endless), values)
        assert job is not None
        tell(connection, job, job.status, at)


def _died(deaths: int, attempts: int) -> JobError:
    times, tries = ("once" if n == 1 else f"{n} times" for n in (deaths, attempts))
    return JobError(
        AttemptsExhausted.code,
        f"The job was begun {tries}, and its process died {times}.",
        "Most often memory ran out: the worker's log says more. The job can be tried again.",
    )
