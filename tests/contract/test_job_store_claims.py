"""What every job store promises: who runs which job, and for how long."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from api.jobs.model import JobStatus, StageTime
from api.jobs.rank import AGEING_S
from api.jobs.store import Beat, Claim, JobFilter, JobStore
from tests.job_stores import ERROR, LEASE_S, LOST, At, kinds, known, new, taken

# Claiming


def test_nothing_is_claimed_from_an_empty_store(store: JobStore) -> None:
    assert store.claim("w1", LEASE_S) is None


def test_a_claim_tells_who_runs_what_until_when(store: JobStore) -> None:
    added = store.add(new())
    claim = taken(store, "w7")
    job = claim.job
    assert (job.id, job.status, job.worker, claim.worker) == (added.id, JobStatus.RUNNING, "w7", "w7")
    assert (job.attempt, job.fence, claim.fence) == (1, 1, 1)
    assert job.lease_until is not None and job.started_at is not None
    assert (job.lease_until - job.started_at).total_seconds() == pytest.approx(LEASE_S, abs=1e-3)
    assert store.get(added.id) == job
    assert store.claim("w1", LEASE_S) is None


def test_a_higher_priority_goes_first_and_then_the_oldest(store: JobStore) -> None:
    ids = {name: store.add(new(priority=p)).id for name, p in [("a", 0), ("b", 0), ("c", 5), ("d", -1)]}
    assert [taken(store).job.id for _ in ids] == [ids[name] for name in "cabd"]


def test_an_owner_with_many_jobs_does_not_keep_others_waiting(store: JobStore) -> None:
    for owner in ["anna"] * 4 + ["ben"] * 2 + ["eve"]:
        store.add(new(owner))
    assert [taken(store).job.owner for _ in range(7)] == ["anna", "ben", "eve", "anna", "ben", "anna", "anna"]


def one_after_another(store: JobStore, jobs: int) -> list[str]:
    """Owners of the jobs that a single worker runs."""
    owners = []
    for _ in range(jobs):
        claim = taken(store)
        owners.append(claim.job.owner)
        store.succeed(claim)
    return owners


def test_owners_take_turns_also_with_a_single_worker(store: JobStore) -> None:
    for owner in ["anna"] * 4 + ["ben"] * 2 + ["eve"]:
        store.add(new(owner))
    assert one_after_another(store, 7) == ["anna", "ben", "eve", "anna", "ben", "anna", "anna"]


@pytest.mark.slow_on_postgresql
def test_who_comes_late_neither_waits_for_all_others_nor_makes_up_for_what_he_missed(store: JobStore) -> None:
    for _ in range(9):
        store.add(new("anna"))
    assert one_after_another(store, 5) == ["anna"] * 5
    for _ in range(3):
        store.add(new("ben"))
    assert one_after_another(store, 7) == ["anna", "ben"] * 3 + ["anna"]


@pytest.mark.slow_on_postgresql
def test_an_owner_who_always_has_a_job_running_loses_no_turn_by_it(store: JobStore) -> None:
    store.add(new("anna"))
    for _ in range(10):
        claim = taken(store)
        store.add(new("anna"))
        store.succeed(claim)
    taken(store)
    for owner in ("ben", "ben", "ben", "anna"):
        store.add(new(owner))
    assert [taken(store).job.owner for _ in range(4)] == ["ben", "ben", "anna", "ben"]


def test_priority_goes_before_the_fair_share(store: JobStore) -> None:
    for owner, priority in [("anna", 1), ("anna", 1), ("ben", 0)]:
        store.add(new(owner, priority=priority))
    assert [taken(store).job.owner for _ in range(3)] == ["anna", "anna", "ben"]


@pytest.mark.slow_on_postgresql
def test_many_threads_claim_every_job_once(store: JobStore) -> None:
    ids = {store.add(new(f"owner {n % 3}")).id for n in range(60)}
    claimed: list[str] = []

    def work(worker: str) -> None:
        while claim := store.claim(worker, LEASE_S):
            claimed.append(claim.job.id)

    threads = [threading.Thread(target=work, args=(f"w{n}",)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(claimed) == len(ids)
    assert set(claimed) == ids


# Ageing


def passed_over(at: At, priority: int, minutes: int) -> int | None:
    """After how many claims of a stream of more urgent jobs a job of no priority runs; one a minute."""
    low = at(0.0).add(new("ben"))
    for n in range(minutes):
        store = at(n * 60.0)
        store.add(new("anna", priority=priority))
        claim = taken(store)
        if claim.job.id == low.id:
            return n
        store.succeed(claim)
    return None


@pytest.mark.slow_on_postgresql
@pytest.mark.parametrize("priority", [1, 2, 5])
def test_a_stream_of_urgent_jobs_keeps_no_other_waiting_for_ever(at: At, priority: int) -> None:
    after = passed_over(at, priority, 60)
    assert after is not None
    assert priority * AGEING_S / 60 <= after <= priority * AGEING_S / 60 + 1


def test_a_job_keeps_the_priority_that_it_was_given_while_it_rises(at: At) -> None:
    low = at(0.0).add(new("ben"))
    at(AGEING_S).add(new("anna", priority=1))
    claim = taken(at(AGEING_S + 1))
    assert (claim.job.id, claim.job.priority) == (low.id, 0)


def test_where_nobody_is_more_urgent_waiting_changes_no_turns(at: At) -> None:
    for _ in range(3):
        at(0.0).add(new("anna"))
    at(10 * AGEING_S).add(new("ben"))
    assert one_after_another(at(11 * AGEING_S), 4) == ["anna", "ben", "anna", "anna"]


def test_jobs_that_rose_take_turns_too(at: At) -> None:
    for owner in ["anna"] * 3 + ["ben"] * 2:
        at(0.0).add(new(owner))
    at(AGEING_S + 1).add(new("eve", priority=1))
    assert one_after_another(at(AGEING_S + 2), 6) == ["anna", "ben", "eve", "anna", "ben", "anna"]


def test_a_clock_that_is_set_back_does_not_stop_ageing(at: At) -> None:
    low = at(1e6).add(new("ben"))
    at(0.0).add(new("anna", priority=1))
    claim = taken(at(0.0))
    assert claim.job.owner == "anna"
    at(0.0).succeed(claim)
    at(AGEING_S + 1).add(new("anna", priority=1))
    assert taken(at(AGEING_S + 2)).job.id == low.id


# Leases


def test_a_job_whose_lease_lasts_is_not_taken_again(at: At) -> None:
    at(0.0).add(new())
    taken(at(0.0))
    assert at(LEASE_S - 5).claim("w2", LEASE_S) is None


def test_a_job_whose_lease_ran_out_is_taken_again_with_a_newer_fence(at: At) -> None:
    at(0.0).add(new())
    first = taken(at(0.0))
    at(0.0).beat(first, LEASE_S, progress=0.7, stage="separate", stages=[StageTime("probe", "running", 1.0)])
    second = taken(at(LEASE_S + 5), "w2")
    assert second.job.id == first.job.id
    assert second.fence > first.fence
    assert (second.job.attempt, second.job.worker) == (2, "w2")
    assert (second.job.progress, second.job.stage, second.job.stages) == (0.0, None, ())


WRITES: dict[str, Callable[[JobStore, Claim], bool]] = {
    "beat": lambda store, claim: store.beat(claim, LEASE_S, progress=0.5, stage="encode").held,
    "slow": lambda store, claim: store.slow(claim, "encode"),
    "succeed": lambda store, claim: store.succeed(claim),
    "fail": lambda store, claim: store.fail(claim, ERROR),
    "fail again": lambda store, claim: store.fail(claim, ERROR, again=True),
    "cancelled": lambda store, claim: store.cancelled(claim),
    "release": lambda store, claim: store.release(claim),
}


@pytest.mark.parametrize("write", WRITES)
def test_a_claim_that_was_lost_writes_nothing(at: At, write: str) -> None:
    at(0.0).add(new())
    stale = taken(at(0.0))
    taken(at(LOST), "w2")
    before, events = known(at(0.0), stale.job.id), kinds(at(0.0))
    assert WRITES[write](at(LOST), stale) is False
    assert known(at(0.0), stale.job.id) == before
    assert kinds(at(0.0)) == events


@pytest.mark.parametrize("write", WRITES)
@pytest.mark.parametrize("end", ["succeed", "fail", "cancelled", "release"])
def test_a_claim_that_has_ended_writes_nothing(store: JobStore, write: str, end: str) -> None:
    store.add(new())
    claim = taken(store)
    assert WRITES[end](store, claim)
    before, events = known(store, claim.job.id), kinds(store)
    assert WRITES[write](store, claim) is False
    assert known(store, claim.job.id) == before
    assert kinds(store) == events


@pytest.mark.parametrize("write", WRITES)
def test_a_late_claim_that_nobody_took_still_writes(at: At, write: str) -> None:
    at(0.0).add(new())
    assert WRITES[write](at(LOST), taken(at(0.0))) is True


def test_a_heartbeat_renews_the_lease(at: At) -> None:
    at(0.0).add(new())
    claim = taken(at(0.0))
    assert at(LEASE_S - 5).beat(claim, LEASE_S) == Beat(held=True, cancel=False)
    assert at(2 * LEASE_S - 10).claim("w2", LEASE_S) is None
    assert at(2 * LEASE_S + 5).claim("w2", LEASE_S) is not None


def test_a_job_whose_process_died_in_every_attempt_fails_and_says_so(at: At) -> None:
    at(0.0).add(new(max_attempts=3))
    (job_id,) = {taken(at(n * LOST)).job.id for n in range(3)}
    assert at(3 * LOST).claim("w1", LEASE_S) is None
    job = known(at(0.0), job_id)
    assert (job.status, job.attempt, job.lease_until) == (JobStatus.FAILED, 3, None)
    assert job.error is not None and job.finished_at is not None
    assert job.error.code == "attempts_exhausted"
    assert "died 3 times" in job.error.message
    assert kinds(at(0.0)) == ["queued", "running", "running", "running", "failed"]


def test_only_the_deaths_of_a_process_are_counted_as_such(at: At) -> None:
    at(0.0).add(new(max_attempts=2))
    at(0.0).fail(taken(at(0.0)), ERROR, again=True)
    taken(at(60.0))
    assert at(LOST).claim("w1", LEASE_S) is None
    (job,) = at(0.0).find(JobFilter())
    assert job.error is not None and "died once" in job.error.message


def test_a_dead_workers_job_that_was_to_be_cancelled_is_not_run_again(at: At) -> None:
    at(0.0).add(new())
    claim = taken(at(0.0))
    at(0.0).request_cancel(claim.job.id)
    assert at(LOST).claim("w2", LEASE_S) is None
    assert known(at(0.0), claim.job.id).status is JobStatus.CANCELLED


def test_an_exhausted_job_does_not_keep_the_next_one_waiting(at: At) -> None:
    dead, alive = at(0.0).add(new(max_attempts=1)), at(0.0).add(new())
    assert taken(at(0.0)).job.id == dead.id
    assert taken(at(LOST)).job.id == alive.id
    assert known(at(0.0), dead.id).status is JobStatus.FAILED


def test_a_clock_that_is_set_back_delays_a_dead_workers_job_by_one_lease_only(at: At) -> None:
    at(0.0).add(new())
    taken(at(1e6))
    assert at(0.0).claim("w2", LEASE_S) is None
    assert at(LEASE_S - 5).claim("w2", LEASE_S) is None
    assert at(LEASE_S + 5).claim("w2", LEASE_S) is not None
