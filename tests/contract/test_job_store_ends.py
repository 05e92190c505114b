"""What every job store promises: how jobs end, and begin anew."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from api.jobs.model import JobStatus
from api.jobs.store import Beat, JobFilter, JobStore
from tests.job_stores import ERROR, LEASE_S, LOST, At, kinds, known, new, taken

# Ending


def test_a_job_succeeds(store: JobStore) -> None:
    store.add(new())
    claim = taken(store)
    store.beat(claim, LEASE_S, progress=0.4, stage="encode", eta_s=3.0, duration_s=200.0)
    assert store.succeed(claim) is True
    job = known(store, claim.job.id)
    assert (job.status, job.progress, job.eta_s, job.lease_until) == (JobStatus.SUCCEEDED, 1.0, None, None)
    assert job.finished_at is not None and job.duration_s == 200.0
    assert store.claim("w1", LEASE_S) is None


def test_a_job_fails_and_keeps_why(store: JobStore) -> None:
    store.add(new())
    claim = taken(store)
    assert store.fail(claim, ERROR) is True
    job = known(store, claim.job.id)
    assert (job.status, job.error, job.attempt) == (JobStatus.FAILED, ERROR, 1)
    assert store.events(job.id, 0)[-1].data["error"]["code"] == "tool_failed"


def test_a_failed_attempt_is_queued_again_while_attempts_are_left(at: At) -> None:
    store, later = at(0.0), at(60.0)
    job_id = store.add(new(max_attempts=2)).id
    assert store.fail(taken(store), ERROR, again=True) is True
    waits = known(store, job_id)
    assert (waits.status, waits.attempt, waits.worker) == (JobStatus.QUEUED, 1, None)
    assert waits.error == ERROR
    assert store.events(job_id, 0)[-1].data["error"]["message"] == "ffmpeg crashed."
    claim = taken(later)
    assert (claim.job.error, claim.job.retry_at) == (None, None)
    assert later.fail(claim, ERROR, again=True) is True
    assert (known(store, job_id).status, known(store, job_id).error) == (JobStatus.FAILED, ERROR)
    assert known(store, job_id).retry_at is None


def test_a_failed_attempt_goes_behind_those_that_wait(at: At) -> None:
    first, second = at(0.0).add(new()), at(0.0).add(new())
    at(0.0).fail(taken(at(0.0)), ERROR, again=True)
    assert [taken(at(60.0)).job.id for _ in range(2)] == [second.id, first.id]


# Resting


def rests(at: At, seconds: float = 0.0) -> str:
    """A job whose attempt has just failed, and that is to be tried again: its id."""
    job_id = at(seconds).add(new()).id
    at(seconds).fail(taken(at(seconds)), ERROR, again=True)
    return job_id


def test_a_job_rests_longer_after_each_failure(at: At) -> None:
    job_id, now, pauses = at(0.0).add(new(max_attempts=9)).id, 0.0, []
    for _ in range(7):
        before = datetime.now(UTC) + timedelta(seconds=now)
        at(now).fail(taken(at(now)), ERROR, again=True)
        retry_at = known(at(now), job_id).retry_at
        assert retry_at is not None
        pauses.append((retry_at - before).total_seconds())
        assert at(now + pauses[-1] - 3.0).claim("w2", LEASE_S) is None
        now += pauses[-1] + 3.0
    for paused, (least, most) in zip(
        pauses, [(3.75, 5), (15, 20), (60, 80), (240, 320), (450, 600), (450, 600), (450, 600)], strict=True
    ):
        assert least <= paused <= most + 60  # A loaded machine makes the test slow, never the store.


def test_a_resting_job_does_not_keep_others_waiting(at: At) -> None:
    rests(at)
    other = at(0.0).add(new(priority=-1))
    assert taken(at(0.0)).job.id == other.id


def test_a_resting_job_is_behind_all_that_wait_and_those_that_rest_less_long(at: At) -> None:
    # 1.5 s: more than chance takes off the first rest, so that the second always ends later.
    first, second = rests(at), rests(at, 1.5)
    waits = at(1.5).add(new(priority=-1)).id
    assert [at(1.5).position(job_id) for job_id in (waits, first, second)] == [0, 1, 2]
    assert [at(60.0).position(job_id) for job_id in (first, second, waits)] == [0, 1, 2]
    assert [job.id for job in at(1.5).line(10)] == [waits, first, second]
    assert [job.id for job in at(60.0).line(2)] == [first, second]
    assert at(1.5).counts()[JobStatus.QUEUED] == 3


def test_a_resting_job_waits_only_from_when_it_may_run(at: At) -> None:
    job_id = rests(at)
    assert at(0.0).oldest_queued() is None
    assert at(60.0).oldest_queued() == known(at(0.0), job_id).retry_at


def test_the_owner_may_end_a_rest(at: At) -> None:
    job_id = rests(at)
    job = at(0.0).requeue(job_id)
    assert job is not None
    assert (job.status, job.attempt, job.error, job.retry_at) == (JobStatus.QUEUED, 0, None, None)
    assert taken(at(0.0)).job.id == job_id


def test_a_resting_job_is_cancelled_at_once(at: At) -> None:
    job = at(0.0).request_cancel(rests(at))
    assert job is not None
    assert (job.status, job.error) == (JobStatus.CANCELLED, None)
    assert at(60.0).claim("w1", LEASE_S) is None


@pytest.mark.parametrize("ahead", [5.0, 1e6])
def test_a_clock_that_is_set_back_makes_no_rest_longer(at: At, ahead: float) -> None:
    job_id = rests(at, ahead)
    assert at(0.0).claim("w1", LEASE_S) is None
    assert taken(at(6.0)).job.id == job_id


def test_a_job_that_was_handed_back_does_not_rest(at: At) -> None:
    job_id = rests(at)
    at(60.0).release(taken(at(60.0)))
    assert taken(at(60.0)).job.id == job_id


def test_a_failed_attempt_of_a_job_that_is_to_stop_is_its_last(store: JobStore) -> None:
    store.add(new())
    claim = taken(store)
    store.request_cancel(claim.job.id)
    store.fail(claim, ERROR, again=True)
    assert known(store, claim.job.id).status is JobStatus.CANCELLED


def test_a_released_job_is_queued_as_it_was_and_the_attempt_does_not_count(store: JobStore) -> None:
    first = store.add(new())
    store.add(new())
    claim = taken(store)
    store.beat(claim, LEASE_S, progress=0.5, stage="separate")
    assert store.release(claim) is True
    assert known(store, first.id) == first.evolve(fence=claim.fence)
    again = taken(store)
    assert (again.job.id, again.job.attempt) == (first.id, 1)
    assert again.fence > claim.fence


def test_a_released_job_that_is_to_stop_ends(store: JobStore) -> None:
    store.add(new())
    claim = taken(store)
    store.request_cancel(claim.job.id)
    assert store.release(claim) is True
    assert known(store, claim.job.id).status is JobStatus.CANCELLED


# Cancelling, queueing anew, retention


def test_a_queued_job_is_cancelled_at_once(store: JobStore) -> None:
    job = store.request_cancel(store.add(new()).id)
    assert job is not None
    assert (job.status, job.cancel_requested) == (JobStatus.CANCELLED, True)
    assert job.finished_at is not None
    assert store.claim("w1", LEASE_S) is None
    assert kinds(store) == ["queued", "cancelled"]


def test_a_running_job_is_cancelled_by_its_worker_who_learns_of_it_by_the_heartbeat(store: JobStore) -> None:
    store.add(new())
    claim = taken(store)
    job = store.request_cancel(claim.job.id)
    assert job is not None
    assert (job.status, job.cancel_requested) == (JobStatus.RUNNING, True)
    store.request_cancel(claim.job.id)
    assert store.beat(claim, LEASE_S) == Beat(held=True, cancel=True)
    assert store.cancelled(claim) is True
    assert known(store, claim.job.id).status is JobStatus.CANCELLED
    assert kinds(store) == ["queued", "running", "cancel_requested", "cancelled"]


def test_a_job_whose_worker_died_is_cancelled_at_once(at: At) -> None:
    at(0.0).add(new())
    claim = taken(at(0.0))
    job = at(LOST).request_cancel(claim.job.id)
    assert job is not None and job.status is JobStatus.CANCELLED
    assert at(LOST).beat(claim, LEASE_S).held is False


def test_an_ended_job_stays_as_it_is_when_asked_to_stop(store: JobStore) -> None:
    store.add(new())
    claim = taken(store)
    store.succeed(claim)
    before = known(store, claim.job.id)
    assert store.request_cancel(claim.job.id) == before


def test_a_failed_job_is_queued_anew_with_all_its_attempts(at: At) -> None:
    job_id = at(0.0).add(new(max_attempts=1)).id
    claim = taken(at(0.0))
    at(0.0).fail(claim, ERROR)
    newer = at(0.0).add(new())
    job = at(0.0).requeue(job_id)
    assert job is not None
    assert (job.status, job.attempt, job.error, job.progress) == (JobStatus.QUEUED, 0, None, 0.0)
    assert (job.started_at, job.finished_at, job.cancel_requested) == (None, None, False)
    assert [taken(at(0.0)).job.id for _ in range(2)] == [newer.id, job_id]
    assert at(0.0).succeed(claim) is False


def test_a_cancelled_job_is_queued_anew(store: JobStore) -> None:
    job_id = store.add(new()).id
    store.request_cancel(job_id)
    assert store.requeue(job_id) is not None
    assert store.beat(taken(store), LEASE_S) == Beat(held=True, cancel=False)


def test_a_job_that_did_not_fail_is_not_queued_anew(store: JobStore) -> None:
    job_id = store.add(new()).id
    assert store.requeue(job_id) is None
    claim = taken(store)
    assert store.requeue(job_id) is None
    store.succeed(claim)
    assert store.requeue(job_id) is None
    store.mark(job_id, JobStatus.EXPIRED)
    assert store.requeue(job_id) is None


def test_a_job_without_its_recording_is_not_queued_anew(store: JobStore) -> None:
    job_id = store.add(new(input_path=None)).id
    store.request_cancel(job_id)
    assert store.requeue(job_id) is None


def test_an_ended_job_expires_and_is_erased(store: JobStore) -> None:
    job_id = store.add(new(metadata={"patient": "x"})).id
    claim = taken(store)
    store.beat(claim, LEASE_S, progress=0.5, stage="encode")
    store.succeed(claim)
    expired = store.mark(job_id, JobStatus.EXPIRED)
    assert expired is not None
    assert (expired.status, expired.input_path, expired.filename) == (JobStatus.EXPIRED, None, "song.mp3")
    assert store.mark(job_id, JobStatus.EXPIRED) is None
    erased = store.mark(job_id, JobStatus.ERASED)
    assert erased is not None
    assert (erased.status, erased.filename, erased.metadata) == (JobStatus.ERASED, "", {})
    assert store.mark(job_id, JobStatus.EXPIRED) is None
    assert kinds(store) == ["queued", "running", "succeeded", "expired", "erased"]
    assert list(store.find(JobFilter(text="song"))) == []


def test_a_job_that_has_not_ended_does_not_expire(store: JobStore) -> None:
    job_id = store.add(new()).id
    assert store.mark(job_id, JobStatus.EXPIRED) is None
    taken(store)
    assert store.mark(job_id, JobStatus.ERASED) is None
    assert known(store, job_id).input_path == "x/input"


def test_a_job_is_marked_as_nothing_else(store: JobStore) -> None:
    with pytest.raises(ValueError, match="not succeeded"):
        store.mark(store.add(new()).id, JobStatus.SUCCEEDED)
