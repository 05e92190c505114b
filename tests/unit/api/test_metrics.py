"""What Prometheus is told: each job counted once, whoever asks, and after any number of restarts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import Engine

from api.database import open_database
from api.jobs.folders import Folders
from api.jobs.model import JobError, StageTime
from api.jobs.sql_store import SqlJobStore
from api.jobs.workers import WorkerRegister
from api.machine_metrics import MachineMetrics
from api.metrics import Metrics
from api.migrate import upgrade
from api.transactions import DatabaseTime
from tests.job_stores import ERROR, LEASE_S, LOST, new, taken


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = open_database(f"sqlite:///{tmp_path / 'jobs.db'}")
    upgrade(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def store(engine: Engine) -> SqlJobStore:
    return SqlJobStore(engine)


def later(engine: Engine, seconds: float) -> SqlJobStore:
    return SqlJobStore(engine, DatabaseTime() + seconds)


def scraped(engine: Engine, folder: Path) -> dict[str, float]:
    """What a process that has just started says, by name and labels."""
    text = whole(engine, folder).render().decode()
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = ",".join(f"{name}={value}" for name, value in sorted(sample.labels.items()))
            found[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
    return found


def whole(engine: Engine, folder: Path) -> Metrics:
    """All that an app registers and that needs no app."""
    metrics = Metrics(engine, SqlJobStore(engine))
    metrics.registry.register(MachineMetrics(Folders.below(folder)))
    return metrics


def run(store: SqlJobStore, *stages: float, duration_s: float = 60.0) -> None:
    """A job that succeeds, with times of its stages."""
    store.add(new())
    claim = taken(store)
    names = ("probe", "decode", "separate", "estimate", "encode", "publish")
    times = [StageTime(name, "succeeded", s) for name, s in zip(names, stages, strict=False)]
    store.beat(claim, LEASE_S, stages=times, duration_s=duration_s)
    store.succeed(claim)


def test_every_figure_is_there_before_the_first_job(engine: Engine, tmp_path: Path) -> None:
    said = scraped(engine, tmp_path)
    for status in ("succeeded", "failed", "cancelled"):
        assert said[f"audio_processing_total{{status={status}}}"] == 0
    for name in (
        "audio_processing_seconds_count", "audio_real_time_factor_count", "audio_queue_wait_seconds_count",
        "audio_attempts_abandoned_total", "audio_attempts_handed_back_total", "audio_upload_bytes_total",
        "audio_jobs_repeated_total", "audio_queue_depth", "audio_jobs_in_progress",
        "audio_queue_oldest_seconds", "audio_workers", "audio_workers_busy", "audio_workers_memory_bytes",
        "audio_stage_slow_total{stage=separate}", "audio_stage_seconds_count{stage=separate}",
        "audio_job_oldest_seconds", "audio_stage_oldest_seconds{stage=separate}",
        "audio_processing_faults_total{fault=service}", "audio_processing_faults_total{fault=recording}",
        "audio_stage_faults_total{stage=separate}",
    ):  # fmt: skip
        assert said[name] == 0, name
    assert said["audio_database_up"] == 1
    assert said["audio_disk_free_bytes{folder=data}"] > 0


def test_a_job_is_counted_with_its_times(engine: Engine, store: SqlJobStore, tmp_path: Path) -> None:
    run(store, 1.0, 2.0, 27.0, duration_s=60.0)
    said = scraped(engine, tmp_path)
    assert said["audio_processing_total{status=succeeded}"] == 1
    assert said["audio_processing_seconds_sum"] == 30.0
    assert said["audio_processing_seconds_bucket{le=20.0}"] == 0
    assert said["audio_processing_seconds_bucket{le=30.0}"] == 1
    assert said["audio_processing_seconds_bucket{le=+Inf}"] == 1
    assert said["audio_stage_seconds_sum{stage=separate}"] == 27.0
    assert said["audio_real_time_factor_sum"] == 2.0
    assert said["audio_queue_wait_seconds_count"] == 1


def test_processes_agree_and_a_restart_changes_nothing(
    engine: Engine, store: SqlJobStore, tmp_path: Path
) -> None:
    first = Metrics(engine, store)
    run(store, 1.0)
    store.add(new())
    store.fail(taken(store), ERROR)
    own = ("audio_processing", "audio_stage", "audio_queue_wait", "audio_attempts")

    def of_jobs(text: str) -> list[str]:
        return [line for line in text.splitlines() if line.startswith(own)]

    again = Metrics(engine, store)
    assert of_jobs(first.render().decode()) == of_jobs(again.render().decode()) != []


def test_what_was_counted_never_goes_back_when_a_job_is_run_again(
    engine: Engine, store: SqlJobStore, tmp_path: Path
) -> None:
    job_id = store.add(new()).id
    store.fail(taken(store), ERROR)
    store.requeue(job_id)
    store.succeed(taken(store))
    said = scraped(engine, tmp_path)
    assert said["audio_processing_total{status=failed}"] == 1
    assert said["audio_processing_failures_total{code=tool_failed}"] == 1
    assert said["audio_processing_total{status=succeeded}"] == 1


def test_retries_deaths_and_returns_are_counted(engine: Engine, store: SqlJobStore, tmp_path: Path) -> None:
    store.add(new(max_attempts=2))
    store.release(taken(store))
    store.fail(taken(store), ERROR, again=True)
    taken(later(engine, 60.0))
    assert later(engine, LOST).claim("w", LEASE_S) is None
    said = scraped(engine, tmp_path)
    assert said["audio_attempts_handed_back_total"] == 1
    assert said["audio_processing_retries_total{code=tool_failed}"] == 1
    assert said["audio_attempts_abandoned_total"] == 1
    assert said["audio_processing_failures_total{code=attempts_exhausted}"] == 1


def test_a_job_that_its_worker_lost_and_another_took_is_counted(
    engine: Engine, store: SqlJobStore, tmp_path: Path
) -> None:
    store.add(new())
    taken(store)
    taken(later(engine, LOST), "w2")
    said = scraped(engine, tmp_path)
    assert said["audio_attempts_abandoned_total"] == 1
    assert said["audio_queue_wait_seconds_count"] == 1


def test_a_clock_that_jumps_makes_no_job_negative_or_a_year_long(
    engine: Engine, store: SqlJobStore, tmp_path: Path
) -> None:
    later(engine, 1e8).add(new())
    claim = taken(store)
    store.beat(claim, LEASE_S, stages=[StageTime("separate", "running", 9.0)])
    later(engine, 1e8).succeed(claim)
    said = scraped(engine, tmp_path)
    assert said["audio_queue_wait_seconds_sum"] == pytest.approx(0.0, abs=60)
    assert said["audio_processing_seconds_sum"] == 9.0


def test_workers_and_the_models_that_they_keep_are_counted(engine: Engine, tmp_path: Path) -> None:
    register = WorkerRegister(engine)
    what = {"host": "h", "device": "cpu", "memory_bytes": 1000}
    register.say("a", pid=1, job_id="j", model="htdemucs", **what)
    register.say("b", pid=2, job_id=None, model="htdemucs", **what)
    register.say("c", pid=3, job_id=None, model=None, **what)
    said = scraped(engine, tmp_path)
    assert (said["audio_workers"], said["audio_workers_busy"]) == (3, 1)
    assert said["model_loaded{model=htdemucs}"] == 2
    assert said["audio_workers_memory_bytes"] == 3000


def test_a_resting_job_waits_in_the_queue_for_nobody(
    engine: Engine, store: SqlJobStore, tmp_path: Path
) -> None:
    store.add(new())
    store.fail(taken(store), ERROR, again=True)
    said = scraped(engine, tmp_path)
    assert (said["audio_queue_depth"], said["audio_queue_oldest_seconds"]) == (1, 0)


def test_what_runs_ages_by_the_workers_clock_and_by_its_silence(
    engine: Engine, store: SqlJobStore, tmp_path: Path
) -> None:
    store.add(new())
    claim = taken(later(engine, -1000.0))
    times = [StageTime("probe", "succeeded", 5.0), StageTime("separate", "running", 30.0)]
    later(engine, -100.0).beat(claim, LEASE_S, stages=times)
    said = scraped(engine, tmp_path)
    # It began 1000 s ago by a clock that may have been set, worked for 35 s and has been silent for 100 s.
    assert said["audio_job_oldest_seconds"] == pytest.approx(135, abs=5)
    assert said["audio_stage_oldest_seconds{stage=separate}"] == pytest.approx(130, abs=5)
    assert said["audio_stage_oldest_seconds{stage=probe}"] == 0
    later(engine, 1e8).beat(claim, LEASE_S, stages=times)
    assert scraped(engine, tmp_path)["audio_job_oldest_seconds"] == 35


@pytest.mark.parametrize(
    ("code", "fault"),
    [
        ("tool_failed", "service"),
        ("internal_error", "service"),
        ("attempts_exhausted", "service"),
        ("input_changed", "service"),
        ("audio_undecodable", "recording"),
        ("stem_unknown", "recording"),
    ],
)
def test_a_failure_is_counted_by_whose_fault_it_is(
    engine: Engine, store: SqlJobStore, tmp_path: Path, code: str, fault: str
) -> None:
    store.add(new())
    claim = taken(store)
    store.beat(
        claim, LEASE_S, stages=[StageTime("probe", "succeeded", 1.0), StageTime("decode", "running", 1.0)]
    )
    store.fail(claim, JobError(code, "It failed."))
    said = scraped(engine, tmp_path)
    by = {name: said[f"audio_processing_faults_total{{fault={name}}}"] for name in ("service", "recording")}
    assert by == {"service": 0, "recording": 0, fault: 1}
    assert said["audio_stage_faults_total{stage=decode}"] == (fault == "service")
    assert said["audio_stage_faults_total{stage=probe}"] == 0


def test_what_a_message_says_is_in_no_label(engine: Engine, store: SqlJobStore, tmp_path: Path) -> None:
    job = store.add(new(owner="mallory"))
    store.fail(taken(store, "worker-7"), JobError("tool_failed", 'a "quoted\nline', ""))
    text = Metrics(engine, store).render().decode()
    for word in (job.id, "mallory", "worker-7", "quoted"):
        assert word not in text


def test_without_a_database_the_rest_is_told(tmp_path: Path) -> None:
    (tmp_path / "jobs.db").write_bytes(b"RIFF" + bytes(8192))
    engine = open_database(f"sqlite:///{tmp_path / 'jobs.db'}")
    said = scraped(engine, tmp_path)
    assert said["audio_database_up"] == 0
    assert said["audio_disk_free_bytes{folder=data}"] > 0
    assert "audio_queue_depth" not in said
    engine.dispose()
