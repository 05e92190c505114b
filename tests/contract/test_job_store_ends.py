"""What every job store promises: how jobs end, and begin anew."""

from __future__ import annotations

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


def test_a_failed_attempt_is_queued_again_while_attempts_are_left(store: JobStore) -> None:
    job_id = store.add(new(max_attempts=2)).id
    assert store.fail(taken(store), ERROR, again=True) is True
    waits = known(store, job_id)
    assert (waits.status, waits.attempt, waits.error, waits.worker) == (JobStatus.QUEUED, 1, None, None)
    assert store.events(job_id, 0)[-1].data["error"]["message"] == "ffmpeg crashed."
    assert store.fail(taken(store), ERROR, again=True) is True
    assert (known(store, job_id).status, known(store, job_id).error) == (JobStatus.FAILED, ERROR)


def test_a_failed_attempt_goes_behind_those_that_wait(store: JobStore) -> None:
    first, second = store.add(new()), store.add(new())
    store.fail(taken(store), ERROR, again=True)
    assert [taken(store).job.id for _ in range(2)] == [second.id, first.id]


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
