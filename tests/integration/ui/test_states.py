"""States of the pages that come and go: a queue, a rest, a cancelled job, a service that has gone away."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from api.jobs.model import JobError
from api.jobs.store import Claim
from tests.integration.ui.pages import HOSTILE, Open, Place, button, emptied, placed, said
from tests.service import ended
from ui import texts


@pytest.fixture
def passing(tmp_path: Path) -> Iterator[Place]:
    """A service that the test may kill."""
    yield from placed(tmp_path, PIPELINE_WORKERS="0")


def key_of(place: Place, name: str, **wanted: object) -> str:
    with closing(place.service.client()) as http:
        key: str = http.post("/admin/keys", json={"name": name, **wanted}).json()["key"]
        return key


def claimed(place: Place, job_id: str) -> Claim:
    claim = place.store.claim("the-test", 600)
    assert claim is not None and claim.job.id == job_id
    return claim


def test_the_first_page_says_what_becomes_of_a_recording(idle: Place, visit: Open) -> None:
    page = visit(idle.service)
    assert "Sketch makes 4 stems, as FLAC." in said(page)
    formats = next(one for one in page.button_group if one.label == texts.FORMATS)
    formats.set_value(["mp3", "opus"]).run()
    stems = next(one for one in page.button_group if one.label == texts.STEMS)
    stems.set_value(["vocals"]).run()
    assert "Sketch makes 1 stem, as MP3, Opus." in said(page)


def test_where_there_are_no_jobs_there_is_nothing_to_search(idle: Place, visit: Open) -> None:
    page = visit(idle.service, "jobs", key_of(idle, "newcomer"))
    assert texts.HISTORY_EMPTY in said(page)
    assert not page.text_input and not page.selectbox


def test_a_list_says_how_far_jobs_are_and_why_one_failed(idle: Place, visit: Open) -> None:
    key = key_of(idle, "watcher")
    failed = emptied(idle).submitted(key, "fails.wav", estimators="key")
    error = JobError("tool_failed", "ffmpeg <b>crashed</b>.", "", retryable=False)
    idle.store.fail(claimed(idle, failed), error)
    running = idle.submitted(key, HOSTILE, estimators="beats")
    idle.store.beat(claimed(idle, running), 600, progress=0.37, stage="separate")
    idle.submitted(key, "waits.wav", estimators="tempo")
    page = visit(idle.service, "jobs", key)
    shown = said(page)
    assert "Running, 37 %" in shown and texts.STATUS["queued"] in shown
    assert "ffmpeg &lt;b&gt;crashed&lt;/b&gt;." in shown and "<b>" not in shown
    next(one for one in page.button_group if one.label == texts.FILTER).set_value(["failed"]).run()
    assert "fails.wav" in said(page) and "waits.wav" not in said(page)


def test_a_job_in_the_queue_says_how_many_are_before_it_and_can_be_heard(idle: Place, visit: Open) -> None:
    emptied(idle).submitted(name="first.wav", estimators="key")
    second = idle.submitted(name="second.wav", estimators="beats")
    page = visit(idle.service, "job", job=second)
    assert texts.QUEUE_AFTER["one"] in said(page)
    assert texts.LISTEN in said(page)  # its recording, until there are stems
    assert button(page, texts.CANCEL)


def test_a_job_that_is_tried_again_says_when_and_why(idle: Place, visit: Open) -> None:
    job_id = emptied(idle).submitted(name="again.wav", estimators="loudness")
    error = JobError("disk_full", "There is no room.", "Free some space.", retryable=True)
    idle.store.fail(claimed(idle, job_id), error, again=True)
    shown = said(visit(idle.service, "job", job=job_id))
    assert texts.STATUS["queued"] in shown
    assert "The last attempt failed; it is tried again in" in shown
    assert "There is no room." in shown and "Free some space." in shown


def test_a_job_that_would_only_fail_again_does_not_lead_to_trying(idle: Place, visit: Open) -> None:
    job_id = emptied(idle).submitted(name="never.wav", estimators="activity")
    idle.store.fail(claimed(idle, job_id), JobError("input_silent", "It is silent.", "", retryable=False))
    page = visit(idle.service, "job", job=job_id)
    assert texts.JOB_FAILED in said(page) and "It is silent." in said(page)
    assert button(page, texts.RETRY).proto.type == "secondary"
    assert texts.LISTEN not in said(page)


def test_a_cancelled_job_can_be_queued_again(idle: Place, visit: Open) -> None:
    job_id = emptied(idle).submitted(name="stopped.wav", estimators="spectrum")
    idle.store.request_cancel(job_id)
    page = visit(idle.service, "job", job=job_id)
    assert texts.JOB_CANCELLED in said(page)
    again = button(page, texts.RETRY)
    assert again.proto.type == "primary"
    again.click().run()
    assert texts.STATUS["queued"] in said(page)


def test_a_job_page_waits_for_a_service_that_has_gone_away(passing: Place, visit: Open) -> None:
    job_id = passing.submitted(name="left.wav")
    page = visit(passing.service, "job", job=job_id)
    assert "left.wav" in said(page)
    passing.service.kill()
    page.run()
    assert texts.UNREACHABLE_TITLE in said(page)
    passing.service.start()
    page.run()
    assert "left.wav" in said(page) and texts.UNREACHABLE_TITLE not in said(page)


def test_who_only_looks_cannot_cancel_or_delete(idle: Place, visit: Open) -> None:
    job_id = emptied(idle).submitted(key_of(idle, "her", owner="both"), "seen.wav", estimators="key")
    key = key_of(idle, "him", owner="both", scopes=["read"])
    page = visit(idle.service, "job", key, job=job_id)
    assert "seen.wav" in said(page)
    assert not page.button


def test_usage_without_a_quota_is_a_number(idle: Place, visit: Open) -> None:
    key = key_of(idle, "free")
    assert texts.USAGE_JOBS in said(visit(idle.service, "account", key))
    emptied(idle).submitted(key, "one.wav", estimators="key")
    assert f"{texts.USAGE_JOBS}: 1" in said(visit(idle.service, "jobs", key))


def test_the_overview_shows_the_queue_a_worker_and_the_disks(busy: Place, visit: Open) -> None:
    with closing(busy.service.client()) as http:
        ended(http, busy.submitted(name="whole.wav", estimators="key"))
    shown = said(visit(busy.service, "admin"))
    assert texts.READY in shown and texts.QUEUE_EMPTY in shown
    assert texts.WORKER_IDLE in shown and "stay free" in shown


def test_the_overview_says_why_the_service_takes_no_jobs(passing: Place, visit: Open) -> None:
    passing.submitted(name=HOSTILE)
    passing.folders.outputs.rename(passing.folders.outputs.with_name("elsewhere"))
    deadline = time.monotonic() + 60
    with closing(passing.service.client()) as http:
        while http.get("/readyz").status_code == 200:
            assert time.monotonic() < deadline
            time.sleep(0.05)
    shown = said(visit(passing.service, "admin"))
    assert texts.NOT_READY in shown and texts.REASONS["storage"] in shown
    assert texts.STATUS["queued"] in shown and "<b>" not in shown
    assert texts.WORKERS_NONE in shown


def test_the_audit_log_is_read_page_by_page(idle: Place, visit: Open) -> None:
    with closing(idle.service.client()) as http:
        for number in range(55):
            http.post("/admin/keys", json={"name": f"key {number}"})
    page = visit(idle.service, "admin")
    newest = entries(page)
    assert len(newest) == 50
    button(page, texts.AUDIT_OLDER).click().run()
    assert entries(page)[0] == newest[-1] - 1
    button(page, texts.AUDIT_NEWEST).click().run()
    assert entries(page)[0] >= newest[0]


def entries(page: AppTest) -> list[int]:
    """Numbers of the entries of the audit log that are shown."""
    (table,) = [one.proto.body for one in page.get("html") if f'aria-label="{texts.AUDIT}"' in one.proto.body]
    return [int(number) for number in re.findall(r"<tr><td><bdi>(\d+)</bdi>", table)]
