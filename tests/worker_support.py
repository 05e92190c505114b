"""A store, folders and jobs for tests of workers: the real ones."""

from __future__ import annotations

import hashlib
import shutil
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from api.database import open_database
from api.jobs.folders import Folders
from api.jobs.heartbeat import WorkerConfig
from api.jobs.intake import keep_input
from api.jobs.model import Job, JobStatus
from api.jobs.sql_store import SqlJobStore
from api.jobs.store import Claim
from api.migrate import upgrade
from api.transactions import DatabaseTime
from pipeline.config import PipelineConfig
from pipeline.progress import Progress

FAST = PipelineConfig(model="hpss", estimators=())


def open_store(folders: Folders, ahead_s: float = 0.0) -> SqlJobStore:
    """The store of a data folder, as seen so many seconds from now; its tables are made if need be."""
    engine = open_database(f"sqlite:///{folders.data / 'pipeline.db'}")
    upgrade(engine)
    return SqlJobStore(engine, DatabaseTime() + ahead_s)


def made(data: Path) -> Folders:
    """Folders below one, ready for use."""
    folders = Folders.below(data)
    folders.make()
    return folders


def submit(store: SqlJobStore, folders: Folders, recording: Path, **changes: Any) -> Job:
    """Accept a job for a recording."""
    job_id = changes.pop("id", None) or str(uuid.uuid4())
    folders.upload(job_id).mkdir()
    draft = folders.upload(job_id) / "draft"
    shutil.copyfile(recording, draft)
    job = Job(
        id=job_id,
        owner="owner",
        status=JobStatus.QUEUED,
        filename="my song.wav",
        input_path=f"{job_id}/input",
        input_sha256=hashlib.sha256(draft.read_bytes()).hexdigest(),
        input_bytes=draft.stat().st_size,
        created_at=datetime.now(UTC),
    )
    keep_input(draft, folders, job)
    return store.add(job.evolve(**changes))


def claimed(store: SqlJobStore, lease_s: float = 30.0) -> Claim:
    """Claim the next job."""
    claim = store.claim("worker-1", lease_s)
    assert claim is not None
    return claim


def taken_over(store: SqlJobStore, stale: Claim) -> Claim:
    """Take a job from who holds it, as if he had been stopped for longer than the lease."""
    fresh = None
    while fresh is None:  # The first beat of the attempt itself may come in between.
        store.beat(stale, 0.0)
        fresh = store.claim("worker-2", 30.0)
    return fresh


def now(store: SqlJobStore, job: Job) -> Job:
    """A job as it is now."""
    found = store.get(job.id)
    assert found is not None
    return found


def worker_config(**changes: Any) -> WorkerConfig:
    """A worker that is quick about everything."""
    given = {"name": "worker-1", "pipeline": FAST, "beat_s": 0.05, "poll_s": 0.01, "retry_pause_s": 0.0}
    return WorkerConfig(**{**given, **changes})


def temporary_files(folders: Folders) -> list[Path]:
    """Whatever a job may have left: work folders, checkpoints, hidden or half-written files."""
    left = [*folders.attempts.iterdir(), *folders.checkpoints.iterdir(), *folders.downloads.iterdir()]
    hidden = [p for p in folders.outputs.rglob("*") if p.name.startswith(".") or p.suffix == ".tmp"]
    return [*left, *(p for p in hidden if p != folders.attempts)]


def during(monkeypatch: pytest.MonkeyPatch, stage: str, then: Callable[[Progress], None]) -> None:
    """Do something when a job enters a stage, while it goes on."""
    enter = Progress.enter

    def watched(self: Progress, name: str) -> None:
        enter(self, name)
        if name == stage:
            then(self)

    monkeypatch.setattr(Progress, "enter", watched)
