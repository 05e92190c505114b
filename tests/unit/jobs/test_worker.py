"""What becomes of a job, in one process; for a worker that is killed see tests/faults/test_worker_kill.py."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from api.errors import DatabaseUnavailable
from api.jobs import worker
from api.jobs.folders import Folders
from api.jobs.heartbeat import EXIT_GPU_FAILED
from api.jobs.model import JobError, JobStatus
from api.jobs.sql_store import SqlJobStore
from api.jobs.store import Beat, Claim
from api.jobs.worker import Outcome, attempt, warm_up, work
from pipeline.config import PipelineConfig, WeightsConfig
from pipeline.errors import DiskFull
from pipeline.manifest import read_manifest
from pipeline.progress import Progress
from pipeline.separators.registry import WarmModel
from pipeline.verify import verify_job
from tests.worker_support import (
    claimed,
    during,
    now,
    open_store,
    submit,
    temporary_files,
    worker_config,
)

NEVER = threading.Event()


def test_a_job_is_run_and_published(store: SqlJobStore, folders: Folders, recording: Path) -> None:
    job = submit(store, folders, recording)
    assert attempt(store, folders, worker_config(), NEVER, claimed(store)) is Outcome.SUCCEEDED
    done = now(store, job)
    assert done.status is JobStatus.SUCCEEDED
    assert done.progress == 1.0
    assert done.duration_s == pytest.approx(1.0)
    assert [s.name for s in done.stages][:3] == ["probe", "decode", "separate"]
    manifest = read_manifest(folders.result(job.id))
    assert manifest.job_id == job.id
    assert manifest.input.filename == "my song.wav"
    assert manifest.created_at == job.created_at
    assert verify_job(folders.result(job.id)) == []
    assert temporary_files(folders) == []


def test_the_options_of_the_job_decide(store: SqlJobStore, folders: Folders, recording: Path) -> None:
    job = submit(store, folders, recording, options={"stems": ["vocals", "no_vocals"], "formats": ["mp3"]})
    attempt(store, folders, worker_config(), NEVER, claimed(store))
    manifest = read_manifest(folders.result(job.id))
    assert [(a.name, a.format) for a in manifest.artifacts] == [("vocals", "mp3"), ("no_vocals", "mp3")]


@pytest.mark.parametrize(
    ("content", "options", "code"),
    [
        (b"<!doctype html><html></html>", {}, "input_is_web_page"),
        (b"", {}, "input_empty"),
        (None, {"model": "nothing"}, "model_unknown"),
        (None, {"overlap": 7}, "invalid_request"),
    ],
)
def test_what_cannot_succeed_is_not_tried_again(
    store: SqlJobStore,
    folders: Folders,
    recording: Path,
    content: bytes | None,
    options: dict[str, Any],
    code: str,
) -> None:
    if content is not None:
        recording.write_bytes(content)
    job = submit(store, folders, recording, options=options)
    assert attempt(store, folders, worker_config(), NEVER, claimed(store)) is Outcome.FAILED
    done = now(store, job)
    assert done.status is JobStatus.FAILED
    assert done.error is not None and done.error.code == code
    assert temporary_files(folders) == []


def test_messages_name_the_file_as_the_user_does(
    store: SqlJobStore, folders: Folders, recording: Path
) -> None:
    recording.write_bytes(b"")
    job = submit(store, folders, recording, filename="Träumerei.mp3")
    attempt(store, folders, worker_config(), NEVER, claimed(store))
    error = now(store, job).error
    assert error is not None and "Träumerei.mp3" in error.message


def test_what_may_succeed_later_is_tried_again_until_its_attempts_end(
    store: SqlJobStore, folders: Folders, recording: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill(_: Progress) -> None:
        raise DiskFull("The disk is full.")

    during(monkeypatch, "encode", fill)
    job = submit(store, folders, recording, max_attempts=2)
    assert attempt(store, folders, worker_config(), NEVER, claimed(store)) is Outcome.AGAIN
    assert now(store, job).status is JobStatus.QUEUED
    # The separation itself was done: the next attempt need not do it again.
    assert folders.checkpoint(job.id).exists()
    later = open_store(folders, 60.0)
    assert attempt(later, folders, worker_config(), NEVER, claimed(later)) is Outcome.AGAIN
    done = now(store, job)
    assert done.status is JobStatus.FAILED
    assert done.error == JobError("disk_full", "The disk is full.", "", retryable=True)
    assert temporary_files(folders) == []


def test_an_unexpected_error_fails_the_job_and_is_logged(
    store: SqlJobStore,
    folders: Folders,
    recording: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def break_down(_: Progress) -> None:
        raise ZeroDivisionError

    during(monkeypatch, "encode", break_down)
    job = submit(store, folders, recording)
    assert attempt(store, folders, worker_config(), NEVER, claimed(store)) is Outcome.FAILED
    error = now(store, job).error
    assert error is not None and error.code == "internal_error"
    assert any(r.exc_info and r.exc_info[0] is ZeroDivisionError for r in caplog.records)
    assert temporary_files(folders) == []


def test_a_cancelled_job_stops_and_leaves_nothing(
    store: SqlJobStore, folders: Folders, long_recording: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = submit(store, folders, long_recording)
    during(monkeypatch, "separate", lambda _: store.request_cancel(job.id) and None)
    assert attempt(store, folders, worker_config(), NEVER, claimed(store)) is Outcome.CANCELLED
    assert now(store, job).status is JobStatus.CANCELLED
    assert not folders.result(job.id).exists()
    assert temporary_files(folders) == []


def test_a_job_that_takes_too_long_fails(store: SqlJobStore, folders: Folders, long_recording: Path) -> None:
    job = submit(store, folders, long_recording)
    config = worker_config(job_timeout_s=0.0, job_timeout_factor=0.001)
    assert attempt(store, folders, config, NEVER, claimed(store)) is Outcome.FAILED
    error = now(store, job).error
    assert error is not None and error.code == "job_timed_out"
    assert temporary_files(folders) == []


def test_a_slow_stage_is_logged_once(
    store: SqlJobStore, folders: Folders, long_recording: Path, caplog: pytest.LogCaptureFixture
) -> None:
    submit(store, folders, long_recording)
    assert attempt(store, folders, worker_config(stage_warn_s=0.1), NEVER, claimed(store))
    slow = [r.__dict__["stage"] for r in caplog.records if r.__dict__.get("action") == "stage_slow"]
    assert "separate" in slow
    assert len(slow) == len(set(slow))


def test_a_worker_that_must_stop_hands_its_job_back_and_the_next_one_resumes(
    store: SqlJobStore, folders: Folders, long_recording: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop, steps = threading.Event(), []
    step = Progress.step

    def watched(self: Progress, fraction: float) -> None:
        step(self, fraction)
        steps.append(fraction)
        if fraction > 0.3 and self._stage == "separate":
            stop.set()
            handed_back.wait(10)

    handed_back = threading.Event()
    monkeypatch.setattr(worker.Heartbeat, "_end", _then(worker.Heartbeat._end, handed_back.set))
    monkeypatch.setattr(Progress, "step", watched)
    job = submit(store, folders, long_recording)
    outcome = attempt(store, folders, worker_config(grace_s=0.0), stop, claimed(store))
    assert outcome is Outcome.HANDED_BACK
    back = now(store, job)
    assert (back.status, back.attempt) == (JobStatus.QUEUED, 0)
    assert folders.checkpoint(job.id).stat().st_size > 1000
    assert list(folders.attempts.iterdir()) == []
    monkeypatch.setattr(Progress, "step", step)
    resumed: list[float] = []
    monkeypatch.setattr(Progress, "resume", lambda _, fraction: resumed.append(fraction))
    assert attempt(store, folders, worker_config(), NEVER, claimed(store)) is Outcome.SUCCEEDED
    assert resumed and 0.3 < resumed[0] < 1.0
    assert temporary_files(folders) == []


def _then(function: Callable[..., None], after: Callable[[], None]) -> Callable[..., None]:
    def both(*arguments: Any) -> None:
        function(*arguments)
        after()

    return both


def test_a_worker_within_its_grace_finishes_its_job(
    store: SqlJobStore, folders: Folders, recording: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop = threading.Event()
    during(monkeypatch, "separate", lambda _: stop.set())
    job = submit(store, folders, recording)
    waiting = submit(store, folders, recording)
    work(store, folders, worker_config(), stop)
    assert now(store, job).status is JobStatus.SUCCEEDED
    assert now(store, waiting).status is JobStatus.QUEUED


def test_a_store_that_is_out_of_reach_for_a_moment_costs_nothing(
    store: SqlJobStore, folders: Folders, recording: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, beat, failures = submit(store, folders, recording), SqlJobStore.beat, [3]

    def shaky(self: SqlJobStore, *given: Any, **named: Any) -> Beat:
        if failures[0]:
            failures[0] -= 1
            raise DatabaseUnavailable("The database is busy.")
        return beat(self, *given, **named)

    monkeypatch.setattr(SqlJobStore, "beat", shaky)
    assert attempt(store, folders, worker_config(), NEVER, claimed(store)) is Outcome.SUCCEEDED
    assert now(store, job).status is JobStatus.SUCCEEDED


def test_a_store_that_stays_out_of_reach_stops_the_job_unpublished(
    store: SqlJobStore, folders: Folders, recording: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = submit(store, folders, recording)
    claim = claimed(store)

    def broken(*_: Any, **__: Any) -> Beat:
        raise DatabaseUnavailable("The database does not answer.")

    monkeypatch.setattr(SqlJobStore, "beat", broken)
    outcome = attempt(store, folders, worker_config(lease_s=0.2), NEVER, claim)
    assert outcome is Outcome.LOST
    assert not folders.result(job.id).exists()


def test_a_worker_goes_on_after_its_store_failed(
    store: SqlJobStore, folders: Folders, recording: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, stop, claim, calls = submit(store, folders, recording), threading.Event(), SqlJobStore.claim, []

    def shaky(self: SqlJobStore, name: str, lease_s: float) -> Claim | None:
        calls.append(name)
        if len(calls) < 3:
            raise DatabaseUnavailable("The database is busy.")
        found = claim(self, name, lease_s)
        if found is None:
            stop.set()
        return found

    monkeypatch.setattr(SqlJobStore, "claim", shaky)
    work(store, folders, worker_config(), stop)
    assert now(store, job).status is JobStatus.SUCCEEDED


def test_a_worker_whose_gpu_failed_ends_its_job_and_then_itself(
    store: SqlJobStore, folders: Folders, recording: Path
) -> None:
    job, warm = submit(store, folders, recording), WarmModel()
    warm.gpu_failed = True
    with pytest.raises(SystemExit) as ended:
        work(store, folders, worker_config(), NEVER, warm=warm)
    assert ended.value.code == EXIT_GPU_FAILED
    assert now(store, job).status is JobStatus.SUCCEEDED


def test_a_worker_loads_its_model_before_the_first_job(weights_dir: Path) -> None:
    warm = WarmModel()
    warm_up(warm, PipelineConfig(weights=WeightsConfig(cache_dir=weights_dir, offline=True)))
    assert warm.name == "htdemucs"


def test_a_worker_whose_weights_are_not_here_fetches_none_before_it_must(tmp_path: Path) -> None:
    warm = WarmModel()
    warm_up(warm, PipelineConfig(weights=WeightsConfig(cache_dir=tmp_path)))
    warm_up(warm, PipelineConfig(model="hpss"))
    assert warm.name is None
    assert not list(tmp_path.iterdir())


class Kept(WarmModel):
    """A model that is loaded; tells which one was there whenever the worker looked for work."""

    def __init__(self, stop: threading.Event, looks: int) -> None:
        super().__init__()
        self.seen: list[str | None] = []
        self._stop, self._looks, self._name = stop, looks, "htdemucs"

    @property
    def name(self) -> str | None:
        return self._name or None

    def drop(self) -> None:
        self._name = ""

    def look(self) -> None:
        self.seen.append(self.name)
        if len(self.seen) == self._looks:
            self._stop.set()


def ticking(*times: float) -> Callable[[], float]:
    """A clock that says one time after the other, and the last for ever."""
    left = list(times)
    return lambda: left.pop(0) if len(left) > 1 else left[0]


@pytest.mark.parametrize(("ttl_s", "seen"), [(60.0, ["htdemucs", "htdemucs", None]), (0.0, ["htdemucs"] * 3)])
def test_a_model_that_nobody_asks_for_is_given_up(
    store: SqlJobStore, folders: Folders, ttl_s: float, seen: list[str | None]
) -> None:
    stop = threading.Event()
    warm = Kept(stop, looks=3)
    config, clock = worker_config(model_ttl_s=ttl_s), ticking(0.0, 59.9, 60.0)
    work(store, folders, config, stop, warm=warm, pulse=warm.look, clock=clock)
    assert warm.seen == seen


def test_its_time_begins_when_a_job_ends(store: SqlJobStore, folders: Folders, recording: Path) -> None:
    submit(store, folders, recording)
    stop = threading.Event()

    class Busy(Kept):
        def look(self) -> None:
            if not store.counts((JobStatus.RUNNING,))[JobStatus.RUNNING]:  # It beats while a job runs, too.
                super().look()

    warm = Busy(stop, looks=3)
    config, clock = worker_config(model_ttl_s=60.0), ticking(0.0, 70.0, 129.0)
    work(store, folders, config, stop, warm=warm, pulse=warm.look, clock=clock)
    assert warm.seen == ["htdemucs"] * 3


def test_a_model_that_was_given_up_is_loaded_again(weights_dir: Path) -> None:
    warm = WarmModel()
    config = PipelineConfig(weights=WeightsConfig(cache_dir=weights_dir, offline=True), precision="exact")
    warm_up(warm, config)
    warm.drop()
    warm.drop()
    assert warm.name is None
    warm_up(warm, config)
    assert warm.name == "htdemucs"
