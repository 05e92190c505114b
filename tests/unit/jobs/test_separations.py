"""What a finished job has separated serves its owner's later jobs, while there is room."""

import json
import os
import threading
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from shutil import disk_usage
from typing import Any

import pytest

from api.errors import StorageFull
from api.jobs import worker
from api.jobs.admission import Admission
from api.jobs.folders import Folders
from api.jobs.housekeeping import erase, sweep
from api.jobs.model import Job, JobStatus
from api.jobs.retention import Policy
from api.jobs.separations import clear, forget, keep, make_room, names_of, prune
from api.jobs.sql_store import SqlJobStore
from api.jobs.store import Claim
from api.jobs.worker import Outcome, attempt
from pipeline.config import PipelineConfig
from pipeline.errors import DiskFull
from pipeline.manifest import Manifest, read_manifest
from pipeline.progress import Progress
from tests.worker_support import claimed, during, now, submit, taken_over, temporary_files, worker_config

NEVER = threading.Event()
MIB = 1 << 20


@dataclass
class Workers:
    alive: int = 1
    count: int = 1
    draining: bool = False


def finished(
    store: SqlJobStore, folders: Folders, recording: Path, *, cache: int = 1 << 30, **changes: Any
) -> tuple[Job, Manifest]:
    """Run a job to its good end."""
    job = submit(store, folders, recording, **changes)
    config = worker_config(separation_cache_bytes=cache)
    assert attempt(store, folders, config, NEVER, claimed(store)) is Outcome.SUCCEEDED
    assert temporary_files(folders) == []
    return now(store, job), read_manifest(folders.result(job.id))


def hashes(manifest: Manifest) -> dict[str, str]:
    return {artifact.path: artifact.sha256 for artifact in manifest.artifacts}


def inodes(folders: Folders) -> set[int]:
    return {path.stat().st_ino for path in names_of(folders)}


@pytest.mark.parametrize(
    "more",
    [
        {"formats": ["wav", "flac"]},
        {"formats": ["mp3"]},
        {"estimators": ["loudness", "activity"]},
        {"stems": ["vocals", "drums", "no_vocals"]},
        {"residual": "file"},
        {"residual": "distribute"},
    ],
)
def test_a_job_that_asks_for_more_of_a_recording_separates_nothing(
    more: dict[str, Any], store: SqlJobStore, folders: Folders, recording: Path
) -> None:
    _, first = finished(store, folders, recording, options={"stems": ["vocals"]})
    assert first.separation.reused == 0.0
    _, second = finished(store, folders, recording, options=more)
    assert second.separation.reused == 1.0
    _, alone = finished(store, folders, recording, options=more, owner="somebody else")
    assert alone.separation.reused == 0.0
    assert hashes(second) == hashes(alone)
    assert second.analysis == alone.analysis
    assert second.separation.model_copy(update={"reused": 0.0}) == alone.separation


@pytest.mark.parametrize("options", [{"channels": "stereo"}, {"accept_damaged": True}])
def test_what_the_separator_hears_decides(
    options: dict[str, Any], store: SqlJobStore, folders: Folders, recording: Path
) -> None:
    finished(store, folders, recording)
    _, second = finished(store, folders, recording, options=options)
    # How a job treats damage changes no sample of a sound recording.
    assert second.separation.reused == (0.0 if "channels" in options else 1.0)


def test_a_separation_that_two_jobs_have_lies_there_once(
    store: SqlJobStore, folders: Folders, recording: Path
) -> None:
    first, _ = finished(store, folders, recording)
    second, _ = finished(store, folders, recording, options={"formats": ["mp3"]})
    assert len(names_of(folders)) == 2
    assert len(inodes(folders)) == 1
    assert erase(store, folders, first.id) is not None
    assert names_of(folders, first.id) == []
    _, third = finished(store, folders, recording, options={"formats": ["wav"]})
    assert third.separation.reused == 1.0
    for job_id in (second.id, third.job_id):
        erase(store, folders, job_id)
    assert list(folders.separations.iterdir()) == []


def test_a_separation_goes_with_its_audio(store: SqlJobStore, folders: Folders, recording: Path) -> None:
    finished(store, folders, recording)
    sweep(store, folders, Policy(timedelta(days=30)), lambda: datetime.now(UTC) + timedelta(days=29))
    assert names_of(folders)
    sweep(store, folders, Policy(timedelta(days=30)), lambda: datetime.now(UTC) + timedelta(days=31))
    assert list(folders.separations.iterdir()) == []


@pytest.mark.parametrize("status", [JobStatus.EXPIRED, JobStatus.ERASED, None])
def test_one_whose_job_has_gone_is_swept(
    status: JobStatus | None, store: SqlJobStore, folders: Folders, recording: Path
) -> None:
    job, _ = finished(store, folders, recording)
    if status is None:
        (path,) = names_of(folders)
        path.rename(path.with_name(path.name.replace(job.id, "unknown")))
    else:
        store.mark(job.id, status)  # And killed before anything was removed.
    sweep(store, folders, Policy(None))
    assert names_of(folders) == []


def test_a_separation_is_not_kept_after_its_job_was_erased(
    store: SqlJobStore, folders: Folders, recording: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = submit(store, folders, recording)
    rename = Path.rename

    def late(self: Path, target: Path) -> Path:
        # As if its owner removed the job in the instant before the worker keeps its separation.
        if target.parent.parent == folders.separations:
            erase(store, folders, job.id)
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", late)
    attempt(store, folders, worker_config(), NEVER, claimed(store))
    assert now(store, job).status is JobStatus.ERASED
    assert names_of(folders) == []
    assert temporary_files(folders) == []


def test_jobs_that_do_not_succeed_keep_nothing(
    store: SqlJobStore, folders: Folders, recording: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = submit(store, folders, recording)
    during(monkeypatch, "encode", lambda _: store.request_cancel(job.id) and None)
    assert attempt(store, folders, worker_config(), NEVER, claimed(store)) is Outcome.CANCELLED
    monkeypatch.undo()

    def break_down(_: Progress) -> None:
        raise ZeroDivisionError

    during(monkeypatch, "encode", break_down)
    submit(store, folders, recording)
    assert attempt(store, folders, worker_config(), NEVER, claimed(store)) is Outcome.FAILED
    assert names_of(folders) == []
    assert temporary_files(folders) == []


def test_a_job_that_loses_its_claim_after_it_was_made_need_not_separate_again(
    store: SqlJobStore, folders: Folders, recording: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = submit(store, folders, recording)
    stale = claimed(store)
    fresh: list[Claim] = []
    resumed: list[float] = []

    def lose(_: Progress) -> None:
        fresh.append(taken_over(store, stale))

    during(monkeypatch, "publish", lose)
    assert attempt(store, folders, worker_config(beat_s=1e9), NEVER, stale) is Outcome.LOST
    monkeypatch.undo()
    monkeypatch.setattr(Progress, "resume", lambda _, fraction: resumed.append(fraction))
    assert attempt(store, folders, worker_config(), NEVER, fresh[0]) is Outcome.SUCCEEDED
    assert resumed == [1.0]
    # It was this job's own: nothing was taken over from another.
    assert read_manifest(folders.result(job.id)).separation.reused == 0.0


def test_without_a_cache_nothing_is_kept(store: SqlJobStore, folders: Folders, recording: Path) -> None:
    finished(store, folders, recording, cache=0)
    assert names_of(folders) == []
    _, second = finished(store, folders, recording, cache=0, options={"formats": ["mp3"]})
    assert second.separation.reused == 0.0


def filed(folders: Folders, job_id: str, size: int, used: float, owner: str = "owner") -> Path:
    """A file that is kept: of some size, used last at some time."""
    folder = folders.separations_of(owner)
    folder.mkdir(exist_ok=True)
    path = folder / f"{'a' * 64}.{job_id}"
    with path.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, size)
    os.utime(path, (used, used))
    return path


def test_those_used_longest_ago_go_first(folders: Folders) -> None:
    paths = [filed(folders, f"job{i}", 100, used=i, owner=f"owner {i % 2}") for i in range(5)]
    shared = folders.separations_of("owner 0") / "b.job9"
    shared.hardlink_to(paths[0])
    os.utime(shared, (9, 9))  # Which is the same file.
    assert prune(folders, 350) == 2
    assert names_of(folders) == sorted([paths[0], shared, paths[3], paths[4]])
    assert prune(folders, 350) == 0
    assert prune(folders, 0) == 3
    assert list(folders.separations.iterdir()) == []


def test_using_one_makes_it_the_last_to_go(store: SqlJobStore, folders: Folders, recording: Path) -> None:
    finished(store, folders, recording)
    (path,) = names_of(folders)
    os.utime(path, (1, 1))
    other = filed(folders, "other", 100, used=2)
    finished(store, folders, recording, options={"formats": ["mp3"]})
    prune(folders, path.stat().st_size)
    assert path.exists()
    assert not other.exists()


def test_one_that_is_in_use_serves_to_the_end_when_it_is_pruned(
    store: SqlJobStore, folders: Folders, recording: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    finished(store, folders, recording)
    during(monkeypatch, "estimate", lambda _: prune(folders, 0) and None)
    _, second = finished(store, folders, recording, options={"formats": ["mp3"]})
    assert second.separation.reused == 1.0
    assert len(names_of(folders)) == 1


def test_room_is_made_by_giving_up_as_little_as_is_needed(folders: Folders) -> None:
    size = 512 * MIB  # Far more than what others write to this disk in the meantime.
    paths = [filed(folders, f"job{i}", size, used=i) for i in range(3)]
    free = disk_usage(folders.data).free
    assert make_room(folders, folders.outputs, free - size // 2)
    assert not make_room(folders, folders.outputs, free + 4 * size)
    assert all(path.exists() for path in paths), "in vain"
    assert make_room(folders, folders.outputs, free + size // 2)
    assert [path.exists() for path in paths] == [False, True, True]
    running = folders.checkpoint("running")
    running.hardlink_to(paths[1])  # Whose removal frees nothing now.
    assert make_room(folders, folders.outputs, free + size + size // 2)
    assert [path.exists() for path in paths] == [False, True, False]


def test_kept_separations_are_no_reason_to_refuse_work(store: SqlJobStore, folders: Folders) -> None:
    def admission(reserve: int) -> Admission:
        return Admission(store, folders, Workers(), PipelineConfig(), disk_reserve=reserve, memory_reserve=0)

    size = 512 * MIB
    path = filed(folders, "job", size, used=1)
    admission(disk_usage(folders.data).free + size // 2).admit()
    assert not path.exists()
    path = filed(folders, "job", size, used=1)
    assert admission(disk_usage(folders.data).free + size // 2).state().reasons == ()
    assert not path.exists()
    with pytest.raises(StorageFull):
        admission(disk_usage(folders.data).free + size).admit()


def test_a_job_that_found_the_disk_full_gets_the_space_for_its_next_attempt(
    store: SqlJobStore, folders: Folders, recording: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = filed(folders, "another", 100, used=1)

    def fill(_: Progress) -> None:
        raise DiskFull("The disk is full.")

    during(monkeypatch, "encode", fill)
    submit(store, folders, recording)
    assert attempt(store, folders, worker_config(), NEVER, claimed(store)) is Outcome.AGAIN
    assert not path.exists()


def test_another_disk_is_not_cleared(folders: Folders) -> None:
    path = filed(folders, "job", 100, used=1)
    clear(folders, Path("/proc"))
    assert path.exists()


def test_what_cannot_be_kept_is_removed_and_the_job_has_succeeded(
    store: SqlJobStore, folders: Folders, recording: Path
) -> None:
    folders.separations.rmdir()
    folders.separations.write_text("no folder")
    _, manifest = finished(store, folders, recording)
    assert manifest.separation.reused == 0.0


def test_a_damaged_one_costs_time_and_nothing_else(
    store: SqlJobStore, folders: Folders, recording: Path
) -> None:
    _, first = finished(store, folders, recording, options={"formats": ["wav"]})
    (path,) = names_of(folders)
    path.chmod(0o600)
    with path.open("r+b") as file:
        file.seek(-1000, os.SEEK_END)
        file.write(b"\xff" * 4)
    path.chmod(0o400)
    _, second = finished(store, folders, recording, options={"formats": ["wav", "mp3"]})
    assert second.separation.reused < 1.0
    assert hashes(first).items() <= hashes(second).items()
    _, third = finished(store, folders, recording, options={"formats": ["wav", "ogg"]})
    assert third.separation.reused == 1.0


def test_keeping_what_is_kept_changes_nothing(store: SqlJobStore, folders: Folders, recording: Path) -> None:
    job, _ = finished(store, folders, recording)
    (path,) = names_of(folders)
    folders.checkpoint(job.id).hardlink_to(path)  # As a stale attempt of this job would have it.
    keep(folders, job)
    worker.settle(store, folders, job.id)
    assert names_of(folders) == [path]
    assert temporary_files(folders) == []
    forget(folders, job.id)
    assert names_of(folders) == []


def test_a_manifest_of_the_version_before_is_still_read(
    store: SqlJobStore, folders: Folders, recording: Path
) -> None:
    job, manifest = finished(store, folders, recording)
    path = folders.result(job.id) / "manifest.json"
    older = json.loads(path.read_text())
    older["schema_version"] = "1.0"
    del older["separation"]["reused"]
    path.write_text(json.dumps(older))
    assert read_manifest(path).separation == manifest.separation
