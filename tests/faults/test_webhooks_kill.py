"""Processes that are killed while jobs end and webhooks are sent."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path

from sqlalchemy import text

from api.webhooks.model import INTERRUPTED, DeliveryStatus
from api.webhooks.store import LEASE_S
from tests.service import ROOT
from tests.webhook_receiver import Got, Receiver
from tests.webhook_stores import Stores, open_stores

_SENDS = """
from tests.webhook_stores import open_stores
from pathlib import Path
open_stores(Path({folder!r})).dispatcher().round()
"""

_ENDS_JOBS = """
from itertools import cycle
from pathlib import Path
from api.jobs.sql_store import SqlJobStore
from tests.job_stores import ERROR
from tests.webhook_stores import open_stores
stores = open_stores(Path({folder!r}))
print("begun", flush=True)
for end in cycle([SqlJobStore.succeed, lambda store, claim: store.fail(claim, ERROR)]):
    stores.ended(end)
"""


def child(script: str, folder: Path) -> subprocess.Popen[str]:
    code = script.format(folder=str(folder))
    return subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True)


def test_what_was_sent_by_a_process_that_died_before_it_said_so_is_sent_again(tmp_path: Path) -> None:
    stores = open_stores(tmp_path)
    processes: list[subprocess.Popen[str]] = []

    def kill(_: Got) -> None:
        if processes:
            processes.pop().kill()

    with Receiver(before=kill) as receiver:
        job = stores.ended(webhook_url=receiver.url)
        process = child(_SENDS, tmp_path)
        processes.append(process)
        with process:
            assert process.wait(60) == -9
        assert stores.delivery(job).status is DeliveryStatus.SENDING
        assert stores.dispatcher(LEASE_S - 30).round() == 0
        assert stores.dispatcher(LEASE_S + 60).round() == 1
    first, second = receiver.got
    assert (first.webhook_id, first.body) == (second.webhook_id, second.body)
    delivery = stores.delivery(job)
    assert delivery.status is DeliveryStatus.DELIVERED
    assert [(one.status_code, one.error) for one in delivery.attempts] == [(None, INTERRUPTED), (204, None)]
    stores.engine.dispose()


def test_no_kill_loses_or_doubles_the_delivery_of_a_job_that_has_ended(tmp_path: Path) -> None:
    stores = open_stores(tmp_path)
    chance = random.Random(5)
    ended = 0
    for _ in range(4):
        with child(_ENDS_JOBS, tmp_path) as process:
            assert process.stdout is not None and process.stdout.readline() == "begun\n"
            time.sleep(chance.uniform(0.05, 0.4))  # An instant like any other.
            process.kill()
        before, ended = ended, _check_each_end_is_told_once(stores)
        assert ended >= before
        with stores.engine.begin() as connection:  # What was running shall not be in the next one's way.
            connection.execute(
                text("UPDATE jobs SET status = 'expired' WHERE status IN ('queued', 'running')")
            )
    assert ended > 0
    stores.engine.dispose()


def _check_each_end_is_told_once(stores: Stores) -> int:
    query = """
        SELECT jobs.status, count(webhook_deliveries.id) FROM jobs
        LEFT JOIN webhook_deliveries ON webhook_deliveries.job_id = jobs.id GROUP BY jobs.id
    """
    with stores.engine.connect() as connection:
        rows = connection.execute(text(query)).all()
    wrong = [row for row in rows if row[1] != (row[0] in {"succeeded", "failed", "cancelled"})]
    assert not wrong
    return sum(row[1] for row in rows)
