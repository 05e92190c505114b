from __future__ import annotations

import shutil
from collections import namedtuple
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from api.jobs.folders import Folders
from api.jobs.housekeeping import expire
from api.jobs.model import Job, JobStatus
from api.jobs.retention import Policy, due
from api.jobs.sql_store import SqlJobStore
from tests.worker_support import claimed, submit

DAY = timedelta(days=1)
Usage = namedtuple("Usage", ["total", "used", "free"])


def ended(store: SqlJobStore, folders: Folders, path: Path, days: int | None = None) -> Job:
    """A job that has ended, with stems of 1,000 bytes."""
    job = submit(store, folders, path, retention_days=days)
    store.succeed(claimed(store))
    stems = folders.result(job.id) / "stems"
    stems.mkdir(parents=True)
    (stems / "drums.flac").write_bytes(bytes(1000))
    return job


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    path = tmp_path / "recording"
    path.write_bytes(bytes(100))
    return path


def test_a_key_may_keep_audio_for_a_longer_or_a_shorter_time(
    store: SqlJobStore, folders: Folders, recording: Path
) -> None:
    usual, short, long, ever = (ended(store, folders, recording, days) for days in (None, 7, 90, 0))
    policy = Policy(timedelta(days=30))

    def going(days: float) -> set[str]:
        return {one.job.id for one in due(store, folders, policy, datetime.now(UTC) + days * DAY)}

    assert going(6.9) == set()
    assert going(7.1) == {short.id}
    assert going(31) == {short.id, usual.id}
    assert going(5000) == {short.id, usual.id, long.id} and ever.id not in going(5000)


def test_what_is_held_stays(store: SqlJobStore, folders: Folders, recording: Path) -> None:
    job = ended(store, folders, recording)
    policy = Policy(timedelta(0), held=lambda one: one.id == job.id)
    assert list(due(store, folders, policy, datetime.now(UTC) + DAY)) == []


def test_a_disk_that_fills_up_gives_up_its_oldest_audio(
    store: SqlJobStore, folders: Folders, recording: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = [ended(store, folders, recording) for _ in range(3)]
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10_000, 9_500, 500))
    found = list(due(store, folders, Policy(None, 0.8), datetime.now(UTC)))
    assert [(one.job.id, one.reason, one.bytes) for one in found] == [
        (jobs[0].id, "disk", 1100),
        (jobs[1].id, "disk", 1100),
    ]
    assert expire(store, folders, Policy(None, 0.8), datetime.now(UTC)) == 2
    assert [store.get(job.id).status for job in jobs] == [  # type: ignore[union-attr]
        JobStatus.EXPIRED,
        JobStatus.EXPIRED,
        JobStatus.SUCCEEDED,
    ]
    assert list(due(store, folders, Policy(None, 0.96), datetime.now(UTC))) == []
