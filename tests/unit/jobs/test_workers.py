"""The register of workers: who is there, and that telling it disturbs nobody."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from api.errors import DatabaseUnavailable
from api.jobs.workers import STALE_S, Presence, WorkerRegister
from api.transactions import DatabaseTime, writing
from tests.databases import DATABASES

SAID: dict[str, Any] = {
    "host": "h", "pid": 7, "job_id": None, "model": None, "device": "auto", "memory_bytes": 1,
}  # fmt: skip


@pytest.fixture(params=DATABASES)
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    with DATABASES[request.param](tmp_path) as opened:
        yield opened


@pytest.fixture
def register(engine: Engine) -> WorkerRegister:
    return WorkerRegister(engine)


def eventually(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_worker_is_there_as_it_last_said(register: WorkerRegister) -> None:
    register.say("w", **SAID)
    (first,) = register.alive()
    register.say("w", **{**SAID, "job_id": "j", "model": "htdemucs", "memory_bytes": 5 << 30})
    (again,) = register.alive()
    assert (again.name, again.host, again.pid) == ("w", "h", 7)
    assert (again.job_id, again.model, again.memory_bytes) == ("j", "htdemucs", 5 << 30)
    assert again.started_at == first.started_at <= first.seen_at <= again.seen_at


@pytest.mark.parametrize("shift", [STALE_S + 60, -1e6], ids=["later", "the clock was set back"])
def test_a_worker_that_says_nothing_any_more_is_gone(engine: Engine, shift: float) -> None:
    WorkerRegister(engine).say("dead", **SAID)
    other = WorkerRegister(engine, DatabaseTime() + shift)
    assert list(other.alive()) == []
    other.say("alive", **SAID)
    assert [worker.name for worker in other.alive()] == ["alive"]
    assert list(WorkerRegister(engine).alive()) == [], "rows of the dead do not pile up"


def test_a_process_is_registered_from_its_beginning_to_its_end(register: WorkerRegister) -> None:
    with Presence(register, "w", "cpu", lambda: None, period_s=1e6) as presence:
        eventually(lambda: len(register.alive()) == 1)
        (worker,) = register.alive()
        assert (worker.pid, worker.device, worker.job_id) == (os.getpid(), "cpu", None)
        assert worker.memory_bytes > 1 << 20
        presence.note("j")
        eventually(lambda: register.alive()[0].job_id == "j")
        presence.note(None)
        eventually(lambda: register.alive()[0].job_id is None)
    assert list(register.alive()) == []


def test_a_model_that_is_loaded_during_a_job_is_told_with_the_next_word(register: WorkerRegister) -> None:
    loaded: list[str] = []
    with Presence(register, "w", "cpu", lambda: loaded[0] if loaded else None, period_s=0.01):
        eventually(lambda: len(register.alive()) == 1)
        loaded.append("htdemucs")
        eventually(lambda: register.alive()[0].model == "htdemucs")


def test_a_database_that_fails_for_a_while_stops_no_presence(
    register: WorkerRegister, monkeypatch: pytest.MonkeyPatch
) -> None:
    say, failures = WorkerRegister.say, [3]

    def shaky(self: WorkerRegister, name: str, **said: Any) -> None:
        if failures[0]:
            failures[0] -= 1
            raise DatabaseUnavailable("The database is busy.")
        say(self, name, **said)

    monkeypatch.setattr(WorkerRegister, "say", shaky)
    with Presence(register, "w", "cpu", lambda: None, period_s=0.01):
        eventually(lambda: len(register.alive()) == 1)


def test_a_database_that_is_locked_keeps_nobody_waiting_who_notes_something(
    engine: Engine, register: WorkerRegister
) -> None:
    with Presence(register, "w", "cpu", lambda: None, period_s=0.01) as presence:
        eventually(lambda: len(register.alive()) == 1)
        with writing(engine):
            noted = threading.Event()

            def note() -> None:
                for n in range(1000):
                    presence.note(str(n))
                noted.set()

            threading.Thread(target=note, daemon=True).start()
            assert noted.wait(60), "the worker waited for the register"
        eventually(lambda: register.alive()[0].job_id == "999")
