"""A result is published once, by whoever holds the claim, and what the dead left is cleared up."""

import fcntl
import json
import os
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest

from api.jobs import worker
from api.jobs.folders import Folders
from api.jobs.model import JobError, JobStatus
from api.jobs.sql_store import SqlJobStore
from api.jobs.store import Claim
from api.jobs.worker import Outcome, attempt, settle, tidy
from pipeline.manifest import read_manifest
from pipeline.progress import Progress
from tests.worker_support import (
    claimed,
    during,
    now,
    submit,
    taken_over,
    temporary_files,
    worker_config,
)

NEVER = threading.Event()


def test_a_worker_that_lost_its_job_publishes_nothing(
    store: SqlJobStore, folders: Folders, recording: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = submit(store, folders, recording)
    stale = claimed(store, lease_s=0.0)
    fresh = claimed(store)
    assert attempt(store, folders, worker_config(), NEVER, stale) is Outcome.LOST
    assert not folders.result(job.id).exists()
    assert now(store, job).status is JobStatus.RUNNING
    assert attempt(store, folders, worker_config(), NEVER, fresh) is Outcome.SUCCEEDED
    manifest = folders.result(job.id) / "manifest.json"
    before = manifest.stat()
    assert attempt(store, folders, worker_config(), NEVER, stale) is Outcome.LOST
    after = manifest.stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert temporary_files(folders) == []


def test_a_worker_that_loses_its_job_at_the_last_moment_publishes_nothing(
    store: SqlJobStore, folders: Folders, recording: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = submit(store, folders, recording)
    stale = claimed(store)
    fresh: list[Claim] = []

    def lose(_: Progress) -> None:
        fresh.append(taken_over(store, stale))

    during(monkeypatch, "publish", lose)
    assert attempt(store, folders, worker_config(beat_s=1e9), NEVER, stale) is Outcome.LOST
    assert not folders.result(job.id).exists()
    monkeypatch.undo()
    assert attempt(store, folders, worker_config(), NEVER, fresh[0]) is Outcome.SUCCEEDED
    assert temporary_files(folders) == []


def test_what_was_published_for_a_job_that_was_cancelled_meanwhile_disappears(
    store: SqlJobStore, folders: Folders, recording: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = submit(store, folders, recording)
    claim = claimed(store)
    publish = worker.AttemptFolder.publish

    def late(self: worker.AttemptFolder) -> None:
        # As if the process had been stopped here for longer than the lease.
        store.beat(claim, 0.0)
        store.request_cancel(job.id)
        publish(self)

    monkeypatch.setattr(worker.AttemptFolder, "publish", late)
    attempt(store, folders, worker_config(beat_s=1e9), NEVER, claim)
    assert now(store, job).status is JobStatus.CANCELLED
    assert not folders.result(job.id).exists()


@pytest.mark.parametrize("place", ["published", "left"])
def test_a_result_that_nobody_was_told_about_is_used(
    place: str, store: SqlJobStore, folders: Folders, recording: Path
) -> None:
    job = submit(store, folders, recording)
    claim = claimed(store)
    attempt(store, folders, worker_config(), NEVER, claim)
    content = (folders.result(job.id) / "manifest.json").read_bytes()
    # The same, up to the instant before the store was told; or before the result was shown.
    again = submit(store, folders, recording, id=job.id[::-1])
    folders.result(job.id).rename(folders.result(again.id))
    if place == "left":
        left = folders.attempt(again.id, 7)
        left.mkdir()
        folders.result(again.id).rename(left / again.id)
    assert attempt(store, folders, worker_config(), NEVER, claimed(store)) is Outcome.SUCCEEDED
    assert (folders.result(again.id) / "manifest.json").read_bytes() == content
    assert temporary_files(folders) == []


def test_tidying_removes_what_the_dead_left_and_nothing_of_the_living(
    store: SqlJobStore, folders: Folders, recording: Path
) -> None:
    done, waiting, alive = (submit(store, folders, recording) for _ in range(3))
    attempt(store, folders, worker_config(), NEVER, claimed(store))
    for job in (done, waiting, alive):
        folders.checkpoint(job.id).write_bytes(b"so far")
        (folders.attempt(job.id, 1) / f".{job.id}.partial").mkdir(parents=True)
    folders.checkpoint("unknown").write_bytes(b"so far")
    (folders.checkpoints / f"{done.id}.checkpoint.1.tmp").write_bytes(b"half a copy")
    lock = os.open(folders.attempt(alive.id, 1), os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        tidy(store, folders)
    finally:
        os.close(lock)
    # Those of a waiting job serve its next attempt.
    expected = {folders.checkpoint(waiting.id), folders.checkpoint(alive.id)}
    assert set(folders.checkpoints.iterdir()) == expected
    assert not folders.attempt(done.id, 1).exists()
    assert folders.attempt(alive.id, 1).exists()
    assert read_manifest(folders.result(done.id))


def test_a_job_that_failed_shows_no_result(store: SqlJobStore, folders: Folders, recording: Path) -> None:
    job = submit(store, folders, recording)
    claim = claimed(store)
    folders.result(job.id).mkdir()
    (folders.result(job.id) / "manifest.json").write_text(json.dumps({"at": str(datetime.now(UTC))}))
    store.fail(claim, JobError("internal_error", "It broke."))
    settle(store, folders, job.id)
    assert not folders.result(job.id).exists()
