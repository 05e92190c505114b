"""Who makes which stretch of a separation: on every database."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from api.jobs.sql_store import SqlJobStore
from api.jobs.store import Claim
from api.jobs.stretches import StretchStore
from api.transactions import DatabaseTime
from pipeline.stretches import State
from tests.databases import DATABASES
from tests.job_stores import LOST, new, taken

ONE = "1" * 64
BEGINS = [0, 100, 200]

At = Callable[[float], StretchStore]


@pytest.fixture(params=sorted(DATABASES))
def both(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[SqlJobStore, At]]:
    with DATABASES[request.param](tmp_path) as engine:
        yield SqlJobStore(engine), lambda seconds: StretchStore(engine, DatabaseTime() + seconds)


@pytest.fixture
def store(both: tuple[SqlJobStore, At]) -> SqlJobStore:
    return both[0]


@pytest.fixture
def at(both: tuple[SqlJobStore, At]) -> At:
    return both[1]


@pytest.fixture
def claim(store: SqlJobStore, at: At) -> Claim:
    store.add(new())
    claim = taken(store)
    at(0).offer(claim.job.id, claim.fence, ONE, BEGINS)
    return claim


def test_each_stretch_is_taken_once_the_first_first(claim: Claim, at: At) -> None:
    stretches, job_id = at(0), claim.job.id
    assert stretches.wanting() == [job_id]
    assert stretches.claim(job_id, ONE, "w2", 30.0) == 0
    assert stretches.claim(job_id, ONE, "w3", 30.0) == 100
    assert stretches.claim(job_id, ONE, "w4", 30.0) == 200
    assert stretches.claim(job_id, ONE, "w5", 30.0) is None
    assert stretches.wanting() == []


def test_what_the_jobs_own_worker_takes_is_nobody_elses(claim: Claim, at: At) -> None:
    stretches, job_id = at(0), claim.job.id
    assert stretches.take(job_id, ONE, 0) is State.OURS
    assert stretches.take(job_id, ONE, 0) is State.OURS, "asked again after its process died"
    assert stretches.claim(job_id, ONE, "w2", 30.0) == 100
    assert stretches.take(job_id, ONE, 100) is State.THEIRS
    assert stretches.take_after(job_id, ONE, 0) == 200
    assert stretches.take_after(job_id, ONE, 0) is None
    assert stretches.finish(job_id, ONE, 100, "w2")
    assert stretches.take(job_id, ONE, 100) is State.MADE


def test_the_stretch_of_a_dead_helper_is_free_when_its_lease_ends(claim: Claim, at: At) -> None:
    job_id = claim.job.id
    assert at(0).claim(job_id, ONE, "dead", 30.0) == 0
    assert at(29).take(job_id, ONE, 0) is State.THEIRS
    assert at(31).claim(job_id, ONE, "w3", 30.0) == 0
    assert not at(31).finish(job_id, ONE, 0, "dead"), "who was only frozen has lost it"
    assert at(LOST).take(job_id, ONE, 0) is State.OURS
    assert not at(LOST).finish(job_id, ONE, 0, "w3")


def test_a_heartbeat_renews_the_lease_and_tells_when_the_job_is_over(
    claim: Claim, store: SqlJobStore, at: At
) -> None:
    job_id = claim.job.id
    assert at(0).claim(job_id, ONE, "w2", 30.0) == 0
    assert at(20).beat(job_id, "w2", 30.0)
    assert at(40).take(job_id, ONE, 0) is State.THEIRS
    assert store.request_cancel(job_id)
    assert not at(40).beat(job_id, "w2", 30.0)
    assert at(40).wanting() == []


def test_what_a_helper_hands_back_is_free_and_what_it_has_made_stays_made(claim: Claim, at: At) -> None:
    stretches, job_id = at(0), claim.job.id
    assert stretches.claim(job_id, ONE, "w2", 30.0) == 0
    assert stretches.finish(job_id, ONE, 0, "w2")
    assert stretches.claim(job_id, ONE, "w2", 30.0) == 100
    stretches.release("w2")
    assert stretches.claim(job_id, ONE, "w3", 30.0) == 100
    assert stretches.take(job_id, ONE, 0) is State.MADE


def test_the_next_attempt_finds_what_was_made_for_the_one_before(
    claim: Claim, store: SqlJobStore, at: At
) -> None:
    stretches, job_id = at(0), claim.job.id
    assert stretches.take(job_id, ONE, 0) is State.OURS
    assert stretches.claim(job_id, ONE, "w2", 30.0) == 100
    assert stretches.finish(job_id, ONE, 100, "w2")
    assert store.release(claim)
    assert stretches.wanting() == []
    again = taken(store, "w9")
    assert stretches.wanting() == [], "it may compute other bits than the one before: it has to offer anew"
    stretches.offer(job_id, again.fence, ONE, BEGINS)
    assert stretches.claim(job_id, ONE, "w3", 30.0) == 0, "what was the dead one's own is offered again"
    assert stretches.take(job_id, ONE, 100) is State.MADE


def test_who_would_compute_other_bits_gets_nothing(claim: Claim, at: At) -> None:
    assert at(0).offered(claim.job.id, ONE)
    assert not at(0).offered(claim.job.id, "2" * 64)
    assert at(0).claim(claim.job.id, "2" * 64, "w2", 30.0) is None


def test_nothing_is_left_of_a_job_that_has_ended(claim: Claim, store: SqlJobStore, at: At) -> None:
    assert at(0).claim(claim.job.id, ONE, "w2", 30.0) == 0
    assert store.succeed(claim)
    assert not at(0).offered(claim.job.id, ONE)
    assert not at(0).beat(claim.job.id, "w2", 30.0)
    assert not at(0).finish(claim.job.id, ONE, 0, "w2")
