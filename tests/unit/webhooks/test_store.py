"""Deliveries in the database: who may send what, and when."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from api.errors import Conflict, NotFound
from api.webhooks.model import INTERRUPTED, Answer, DeliveryClaim, DeliveryStatus
from api.webhooks.schedule import MOST_TRIES
from api.webhooks.store import LEASE_S, PER_OWNER, PER_RECEIVER
from tests.databases import again
from tests.webhook_stores import URL, Stores

TAKEN = Answer(0.1, 204)
BAD = Answer(0.1, 500)
GONE = Answer(0.1, 410)
DAY = 86400.0


def claimed(stores: Stores, seconds: float = 0.0) -> DeliveryClaim:
    (claim,) = stores.at(seconds).claim(1)
    return claim


def totals(stores: Stores) -> dict[str, float]:
    query = "SELECT label, value FROM totals WHERE name = 'audio_webhook_deliveries'"
    with stores.engine.connect() as connection:
        return {label: value for label, value in connection.execute(text(query))}


def test_a_delivery_is_claimed_once(stores: Stores) -> None:
    job = stores.ended()
    claim = claimed(stores)
    assert (claim.job_id, claim.owner, claim.url, claim.fence, claim.tries) == (job.id, "anna", URL, 1, 1)
    assert stores.at(0.0).claim(8) == []
    assert stores.delivery(job).status is DeliveryStatus.SENDING


def test_where_nothing_is_due_nobody_waits_for_a_writer(stores: Stores) -> None:
    stores.ended()
    stores.at(0.0).record(claimed(stores), BAD)
    with stores.engine.begin():  # Whoever would write now waits for half a minute, and fails.
        assert stores.at(1.0).claim(8) == []


def test_nothing_is_sent_again_that_was_taken(stores: Stores) -> None:
    job = stores.ended()
    assert stores.at(0.0).record(claimed(stores), TAKEN) is DeliveryStatus.DELIVERED
    assert stores.at(400 * DAY).claim(8) == []
    delivery = stores.delivery(job)
    assert (delivery.status, delivery.next_at) == (DeliveryStatus.DELIVERED, None)
    assert [(one.number, one.status_code, one.error) for one in delivery.attempts] == [(1, 204, None)]


def test_a_failure_is_tried_again_when_it_is_due_under_the_same_id(stores: Stores) -> None:
    job = stores.ended()
    first = claimed(stores)
    assert stores.at(0.0).record(first, BAD) is DeliveryStatus.PENDING
    assert stores.at(3.0).claim(8) == []
    assert stores.delivery(job).next_at is not None
    second = claimed(stores, 6.0)
    assert (second.id, second.payload, second.fence) == (first.id, first.payload, 2)
    assert second.at == pytest.approx(first.at + 6)


def test_a_receiver_that_asks_for_time_gets_it(stores: Stores) -> None:
    stores.ended()
    stores.at(0.0).record(claimed(stores), Answer(0.1, 503, retry_after_s=1000.0))
    assert stores.at(900.0).claim(8) == []
    assert claimed(stores, 1010.0)


def test_a_delivery_is_given_up_after_its_last_try(stores: Stores) -> None:
    job, seconds = stores.ended(), 0.0
    for n in range(1, MOST_TRIES + 1):
        outcome = stores.at(seconds).record(claimed(stores, seconds), Answer(0.1, error="url_unreachable"))
        assert outcome is (DeliveryStatus.PENDING if n < MOST_TRIES else DeliveryStatus.FAILED)
        seconds += DAY + 60
    assert stores.at(seconds).claim(8) == []
    assert [one.error for one in stores.delivery(job).attempts] == ["url_unreachable"] * MOST_TRIES
    assert totals(stores) == {"retried": MOST_TRIES - 1, "failed": 1}


def test_a_claim_whose_process_died_is_anothers_and_the_log_says_so(stores: Stores) -> None:
    job = stores.ended()
    dead = claimed(stores)
    assert stores.at(LEASE_S - 5).claim(8) == []
    heir = claimed(stores, LEASE_S + 1)
    assert (heir.id, heir.fence) == (dead.id, 2)
    assert [(one.number, one.error) for one in stores.delivery(job).attempts] == [(1, INTERRUPTED), (2, None)]


def test_what_a_late_process_says_is_noted_and_changes_nothing(stores: Stores) -> None:
    job = stores.ended()
    late, heir = claimed(stores), claimed(stores, LEASE_S + 1)
    assert stores.at(LEASE_S + 2).record(late, GONE) is None
    assert stores.at(LEASE_S + 3).record(heir, TAKEN) is DeliveryStatus.DELIVERED
    delivery = stores.delivery(job)
    assert (delivery.status, delivery.attempts[0].status_code) == (DeliveryStatus.DELIVERED, 410)


def test_a_message_that_brings_down_its_process_every_time_is_given_up(stores: Stores) -> None:
    job = stores.ended()
    for n in range(MOST_TRIES):
        assert claimed(stores, n * (LEASE_S + 1))
    assert stores.at(MOST_TRIES * (LEASE_S + 1)).claim(8) == []
    delivery = stores.delivery(job)
    assert (delivery.status, len(delivery.attempts)) == (DeliveryStatus.FAILED, MOST_TRIES)
    assert {one.error for one in delivery.attempts} == {INTERRUPTED}


def test_after_410_nothing_more_is_sent_to_that_url_of_that_owner(stores: Stores) -> None:
    first = stores.ended()
    assert stores.at(0.0).record(claimed(stores), GONE) is DeliveryStatus.DISABLED
    second, elsewhere, others = (
        stores.ended(),
        stores.ended(webhook_url=URL + "2"),
        stores.ended(owner="bert"),
    )
    assert {claim.job_id for claim in stores.at(1.0).claim(8)} == {elsewhere.id, others.id}
    assert stores.delivery(first).status is DeliveryStatus.DISABLED
    assert (stores.delivery(second).status, stores.delivery(second).attempts) == ("disabled", ())
    assert totals(stores) == {"disabled": 2}


def test_a_replay_takes_up_a_url_again_that_was_gone(stores: Stores) -> None:
    first = stores.ended()
    stores.at(0.0).record(claimed(stores), GONE)
    delivery = stores.at(1.0).replay(first.id, stores.delivery(first).id)
    assert delivery.status is DeliveryStatus.PENDING
    second = stores.ended()
    assert {claim.job_id for claim in stores.at(2.0).claim(8)} == {first.id, second.id}


def test_a_test_that_succeeds_takes_up_a_url_too(stores: Stores) -> None:
    stores.ended()
    stores.at(0.0).record(claimed(stores), GONE)
    stores.at(0.0).enable("anna", URL)
    stores.ended()
    assert claimed(stores, 1.0)


def test_a_replay_begins_a_schedule_of_its_own_and_keeps_id_body_and_log(stores: Stores) -> None:
    job, seconds = stores.ended(), 0.0
    for _ in range(MOST_TRIES):
        before = claimed(stores, seconds)
        stores.at(seconds).record(before, BAD)
        seconds += DAY + 60
    stores.at(seconds).replay(job.id, before.id)
    again = claimed(stores, seconds + 1)
    assert (again.id, again.payload, again.fence, again.tries) == (before.id, before.payload, 11, 1)
    assert stores.at(seconds).record(again, BAD) is DeliveryStatus.PENDING
    assert len(stores.delivery(job).attempts) == 11


def test_what_was_delivered_can_be_replayed_and_what_waits_is_sent_now(stores: Stores) -> None:
    job = stores.ended()
    stores.at(0.0).record(claimed(stores), TAKEN)
    stores.at(0.0).replay(job.id, stores.delivery(job).id)
    stores.at(1.0).record(claimed(stores, 1.0), BAD)
    assert stores.at(2.0).claim(8) == []
    stores.at(2.0).replay(job.id, stores.delivery(job).id)
    assert claimed(stores, 3.0)


def test_what_is_being_sent_is_not_replayed(stores: Stores) -> None:
    job = stores.ended()
    claim = claimed(stores)
    with pytest.raises(Conflict):
        stores.at(0.0).replay(job.id, claim.id)


def test_a_delivery_is_found_by_its_own_job_only(stores: Stores) -> None:
    one, two = stores.ended(), stores.ended()
    with pytest.raises(NotFound):
        stores.at(0.0).replay(one.id, stores.delivery(two).id)


def test_a_slow_receiver_holds_up_no_other_and_an_owner_no_other(stores: Stores) -> None:
    for n in range(6):
        stores.ended(webhook_url=f"https://slow.example/hook?job={n}")
    for n in range(6):
        stores.ended(webhook_url=f"https://host{n}.example/hook")
    last = stores.ended(owner="bert")
    claims = stores.at(0.0).claim(8)
    annas = [claim.url for claim in claims if claim.owner == "anna"]
    assert sum("slow" in url for url in annas) == PER_RECEIVER
    assert (len(annas), claims[-1].job_id) == (PER_OWNER, last.id)
    # What they have is counted over all processes, until it is given back.
    assert stores.at(1.0).claim(8) == []
    stores.at(1.0).record(claims[0], TAKEN)
    assert len(stores.at(1.0).claim(8)) == 1


def test_what_has_been_due_for_longest_is_sent_first(stores: Stores) -> None:
    jobs = [stores.ended(owner=f"owner{n}") for n in range(5)]
    assert [claim.job_id for claim in stores.at(0.0).claim(3)] == [job.id for job in jobs[:3]]


def test_a_clock_that_is_set_back_holds_up_nothing(stores: Stores) -> None:
    year = 365 * DAY
    pending, lost = stores.ended(), stores.ended(owner="bert")
    claims = {claim.job_id: claim for claim in stores.at(year).claim(8)}
    stores.at(year).record(claims[pending.id], BAD)
    assert stores.at(0.0).claim(8) == []  # Pause and lease begin anew.
    assert [claim.job_id for claim in stores.at(6.0).claim(8)] == [pending.id]
    assert [claim.job_id for claim in stores.at(LEASE_S + 1).claim(1)] == [lost.id]


def test_the_log_is_kept_for_some_days_and_what_is_open_for_ever(stores: Stores) -> None:
    done, waits = stores.ended(), stores.ended(owner="bert")
    for claim in stores.at(0.0).claim(8):
        stores.at(0.0).record(claim, TAKEN if claim.job_id == done.id else BAD)
    now = datetime.now(UTC)
    assert stores.at(0.0).forget(now - timedelta(hours=1)) == 0
    assert stores.at(0.0).forget(now + timedelta(hours=1)) == 1
    assert (stores.at(0.0).of_job(done.id), len(stores.delivery(waits).attempts)) == ([], 1)


def test_the_backlog_is_what_is_neither_delivered_nor_given_up(stores: Stores) -> None:
    assert (stores.at(0.0).backlog().count, stores.at(0.0).backlog().oldest_s) == (0, 0.0)
    stores.ended()
    job = stores.ended(owner="bert")
    for claim in stores.at(0.0).claim(8):
        stores.at(0.0).record(claim, TAKEN if claim.job_id == job.id else BAD)
    backlog = stores.at(100.0).backlog()
    assert (backlog.count, backlog.oldest_s) == (1, pytest.approx(100))


def test_a_replay_of_something_old_is_not_old(stores: Stores) -> None:
    job = stores.ended()
    stores.at(0.0).record(claimed(stores), TAKEN)
    stores.at(90.0).replay(job.id, stores.delivery(job).id)
    assert stores.at(100.0).backlog().oldest_s == pytest.approx(10)


def test_many_dispatchers_at_once_claim_nothing_twice(stores: Stores) -> None:
    jobs, owners = 40, 20
    everyone = [stores, *(replace(stores, engine=again(stores.engine)) for _ in range(3))]
    for n in range(jobs):
        everyone[0].ended(owner=f"owner{n % owners}", webhook_url=f"https://host{n}.example/")
    won: list[str] = []

    def work(stores: Stores) -> None:
        store = stores.at(0.0)
        while claims := store.claim(3):
            for claim in claims:
                won.append(claim.id)
                assert store.record(claim, TAKEN) is DeliveryStatus.DELIVERED

    with ThreadPoolExecutor(len(everyone)) as pool:
        list(pool.map(work, everyone))
    assert (len(won), len(set(won))) == (jobs, jobs)
    for other in everyone[1:]:
        other.engine.dispose()


def test_looking_for_work_reads_no_more_than_what_is_due(stores: Stores) -> None:
    """By its plan: a log of any length costs a dispatcher nothing."""
    queries = (
        "status IN ('pending', 'sending') AND due_at <= 1.0",
        "status IN ('pending', 'sending') AND timed_at > 1.0",
        "status = 'sending' AND due_at > 1.0",
    )
    if stores.engine.dialect.name != "sqlite":
        return  # PostgreSQL plans by what a table holds: of one this small it reads all.
    with stores.engine.connect() as connection:
        for query in queries:
            asked = f"EXPLAIN QUERY PLAN SELECT seq FROM webhook_deliveries WHERE {query}"  # noqa: S608
            plan = " ".join(row[3] for row in connection.execute(text(asked)))
            assert "SEARCH" in plan and "SCAN" not in plan, plan
