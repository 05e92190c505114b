"""Machines without a common disk share recordings and results by a storage."""

from __future__ import annotations

import hashlib
import shutil
import threading
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from api.errors import DatabaseUnavailable
from api.jobs import result_cache
from api.jobs.folders import Folders
from api.jobs.housekeeping import erase, expire
from api.jobs.intake import forget_input
from api.jobs.model import JobStatus
from api.jobs.publication import is_published
from api.jobs.results import artifact_file, is_whole, read_result
from api.jobs.retention import Policy
from api.jobs.shared import Shared
from api.jobs.worker import Outcome, attempt
from api.storage.disk import DiskStorage
from tests.audio_files import music, write_wav
from tests.worker_support import claimed, made, now, open_store, submit, worker_config


@pytest.fixture
def shared(tmp_path: Path) -> Shared:
    storage = DiskStorage(tmp_path / "volume")
    storage.create()
    return Shared(storage)


def machine(tmp_path: Path, name: str, shared: Shared) -> Folders:
    return replace(made(tmp_path / name), shared=shared)


def test_a_job_that_one_machine_took_and_another_ran_is_read_at_a_third(
    tmp_path: Path, shared: Shared
) -> None:
    front, worker, other = (machine(tmp_path, name, shared) for name in ("front", "worker", "other"))
    store = open_store(front)
    job = submit(store, front, write_wav(tmp_path / "song.wav", music(0.2)))
    shared.keep_input(job.id, front.input(job))
    claim = claimed(store)
    assert attempt(store, worker, worker_config(), threading.Event(), claim) is Outcome.SUCCEEDED
    assert not worker.upload(job.id).exists(), "a copy has no use when its job has ended"

    assert is_published(other, job.id) and is_whole(other, job.id)
    assert not list(other.result(job.id).glob("*/*")), "nothing was fetched for that but the manifest"
    for artifact in read_result(other, job.id).artifacts:
        path = artifact_file(other, job.id, artifact).path
        assert path.is_relative_to(other.outputs)
        assert hashlib.sha256(path.read_bytes()).hexdigest() == artifact.sha256
    assert result_cache.prune(other, 0) == 1
    assert artifact_file(other, job.id, read_result(other, job.id).artifacts[0]).path.is_file(), (
        "fetched again"
    )

    # A second attempt that knows nothing of the first: what counts stays.
    before = read_result(other, job.id)
    late = tmp_path / "late"
    shutil.copytree(other.result(job.id), late)
    (late / "manifest.json").write_text((late / "manifest.json").read_text().replace("song.wav", "x.wav"))
    for artifact in before.artifacts:
        artifact_file(other, job.id, artifact)
        shutil.copytree(other.result(job.id), late, dirs_exist_ok=True)
    assert not shared.publish(job.id, late, before)
    shutil.rmtree(other.result(job.id))
    assert read_result(other, job.id) == before

    ended = now(store, job).finished_at
    assert ended is not None
    assert expire(store, front, Policy(timedelta(0)), ended + timedelta(days=1)) == 1
    assert not shared.has_input(job.id) and not shared.has_audio(job.id)
    assert shared.has_result(job.id), "the manifest stays"
    assert erase(store, front, job.id) is not None
    assert now(store, job).status is JobStatus.ERASED
    assert shared.jobs() == set()


@pytest.mark.parametrize("known", ["accepted", "unknown", "nobody says"])
def test_a_refused_recording_goes_unless_its_job_may_have_been_accepted(
    tmp_path: Path, shared: Shared, known: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    front = machine(tmp_path, "front", shared)
    store = open_store(front)
    job = submit(store, front, write_wav(tmp_path / "song.wav", music(0.2)))
    shared.keep_input(job.id, front.input(job))

    def unanswered(_: str) -> None:
        raise DatabaseUnavailable("It was restarted in this moment.")

    if known == "unknown":
        monkeypatch.setattr(store, "get", lambda _: None)
    elif known == "nobody says":
        monkeypatch.setattr(store, "get", unanswered)
    forget_input(store, front, job.id)
    kept = known != "unknown"
    assert (front.input(job).is_file(), shared.has_input(job.id)) == (kept, kept)
