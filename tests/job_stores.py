"""Job stores to be tested, and jobs to be put into them."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from api.jobs.model import Job, JobError, JobStatus
from api.jobs.sql_store import SqlJobStore
from api.jobs.store import Claim, JobStore
from api.transactions import DatabaseTime
from tests.databases import DATABASES

LEASE_S = 30.0
LOST = 3600.0
"""Seconds after which every lease of the tests has run out."""

ERROR = JobError("tool_failed", "ffmpeg crashed.", "Try again.", retryable=True)

At = Callable[[float], JobStore]
"""The same store as seen so many seconds from now: only the database's clock is another."""


@contextmanager
def backend(name: str, folder: Path) -> Iterator[At]:
    """The store of an empty database of this kind."""
    with DATABASES[name](folder) as engine:
        yield lambda seconds: SqlJobStore(engine, DatabaseTime() + seconds)


def new(owner: str = "anna", **values: Any) -> Job:
    return Job(
        **{
            "id": str(uuid.uuid4()),
            "owner": owner,
            "status": JobStatus.QUEUED,
            "filename": "song.mp3",
            "input_path": "x/input",
            "input_sha256": "0" * 64,
            "input_bytes": 1,
            "created_at": datetime(2000, 1, 1, tzinfo=UTC),
            **values,
        }
    )


def taken(store: JobStore, worker: str = "w1") -> Claim:
    claim = store.claim(worker, LEASE_S)
    assert claim is not None
    return claim


def known(store: JobStore, job_id: str) -> Job:
    job = store.get(job_id)
    assert job is not None
    return job


def kinds(store: JobStore, job_id: str | None = None) -> list[str]:
    return [event.kind for event in store.events(job_id, 0, 10_000)]
