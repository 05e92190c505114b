"""What every job store promises: accepting, listing and looking at jobs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from api.errors import Conflict, QueueFull
from api.jobs.model import JobStatus, StageTime
from api.jobs.store import Claim, JobFilter, JobStore
from tests.job_stores import ERROR, LEASE_S, At, kinds, known, new, taken

# Accepting and looking up


def test_a_job_comes_back_as_it_was_accepted(store: JobStore) -> None:
    asked = new(
        filename="Ünï ☃ 'x'; DROP TABLE jobs;--.mp3",
        input_bytes=5_000_000_000,
        options={"model": "htdemucs", "stems": ["vocals"], "shifts": 2, "clip": None},
        metadata={"n": 1.5, "list": [1, {"deep": "\x00 ☃"}]},
        priority=-3,
        webhook_url="https://example.com/hook",
        content_key="k",
        max_attempts=5,
        duration_s=12.5,
    )
    added = store.add(asked)
    assert added == asked.evolve(created_at=added.created_at)
    assert store.get(asked.id) == added


def test_the_time_of_acceptance_is_the_databases(at: At) -> None:
    before = datetime.now(UTC)
    added = at(500.0).add(new())
    seconds = (added.created_at - before).total_seconds()
    assert added.created_at.tzinfo is UTC
    assert 499.9 < seconds < 560.0


def test_a_job_is_queued_whatever_it_says_of_itself(store: JobStore) -> None:
    boast = new(status=JobStatus.SUCCEEDED, progress=1.0, attempt=9, fence=9, worker="w", error=ERROR)
    added = store.add(boast)
    assert (added.status, added.progress, added.attempt, added.fence) == (JobStatus.QUEUED, 0.0, 0, 0)
    assert (added.worker, added.error) == (None, None)


def test_an_id_is_accepted_once(store: JobStore) -> None:
    job = store.add(new())
    with pytest.raises(Conflict):
        store.add(new(id=job.id, owner="ben"))
    assert known(store, job.id).owner == "anna"
    assert kinds(store) == ["queued"]


def test_an_unknown_job_is_none_everywhere(store: JobStore) -> None:
    store.add(new())
    assert store.get("no") is None
    assert store.request_cancel("no") is None
    assert store.requeue("no") is None
    assert store.mark("no", JobStatus.EXPIRED) is None
    assert store.position("no") is None
    assert store.events("no", 0) == []


def test_a_full_queue_refuses_and_counts_queued_jobs_only(store: JobStore) -> None:
    store.add(new(), max_queued=2)
    store.add(new(), max_queued=2)
    with pytest.raises(QueueFull) as refused:
        store.add(new(), max_queued=2)
    assert refused.value.retry_after_s is not None
    assert store.counts()[JobStatus.QUEUED] == 2
    taken(store)
    store.add(new(), max_queued=2)


# Listing


def test_the_newest_job_is_listed_first(store: JobStore) -> None:
    ids = [store.add(new()).id for _ in range(20)]
    assert [job.id for job in store.find(JobFilter())] == ids[::-1]


def test_the_order_survives_a_clock_that_is_set_back(at: At) -> None:
    ids = [at(shift).add(new()).id for shift in (0.0, -5000.0, 5000.0, -9000.0)]
    assert [job.id for job in at(0.0).find(JobFilter())] == ids[::-1]
    assert [taken(at(0.0)).job.id for _ in ids] == ids


def test_pages_neither_repeat_nor_miss_a_job_while_others_are_added(store: JobStore) -> None:
    ids = [store.add(new()).id for _ in range(23)]
    seen: list[str] = []
    while page := store.find(JobFilter(), after=seen[-1] if seen else None, limit=5):
        assert len(page) <= 5
        seen += [job.id for job in page]
        store.add(new())
    assert seen == ids[::-1]


def test_there_is_nothing_after_an_unknown_job(store: JobStore) -> None:
    store.add(new())
    assert list(store.find(JobFilter(), after="no")) == []


def test_jobs_are_listed_by_owner_and_status(store: JobStore) -> None:
    mine, other = store.add(new("anna")), store.add(new("ben"))
    assert [job.id for job in store.find(JobFilter(owner="anna"))] == [mine.id]
    running = taken(store).job.id
    assert running == mine.id
    wanted = JobFilter(statuses=(JobStatus.QUEUED, JobStatus.FAILED))
    assert [job.id for job in store.find(wanted)] == [other.id]
    assert list(store.find(JobFilter(owner="ben", statuses=(JobStatus.RUNNING,)))) == []
    assert list(store.find(JobFilter(statuses=()))) == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("ÄRGER", True),
        ("ä", True),
        ("a\u0308rger", True),
        ("STRASSE", True),
        ("100%", True),
        ("100_", False),
        ("%", True),
        ("_", False),
        ("\\", False),
        ("'", False),
        ("", True),
    ],
)
def test_a_text_is_looked_for_in_file_names_in_any_case(store: JobStore, text: str, found: bool) -> None:
    store.add(new(filename="Ärger in der Straße 100%.mp3"))
    assert bool(store.find(JobFilter(text=text))) is found


def test_jobs_are_listed_by_time(at: At) -> None:
    old, young = at(0.0).add(new()), at(100.0).add(new())
    middle = old.created_at + timedelta(seconds=50)

    def ids(**times: datetime) -> list[str]:
        return [job.id for job in at(0.0).find(JobFilter(**times))]

    assert ids(since=middle) == [young.id]
    assert ids(until=middle) == [old.id]
    assert ids(since=middle, until=young.created_at) == []
    assert ids(since=young.created_at) == [young.id]


def test_a_jobs_own_time_finds_it_exactly(at: At) -> None:
    for n in range(20):
        job = at(n * 1000.0 + n / 7e6).add(new())
        (found,) = at(0.0).find(JobFilter(since=job.created_at))
        assert found == job
        assert job.id not in {older.id for older in at(0.0).find(JobFilter(until=job.created_at))}


def test_content_is_found_where_it_is_of_use_and_the_owners(store: JobStore) -> None:
    def find(owner: str = "anna") -> str | None:
        job = store.find_content(owner, "k")
        return None if job is None else job.id

    assert find() is None
    failed = store.add(new(content_key="k"))
    assert find() == failed.id
    store.fail(taken(store), ERROR)
    assert find() is None
    first = store.add(new(content_key="k"))
    assert store.succeed(taken(store))
    assert find() == first.id
    second = store.add(new(content_key="k"))
    assert find() == second.id
    claim = taken(store)
    assert find() == second.id
    store.request_cancel(second.id)
    assert find() == first.id
    store.cancelled(claim)
    store.mark(first.id, JobStatus.EXPIRED)
    assert find() is None
    assert find("ben") is None


# Looking at the queue


def test_only_a_queued_job_has_a_position(store: JobStore) -> None:
    first, second = store.add(new()), store.add(new())
    assert (store.position(first.id), store.position(second.id)) == (0, 1)
    claim = taken(store)
    assert (store.position(first.id), store.position(second.id)) == (None, 0)
    store.release(claim)
    assert (store.position(first.id), store.position(second.id)) == (0, 1)


ASKED = st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 2)), min_size=1, max_size=12)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(asked=ASKED, running=st.integers(0, 5), dead=st.booleans())
@pytest.mark.slow_on_postgresql
def test_positions_are_the_order_in_which_jobs_are_claimed(
    at: At, asked: list[tuple[str, int]], running: int, dead: bool
) -> None:
    store = at(0.0)
    while claim := store.claim("w", LEASE_S):  # Left over from the example before.
        store.succeed(claim)
    for job in store.find(JobFilter(statuses=(JobStatus.RUNNING,)), limit=1000):
        assert job.lease_until is not None
        store.succeed(Claim(job, "w", job.fence))
    for owner, priority in asked:
        store.add(new(owner, priority=priority))
    for _ in range(running):
        store.claim("w", LEASE_S)
    later = at(LEASE_S + 1) if dead else store
    queued = store.find(JobFilter(statuses=(JobStatus.QUEUED,)), limit=1000)
    positions = {job.id: later.position(job.id) for job in queued}
    line = [job.id for job in later.line(1000)]
    order = []
    while claim := later.claim("w", LEASE_S * 9):
        order.append(claim.job.id)
    assert positions == {job.id: order.index(job.id) for job in queued}
    assert line == [job_id for job_id in order if job_id in positions]


def test_jobs_are_counted_by_status(store: JobStore) -> None:
    assert store.counts() == dict.fromkeys(JobStatus, 0)
    for _ in range(5):
        store.add(new())
    store.succeed(taken(store))
    store.fail(taken(store), ERROR)
    taken(store)
    expected = dict.fromkeys(JobStatus, 0) | {
        JobStatus.QUEUED: 2,
        JobStatus.RUNNING: 1,
        JobStatus.SUCCEEDED: 1,
        JobStatus.FAILED: 1,
    }
    assert store.counts() == expected


def test_counts_of_some_statuses_are_of_those_alone(store: JobStore) -> None:
    store.add(new())
    wanted = (JobStatus.QUEUED, JobStatus.RUNNING)
    assert store.counts(wanted) == {JobStatus.QUEUED: 1, JobStatus.RUNNING: 0}


def test_the_job_that_waits_longest_is_known(at: At) -> None:
    assert at(0.0).oldest_queued() is None
    first, second = at(0.0).add(new()), at(60.0).add(new())
    assert at(0.0).oldest_queued() == first.created_at
    claim = taken(at(60.0))
    assert at(60.0).oldest_queued() == second.created_at
    at(60.0).release(claim)
    assert at(60.0).oldest_queued() == first.created_at
    taken(at(60.0)), taken(at(60.0))
    assert at(60.0).oldest_queued() is None


def test_a_job_that_is_queued_anew_has_waited_since_then(at: At) -> None:
    job = at(0.0).add(new())
    at(0.0).request_cancel(job.id)
    at(500.0).requeue(job.id)
    oldest = at(0.0).oldest_queued()
    assert oldest is not None and (oldest - job.created_at).total_seconds() > 499
    assert known(at(0.0), job.id).created_at == job.created_at


# Events


def test_events_tell_a_jobs_life_in_order(store: JobStore) -> None:
    mine, other = store.add(new()), store.add(new("ben"))
    claim = taken(store)
    store.beat(claim, LEASE_S, progress=0.5, stage="separate", eta_s=9.0)
    store.succeed(claim)
    events = store.events(mine.id, 0)
    assert [event.kind for event in events] == ["queued", "running", "progress", "succeeded"]
    assert [event.data["status"] for event in events] == ["queued", "running", "running", "succeeded"]
    assert events[2].data["progress"] == 0.5
    assert (events[2].data["stage"], events[2].data["eta_s"]) == ("separate", 9.0)
    assert {event.job_id for event in events} == {mine.id}
    everything = store.events(None, 0)
    ids = [event.id for event in everything]
    assert ids == sorted(set(ids)) and len(ids) == 5
    assert {event.job_id for event in everything} == {mine.id, other.id}


def test_events_are_read_on_from_any_of_them(store: JobStore) -> None:
    for _ in range(7):
        store.add(new())
    events = store.events(None, 0)
    assert store.events(None, events[2].id) == events[3:]
    assert store.events(None, events[2].id, limit=2) == events[3:5]
    assert store.events(None, events[-1].id) == []


def test_progress_is_told_twice_a_second_at_most_and_when_the_stage_changes(at: At) -> None:
    at(0.0).add(new())
    claim = taken(at(0.0))

    def told(seconds: float, progress: float, stage: str) -> bool:
        before = len(kinds(at(0.0)))
        at(seconds).beat(claim, 9 * LEASE_S, progress=progress, stage=stage)
        return len(kinds(at(0.0))) > before

    assert told(0.0, 0.0, "decode")
    assert not told(0.0, 0.1, "decode")
    assert told(0.0, 0.1, "separate")
    assert not told(0.0, 0.3, "separate")
    assert told(60.0, 0.3, "separate")
    assert not told(120.0, 0.3, "separate")
    assert not told(120.0, 0.3001, "separate")
    assert told(180.0, 0.4, "separate")
    assert told(0.0, 0.5, "separate"), "a clock that is set back silences nobody"


def test_what_a_heartbeat_does_not_say_stays(store: JobStore) -> None:
    store.add(new())
    claim = taken(store)
    stages = (StageTime("probe", "succeeded", 0.25), StageTime("separate", "running", 3.5))
    store.beat(claim, LEASE_S, progress=0.25, stage="separate", stages=stages, eta_s=60.0, duration_s=180.0)
    store.beat(claim, LEASE_S)
    job = known(store, claim.job.id)
    assert (job.progress, job.stage, job.stages) == (0.25, "separate", stages)
    assert (job.eta_s, job.duration_s) == (60.0, 180.0)


# The database itself


def test_a_store_that_works_passes_its_check(store: JobStore) -> None:
    store.add(new())
    store.check()
    store.check()
    assert store.counts()[JobStatus.QUEUED] == 1
