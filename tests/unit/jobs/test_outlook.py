"""Jobs that wait are told when they will end, from those before them."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anyio
import pytest

from api.bodies import job_body
from api.database import open_database
from api.jobs.feed import Feed
from api.jobs.folders import Folders
from api.jobs.outlook import Outlook
from api.jobs.speed import Machine, Speed
from api.jobs.speed_store import SpeedStore
from api.jobs.sql_store import SqlJobStore
from api.jobs.worker import Outcome, attempt
from api.jobs.workers import WorkerRegister
from api.routers import jobs as routes
from pipeline.config import PipelineConfig
from pipeline.progress import STAGES
from tests.job_stores import ERROR, new, taken
from tests.worker_support import FAST, claimed, now, submit, worker_config

DEFAULTS = PipelineConfig(estimators=())
MACHINE = Machine("htdemucs", "balanced", "cpu", 2)
A_SECOND_A_SEGMENT = Speed(MACHINE, 0.01, 1.0, 0.0, None, 0.0, 0.0)


class At:
    """A clock that stands where a test puts it."""

    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def speeds(store: SqlJobStore, folders: Folders) -> SpeedStore:
    return SpeedStore(open_database(f"sqlite:///{folders.data / 'pipeline.db'}"))


@pytest.fixture
def register(store: SqlJobStore, folders: Folders) -> WorkerRegister:
    return WorkerRegister(open_database(f"sqlite:///{folders.data / 'pipeline.db'}"))


def outlook(
    store: SqlJobStore,
    speeds: SpeedStore,
    register: WorkerRegister,
    workers: int = 1,
    clock: At | None = None,
) -> Outlook:
    return Outlook(store, speeds, register, DEFAULTS, workers, clock or At())


def say(register: WorkerRegister, name: str, model: str | None = None) -> None:
    register.say(name, host="h", pid=1, job_id=None, model=model, device="cpu", memory_bytes=1)


def test_those_before_a_job_are_waited_for(
    store: SqlJobStore, speeds: SpeedStore, register: WorkerRegister
) -> None:
    speeds.add(A_SECOND_A_SEGMENT)
    running, first, second = (store.add(new(duration_s=585.0)) for _ in range(3))
    claim = taken(store)
    store.beat(claim, 30.0, progress=0.5, eta_s=40.0)
    seen = outlook(store, speeds, register)
    assert seen.eta_s(first) == pytest.approx(140.0)
    assert seen.eta_s(second) == pytest.approx(240.0)
    assert job_body(first, store, seen).eta_s == pytest.approx(140.0)
    held = store.get(running.id)
    assert held is not None and seen.eta_s(held) == 40.0
    assert seen.cost(585.0, DEFAULTS).wait_s == pytest.approx(240.0)
    assert seen.cost(585.0, DEFAULTS).seconds == pytest.approx(100.0)
    assert seen.cost(585.0, DEFAULTS).measured


def test_a_job_that_runs_without_saying_how_long_is_predicted_too(
    store: SqlJobStore, speeds: SpeedStore, register: WorkerRegister
) -> None:
    speeds.add(A_SECOND_A_SEGMENT)
    store.add(new(duration_s=585.0))
    waits = store.add(new(duration_s=585.0))
    store.beat(taken(store), 30.0, progress=0.25)
    assert outlook(store, speeds, register).eta_s(waits) == pytest.approx(175.0)


def test_several_workers_share_the_queue(
    store: SqlJobStore, speeds: SpeedStore, register: WorkerRegister
) -> None:
    speeds.add(A_SECOND_A_SEGMENT)
    for name in ("a", "b"):
        say(register, name)
    long, short, last = (store.add(new(duration_s=s)) for s in (585.0, 58.5, 58.5))
    seen = outlook(store, speeds, register, workers=0)
    assert [seen.eta_s(job) for job in (long, short, last)] == [pytest.approx(s) for s in (100.0, 10.0, 20.0)]


def test_higher_priority_goes_first(store: SqlJobStore, speeds: SpeedStore, register: WorkerRegister) -> None:
    speeds.add(A_SECOND_A_SEGMENT)
    usual, urgent = store.add(new(duration_s=585.0)), store.add(new("bert", duration_s=585.0, priority=5))
    seen = outlook(store, speeds, register)
    assert (seen.eta_s(urgent), seen.eta_s(usual)) == (pytest.approx(100.0), pytest.approx(200.0))


def test_a_job_that_rests_is_last_and_not_before_its_time(
    store: SqlJobStore, speeds: SpeedStore, register: WorkerRegister
) -> None:
    speeds.add(A_SECOND_A_SEGMENT)
    rests = store.add(new(duration_s=5.0))
    store.fail(taken(store), ERROR, again=True)
    waits = store.add(new(duration_s=5.0))
    seen = outlook(store, speeds, register)
    resting = store.get(rests.id)
    assert resting is not None and resting.retry_at is not None
    assert seen.eta_s(waits) == pytest.approx(2.0)
    eta_s = seen.eta_s(resting)
    assert eta_s is not None and eta_s > 4.0
    assert [job.id for job in store.line(10)] == [waits.id, rests.id]


def test_where_nobody_works_nothing_is_promised(
    store: SqlJobStore, speeds: SpeedStore, register: WorkerRegister
) -> None:
    job = store.add(new(duration_s=5.0))
    assert outlook(store, speeds, register, workers=0).eta_s(job) is None


def test_a_job_that_cannot_succeed_holds_nobody_up(
    store: SqlJobStore, speeds: SpeedStore, register: WorkerRegister
) -> None:
    speeds.add(A_SECOND_A_SEGMENT)
    store.add(new(duration_s=585.0, options={"model": "a model of yesterday"}))
    job = store.add(new(duration_s=5.0))
    assert outlook(store, speeds, register).eta_s(job) == pytest.approx(2.0)


def test_the_queue_is_looked_at_once_a_second(
    store: SqlJobStore, speeds: SpeedStore, register: WorkerRegister, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[int] = []
    line = SqlJobStore.line

    def counted(self: SqlJobStore, limit: int) -> object:
        looks.append(limit)
        return line(self, limit)

    monkeypatch.setattr(SqlJobStore, "line", counted)
    clock = At()
    first = store.add(new(duration_s=5.0))
    seen = outlook(store, speeds, register, clock=clock)
    for at in (0.0, 0.5, 0.99):
        clock.seconds = at
        seen.eta_s(first)
    assert len(looks) == 1
    seen.eta_s(store.add(new(duration_s=5.0)))  # One that came since is not forgotten.
    assert len(looks) == 2
    clock.seconds = 2.5
    seen.eta_s(first)
    assert len(looks) == 3


def test_a_model_that_no_worker_has_loaded_is_loaded_first(
    store: SqlJobStore, speeds: SpeedStore, register: WorkerRegister
) -> None:
    speeds.add(Speed(MACHINE, 4.0, 1.0, 0.0, None, 0.0, 0.0))
    seen = outlook(store, speeds, register)
    warm_s = seen.cost(60.0, DEFAULTS).seconds
    say(register, "a", "hpss")
    assert seen.cost(60.0, DEFAULTS).seconds == pytest.approx(warm_s + 4.0)
    say(register, "a", "htdemucs")
    assert seen.cost(60.0, DEFAULTS).seconds == warm_s


def test_speeds_of_each_kind_are_kept_and_old_ones_go(speeds: SpeedStore) -> None:
    other = Speed(Machine("hpss", "balanced", "cpu", 2), 0.0, 0.5, 0.1, 0.2, None, 0.3)
    speeds.add(other)
    for n in range(25):
        speeds.add(Speed(MACHINE, 0.0, float(n), 0.0, None, 0.0, 0.0))
    found = speeds.newest()
    assert [speed.pass_s for speed in found] == [*(float(n) for n in range(24, 4, -1)), 0.5]
    assert found[-1] == other


def test_a_worker_learns_from_its_jobs_and_expects_of_the_next_what_it_saw(
    store: SqlJobStore, folders: Folders, speeds: SpeedStore, register: WorkerRegister, recording: Path
) -> None:
    job = submit(store, folders, recording, duration_s=1.0)
    never = threading.Event()
    assert attempt(store, folders, worker_config(), never, claimed(store), speeds=speeds) is Outcome.SUCCEEDED
    (shown,) = speeds.newest()
    assert shown.machine.model == "hpss"
    assert shown.pass_s > 0.0 and shown.encode_s is not None and shown.estimate_s is None
    spent = {stage.name: stage.seconds for stage in now(store, job).stages}
    assert set(spent) == set(STAGES) - {"export"}

    seen = Outlook(store, speeds, register, FAST, 1)
    again = seen.cost(1.0, FAST)
    assert again.measured
    # What was seen is what is expected: no other clock than the job's own has a say.
    expected_s = shown.rest_s + shown.decode_s + shown.pass_s + 4 * shown.encode_s
    assert again.seconds == pytest.approx(expected_s, abs=0.06)
    waiting = submit(store, folders, recording, duration_s=1.0)
    assert seen.eta_s(waiting) == pytest.approx(expected_s, abs=0.06)


def test_the_result_of_another_job_that_was_taken_over_shows_nothing(
    store: SqlJobStore, folders: Folders, speeds: SpeedStore, long_recording: Path
) -> None:
    never = threading.Event()
    for stems in (["drums"], ["bass"]):
        submit(store, folders, long_recording, duration_s=60.0, options={"stems": stems})
        attempt(store, folders, worker_config(), never, claimed(store), speeds=speeds)
    assert len(speeds.newest()) == 1


def told(store: SqlJobStore, seen: Outlook, job_id: str) -> list[tuple[str, Any]]:
    """Kind and time left of every event, until the job has ended or nothing comes for a moment."""
    services = SimpleNamespace(store=store, outlook=seen, feed=Feed(store))
    heard: list[tuple[str, Any]] = []

    async def listen() -> None:
        with anyio.move_on_after(1.0):
            async for event in routes._events(services, job_id, 0):  # type: ignore[arg-type]
                heard.append((str(event.event), json.loads(event.data)["eta_s"]))

    anyio.run(listen)
    return heard


def test_listeners_are_told_when_a_job_that_waits_will_end(
    store: SqlJobStore, speeds: SpeedStore, register: WorkerRegister
) -> None:
    speeds.add(A_SECOND_A_SEGMENT)
    job = store.add(new(duration_s=585.0))
    seen = outlook(store, speeds, register)
    assert told(store, seen, job.id) == [("queued", pytest.approx(100.0))]
    store.succeed(taken(store))
    after = told(store, seen, job.id)
    assert (after[0], after[-1]) == (("queued", None), ("succeeded", None))


def test_listeners_hear_of_an_end_that_comes_between_two_looks(
    store: SqlJobStore, speeds: SpeedStore, register: WorkerRegister, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(routes, "_LOOK_AGAIN_S", 0.0)
    job = store.add(new(duration_s=5.0))
    claim = taken(store)

    class Ending:
        """Ends the job just after it was said that there are no more events."""

        def events(self, job_id: str, after: int) -> object:
            found = store.events(job_id, after)
            if not found:
                store.succeed(claim)
            return found

        def __getattr__(self, name: str) -> object:
            return getattr(store, name)

    heard = told(Ending(), outlook(store, speeds, register), job.id)  # type: ignore[arg-type]
    assert heard[-1][0] == "succeeded"
