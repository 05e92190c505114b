"""What the store asks of SQLite is found by an index: it costs the same after a hundred thousand jobs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, event

from api.database import open_database
from api.jobs.model import JobStatus
from api.jobs.sql_store import SqlJobStore
from api.jobs.store import JobFilter
from api.migrate import upgrade
from api.transactions import DatabaseTime
from tests.job_stores import ERROR, LEASE_S, LOST, new, taken

ACTIVE = (JobStatus.QUEUED, JobStatus.RUNNING)


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = open_database(f"sqlite:///{tmp_path / 'jobs.db'}")
    upgrade(engine)
    yield engine
    engine.dispose()


@contextmanager
def asked(engine: Engine) -> Iterator[list[tuple[str, Any]]]:
    """The statements that are executed meanwhile, with their parameters."""
    found: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, given: Any, *_: Any) -> None:
        found.append((statement, given))

    event.listen(engine, "before_cursor_execute", note)
    try:
        yield found
    finally:
        event.remove(engine, "before_cursor_execute", note)


def scans(engine: Engine, statements: list[tuple[str, Any]]) -> list[str]:
    """What of the plans of these statements goes through a whole table or index of jobs or their events."""
    found = []
    with engine.connect() as connection:
        for statement, given in statements:
            if not statement.lstrip().upper().startswith(("SELECT", "UPDATE", "DELETE")):
                continue
            plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", given)
            found += [
                f"{row.detail}: {statement}"
                for row in plan
                if row.detail.startswith(("SCAN jobs", "SCAN job_events"))
            ]
    return found


def claim_and(end: Callable[[SqlJobStore, Any], object]) -> Callable[[SqlJobStore], object]:
    return lambda store: end(store, taken(store))


CALLS: dict[str, Callable[[SqlJobStore], object]] = {
    "add": lambda store: store.add(new(), max_queued=100),
    "get": lambda store: store.get("x"),
    "find the owner's": lambda store: store.find(JobFilter(owner="anna"), after="x"),
    "find the owner's, by status": lambda store: store.find(
        JobFilter("anna", tuple(status for status in JobStatus if status is not JobStatus.ERASED)), after="x"
    ),
    "find the active": lambda store: store.find(JobFilter(statuses=ACTIVE), after="x"),
    "find content": lambda store: store.find_content("anna", "k"),
    "claim": lambda store: store.claim("w", LEASE_S),
    "beat": claim_and(lambda store, claim: store.beat(claim, LEASE_S, progress=0.5, stage="separate")),
    "slow": claim_and(lambda store, claim: store.slow(claim, "separate")),
    "succeed": claim_and(lambda store, claim: store.succeed(claim)),
    "fail again": claim_and(lambda store, claim: store.fail(claim, ERROR, again=True)),
    "release": claim_and(lambda store, claim: store.release(claim)),
    "cancel": lambda store: store.request_cancel(queued(store)),
    "requeue": lambda store: store.requeue(cancelled(store)),
    "mark": lambda store: store.mark(cancelled(store), JobStatus.ERASED),
    "position": lambda store: store.position(queued(store)),
    "position of one that rests": lambda store: store.position(resting(store)),
    "line": lambda store: store.line(10),
    "counts": lambda store: store.counts(ACTIVE),
    "oldest": lambda store: store.oldest_queued(),
    "events of one": lambda store: store.events("x", 0),
    "events of all": lambda store: store.events(None, 5),
    "check": lambda store: store.check(),
}


def queued(store: SqlJobStore) -> str:
    return store.add(new()).id


def cancelled(store: SqlJobStore) -> str:
    job = store.request_cancel(queued(store))
    assert job is not None
    return job.id


def resting(store: SqlJobStore) -> str:
    claim = taken(store)
    store.fail(claim, ERROR, again=True)
    return claim.job.id


@pytest.mark.parametrize("call", CALLS)
def test_the_store_reads_through_no_jobs_that_have_ended(engine: Engine, call: str) -> None:
    store = SqlJobStore(engine)
    for owner, priority in (("anna", 0), ("ben", 1), ("anna", 2)):
        store.add(new(owner, priority=priority))
    # One was abandoned and all have aged, so that a claim does everything that it can.
    taken(SqlJobStore(engine, DatabaseTime() - LOST))
    with asked(engine) as statements:
        CALLS[call](store)
    assert statements
    assert scans(engine, statements) == []


def test_a_scan_would_be_found(engine: Engine) -> None:
    """By the same means: the search for a text has to look at every job."""
    with asked(engine) as statements:
        SqlJobStore(engine).find(JobFilter(text="song", since=datetime(2000, 1, 1, tzinfo=UTC)))
        SqlJobStore(engine).counts()
        SqlJobStore(engine).find(JobFilter(text="song"))
    assert scans(engine, statements) != []
