"""The job store on a database: SQLite beside the process or PostgreSQL past one machine, by the same SQL."""

from __future__ import annotations

import errno
import time
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Engine, and_, case, func, insert, or_, select, update
from sqlalchemy.sql.elements import ColumnElement

from api.errors import Conflict, QueueFull
from api.jobs.changes import (
    Values,
    change,
    end_abandoned,
    ended,
    follow_clock,
    held,
    is_progress_news,
    last_place,
    leased_later,
    tell,
)
from api.jobs.line import count_before, first_in_line, waiting
from api.jobs.model import Job, JobError, JobEvent, JobStatus, StageTime
from api.jobs.rows import event_of, fold, job_of, new_row, queued, time_of, unmoved, unstarted
from api.jobs.store import Beat, Claim, JobFilter
from api.jobs.tables import job_events, jobs, store_checks
from api.transactions import DatabaseTime, reading, writing
from pipeline.errors import DiskFull, OutputUnwritable, PipelineError

FULL_CHECK_S = 600.0
"""How often `SqlJobStore.check` reads every page of the database; in between it reads and writes a row."""


class SqlJobStore:
    """Implements `api.jobs.store.JobStore`; see there for what each method promises.

    Besides what stands there, every method raises DatabaseUnavailable, DiskFull or OutputUnwritable when the
    database is busy for too long, out of reach or damaged; when its disk is full; when it may not be written.

    Args:
        engine: from `api.database.open_database`, its tables made by `api.migrate.upgrade`.
        now: the time by the database, in seconds since 1970.
    """

    def __init__(self, engine: Engine, now: ColumnElement[float] | None = None) -> None:
        self._engine = engine
        self._now = select(DatabaseTime() if now is None else now)
        self._read_fully_at: float | None = None

    def add(self, job: Job, *, max_queued: int | None = None) -> Job:
        """Accept a job; the time is the database's, and the job begins as queued whatever it says.

        Raises:
            QueueFull: `max_queued` jobs wait already.
            Conflict: there is a job of this id.
        """
        with writing(self._engine) as connection:
            if connection.execute(select(jobs.c.seq).where(jobs.c.id == job.id)).first() is not None:
                raise Conflict(f"There is a job {job.id} already.")
            if max_queued is not None:
                count = select(func.count()).where(jobs.c.status == JobStatus.QUEUED)
                if connection.scalars(count).one() >= max_queued:
                    hint = "Try again in a while."
                    raise QueueFull(f"The queue is full: {max_queued} jobs wait.", hint, retry_after_s=30)
            at = self._time(connection)
            row = new_row(job, last_place(connection), at)
            added = connection.execute(insert(jobs).values(row).returning(*jobs.c)).one()
            return tell(connection, job_of(added), "queued", at)

    def get(self, job_id: str) -> Job | None:
        """Look a job up."""
        with reading(self._engine) as connection:
            row = connection.execute(select(jobs).where(jobs.c.id == job_id)).one_or_none()
        return None if row is None else job_of(row)

    def find(self, wanted: JobFilter, *, after: str | None = None, limit: int = 50) -> Sequence[Job]:
        """List jobs, newest first; none after an id that is unknown."""
        query = select(jobs).where(*_conditions(wanted)).order_by(jobs.c.seq.desc()).limit(limit)
        if after is not None:
            last = select(jobs.c.seq).where(jobs.c.id == after).correlate(None).scalar_subquery()
            query = query.where(jobs.c.seq < last)
        with reading(self._engine) as connection:
            return [job_of(row) for row in connection.execute(query)]

    def find_content(self, owner: str, content_key: str) -> Job | None:
        """The newest job of an owner with this content that has succeeded or will, unless it is cancelled."""
        useful = (JobStatus.SUCCEEDED, JobStatus.QUEUED, JobStatus.RUNNING)
        query = (
            select(jobs)
            .where(jobs.c.owner == owner, jobs.c.content_key == content_key, jobs.c.status.in_(useful))
            .where(or_(jobs.c.status == JobStatus.SUCCEEDED, jobs.c.cancel_requested.is_(False)))
            .order_by(jobs.c.seq.desc())
            .limit(1)
        )
        with reading(self._engine) as connection:
            row = connection.execute(query).one_or_none()
        return None if row is None else job_of(row)

    def claim(self, worker: str, lease_s: float) -> Claim | None:
        """Take the next job. Where nothing is to be done, no lock is taken either."""
        with reading(self._engine) as connection:
            at = self._time(connection)
            due = select(jobs.c.seq).where(or_(waiting(at), leased_later(at))).limit(1)
            if connection.execute(due).first() is None:
                return None
        with writing(self._engine) as connection:
            at = self._time(connection)
            follow_clock(connection, at)
            end_abandoned(connection, at)
            values = {
                "status": JobStatus.RUNNING,
                "worker": worker,
                "fence": jobs.c.fence + 1,
                "attempt": jobs.c.attempt + 1,
                "deaths": jobs.c.deaths + case((jobs.c.status == JobStatus.RUNNING, 1), else_=0),
                "leased_at": at,
                "lease_until": at + lease_s,
                "started_at": at,
                **unmoved(),
            }
            changed = change(connection, and_(jobs.c.seq == first_in_line(at), waiting(at)), values)
            if changed is None:
                return None
            tell(connection, changed, "running", at)
            return Claim(changed, worker, changed.fence)

    def beat(
        self,
        claim: Claim,
        lease_s: float,
        *,
        progress: float | None = None,
        stage: str | None = None,
        stages: Sequence[StageTime] | None = None,
        eta_s: float | None = None,
        duration_s: float | None = None,
    ) -> Beat:
        """Renew a lease, also one that ran out while nobody took the job; what is None stays as it is."""
        given: dict[str, Any] = {
            "progress": progress,
            "stage": stage,
            "stages": None if stages is None else [asdict(one) for one in stages],
            "eta_s": eta_s,
            "duration_s": duration_s,
        }
        values = {name: value for name, value in given.items() if value is not None}
        with writing(self._engine) as connection:
            before = connection.execute(select(jobs).where(held(claim))).one_or_none()
            if before is None:
                return Beat(held=False, cancel=False)
            at = self._time(connection)
            values |= {"leased_at": at, "lease_until": at + lease_s}
            newsworthy = is_progress_news(before._asdict(), values, at)
            if newsworthy:
                values |= {"told_at": at, "told_progress": values.get("progress", before.progress)}
            changed = change(connection, held(claim), values)
            assert changed is not None
            if newsworthy:
                tell(connection, changed, "progress", at)
            return Beat(held=True, cancel=changed.cancel_requested)

    def succeed(self, claim: Claim) -> bool:
        """End a job well."""
        return self._end(claim, {"status": JobStatus.SUCCEEDED, "progress": 1.0})

    def fail(self, claim: Claim, error: JobError, *, again: bool = False) -> bool:
        """End an attempt badly. `again`: at the end of the queue, unless its owner has asked to stop."""
        with writing(self._engine) as connection:
            row = connection.execute(select(jobs).where(held(claim))).one_or_none()
            if row is None:
                return False
            at = self._time(connection)
            values: dict[str, Any] = {"status": JobStatus.FAILED, "error": asdict(error)}
            if again and row.cancel_requested:
                values = {"status": JobStatus.CANCELLED}
            elif again and row.attempt < row.max_attempts:
                values = {**unstarted(), "status": JobStatus.QUEUED, "queued_at": at}
                values["place"] = last_place(connection)
            if values["status"] is not JobStatus.QUEUED:
                values |= ended(at)
            changed = change(connection, held(claim), values)
            assert changed is not None
            # The job is queued and has no error; what went wrong this time stands in the event.
            said = {"error": asdict(error)} if changed.status is JobStatus.QUEUED else {}
            tell(connection, changed, changed.status, at, said)
            return True

    def cancelled(self, claim: Claim) -> bool:
        """End a job because its owner asked for it."""
        return self._end(claim, {"status": JobStatus.CANCELLED})

    def release(self, claim: Claim) -> bool:
        """Hand a job back unfinished; one whose owner has asked to stop ends as cancelled."""
        with writing(self._engine) as connection:
            at = self._time(connection)
            stopped = {"status": JobStatus.CANCELLED, **ended(at)}
            asked = and_(held(claim), jobs.c.cancel_requested)
            back = {**unstarted(), "status": JobStatus.QUEUED, "attempt": jobs.c.attempt - 1}
            changed = change(connection, asked, stopped) or change(connection, held(claim), back)
            if changed is not None:
                tell(connection, changed, changed.status, at)
            return changed is not None

    def request_cancel(self, job_id: str) -> Job | None:
        """Ask a job to stop: at once when no worker holds it. The job as it then is; None: unknown."""
        this = jobs.c.id == job_id
        with writing(self._engine) as connection:
            at = self._time(connection)
            stopped = {"status": JobStatus.CANCELLED, "cancel_requested": True, **ended(at)}
            changed = change(connection, and_(this, waiting(at)), stopped)
            if changed is not None:
                return tell(connection, changed, "cancelled", at)
            fresh = and_(this, jobs.c.status == JobStatus.RUNNING, jobs.c.cancel_requested.is_(False))
            changed = change(connection, fresh, {"cancel_requested": True})
            if changed is not None:
                return tell(connection, changed, "cancel_requested", at)
            row = connection.execute(select(jobs).where(this)).one_or_none()
            return None if row is None else job_of(row)

    def requeue(self, job_id: str) -> Job | None:
        """Queue a failed or cancelled job anew, behind those that wait, while its input is still there."""
        allowed = jobs.c.status.in_((JobStatus.FAILED, JobStatus.CANCELLED))
        condition = and_(jobs.c.id == job_id, allowed, jobs.c.input_path.is_not(None))
        with writing(self._engine) as connection:
            at = self._time(connection)
            changed = change(connection, condition, queued(last_place(connection), at))
            return None if changed is None else tell(connection, changed, "queued", at)

    def mark(self, job_id: str, status: JobStatus) -> Job | None:
        """Record that an ended job is expired or erased; progress events go, and of an erased one its words.

        Returns:
            The job; None when it is unknown, has not ended, or is erased already.

        Raises:
            ValueError: `status` is another one.
        """
        if status not in {JobStatus.EXPIRED, JobStatus.ERASED}:
            raise ValueError(f"a job is marked expired or erased, not {status}")
        sources = [JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.CANCELLED]
        values: dict[str, Any] = {"status": status, "input_path": None}
        if status is JobStatus.ERASED:
            sources.append(JobStatus.EXPIRED)
            values |= {"filename": "", "filename_folded": "", "metadata": {}}
        progress = and_(job_events.c.job_id == job_id, job_events.c.kind == "progress")
        with writing(self._engine) as connection:
            changed = change(connection, and_(jobs.c.id == job_id, jobs.c.status.in_(sources)), values)
            if changed is None:
                return None
            connection.execute(job_events.delete().where(progress))
            return tell(connection, changed, status, self._time(connection))

    def position(self, job_id: str) -> int | None:
        """How many waiting jobs run before this one if none of the running ones ends first."""
        is_queued = select(jobs.c.seq).where(jobs.c.id == job_id, jobs.c.status == JobStatus.QUEUED)
        with reading(self._engine) as connection:
            if connection.execute(is_queued).first() is None:
                return None
            return connection.execute(count_before(job_id, self._time(connection))).scalar_one()

    def counts(self) -> dict[JobStatus, int]:
        """How many jobs there are in each status, also those that none is in."""
        with reading(self._engine) as connection:
            found = connection.execute(select(jobs.c.status, func.count()).group_by(jobs.c.status))
            return dict.fromkeys(JobStatus, 0) | {status: count for status, count in found}

    def oldest_queued(self) -> datetime | None:
        """When the job that waits longest was queued."""
        oldest = select(func.min(jobs.c.queued_at)).where(jobs.c.status == JobStatus.QUEUED)
        with reading(self._engine) as connection:
            at = connection.scalars(oldest).one()
        return None if at is None else datetime.fromtimestamp(at, UTC)

    def events(self, job_id: str | None, after: int, limit: int = 100) -> Sequence[JobEvent]:
        """What happened after an event, in order; of one job, or of all."""
        query = select(job_events).where(job_events.c.id > after).order_by(job_events.c.id).limit(limit)
        if job_id is not None:
            query = query.where(job_events.c.job_id == job_id)
        with reading(self._engine) as connection:
            return [event_of(row) for row in connection.execute(query)]

    def check(self) -> None:
        """Write and read a row; at first and every `FULL_CHECK_S` read every page of an SQLite file too.

        Raises:
            OSError: the database cannot be read or written, or is damaged.
        """
        try:
            with writing(self._engine) as connection:
                seen = {"at": self._time(connection)}
                if not connection.execute(update(store_checks).values(seen)).rowcount:
                    connection.execute(insert(store_checks).values(id=1, **seen))
            self._read_fully()
        except PipelineError as exc:
            known: dict[type[PipelineError], int] = {DiskFull: errno.ENOSPC, OutputUnwritable: errno.EACCES}
            number = known.get(type(exc), errno.EIO)
            raise OSError(number, str(exc)) from exc

    def _read_fully(self) -> None:
        # This process's own clock: nothing is decided by it but how soon damage is noticed.
        started = time.monotonic()
        if self._read_fully_at is not None and started - self._read_fully_at < FULL_CHECK_S:
            return
        if self._engine.dialect.name == "sqlite":
            with reading(self._engine) as connection:
                said = connection.exec_driver_sql("PRAGMA quick_check(1)").scalars().one()
            if said != "ok":
                raise OSError(errno.EIO, f"The database file is damaged: {said}")
        self._read_fully_at = started

    def _time(self, connection: Connection) -> float:
        # To the microsecond, as datetime has it: a job's own time must find it again.
        return round(connection.scalars(self._now).one(), 6)

    def _end(self, claim: Claim, values: Values) -> bool:
        with writing(self._engine) as connection:
            at = self._time(connection)
            changed = change(connection, held(claim), {**values, **ended(at)})
            if changed is not None:
                tell(connection, changed, changed.status, at)
            return changed is not None


def _conditions(wanted: JobFilter) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = []
    if wanted.owner is not None:
        found.append(jobs.c.owner == wanted.owner)
    if wanted.statuses is not None:
        found.append(jobs.c.status.in_(wanted.statuses))
    if wanted.text is not None:
        found.append(jobs.c.filename_folded.contains(fold(wanted.text), autoescape=True))
    if wanted.since is not None:
        found.append(jobs.c.created_at >= time_of(wanted.since))
    if wanted.until is not None:
        found.append(jobs.c.created_at < time_of(wanted.until))
    return found
