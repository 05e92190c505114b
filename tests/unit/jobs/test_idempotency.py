from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from api.errors import IdempotencyInFlight, IdempotencyMismatch
from api.jobs.idempotency import KEPT_S, LEASE_S, Begun, IdempotencyStore, Replay
from api.transactions import DatabaseTime
from tests.databases import DATABASES

At = Callable[[float], IdempotencyStore]
"""The same keys as seen so many seconds from now: only the database's clock is another."""


@pytest.fixture(params=DATABASES)
def at(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[At]:
    with DATABASES[request.param](tmp_path) as engine:
        yield lambda seconds: IdempotencyStore(engine, now=DatabaseTime() + seconds)


def begun(store: IdempotencyStore, owner: str = "anna", fingerprint: str = "f") -> Begun:
    said = store.begin(owner, "key", fingerprint)
    assert isinstance(said, Begun)
    return said


def test_the_answer_to_a_request_is_given_again_byte_for_byte(at: At) -> None:
    assert at(0).finish(begun(at(0)), 202, {"Location": "/jobs/1"}, b"\x00{}\xff")
    again = Replay(202, {"Location": "/jobs/1"}, b"\x00{}\xff")
    assert at(0).begin("anna", "key", "f") == again
    assert at(KEPT_S - 60).begin("anna", "key", "f") == again


def test_a_request_that_is_being_handled_is_not_handled_twice(at: At) -> None:
    begun(at(0))
    with pytest.raises(IdempotencyInFlight) as refused:
        at(LEASE_S - 5).begin("anna", "key", "f")
    assert refused.value.retry_after_s is not None and refused.value.retry_after_s > 0


@pytest.mark.parametrize("finished", [False, True])
def test_a_key_is_good_for_one_request(at: At, finished: bool) -> None:
    first = begun(at(0))
    if finished:
        at(0).finish(first, 202, {}, b"")
    with pytest.raises(IdempotencyMismatch):
        at(0).begin("anna", "key", "another")


def test_owners_do_not_share_keys(at: At) -> None:
    at(0).finish(begun(at(0), "anna"), 202, {}, b"anna's")
    assert begun(at(0), "ben", "another").fence == 1


def test_a_key_is_forgotten_after_a_day(at: At) -> None:
    at(0).finish(begun(at(0)), 202, {}, b"")
    begun(at(KEPT_S + 60), fingerprint="another")


def test_a_request_whose_process_died_is_handled_again_for_the_same_job(at: At) -> None:
    dead = begun(at(0))
    heir = begun(at(LEASE_S + 5))
    assert heir.job_id == dead.job_id
    assert at(LEASE_S + 5).finish(dead, 202, {}, b"late") is False
    assert at(LEASE_S + 5).abandon(dead) is False
    assert at(LEASE_S + 5).finish(heir, 202, {}, b"in time") is True
    assert at(LEASE_S + 5).begin("anna", "key", "f") == Replay(202, {}, b"in time")


def test_who_was_taken_for_dead_learns_that_another_has_begun_since(at: At) -> None:
    slow = begun(at(0))
    assert at(LEASE_S + 1).holds(slow), "nobody has sent it again"
    again = begun(at(LEASE_S + 1))
    assert (again.job_id, at(0).holds(slow), at(0).holds(again)) == (slow.job_id, False, True)


def test_a_clock_that_is_set_back_blocks_no_request_for_ever(at: At) -> None:
    dead = begun(at(1e6))
    assert begun(at(0)).fence > dead.fence


def test_an_abandoned_request_can_be_sent_again_also_changed(at: At) -> None:
    assert at(0).abandon(begun(at(0))) is True
    begun(at(0), fingerprint="corrected")


def test_an_answer_is_kept_once(at: At) -> None:
    first = begun(at(0))
    assert at(0).finish(first, 202, {}, b"first") is True
    assert at(0).finish(first, 500, {}, b"second") is False
    assert at(0).abandon(first) is False
    assert at(0).begin("anna", "key", "f") == Replay(202, {}, b"first")


def test_of_many_equal_requests_at_once_one_is_handled(at: At) -> None:
    store, said = at(0), []

    def send() -> None:
        try:
            said.append(type(store.begin("anna", "key", "f")))
        except IdempotencyInFlight as exc:
            said.append(type(exc))

    threads = [threading.Thread(target=send) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert said.count(Begun) == 1
    assert said.count(IdempotencyInFlight) == 7
