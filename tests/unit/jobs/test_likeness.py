"""Finished jobs are compared by what their manifests say of their sound."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from api.jobs.folders import Folders
from api.jobs.housekeeping import erase
from api.jobs.likeness import Sounds
from api.jobs.model import Job
from api.jobs.sql_store import SqlJobStore
from api.jobs.worker import attempt
from tests.audio_files import convert, music, write_wav
from tests.unit.jobs.test_listening import NEVER
from tests.worker_support import claimed, now, submit, worker_config


@pytest.fixture
def song(tmp_path: Path) -> Path:
    return write_wav(tmp_path / "song.wav", music(5.0))


def finished(store: SqlJobStore, folders: Folders, recording: Path, **values: object) -> Job:
    job = submit(store, folders, recording, options={"estimators": ["sound"]}, **values)
    attempt(store, folders, worker_config(), NEVER, claimed(store))
    return now(store, job)


def test_the_same_recording_is_found_in_another_encoding(
    store: SqlJobStore, folders: Folders, song: Path, tmp_path: Path
) -> None:
    job = finished(store, folders, song)
    again = finished(store, folders, convert(song, tmp_path / "song.mp3", "-b:a", "96k"))
    # The same music at another pitch and speed.
    other = finished(store, folders, write_wav(tmp_path / "other.wav", music(5.0, 32000)))
    found, compared = Sounds(store, folders).like(job, 10)
    assert [(like.job.id, like.same) for like in found] == [(again.id, True), (other.id, False)]
    assert compared == 2 and found[0].similarity > found[1].similarity


def test_other_owners_recordings_are_not_compared(store: SqlJobStore, folders: Folders, song: Path) -> None:
    job = finished(store, folders, song)
    finished(store, folders, song, owner="other")
    assert Sounds(store, folders).like(job, 10) == ([], 0)


def test_deleted_and_damaged_jobs_are_like_none(store: SqlJobStore, folders: Folders, song: Path) -> None:
    sounds = Sounds(store, folders)
    job, deleted, damaged = (finished(store, folders, song) for _ in range(3))
    assert len(sounds.like(job, 10)[0]) == 2
    erase(store, folders, deleted.id)
    shutil.rmtree(folders.result(damaged.id))
    assert [like.job.id for like in sounds.like(job, 10)[0]] == [damaged.id]  # as it is known to have been
    assert Sounds(store, folders).like(job, 10) == ([], 0)
