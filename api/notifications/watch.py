"""Looks what there is to tell, and writes it down: once, however many processes look.

What was told is marked in the transaction that writes the notices down, one writer at a time: whoever comes
second finds the mark. Killed before it, nothing was told; after it, the notices are in the database.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import Connection, Engine, Row, and_, func, select

from api.jobs.model import JobStatus
from api.jobs.tables import job_events, jobs
from api.jobs.totals import ENDED, NOT_OURS
from api.notifications.receivers import Receiver
from api.notifications.store import NoticeStore, read_mark, set_mark, write_down
from api.notifications.texts import (
    DaySummary,
    Failure,
    closed_notice,
    failures_notice,
    opened_notice,
    summary_notice,
)
from api.transactions import reading, writing

_DAY_S: Final = 86400.0
SETTLED_S: Final = 60.0
"""Work must be refused, or taken again, for so long before that is told: a moment is no news."""


@dataclass(frozen=True, slots=True)
class WatchConfig:
    """What is told, and how often.

    Attributes:
        receivers: who is told.
        interval_s: from one message about failures, or about a closed door, to the next.
        every_failure: also of recordings that no service could have done.
        summary_minute: of the day, UTC, at which the summary is sent; None: there is none.
        max_queued: jobs that may wait.
        host: this machine's name.
    """

    receivers: Sequence[Receiver]
    interval_s: float
    every_failure: bool
    summary_minute: int | None
    max_queued: int
    host: str


class Watch:
    """Looks, and writes down.

    Args:
        engine: of the database.
        store: of the notices: whose clock counts.
        reasons: says why no work is taken, at this machine: see `api.jobs.admission`.
        machine: says how much of the fullest disk is free, and how old the last backup is.
        config: what is told.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        engine: Engine,
        store: NoticeStore,
        reasons: Callable[[], Sequence[str]],
        machine: Callable[[], tuple[float, float | None]],
        config: WatchConfig,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._engine, self._store, self._config = engine, store, config
        self._reasons, self._machine, self._clock = reasons, machine, clock
        self._seen_event = 0
        self._since: tuple[bool, float] | None = None

    def look(self) -> None:
        """Look once at everything.

        Raises:
            PipelineError: the database failed; what was to be told is found again.
        """
        self.look_at_failures()
        self.look_at_the_day()
        self.look_at_the_door()

    def look_at_failures(self) -> None:
        """Tell of jobs that failed since the last time, if that is long enough ago."""
        name = "failures"
        with reading(self._engine) as connection:
            at, mark = self._store.time(connection), read_mark(connection, name)
            last = _last_event(connection)
            if mark is not None:
                after = max(int(mark.number), self._seen_event)
                if self._failed_after(connection, after, at, limit=1) == []:
                    self._seen_event = last
                    return
                if 0.0 <= at - mark.at < self._config.interval_s:
                    return
        with writing(self._engine) as connection:
            at, mark, last = (
                self._store.time(connection),
                read_mark(connection, name),
                _last_event(connection),
            )
            if mark is None:
                # The first time: what failed before anybody wanted to know is history.
                set_mark(connection, name, 0.0, last)
            elif not 0.0 <= at - mark.at < self._config.interval_s:
                failures = self._failed_after(connection, int(mark.number), at)
                if failures:
                    notice = failures_notice(failures, self._config.interval_s)
                    write_down(connection, notice, self._config.receivers, at)
                    set_mark(connection, name, at, last)
        self._seen_event = last

    def look_at_the_day(self) -> None:
        """Tell of the last 24 hours, once a day; where the service did not run then, as soon as it does."""
        if self._config.summary_minute is None:
            return
        name = "summary"
        with reading(self._engine) as connection:
            at, mark = self._store.time(connection), read_mark(connection, name)
        due = _last_time_of_day(at, self._config.summary_minute)
        if mark is not None and due <= mark.number <= at + _DAY_S:
            return
        disk_free, backup_age_s = self._machine()
        with writing(self._engine) as connection:
            again = read_mark(connection, name)
            if again is not None and due <= again.number <= at + _DAY_S:
                return
            set_mark(connection, name, at, due)
            # The first summary is that of the first whole day.
            if again is not None:
                day = _day(connection, at, disk_free, backup_age_s)
                write_down(connection, summary_notice(day), self._config.receivers, at)

    def look_at_the_door(self) -> None:
        """Tell when this machine has begun to refuse work, and when it takes it again."""
        reasons = [reason for reason in self._reasons() if reason not in ("draining", "database")]
        with reading(self._engine) as connection:
            queued = connection.scalars(select(func.count()).where(jobs.c.status == JobStatus.QUEUED)).one()
        if queued >= self._config.max_queued:
            reasons.append("queue_full")
        now = self._clock()
        if self._since is None or self._since[0] != bool(reasons):
            self._since = (bool(reasons), now)
        if now - self._since[1] < SETTLED_S:
            return
        name = f"admission {self._config.host}"[:128]
        with reading(self._engine) as connection:
            at, mark = self._store.time(connection), read_mark(connection, name)
        was_closed = mark is not None and bool(mark.text)
        if bool(reasons) == was_closed:
            return
        # A door that opens and closes all the time is told of once an interval.
        if reasons and mark is not None and 0.0 <= at - mark.at < self._config.interval_s:
            return
        with writing(self._engine) as connection:
            at = self._store.time(connection)
            if reasons:
                notice = closed_notice(reasons, self._config.host)
            else:
                notice = opened_notice(self._config.host, max(at - mark.at, 0.0) if mark else 0.0)
            write_down(connection, notice, self._config.receivers, at)
            set_mark(connection, name, at, text=" ".join(reasons))

    def _failed_after(
        self, connection: Connection, after: int, at: float, limit: int | None = None
    ) -> list[Failure]:
        failed = and_(
            job_events.c.id > after,
            job_events.c.kind == JobStatus.FAILED.value,
            job_events.c.at > at - _DAY_S,
        )
        own = jobs.c.id == job_events.c.job_id
        query = select(job_events, jobs.c.filename).join(jobs, own).where(failed).order_by(job_events.c.id)
        found = [_failure(row) for row in connection.execute(query)]
        wanted = [one for one in found if self._config.every_failure or one.code not in NOT_OURS]
        return wanted[:limit]


def _last_event(connection: Connection) -> int:
    return connection.scalars(select(func.max(job_events.c.id))).one() or 0


def _failure(row: Row[Any]) -> Failure:
    error = row.data.get("error") or {}
    # Messages name the recording, and its name is its owner's. Of a job that was erased nothing is told.
    message = error.get("message", "").replace(row.filename, "…") if row.filename else ""
    return Failure(row.job_id, error.get("code", "internal_error"), message, row.data.get("stage"))


def _last_time_of_day(at: float, minute: int) -> float:
    """When it was last so many minutes after midnight, UTC, in seconds since 1970."""
    midnight = datetime.fromtimestamp(at, UTC).replace(hour=0, minute=0, second=0, microsecond=0).timestamp()
    today = midnight + 60.0 * minute
    return today if today <= at else today - _DAY_S


def _day(connection: Connection, at: float, disk_free: float, backup_age_s: float | None) -> DaySummary:
    # An expired job ended long ago, and an erased one is nobody's business.
    recent = and_(jobs.c.finished_at > at - _DAY_S, jobs.c.finished_at <= at, jobs.c.status.in_(ENDED))
    columns = (jobs.c.status, jobs.c.duration_s, jobs.c.error)
    ended: dict[str, int] = {}
    failures: dict[str, int] = {}
    audio_s = 0.0
    for status, duration_s, error in connection.execute(select(*columns).where(recent)):
        ended[status.value] = ended.get(status.value, 0) + 1
        if status is JobStatus.SUCCEEDED:
            audio_s += duration_s or 0.0
        elif status is JobStatus.FAILED:
            code = (error or {}).get("code", "internal_error")
            failures[code] = failures.get(code, 0) + 1
    queued = connection.scalars(select(func.count()).where(jobs.c.status == JobStatus.QUEUED)).one()
    return DaySummary(ended, failures, audio_s, queued, disk_free, backup_age_s)
