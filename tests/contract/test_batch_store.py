"""What a store of batches promises, on every database."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from api.batches.model import Hold, ItemState, NewItem
from api.batches.store import BatchStore, erase_job, erase_owner, forget_subject, waits_about
from api.errors import Conflict, PayloadTooLarge, QuotaExceeded
from api.jobs.model import JobError, JobStatus
from api.jobs.sql_store import SqlJobStore
from api.security.secret import ServerSecret
from api.transactions import DatabaseTime, writing
from tests.databases import DATABASES
from tests.job_stores import new, taken

LEASE_S = 30.0
SECRET = ServerSecret(b"s" * 32)
ERROR = JobError("url_busy", "It is busy.", "Later.", retryable=True)
At = Callable[[float], BatchStore]


@pytest.fixture(params=DATABASES)
def both(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[At, SqlJobStore]]:
    with DATABASES[request.param](tmp_path) as engine:
        yield (
            lambda seconds: BatchStore(engine, SECRET, most_waiting=20, now=DatabaseTime() + seconds),
            SqlJobStore(engine),
        )


@pytest.fixture
def at(both: tuple[At, SqlJobStore]) -> At:
    return both[0]


@pytest.fixture
def store(at: At) -> BatchStore:
    return at(0.0)


@pytest.fixture
def jobs(both: tuple[At, SqlJobStore]) -> SqlJobStore:
    return both[1]


def waiting(name: str = "song", **values: str) -> NewItem:
    return NewItem(name, {"url": f"https://example.org/{name}?secret"}, **values)


def added(store: BatchStore, *names: str, owner: str = "anna") -> str:
    batch_id = str(uuid.uuid4())
    assert store.add(batch_id, owner, "key", [waiting(name) for name in names])
    return batch_id


def held(store: BatchStore, *places: str) -> Hold:
    hold = store.hold(places, LEASE_S)
    assert hold is not None
    return hold


def states(store: BatchStore, batch_id: str) -> list[str]:
    return [item.state.value for item in store.items(batch_id)]


def test_a_refused_item_keeps_no_other_from_waiting(store: BatchStore) -> None:
    batch_id = str(uuid.uuid4())
    store.add(batch_id, "anna", "key", [waiting(), NewItem("bad", error=ERROR), waiting()])
    assert states(store, batch_id) == ["waiting", "refused", "waiting"]
    assert store.items(batch_id)[1].error == ERROR
    assert not store.add(batch_id, "anna", "key", [waiting()])
    assert len(store.items(batch_id)) == 3


def test_a_short_batch_does_not_wait_for_a_long_one(store: BatchStore) -> None:
    added(store, "a1", "a2", "a3")
    added(store, "b1", owner="ben")
    assert [held(store).source for _ in range(4)] == ["a1", "b1", "a2", "a3"]
    assert store.hold([], LEASE_S) is None


def test_no_two_hold_the_same_item_at_a_time(store: BatchStore) -> None:
    added(store, *map(str, range(12)))
    with ThreadPoolExecutor(4) as pool:
        holds = list(pool.map(lambda _: held(store).number, range(12)))
    assert sorted(holds) == list(range(12))


def test_who_dies_leaves_the_item_to_another_and_decides_nothing_any_more(at: At, jobs: SqlJobStore) -> None:
    batch_id = added(at(0), "a")
    first = held(at(0))
    assert at(LEASE_S - 5).hold([], LEASE_S) is None
    second = held(at(LEASE_S + 5))
    assert (second.job_id, second.fence) == (first.job_id, first.fence + 1)
    assert not at(0).renew(first, LEASE_S)
    assert not at(0).take(first, "x", repeated=False)
    assert not at(0).refuse(first, ERROR)
    jobs.add(new(id=second.job_id))
    assert at(0).take(second, second.job_id, repeated=False)
    assert at(0).items(batch_id)[0].status == "queued"


def test_an_item_rests_and_is_tried_again(at: At) -> None:
    batch_id = added(at(0), "a")
    assert at(0).rest(held(at(0)), ERROR, 60.0, counts=True)
    assert at(50).hold([], LEASE_S) is None
    assert at(0).items(batch_id)[0].error == ERROR
    again = held(at(70))
    assert again.tries == 1
    assert at(70).release(again)
    assert held(at(70)).fence == again.fence + 1


def test_an_upload_is_taken_in_where_it_lies(store: BatchStore) -> None:
    store.add(str(uuid.uuid4()), "anna", "key", [waiting(place="here")])
    assert not store.waits(["there"])
    assert store.hold(["there"], LEASE_S) is None
    assert held(store, "there", "here").source == "song"


def test_what_is_decided_is_not_kept(at: At, jobs: SqlJobStore) -> None:
    added(at(0), "a", "b")
    first, second = held(at(0)), held(at(0))
    jobs.add(new(id=first.job_id))
    at(0).take(first, first.job_id, repeated=False)
    at(0).refuse(second, ERROR)
    # Leases end, and nothing is left of what was asked for.
    assert at(10 * LEASE_S).hold([], LEASE_S) is None


def test_cancelling_stops_what_waits_and_names_the_jobs_that_the_batch_made(
    store: BatchStore, jobs: SqlJobStore
) -> None:
    batch_id = added(store, "made", "known", "waits")
    made, known = held(store), held(store)
    jobs.add(new(id=made.job_id))
    other = jobs.add(new())
    store.take(made, made.job_id, repeated=False)
    store.take(known, other.id, repeated=True)
    late = held(store)
    assert store.cancel(batch_id) == [made.job_id]
    assert states(store, batch_id) == ["taken", "taken", "cancelled"]
    assert not store.take(late, late.job_id, repeated=False)
    assert not store.renew(late, LEASE_S)
    batch = store.get(batch_id)
    assert batch is not None and batch.cancelled_at is not None
    jobs.request_cancel(made.job_id)
    assert store.cancel(batch_id) == []


def test_events_are_those_of_its_jobs_in_order(store: BatchStore, jobs: SqlJobStore) -> None:
    batch_id = added(store, "a", "b")
    jobs.add(new())
    for _ in range(2):
        hold = held(store)
        jobs.add(new(id=hold.job_id))
        store.take(hold, hold.job_id, repeated=False)
    while jobs.get(taken(jobs).job.id) is not None and jobs.counts([JobStatus.QUEUED])[JobStatus.QUEUED]:
        pass
    mine = {item.job.id for item in store.items(batch_id) if item.job}
    told = store.events(batch_id, 0)
    assert [event.kind for event in told] == ["queued", "queued", "running", "running"]
    assert {event.job_id for event in told} == mine
    assert store.events(batch_id, told[1].id) == told[2:]


def test_an_owner_may_have_so_many_items_waiting(store: BatchStore) -> None:
    added(store, *map(str, range(15)))
    with pytest.raises(QuotaExceeded):
        added(store, *map(str, range(6)))
    added(store, *map(str, range(6)), owner="ben")
    for _ in range(10):
        store.refuse(held(store), ERROR)
    added(store, *map(str, range(6)))


def test_batches_are_listed_newest_first_and_only_ones_own(store: BatchStore) -> None:
    mine = [added(store, "a") for _ in range(3)]
    added(store, "b", owner="ben")
    found = store.find("anna", limit=2)
    assert [batch.id for batch in found] == mine[:0:-1]
    assert [batch.id for batch in store.find("anna", after=found[-1].id)] == mine[:1]


def test_old_batches_are_forgotten_unless_something_waits(store: BatchStore, jobs: SqlJobStore) -> None:
    done, waits = added(store, "a"), added(store, "b")
    hold = held(store)
    jobs.add(new(id=hold.job_id))
    store.take(hold, hold.job_id, repeated=False)
    assert store.forget(datetime.now(UTC) - timedelta(hours=1)) == 0
    assert store.forget(datetime.now(UTC) + timedelta(hours=1)) == 1
    assert store.get(done) is None and store.get(waits) is not None
    assert jobs.get(hold.job_id) is not None


def test_erasing_leaves_no_word_of_a_job_an_owner_or_a_subject(store: BatchStore, jobs: SqlJobStore) -> None:
    batch_id = added(store, "a")
    about = str(uuid.uuid4())
    store.add(about, "anna", "key", [waiting(subject="Mrs. X"), waiting()])
    assert waits_about(store._engine, "Mrs. X")
    assert forget_subject(store._engine, "Mrs. X") == 1
    assert [(item.state, item.source) for item in store.items(about)] == [
        (ItemState.CANCELLED, ""),
        (ItemState.WAITING, "song"),
    ]
    hold = held(store)
    job = jobs.add(new(id=hold.job_id))
    store.take(hold, job.id, repeated=False)
    with writing(store._engine) as connection:
        erase_job(connection, job.id)
    assert store.items(batch_id)[0].source == ""
    with writing(store._engine) as connection:
        erase_owner(connection, "anna")
    assert store.find("anna") == []
    assert store.items(about) == []


def test_items_are_added_once_to_a_batch_that_goes_on(store: BatchStore) -> None:
    batch_id, token = added(store, "a"), str(uuid.uuid4())
    batch = store.get(batch_id)
    assert batch is not None
    assert store.extend(batch, token, [waiting("b"), waiting("c")], most=3)
    assert not store.extend(batch, token, [waiting("b"), waiting("c")], most=3)
    assert [item.source for item in store.items(batch_id)] == ["a", "b", "c"]
    with pytest.raises(PayloadTooLarge):
        store.extend(batch, str(uuid.uuid4()), [waiting("d")], most=3)
    store.cancel(batch_id)
    with pytest.raises(Conflict):
        store.extend(batch, str(uuid.uuid4()), [waiting("d")], most=9)
