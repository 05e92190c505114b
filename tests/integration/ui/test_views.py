"""Each page in each of its states, as Streamlit draws it, against the real service."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest
from streamlit.testing.v1 import AppTest

from api.jobs.housekeeping import expire
from api.jobs.model import JobError
from api.jobs.retention import Policy
from tests.audio_files import music, write_wav
from tests.integration.ui.pages import HOSTILE, Open, Place, button, emptied, said
from tests.service import KEY, ended
from ui import texts


def test_without_a_key_one_is_asked_for_and_a_wrong_one_refused(
    idle: Place, visit: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = visit(idle.service, key="")
    page.text_input[0].set_value("no-such-key")
    button(page, texts.SIGN_IN).click()
    page.run()
    assert texts.SIGN_IN_REFUSED in said(page)
    page.text_input[0].set_value(KEY)
    button(page, texts.SIGN_IN).click()
    page.run()
    assert texts.SUBMIT_TITLE in said(page)


def test_a_key_that_was_revoked_meanwhile_is_told(idle: Place, visit: Open) -> None:
    with closing(idle.service.client()) as http:
        made = http.post("/admin/keys", json={"name": "short-lived"}).json()
        page = visit(idle.service, "jobs", made["key"])
        assert texts.HISTORY_EMPTY in said(page)
        http.delete(f"/admin/keys/{made['about']['id']}")
    page.run()
    assert texts.SIGN_IN_AGAIN in said(page)


@pytest.mark.parametrize("path", ["", "jobs", "job", "account", "admin"])
def test_every_page_says_when_the_service_does_not_answer(visit: Open, path: str) -> None:
    page = visit(None, path)
    assert texts.UNREACHABLE_TITLE in said(page)


def test_the_first_page_offers_models_with_quality_time_and_licence(idle: Place, visit: Open) -> None:
    page = visit(idle.service)
    models = page.radio[0]
    assert models.value == "hpss"
    assert len(models.options) == 3
    page.toggle(key="all_models").set_value(True).run()
    assert len(page.radio[0].options) == 7
    page.radio[0].set_value("htdemucs_6s").run()
    stems = next(group for group in page.button_group if group.label == texts.STEMS)
    assert {"guitar", "piano"} <= set(stems.value)
    assert "research use only" in said(page)


def test_a_key_that_may_only_look_submits_nothing(idle: Place, visit: Open) -> None:
    with closing(idle.service.client()) as http:
        key = http.post("/admin/keys", json={"name": "reader", "scopes": ["read"]}).json()["key"]
    assert texts.SUBMIT_FORBIDDEN in said(visit(idle.service, "", key))


def test_the_settings_of_the_ui_may_be_wrong(
    idle: Place, visit: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIPELINE_UI_NONSENSE", "1")
    assert texts.SETTINGS_WRONG in said(visit(idle.service))


@pytest.mark.parametrize("job", ["", "1", "../../etc", "5f0c2a52-0000-4000-8000-000000000001"])
def test_an_address_without_a_job_leads_on(idle: Place, visit: Open, job: str) -> None:
    page = visit(idle.service, "job", job=job)
    assert (texts.JOB_UNKNOWN if job else texts.JOB_NONE) in said(page)


def test_the_job_of_another_owner_is_unknown(idle: Place, visit: Open) -> None:
    with closing(idle.service.client()) as http:
        key = http.post("/admin/keys", json={"name": "stranger"}).json()["key"]
    mine = idle.submitted(name="mine.wav")
    assert "mine.wav" in said(visit(idle.service, "job", job=mine))
    other = said(visit(idle.service, "job", key, job=mine))
    assert texts.JOB_UNKNOWN in other and "mine.wav" not in other


def test_a_job_waits_runs_and_fails_in_plain_words(idle: Place, visit: Open) -> None:
    job_id = emptied(idle).submitted(name=HOSTILE, estimators="none")
    page = visit(idle.service, "job", job=job_id)
    assert texts.QUEUE_NEXT in said(page) and texts.STATUS["queued"] in said(page)
    assert "<b>" not in said(page) and "![x](http" in said(page)

    claim = idle.store.claim("the-test", 600)
    assert claim is not None and claim.job.id == job_id
    idle.store.beat(claim, 600, progress=0.42, stage="separate", eta_s=125.0)
    page.run()
    assert 'aria-valuenow="42"' in said(page)
    assert "About 2 min left" in said(page)
    assert texts.STAGES["separate"] in said(page)

    idle.store.fail(claim, JobError("tool_failed", "ffmpeg <b>crashed</b>.", "Try again.", retryable=True))
    page.run()
    assert texts.JOB_FAILED in said(page)
    assert "ffmpeg &lt;b&gt;crashed&lt;/b&gt;." in said(page)

    button(page, texts.RETRY).click().run()
    assert texts.STATUS["queued"] in said(page)


def test_before_a_job_is_cancelled_it_is_asked(idle: Place, visit: Open) -> None:
    job_id = idle.submitted(name="stop.wav", estimators="key")
    page = visit(idle.service, "job", job=job_id)
    button(page, texts.CANCEL).click().run()
    assert texts.CANCEL_WHAT in said(page)
    assert button(page, texts.CANCEL_YES)  # tests/browser presses it: AppTest cannot, in a dialog
    job = idle.store.get(job_id)
    assert job is not None and job.status == "queued"


def test_a_finished_job_shows_what_was_found_and_after_expiry_still_does(busy: Place, visit: Open) -> None:
    job_id = busy.submitted(name=HOSTILE)
    with closing(busy.service.client()) as http:
        assert ended(http, job_id)["status"] == "succeeded"
        manifest = http.get(f"/jobs/{job_id}/manifest").json()
    page = visit(busy.service, "job", job=job_id)
    shown = said(page)
    assert texts.STATUS["succeeded"] in shown and "<b>" not in shown
    assert f"{manifest['analysis']['loudness']['integrated_lufs']:.1f}" in shown
    assert manifest["analysis"]["key"]["tonic"] in shown
    assert len(page.get("plotly_chart")) == 3
    assert texts.DOWNLOADS in shown

    expire(busy.store, busy.folders, Policy(timedelta(0)), datetime.now(UTC) + timedelta(days=1))
    expired = said(visit(busy.service, "job", job=job_id))
    assert texts.JOB_EXPIRED in expired
    assert manifest["analysis"]["key"]["tonic"] in expired
    assert texts.DOWNLOADS not in expired


def test_a_finished_job_leads_to_others_that_sound_like_it(busy: Place, visit: Open) -> None:
    first = busy.submitted(name=HOSTILE, model="hpss", estimators="sound")
    with closing(busy.service.client()) as http:
        assert ended(http, first)["status"] == "succeeded"
        again = busy.submitted(name="again.wav", model="hpss", estimators="sound,spectrum")
        assert ended(http, again)["status"] == "succeeded"
    alike = said(visit(busy.service, "job", job=again))
    assert texts.SIMILAR in alike
    # Two seconds are too short to be sure that it is the same.
    assert texts.SIMILAR_ALIKE.partition("}")[2] in alike
    assert "![x](http" in alike and "<b>" not in alike


def test_a_job_without_analysis_says_so(busy: Place, visit: Open) -> None:
    job_id = busy.submitted(name="bare.wav", estimators="none")
    with closing(busy.service.client()) as http:
        ended(http, job_id)
    assert said(visit(busy.service, "job", job=job_id)).count(texts.NOT_ASKED) == 3


def test_before_a_job_is_deleted_it_is_said_what_goes(busy: Place, visit: Open) -> None:
    job_id = busy.submitted(name="old.wav", estimators="tempo")
    with closing(busy.service.client()) as http:
        ended(http, job_id)
        page = visit(busy.service, "jobs")
        page.button(key=f"delete-{job_id}").click().run()
        assert texts.DELETE_WHAT in said(page)
        assert http.get(f"/jobs/{job_id}").status_code == 200
        http.delete(f"/jobs/{job_id}")
    assert texts.JOB_DELETED in said(visit(busy.service, "job", job=job_id))


def test_jobs_are_searched_filtered_sorted_and_paged(idle: Place, visit: Open) -> None:
    with closing(idle.service.client()) as http:
        key = http.post("/admin/keys", json={"name": "collector"}).json()["key"]
    assert texts.HISTORY_EMPTY in said(visit(idle.service, "jobs", key))
    names = [f"take {n:02d}.wav" for n in range(23)]
    for n, name in enumerate(names):
        # Each a recording of its own: equal ones are one job.
        write_wav(idle.song, music(0.2 + n / 100))
        idle.submitted(key, name)
    page = visit(idle.service, "jobs", key)
    assert shown_of(page, names) == names[:2:-1]
    button(page, texts.PAGE_NEXT).click().run()
    assert shown_of(page, names) == names[2::-1]
    button(page, texts.PAGE_BACK).click().run()
    assert shown_of(page, names) == names[:2:-1]
    page.selectbox(key="order").set_value("name").run()
    assert shown_of(page, names) == names[:20]
    page.text_input(key="search").set_value("take 2").run()
    assert shown_of(page, names) == names[20:]
    page.text_input(key="search").set_value("nothing like it").run()
    assert texts.HISTORY_NO_MATCH in said(page)


def shown_of(page: AppTest, names: list[str]) -> list[str]:
    html = [element.proto.body for element in page.get("html")]
    return [name for body in html for name in names if f"<strong><bdi>{name}</bdi>" in body]


def test_usage_is_shown_against_the_quota(idle: Place, visit: Open) -> None:
    with closing(idle.service.client()) as http:
        wanted = {"name": "measured", "jobs_per_day": 4, "audio_s_per_month": 600}
        key = http.post("/admin/keys", json=wanted).json()["key"]
    shown = said(visit(idle.service, "account", key))
    assert "0 of 4" in shown and "0 of 10" in shown
    assert "measured" in shown


def test_the_admin_page_makes_a_key_and_shows_it_once(idle: Place, visit: Open) -> None:
    page = visit(idle.service, "admin")
    assert texts.WORKERS_NONE in said(page)
    next(one for one in page.text_input if one.label == texts.KEY_NAME).set_value("from the page")
    button(page, texts.KEY_NEW).click().run()
    (shown,) = page.code
    with closing(idle.service.client(shown.value)) as hers:
        assert hers.get("/usage").json()["owner"] == "from the page"
    button(page, texts.KEY_SEEN).click().run()
    assert not page.code and shown.value not in said(page)
    with closing(idle.service.client()) as http:
        (key_id,) = [k["id"] for k in http.get("/admin/keys").json() if k["name"] == "from the page"]
    page.button(key=f"revoke-{key_id}").click().run()
    assert texts.REVOKE_WHAT in said(page)


def test_the_audit_log_is_shown_and_verified(idle: Place, visit: Open) -> None:
    page = visit(idle.service, "admin")
    assert "key.create" in said(page)
    button(page, texts.AUDIT_VERIFY).click().run()
    assert "entries are intact" in said(page)


def test_the_admin_page_needs_its_scope(idle: Place, visit: Open) -> None:
    with closing(idle.service.client()) as http:
        key = http.post("/admin/keys", json={"name": "plain"}).json()["key"]
    # The address leads to the first page: for this key there is no other.
    assert texts.ADMIN_TITLE not in said(visit(idle.service, "admin", key))
