"""Leases when the database's clock is set while workers live."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Double, Engine, bindparam

from api.clocks import ClockWatch
from api.database import open_database
from api.jobs.sql_store import SqlJobStore
from api.jobs.store import JobStore
from api.migrate import upgrade
from tests.job_stores import LEASE_S, known, new, taken


class Clocks:
    """A database's clock, and the steady one of the processes that use it."""

    def __init__(self) -> None:
        self.time, self.steady = 1e9, 50.0

    def passes(self, seconds: float) -> None:
        self.time += seconds
        self.steady += seconds


@pytest.fixture
def clocks() -> Clocks:
    return Clocks()


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    opened = open_database(f"sqlite:///{tmp_path / 'jobs.db'}")
    upgrade(opened)
    yield opened
    opened.dispose()


def store_of(engine: Engine, clocks: Clocks) -> JobStore:
    """The store as one process has it."""
    store = SqlJobStore(engine, bindparam("now", callable_=lambda: clocks.time, type_=Double()))
    store._watch = ClockWatch(lambda: clocks.steady)
    return store


@pytest.mark.parametrize("jump_s", [LEASE_S / 2, 3600.0, 365 * 86400.0, -3600.0, -365 * 86400.0])
def test_a_clock_that_is_set_takes_no_job_from_a_living_worker(
    engine: Engine, clocks: Clocks, jump_s: float
) -> None:
    busy, idle = store_of(engine, clocks), store_of(engine, clocks)
    job = busy.add(new())
    claim = taken(busy)
    assert idle.claim("idle", LEASE_S) is None
    clocks.passes(LEASE_S / 3)
    clocks.time += jump_s
    assert idle.claim("idle", LEASE_S) is None
    assert busy.beat(claim, LEASE_S).held
    assert known(idle, job.id).attempt == 1


def test_the_job_of_a_dead_worker_is_taken_one_lease_after_the_clock_was_set(
    engine: Engine, clocks: Clocks
) -> None:
    dead, idle = store_of(engine, clocks), store_of(engine, clocks)
    job = dead.add(new())
    taken(dead)
    assert idle.claim("idle", LEASE_S) is None
    clocks.time += 3600.0
    assert idle.claim("idle", LEASE_S) is None
    clocks.passes(LEASE_S - 1)
    assert idle.claim("idle", LEASE_S) is None
    clocks.passes(2.0)
    again = idle.claim("idle", LEASE_S)
    assert again is not None and again.job.id == job.id
