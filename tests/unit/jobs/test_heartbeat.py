"""How long a job and its stages may take: time in which the process was stopped counts for nothing."""

from __future__ import annotations

import logging
import threading
import time

import pytest

from api.errors import DatabaseUnavailable
from api.jobs.folders import Folders
from api.jobs.heartbeat import EXIT_STARVED, FROZEN_S, Heartbeat, Stop
from api.jobs.sql_store import SqlJobStore
from api.jobs.store import Claim
from tests.worker_support import claimed, submit, worker_config

NEVER = threading.Event()


class Clock:
    """Monotonic seconds that a test moves on."""

    def __init__(self) -> None:
        self.ahead = 0.0
        self.read = threading.Event()

    def __call__(self) -> float:
        self.read.set()
        return time.monotonic() + self.ahead

    def pass_(self, seconds: float) -> None:
        """Let time pass, and wait until the heartbeat has looked at it twice."""
        self.ahead += seconds
        for _ in range(2):
            self.read.clear()
            assert self.read.wait(60)


@pytest.fixture
def claim(store: SqlJobStore, folders: Folders, recording: object) -> Claim:
    submit(store, folders, recording)  # type: ignore[arg-type]
    return claimed(store, lease_s=1e6)


def test_a_job_that_was_frozen_for_longer_than_it_may_take_goes_on(store: SqlJobStore, claim: Claim) -> None:
    clock, config = Clock(), worker_config(lease_s=1e6, job_timeout_s=100.0)
    with Heartbeat(store, claim, config, NEVER, clock) as heartbeat:
        heartbeat.progress.enter("separate")
        clock.pass_(3600.0)
        assert heartbeat.check()
        (stage,) = heartbeat.stages()
        assert stage.seconds < 60


def test_a_job_that_works_for_longer_than_it_may_take_is_stopped(store: SqlJobStore, claim: Claim) -> None:
    clock, config = Clock(), worker_config(lease_s=1e6, job_timeout_s=100.0)
    with Heartbeat(store, claim, config, NEVER, clock) as heartbeat:
        deadline = time.monotonic() + 60
        while heartbeat.stopped is None:
            assert time.monotonic() < deadline
            clock.pass_(0.8 * FROZEN_S)
    assert heartbeat.stopped is Stop.TIMED_OUT


def test_a_slow_stage_is_told_and_counted_once(store: SqlJobStore, claim: Claim) -> None:
    clock, config = Clock(), worker_config(lease_s=1e6, stage_warn_s=10.0)
    with Heartbeat(store, claim, config, NEVER, clock) as heartbeat:
        heartbeat.progress.enter("separate")
        for _ in range(8):
            clock.pass_(0.8 * FROZEN_S)
        deadline = time.monotonic() + 60
        while not (slow := [e for e in store.events(claim.job.id, 0, 1000) if e.kind == "stage_slow"]):
            assert time.monotonic() < deadline
    assert [event.data["stage"] for event in slow] == ["separate"]
    assert len([e for e in store.events(claim.job.id, 0, 1000) if e.kind == "stage_slow"]) == 1


def test_a_store_that_cannot_be_told_of_a_slow_stage_stops_nothing(
    store: SqlJobStore, claim: Claim, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def busy(*_: object) -> bool:
        raise DatabaseUnavailable("The database is busy.")

    monkeypatch.setattr(SqlJobStore, "slow", busy)
    clock, config = Clock(), worker_config(lease_s=1e6, stage_warn_s=1.0)
    with caplog.at_level(logging.WARNING), Heartbeat(store, claim, config, NEVER, clock) as heartbeat:
        heartbeat.progress.enter("separate")
        deadline = time.monotonic() + 60
        while not any(r.__dict__.get("action") == "stage_slow_untold" for r in caplog.records):
            assert time.monotonic() < deadline
            clock.pass_(0.5)
        assert heartbeat.check()


def test_a_worker_that_cannot_have_a_thread_ends(
    store: SqlJobStore, claim: Claim, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a process at its limit of memory: the claim is left to run out, for a new process."""

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    with pytest.raises(SystemExit) as ended, Heartbeat(store, claim, worker_config(), NEVER):
        pass
    assert ended.value.code == EXIT_STARVED
