"""What is thrown away, and what is not."""

import os
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from api.jobs.folders import Folders, incoming
from api.jobs.housekeeping import erase, expire, keep_house, remove_audio, sweep
from api.jobs.model import Job, JobError, JobStatus
from api.jobs.retention import Policy
from api.jobs.sql_store import SqlJobStore
from api.jobs.worker import attempt
from pipeline.locked_folder import LockedFolder
from tests.audio_files import music, write_wav
from tests.worker_support import submit, worker_config

MONTH = Policy(timedelta(days=30))
FOR_EVER = Policy(None)
AT_ONCE = Policy(timedelta(0))


@pytest.fixture
def finished(store: SqlJobStore, folders: Folders, tmp_path: Path) -> Job:
    job = submit(store, folders, write_wav(tmp_path / "song.wav", music(0.5)))
    claim = store.claim("worker-1", 30.0)
    assert claim is not None
    attempt(store, folders, worker_config(), threading.Event(), claim)
    return job


def after(days: float) -> datetime:
    return datetime.now(UTC) + timedelta(days=days)


def status(store: SqlJobStore, job: Job) -> JobStatus:
    found = store.get(job.id)
    assert found is not None
    return found.status


def aged(path: Path, days: float) -> Path:
    for one in (*path.rglob("*"), path):
        os.utime(one, times=(after(-days).timestamp(),) * 2)
    return path


def test_audio_goes_after_its_retention_and_the_manifest_stays(
    store: SqlJobStore, folders: Folders, finished: Job
) -> None:
    assert sweep(store, folders, MONTH, lambda: after(29.9)).expired == 0
    assert (folders.result(finished.id) / "stems").exists()
    assert sweep(store, folders, MONTH, lambda: after(30.1)).expired == 1
    assert status(store, finished) is JobStatus.EXPIRED
    assert [p.name for p in folders.result(finished.id).iterdir()] == ["manifest.json"]
    assert not folders.upload(finished.id).exists()
    assert sweep(store, folders, MONTH, lambda: after(31)).expired == 0


def test_without_a_retention_nothing_expires(store: SqlJobStore, folders: Folders, finished: Job) -> None:
    assert sweep(store, folders, FOR_EVER, lambda: after(10000)).expired == 0
    assert (folders.result(finished.id) / "stems").exists()


def test_a_job_that_ended_late_is_kept_from_its_end(
    store: SqlJobStore, folders: Folders, finished: Job
) -> None:
    ended = store.get(finished.id)
    assert ended is not None and ended.finished_at is not None
    between = ended.created_at + (ended.finished_at - ended.created_at) / 2
    assert expire(store, folders, AT_ONCE, between) == 0
    assert expire(store, folders, AT_ONCE, ended.finished_at + timedelta(seconds=1)) == 1


def test_an_expiry_that_was_interrupted_is_finished_next_time(
    store: SqlJobStore, folders: Folders, finished: Job
) -> None:
    store.mark(finished.id, JobStatus.EXPIRED)
    sweep(store, folders, MONTH)
    assert [p.name for p in folders.result(finished.id).iterdir()] == ["manifest.json"]
    assert not folders.upload(finished.id).exists()


def test_an_erasure_that_was_interrupted_is_finished_next_time(
    store: SqlJobStore, folders: Folders, finished: Job
) -> None:
    store.mark(finished.id, JobStatus.ERASED)
    sweep(store, folders, MONTH)
    assert not folders.result(finished.id).exists()
    assert not folders.upload(finished.id).exists()


def test_an_erased_job_leaves_nothing(store: SqlJobStore, folders: Folders, finished: Job) -> None:
    folders.checkpoint(finished.id).write_bytes(b"so far")
    assert erase(store, folders, finished.id) is not None
    assert status(store, finished) is JobStatus.ERASED
    for path in (
        folders.result(finished.id),
        folders.upload(finished.id),
        folders.checkpoint(finished.id),
    ):
        assert not path.exists()


def test_a_running_job_is_not_erased(store: SqlJobStore, folders: Folders, tmp_path: Path) -> None:
    job = submit(store, folders, write_wav(tmp_path / "song.wav", music(0.5)))
    assert erase(store, folders, job.id) is None
    assert folders.input(job).exists()


def test_many_jobs_expire_at_once(store: SqlJobStore, folders: Folders, tmp_path: Path) -> None:
    recording = write_wav(tmp_path / "song.wav", music(0.1))
    jobs = [submit(store, folders, recording) for _ in range(410)]
    for job in jobs:
        store.request_cancel(job.id)
    assert sweep(store, folders, MONTH, lambda: after(31)).expired == len(jobs)
    assert list(folders.uploads.iterdir()) == [folders.resumable]


def test_an_upload_on_its_way_in_is_kept_for_a_day(store: SqlJobStore, folders: Folders) -> None:
    upload = folders.uploads / "3f0b"
    upload.mkdir()
    (upload / "input").write_bytes(b"half a song")
    assert sweep(store, folders, MONTH, lambda: after(0.9)).strays == 0
    assert sweep(store, folders, MONTH, lambda: after(1.1)).strays == 1
    assert not upload.exists()


def test_uploads_that_a_dead_service_was_receiving_go_and_those_of_living_ones_stay(
    store: SqlJobStore, folders: Folders, finished: Job
) -> None:
    dead = incoming(folders.uploads)
    dead.mkdir()
    (dead / "input").write_bytes(b"half a song")
    with LockedFolder(incoming(folders.uploads)) as living:
        (living.path / "input").write_bytes(b"half a song")
        aged(living.path, 400)
        assert sweep(store, folders, MONTH).strays == 1
        assert (living.path / "input").exists()
        assert not dead.exists()
    assert sorted(folders.uploads.iterdir()) == [folders.resumable, folders.upload(finished.id)]


def test_a_file_that_is_named_like_an_upload_under_way_goes_like_any_other(
    store: SqlJobStore, folders: Folders
) -> None:
    incoming(folders.uploads).write_bytes(b"no folder")
    assert sweep(store, folders, MONTH).strays == 0
    assert sweep(store, folders, MONTH, lambda: after(1.1)).strays == 1


def test_an_upload_of_a_waiting_job_is_kept_however_old(
    store: SqlJobStore, folders: Folders, tmp_path: Path
) -> None:
    job = submit(store, folders, write_wav(tmp_path / "song.wav", music(0.5)))
    aged(folders.upload(job.id), 400)
    sweep(store, folders, MONTH)
    assert folders.input(job).exists()


def test_a_chore_that_fails_in_any_way_keeps_none_from_being_done_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    done: list[str] = []
    stop = threading.Event()

    def stumble() -> None:
        done.append("stumble")
        raise RecursionError

    def sweep_up() -> None:
        done.append("sweep up")
        if len(done) == 4:
            stop.set()

    keep_house([stumble, sweep_up], stop, period_s=0.0)
    assert done == ["stumble", "sweep up"] * 2
    assert [record.chore for record in caplog.records] == ["stumble"] * 2  # type: ignore[attr-defined]


def test_resumable_uploads_are_not_for_this_round_to_remove(store: SqlJobStore, folders: Folders) -> None:
    aged(folders.resumable, 400)
    assert sweep(store, folders, MONTH).strays == 0
    assert folders.resumable.exists()


def test_a_result_that_the_database_does_not_know_ages_like_all_others(
    store: SqlJobStore, folders: Folders
) -> None:
    for name, days in (("young", 29.0), ("old", 31.0)):
        (folders.outputs / name / "stems").mkdir(parents=True)
        aged(folders.outputs / name, days)
    sweep(store, folders, MONTH)
    assert (folders.outputs / "young").exists()
    assert not (folders.outputs / "old").exists()


def test_a_result_of_a_job_that_failed_goes_unless_a_retry_can_use_it(
    store: SqlJobStore, folders: Folders, tmp_path: Path
) -> None:
    recording = write_wav(tmp_path / "song.wav", music(0.5))
    for code in ("internal_error", "attempts_exhausted"):
        job = submit(store, folders, recording)
        claim = store.claim("worker-1", 30.0)
        assert claim is not None
        folders.result(job.id).mkdir()
        store.fail(claim, JobError(code, "It broke."))
        sweep(store, folders, MONTH)
        assert folders.result(job.id).exists() == (code == "attempts_exhausted")


def test_a_forgotten_download_goes_after_a_day(store: SqlJobStore, folders: Folders) -> None:
    young, old = folders.downloads / "young.zip", folders.downloads / "old.zip"
    young.write_bytes(b"zip")
    old.write_bytes(b"zip")
    aged(old, 1.1)
    assert sweep(store, folders, MONTH).strays == 1
    assert list(folders.downloads.iterdir()) == [young]


def test_a_link_out_of_the_folder_is_removed_and_not_followed(
    store: SqlJobStore, folders: Folders, finished: Job, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "keep").write_text("mine")
    (folders.result(finished.id) / "link").symlink_to(outside)
    remove_audio(folders, finished.id)
    assert [p.name for p in folders.result(finished.id).iterdir()] == ["manifest.json"]
    assert (outside / "keep").exists()
