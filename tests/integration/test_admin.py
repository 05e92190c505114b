"""What an administrator does over HTTP, against the real service."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest
from sqlalchemy import text

from api.database import open_database
from tests.audio_files import music, write_wav
from tests.service import KEY, Service, ended, submit


def made(http: httpx.Client, **wanted: Any) -> dict[str, Any]:
    answer = http.post("/admin/keys", json={"name": "ann", **wanted})
    assert answer.status_code == 201, answer.text
    body: dict[str, Any] = answer.json()
    return body


def test_a_key_works_until_it_is_revoked_and_is_never_shown_again(
    service: Service, http: httpx.Client
) -> None:
    new = made(http, owner="studio", jobs_per_day=5, audio_s_per_month=600)
    with closing(service.client(new["key"])) as hers:
        usage = hers.get("/usage").json()
        assert (usage["owner"], usage["scopes"], usage["jobs_per_day"]) == ("studio", ["read", "submit"], 5)
        listed = http.get("/admin/keys").text
        assert new["about"]["id"] in listed
        assert new["key"] not in listed and KEY not in listed
        gone = http.delete(f"/admin/keys/{new['about']['id']}")
        assert (gone.status_code, gone.json()["state"]) == (200, "revoked")
        assert hers.get("/usage").status_code == 403


def test_a_key_makes_none_that_may_do_more_than_itself(service: Service, http: httpx.Client) -> None:
    limited = made(http, name="limited", scopes=["admin", "read"])
    with closing(service.client(limited["key"])) as admin:
        refused = admin.post("/admin/keys", json={"name": "more", "scopes": ["submit"]})
        assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")
        ranked = admin.post("/admin/keys", json={"name": "more", "scopes": ["read"], "max_priority": 9})
        assert ranked.status_code == 403
        assert admin.post("/admin/keys", json={"name": "equal", "scopes": ["read"]}).status_code == 201


def test_nobody_shuts_himself_out(http: httpx.Client) -> None:
    limited = made(http, name="lonely", scopes=["admin"])
    own = httpx.Client(base_url=http.base_url, headers={"X-API-Key": limited["key"]})
    with closing(own):
        refused = own.delete(f"/admin/keys/{limited['about']['id']}")
        assert (refused.status_code, refused.json()["code"]) == (409, "conflict")
        assert own.get("/admin/queue").status_code == 200


@pytest.mark.parametrize(
    "wanted",
    [{"name": "a/b"}, {"name": ""}, {"name": "x", "scopes": []}, {"name": "x", "scopes": ["fly"]},
     {"name": "x", "expires_days": -1}, {"name": "x", "owner": "<b>"}],
)  # fmt: skip
def test_a_key_that_makes_no_sense_is_refused(http: httpx.Client, wanted: dict[str, Any]) -> None:
    assert http.post("/admin/keys", json=wanted).status_code == 422


def test_an_ordinary_key_sees_nothing_of_it(service: Service, http: httpx.Client) -> None:
    plain = made(http, name="plain")
    with closing(service.client(plain["key"])) as hers:
        for path in ("keys", "queue", "disks", "audit", "audit/verify"):
            assert hers.get(f"/admin/{path}").status_code == 403, path


def test_the_log_holds_what_was_done_and_no_key(http: httpx.Client) -> None:
    new = made(http, name="logged")
    http.delete(f"/admin/keys/{new['about']['id']}")
    revoked, created = http.get("/admin/audit", params={"limit": 2}).json()
    assert (created["action"], created["status"]) == ("key.create", "done")
    assert created["input"] == "logged for logged: read,submit"
    assert (revoked["action"], revoked["input"]) == ("key.revoke", new["about"]["id"])
    older = http.get("/admin/audit", params={"limit": 1, "before": created["seq"]}).json()
    assert older[0]["seq"] == created["seq"] - 1
    assert new["key"] not in http.get("/admin/audit", params={"limit": 500}).text


def test_the_queue_shows_the_jobs_of_every_owner_in_order(tmp_path: Path) -> None:
    song = write_wav(tmp_path / "song.wav", music(1.0))
    folder = tmp_path / "data"
    folder.mkdir()
    with Service(folder, PIPELINE_WORKERS="0") as service, closing(service.client()) as http:
        other = made(http, name="bea")
        with closing(service.client(other["key"])) as hers:
            first = submit(http, song).json()["id"]
            second = submit(hers, song).json()["id"]
        queued = http.get("/admin/queue").json()
        assert [(entry["owner"], entry["job"]["id"]) for entry in queued] == [
            ("default", first),
            ("bea", second),
        ]
        assert [entry["job"]["queue_position"] for entry in queued] == [0, 1]


def test_each_disk_is_counted_once(http: httpx.Client) -> None:
    disks = http.get("/admin/disks").json()
    assert [disk["holds"] for disk in disks] == [["data", "uploads", "outputs", "downloads", "logs"]]
    assert 0 < disks[0]["free_bytes"] <= disks[0]["bytes"]
    assert disks[0]["reserve_bytes"] == 1 << 20


def test_a_log_that_was_tampered_with_is_found(tmp_path: Path) -> None:
    song = write_wav(tmp_path / "song.wav", music(1.0))
    folder = tmp_path / "data"
    folder.mkdir()
    with Service(folder) as service, closing(service.client()) as http:
        ended(http, submit(http, song).json()["id"])
        whole = http.get("/admin/audit/verify").json()
        assert (whole["broken_at"], whole["reason"]) == (None, "")
        engine = open_database(f"sqlite:///{folder / 'pipeline.db'}")
        with engine.begin() as connection:
            connection.execute(text("DROP TRIGGER audit_log_no_update"))
            connection.execute(text("UPDATE audit_log SET user = 'somebody' WHERE seq = 1"))
        engine.dispose()
        broken = http.get("/admin/audit/verify").json()
        assert (broken["broken_at"], broken["reason"]) == (1, "it was changed")


def test_a_hold_keeps_a_job_and_an_erasure_answers_with_a_receipt(http: httpx.Client, tmp_path: Path) -> None:
    path = write_wav(tmp_path / "held.wav", music(0.5, seed=99))
    job = submit(http, path, estimators="none", subject="anna").json()
    assert ended(http, job["id"])["status"] == "succeeded"
    hold = http.post("/admin/holds", json={"kind": "owner", "target": "default", "reason": "case 12"})
    assert hold.status_code == 201 and hold.json() in http.get("/admin/holds").json()
    wanted = {"by": "subject", "value": "anna"}
    refused = http.post("/admin/erasures", json=wanted)
    assert (refused.status_code, refused.json()["code"]) == (409, "legal_hold")
    assert http.delete(f"/admin/holds/{hold.json()['id']}").json()["released_at"]
    assert http.get("/admin/holds").json() == []
    receipt = http.post("/admin/erasures", json=wanted)
    assert (receipt.status_code, receipt.json()["jobs"]) == (201, [job["id"]])
    assert http.get(f"/jobs/{job['id']}").status_code == 410
    assert http.post("/admin/erasures", json=wanted).status_code == 404
    assert http.get("/admin/audit/verify").json()["broken_at"] is None
