"""What is written down when a job ends."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from api.bodies import job_body
from api.jobs.model import JobStatus
from api.jobs.sql_store import SqlJobStore
from api.jobs.store import Claim
from api.schemas import JobEnded
from api.transactions import DatabaseTime
from tests.job_stores import ERROR, LOST, known, new, taken
from tests.webhook_stores import URL, Stores


def _cancel_running(store: SqlJobStore, claim: Claim) -> None:
    store.request_cancel(claim.job.id)
    store.cancelled(claim)


def _cancel_failing(store: SqlJobStore, claim: Claim) -> None:
    store.request_cancel(claim.job.id)
    store.fail(claim, ERROR, again=True)


def _cancel_released(store: SqlJobStore, claim: Claim) -> None:
    store.request_cancel(claim.job.id)
    store.release(claim)


WAYS: list[tuple[Callable[[SqlJobStore, Claim], Any], str]] = [
    (SqlJobStore.succeed, "job.succeeded"),
    (lambda store, claim: store.fail(claim, ERROR), "job.failed"),
    (_cancel_running, "job.cancelled"),
    (_cancel_failing, "job.cancelled"),
    (_cancel_released, "job.cancelled"),
]


@pytest.mark.parametrize(("end", "kind"), WAYS)
def test_a_job_that_ends_is_told_whichever_way_it_ends(
    stores: Stores, end: Callable[[SqlJobStore, Claim], Any], kind: str
) -> None:
    job = stores.ended(end)
    (claim,) = stores.at(0.0).claim(8)
    message = JobEnded.model_validate_json(claim.payload)
    assert (message.type, message.data.id, stores.delivery(job).kind) == (kind, job.id, kind)
    assert message.timestamp == job.finished_at


def test_the_last_attempt_at_a_retryable_failure_is_told(stores: Stores) -> None:
    job = stores.ended(lambda store, claim: store.fail(claim, ERROR, again=True), max_attempts=1)
    assert stores.delivery(job).kind == "job.failed"


def test_a_job_that_waits_is_told_when_it_is_cancelled(stores: Stores) -> None:
    job = stores.jobs.add(new(webhook_url=URL))
    stores.jobs.request_cancel(job.id)
    assert stores.delivery(job).kind == "job.cancelled"


@pytest.mark.parametrize(("asked", "kind"), [(False, "job.failed"), (True, "job.cancelled")])
def test_a_job_whose_every_worker_died_is_told(stores: Stores, asked: bool, kind: str) -> None:
    job = stores.jobs.add(new(webhook_url=URL, max_attempts=1))
    taken(stores.jobs)
    if asked:
        stores.jobs.request_cancel(job.id)
    assert SqlJobStore(stores.engine, DatabaseTime() + LOST).claim("w2", 30) is None
    assert known(stores.jobs, job.id).status.final
    assert stores.delivery(job).kind == kind


def test_a_job_that_is_not_at_its_end_is_not_told(stores: Stores) -> None:
    again = stores.jobs.add(new(webhook_url=URL))
    claim = taken(stores.jobs)
    stores.jobs.beat(claim, 30, progress=0.5, stage="separate")
    stores.jobs.fail(claim, ERROR, again=True)
    back = stores.jobs.add(new(webhook_url=URL))
    stores.jobs.release(taken(stores.jobs))
    stores.jobs.request_cancel(taken(stores.jobs).job.id)
    assert [*stores.at(0.0).of_job(again.id), *stores.at(0.0).of_job(back.id)] == []


def test_a_worker_that_lost_its_claim_tells_nobody(stores: Stores) -> None:
    job = stores.jobs.add(new(webhook_url=URL))
    late = taken(stores.jobs)
    later = SqlJobStore(stores.engine, DatabaseTime() + LOST)
    claim = taken(later, "w2")
    assert not stores.jobs.succeed(late)
    assert stores.at(0.0).of_job(job.id) == []
    assert later.succeed(claim)
    assert stores.delivery(job).kind == "job.succeeded"


def test_a_job_that_is_retried_and_ends_again_is_told_again(stores: Stores) -> None:
    job = stores.ended(lambda store, claim: store.fail(claim, ERROR))
    stores.jobs.requeue(job.id)
    stores.jobs.succeed(taken(stores.jobs))
    one, two = stores.at(0.0).of_job(job.id)
    assert (one.kind, two.kind, one.id != two.id) == ("job.failed", "job.succeeded", True)


def test_a_job_without_a_receiver_is_told_nobody(stores: Stores) -> None:
    job = stores.ended(webhook_url=None)
    assert stores.at(0.0).of_job(job.id) == []


def test_the_message_holds_the_job_as_it_is_shown_and_no_receiver(stores: Stores) -> None:
    job = stores.ended(
        filename="Größe\u2028\x1b[31m.wav", metadata={"a": "ü"}, webhook_url=f"{URL}?token=geheim"
    )
    (claim,) = stores.at(0.0).claim(8)
    assert claim.payload.isascii() and claim.payload.isprintable()
    assert json.loads(claim.payload)["data"] == job_body(job).model_dump(mode="json")
    assert "geheim" not in claim.payload


def test_the_message_stays_as_it_was_when_the_job_goes_on(stores: Stores) -> None:
    job = stores.ended()
    before = stores.at(0.0).claim(8)[0].payload
    stores.jobs.mark(job.id, JobStatus.EXPIRED)
    assert stores.at(100.0).claim(8)[0].payload == before


def test_an_expired_job_keeps_its_log(stores: Stores) -> None:
    job = stores.ended()
    stores.jobs.mark(job.id, JobStatus.EXPIRED)
    assert stores.delivery(job).kind == "job.succeeded"


def test_of_an_erased_job_nothing_is_left_to_send_or_to_read(stores: Stores) -> None:
    kept, job = stores.ended(filename="another.wav"), stores.ended(filename="private words.wav")
    stores.at(0.0).claim(8)
    stores.jobs.mark(job.id, JobStatus.ERASED)
    assert stores.at(0.0).of_job(job.id) == []
    assert known(stores.jobs, job.id).webhook_url is None
    assert stores.delivery(kept)
    with stores.engine.connect() as connection:
        left = connection.execute(text("SELECT payload FROM webhook_deliveries")).scalars().all()
        assert connection.execute(text("SELECT count(*) FROM webhook_attempts")).scalar_one() == 1
    assert not [one for one in left if "private words" in one]


def test_the_end_of_a_job_does_not_fail_for_a_url_that_is_none(stores: Stores) -> None:
    assert stores.ended(webhook_url="http://[").status is JobStatus.SUCCEEDED


def test_an_error_of_the_database_repeats_no_url(stores: Stores) -> None:
    with stores.engine.begin() as connection:
        connection.execute(text("DROP TABLE webhook_attempts"))
        connection.execute(text("DROP TABLE webhook_deliveries"))
    with pytest.raises(DBAPIError) as caught:
        stores.ended(webhook_url=f"{URL}?token=geheim")
    assert "webhook_deliveries" in str(caught.value)
    assert "geheim" not in str(caught.value)


def test_a_job_whose_delivery_cannot_be_written_down_has_not_ended(stores: Stores) -> None:
    with stores.engine.begin() as connection:
        connection.execute(text("DROP TABLE webhook_attempts"))
        connection.execute(text("DROP TABLE webhook_deliveries"))
    job = stores.jobs.add(new(webhook_url=URL))
    claim = taken(stores.jobs)
    with pytest.raises(DBAPIError):
        stores.jobs.succeed(claim)
    assert known(stores.jobs, job.id).status is JobStatus.RUNNING
