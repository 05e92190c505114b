"""The job store on a database: SQLite beside the process or PostgreSQL past one machine, by the same SQL."""

from __future__ import annotations

import errno
import random
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Engine, and_, func, insert, or_, select, update
from sqlalchemy.sql.elements import ColumnElement

from api.clocks import ClockWatch
from api.encryption.fields import cipher_of
from api.errors import Conflict, QueueFull
from api.jobs.changes import (
    Values,
    begin_leases_anew,
    change,
    end_abandoned,
    ended,
    follow_clock,
    held,
    is_progress_news,
    last_place,
    leased_later,
    queued_later,
    tell,
)
from api.jobs.integrity import Integrity
from api.jobs.line import abandoned, count_before, due, first_in_line, waiting, whole_line
from api.jobs.model import Job, JobError, JobEvent, JobStatus, StageTime
from api.jobs.rank import raise_overtaken, ranked
from api.jobs.retry import retry_pause_s
from api.jobs.rows import event_of, job_of, new_row, queued, unmoved, unstarted
from api.jobs.search import conditions, search
from api.jobs.store import Beat, Claim, JobFilter
from api.jobs.tables import job_events, jobs, store_checks
from api.jobs.totals import ABANDONED, HANDED_BACK, RETRIES, SLOW_STAGES, WAIT_SECONDS, count, observe
from api.transactions import DatabaseTime, reading, writing
from api.webhooks import outbox
from pipeline.errors import DiskFull, OutputUnwritable, PipelineError


class SqlJobStore:
    """Implements `api.jobs.store.JobStore`; see there for what each method promises.

    Besides what stands there, every method raises DatabaseUnavailable, DiskFull or OutputUnwritable when the
    database is busy for too long, out of reach or damaged; when its disk is full; when it may not be written.

    Args:
        engine: from `api.database.open_database`, its tables made by `api.migrate.upgrade`.
        now: the time by the database, in seconds since 1970.
        chance: 0..1, drawn for each rest after a failed attempt.
    """

    def __init__(
        self,
        engine: Engine,
        now: ColumnElement[float] | None = None,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._engine = engine
        self._chance = chance
        self._now = select(DatabaseTime() if now is None else now)
        self._integrity = Integrity(engine)
        self._watch = ClockWatch()

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
                number = select(func.count()).where(jobs.c.status == JobStatus.QUEUED)
                if connection.scalars(number).one() >= max_queued:
                    hint = "Try again in a while."
                    raise QueueFull(f"The queue is full: {max_queued} jobs wait.", hint, retry_after_s=30)
            at = self._time(connection)
            rank = ranked(connection, job.owner, job.priority, at)
            row = new_row(job, last_place(connection), rank, at)
            added = connection.execute(insert(jobs).values(row).returning(*jobs.c)).one()
            return tell(connection, job_of(added), "queued", at)

    def get(self, job_id: str) -> Job | None:
        """Look a job up."""
        with reading(self._engine) as connection:
            row = connection.execute(select(jobs).where(jobs.c.id == job_id)).one_or_none()
        return None if row is None else job_of(row)

    def find(self, wanted: JobFilter, *, after: str | None = None, limit: int = 50) -> Sequence[Job]:
        """List jobs, newest first; none after an id that is unknown."""
        if wanted.text is not None and cipher_of(self._engine.dialect) is not None:
            return search(self.find, wanted, after, limit)
        query = select(jobs).where(*conditions(wanted)).order_by(jobs.c.seq.desc()).limit(limit)
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
            # A living worker renews its lease when a third of it is over: a smaller step takes it from none.
            jumped = self._watch.moved_s(at) > lease_s / 3
            news = or_(waiting(at), leased_later(at), queued_later(at))
            if connection.execute(select(jobs.c.seq).where(news).limit(1)).first() is None:
                return None
        with writing(self._engine) as connection:
            at = self._time(connection)
            follow_clock(connection, at)
            if jumped or self._watch.moved_s(at) > lease_s / 3:
                begin_leases_anew(connection, at)
            end_abandoned(connection, at)
            raise_overtaken(connection, at)
            first = first_in_line(connection, at)
            if first is None:
                return None
            lost = first.status is JobStatus.RUNNING
            values = {
                "status": JobStatus.RUNNING,
                "worker": worker,
                "fence": jobs.c.fence + 1,
                "attempt": jobs.c.attempt + 1,
                "deaths": jobs.c.deaths + int(lost),
                "leased_at": at,
                "lease_until": at + lease_s,
                "started_at": at,
                "not_before": None,
                "error": None,
                **unmoved(),
            }
            changed = change(connection, and_(jobs.c.seq == first.seq, waiting(at)), values)
            assert changed is not None
            if lost:
                count(connection, ABANDONED)
            else:
                observe(connection, WAIT_SECONDS, max(at - (first.not_before or first.queued_at), 0.0))
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

    def slow(self, claim: Claim, stage: str) -> bool:
        """Tell and count that a stage takes long."""
        with writing(self._engine) as connection:
            row = connection.execute(select(jobs).where(held(claim))).one_or_none()
            if row is not None:
                count(connection, SLOW_STAGES, stage)
                tell(connection, job_of(row), "stage_slow", self._time(connection), {"stage": stage})
            return row is not None

    def succeed(self, claim: Claim) -> bool:
        """End a job well."""
        return self._end(claim, {"status": JobStatus.SUCCEEDED, "progress": 1.0})

    def fail(self, claim: Claim, error: JobError, *, again: bool = False) -> bool:
        """End an attempt badly. `again`: to the end of the queue to rest, unless its owner asked to stop."""
        with writing(self._engine) as connection:
            row = connection.execute(select(jobs).where(held(claim))).one_or_none()
            if row is None:
                return False
            at = self._time(connection)
            values: dict[str, Any] = {"status": JobStatus.FAILED, "error": asdict(error)}
            if again and row.cancel_requested:
                values = {"status": JobStatus.CANCELLED}
            elif again and row.attempt < row.max_attempts:
                values |= {**unstarted(), "status": JobStatus.QUEUED, "queued_at": at}
                values |= ranked(connection, row.owner, row.priority, at)
                values["place"] = last_place(connection)
                values["not_before"] = at + retry_pause_s(row.attempt, self._chance())
                count(connection, RETRIES, error.code)
            if values["status"] is not JobStatus.QUEUED:
                values |= ended(at)
            changed = change(connection, held(claim), values)
            assert changed is not None
            tell(connection, changed, changed.status, at)
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
                count(connection, HANDED_BACK)
                tell(connection, changed, changed.status, at)
            return changed is not None

    def request_cancel(self, job_id: str) -> Job | None:
        """Ask a job to stop: at once when no worker holds it. The job as it then is; None: unknown."""
        this = jobs.c.id == job_id
        with writing(self._engine) as connection:
            at = self._time(connection)
            stopped = {"status": JobStatus.CANCELLED, "cancel_requested": True, "error": None, **ended(at)}
            idle = or_(jobs.c.status == JobStatus.QUEUED, abandoned(at))
            changed = change(connection, and_(this, idle), stopped)
            if changed is not None:
                return tell(connection, changed, "cancelled", at)
            fresh = and_(this, jobs.c.status == JobStatus.RUNNING, jobs.c.cancel_requested.is_(False))
            changed = change(connection, fresh, {"cancel_requested": True})
            if changed is not None:
                return tell(connection, changed, "cancel_requested", at)
            row = connection.execute(select(jobs).where(this)).one_or_none()
            return None if row is None else job_of(row)

    def requeue(self, job_id: str) -> Job | None:
        """Queue a failed, cancelled or resting job anew, behind those that wait, while its input is there."""
        ended_badly = jobs.c.status.in_((JobStatus.FAILED, JobStatus.CANCELLED))
        rests = and_(jobs.c.status == JobStatus.QUEUED, jobs.c.not_before.is_not(None))
        condition = and_(jobs.c.id == job_id, or_(ended_badly, rests), jobs.c.input_path.is_not(None))
        with writing(self._engine) as connection:
            row = connection.execute(select(jobs).where(condition)).one_or_none()
            if row is None:
                return None
            at = self._time(connection)
            rank = ranked(connection, row.owner, row.priority, at)
            changed = change(connection, condition, queued(last_place(connection), rank, at))
            assert changed is not None
            return tell(connection, changed, "queued", at)

    def mark(self, job_id: str, status: JobStatus) -> Job | None:
        """Record that an ended job is expired or erased; progress events go, of an erased one its words too.

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
            values |= {"filename": "", "filename_folded": "", "metadata": {}, "webhook_url": None}
        progress = and_(job_events.c.job_id == job_id, job_events.c.kind == "progress")
        with writing(self._engine) as connection:
            changed = change(connection, and_(jobs.c.id == job_id, jobs.c.status.in_(sources)), values)
            if changed is None:
                return None
            connection.execute(job_events.delete().where(progress))
            if status is JobStatus.ERASED:
                outbox.erase(connection, job_id)
            return tell(connection, changed, status, self._time(connection))

    def position(self, job_id: str) -> int | None:
        """How many jobs run before this one as things stand: more when others of a higher priority come."""
        is_queued = select(jobs).where(jobs.c.id == job_id, jobs.c.status == JobStatus.QUEUED)
        with reading(self._engine) as connection:
            row = connection.execute(is_queued).one_or_none()
            if row is None:
                return None
            before: int = connection.execute(count_before(row, self._time(connection))).scalar_one()
            return before

    def line(self, limit: int) -> Sequence[Job]:
        """The first queued jobs in the order in which they will be taken, as things stand."""
        with reading(self._engine) as connection:
            query = whole_line(self._time(connection)).limit(limit)
            return [job_of(row) for row in connection.execute(query)]

    def counts(self, statuses: Collection[JobStatus] = tuple(JobStatus)) -> dict[JobStatus, int]:
        """How many jobs there are in each status, also those that none is in."""
        query = select(jobs.c.status, func.count()).where(jobs.c.status.in_(statuses))
        with reading(self._engine) as connection:
            found = connection.execute(query.group_by(jobs.c.status)).all()
        return dict.fromkeys(statuses, 0) | {status: number for status, number in found}

    def oldest_queued(self) -> datetime | None:
        """Since when the job waits that could run for longest; those that rest do not wait."""
        since = func.min(func.coalesce(jobs.c.not_before, jobs.c.queued_at))
        with reading(self._engine) as connection:
            oldest = select(since).where(jobs.c.status == JobStatus.QUEUED, due(self._time(connection)))
            at = connection.scalars(oldest).one()
        return None if at is None else datetime.fromtimestamp(at, UTC)

    def events(self, job_id: str | None, after: int, limit: int = 100) -> Sequence[JobEvent]:
        """What happened after an event, in order; of one job, or of all."""
        query = select(job_events).where(job_events.c.id > after).order_by(job_events.c.id).limit(limit)
        if job_id is not None:
            query = query.where(job_events.c.job_id == job_id)
        with reading(self._engine) as connection:
            return [event_of(row) for row in connection.execute(query)]

    def last_event(self) -> int:
        """Id of the newest event of all jobs; 0 when there is none."""
        with reading(self._engine) as connection:
            return connection.scalars(select(func.max(job_events.c.id))).one() or 0

    def check(self) -> None:
        """Write and read a row, and look whether the file is whole: see `api.jobs.integrity`.

        Raises:
            OSError: the database cannot be read or written, or is damaged.
        """
        try:
            with writing(self._engine) as connection:
                seen = {"at": self._time(connection)}
                if not connection.execute(update(store_checks).values(seen)).rowcount:
                    connection.execute(insert(store_checks).values(id=1, **seen))
            self._integrity.check()
        except PipelineError as exc:
            known: dict[type[PipelineError], int] = {DiskFull: errno.ENOSPC, OutputUnwritable: errno.EACCES}
            number = known.get(type(exc), errno.EIO)
            raise OSError(number, str(exc)) from exc

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
