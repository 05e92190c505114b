"""The service as its users meet it: a real process, real HTTP, real jobs."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import sys
import time
import uuid
import zipfile
from collections.abc import Iterator
from pathlib import Path

import httpx2 as httpx
import pytest

from api.security.access import check_every_route_has_a_scope
from pipeline.manifest import Manifest
from pipeline.verify import verify_job
from tests.audio_files import music, write_wav
from tests.service import KEY, Service, ended, submit

NOBODY_S = "5f0c2a52-0000-4000-8000-000000000001"


def test_a_submission_is_accepted_with_its_place(http: httpx.Client, tmp_path: Path) -> None:
    answer = submit(http, write_wav(tmp_path / "a.wav", music(1.0, seed=1)), metadata='{"album": "x"}')
    job = answer.json()
    assert answer.status_code == 202
    assert answer.headers["Location"] == f"/jobs/{job['id']}"
    assert int(answer.headers["Retry-After"]) >= 1
    assert (job["filename"], job["metadata"]) == ("a.wav", {"album": "x"})
    assert ended(http, job["id"])["status"] == "succeeded"


def test_a_finished_job_has_what_it_promises(
    service: Service, http: httpx.Client, finished: str, song: Path
) -> None:
    job = http.get(f"/jobs/{finished}").json()
    assert (job["status"], job["progress"]) == ("succeeded", 1.0)
    assert [stage["status"] for stage in job["stages"]] == ["succeeded"] * 6
    manifest = Manifest.model_validate_json(http.get(job["links"]["manifest"]).content)
    assert manifest.input.sha256 == hashlib.sha256(song.read_bytes()).hexdigest()
    assert manifest.input.filename == "my song.wav"
    assert verify_job(service.folder / "outputs" / finished) == []


def test_stems_are_served_with_ranges_tags_and_types(http: httpx.Client, finished: str) -> None:
    whole = http.get(f"/jobs/{finished}/stems/vocals")
    artifact = http.get(f"/jobs/{finished}/manifest").json()["artifacts"][0]
    assert hashlib.sha256(whole.content).hexdigest() == artifact["sha256"]
    assert whole.headers["Content-Type"] == "audio/flac"
    assert "my%20song%20-%20vocals.flac" in whole.headers["Content-Disposition"]
    part = http.get(f"/jobs/{finished}/stems/vocals.flac", headers={"Range": "bytes=100-199"})
    assert (part.status_code, part.content) == (206, whole.content[100:200])
    head = http.head(f"/jobs/{finished}/stems/vocals")
    assert (head.status_code, head.content) == (200, b"")
    assert int(head.headers["Content-Length"]) == len(whole.content)
    again = http.get(f"/jobs/{finished}/stems/vocals", headers={"If-None-Match": whole.headers["ETag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert http.get(f"/jobs/{finished}/stems/piano").status_code == 404


def test_what_can_be_served_of_a_range_is_and_the_rest_is_a_problem(
    http: httpx.Client, finished: str
) -> None:
    path, whole = f"/jobs/{finished}/stems/vocals", http.get(f"/jobs/{finished}/stems/vocals")
    size, etag = len(whole.content), whole.headers["ETag"]

    def ask(value: str, **headers: str) -> httpx.Response:
        return http.get(path, headers={"Range": value, **headers})

    assert ask("bytes=-10").content == whole.content[-10:]
    assert ask(f"bytes=0-9,{size}-").content == whole.content[:10]
    several = ask("bytes=0-9,20-29")
    assert (several.status_code, several.headers["Content-Type"][:21]) == (206, "multipart/byteranges;")
    behind = ask(f"bytes={size}-")
    assert (behind.status_code, behind.json()["code"]) == (416, "range_not_satisfiable")
    assert behind.headers["Content-Range"] == f"bytes */{size}"
    for nonsense in ("bytes=9-0", "bytes=a-b", "samples=0-9", "bytes"):
        assert (ask(nonsense).status_code, ask(nonsense).content) == (200, whole.content)
    assert ask("bytes=0-9", **{"If-Range": etag}).content == whole.content[:10]
    assert ask(f"bytes={size}-", **{"If-Range": '"another"'}).content == whole.content
    assert http.get(path, headers={"If-None-Match": "*"}).status_code == 304
    manifest = http.get(f"/jobs/{finished}/manifest")
    known = {"If-None-Match": manifest.headers["ETag"]}
    assert http.get(f"/jobs/{finished}/manifest", headers=known).status_code == 304


def test_a_job_that_has_ended_cannot_be_stopped(http: httpx.Client, finished: str) -> None:
    answer = http.post(f"/jobs/{finished}/cancel")
    assert (answer.status_code, answer.json()["code"]) == (409, "conflict")


def test_an_id_that_none_can_be_is_unknown(http: httpx.Client) -> None:
    for path in ("/jobs/nothing", "/jobs/nothing/manifest", "/uploads/nothing"):
        answer = http.get(path)
        assert (answer.status_code, answer.headers["Content-Type"]) == (404, "application/problem+json")


def test_the_archive_is_a_zip_of_everything(http: httpx.Client, finished: str) -> None:
    with zipfile.ZipFile(io.BytesIO(http.get(f"/jobs/{finished}/archive").content)) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == ["manifest.json", "stems/vocals.flac", "stems/no_vocals.flac"]


def test_peaks_draw_the_waveform_of_every_stem(http: httpx.Client, finished: str) -> None:
    first, second = (http.get(f"/jobs/{finished}/peaks?buckets=100").json() for _ in range(2))
    assert first == second
    assert [p["name"] for p in first] == ["vocals", "no_vocals"]
    for peaks in first:
        assert len(peaks["data"]) == 2 * -(-peaks["samples"] // peaks["samples_per_bucket"])
        assert max(peaks["data"]) > 5


def test_events_tell_the_whole_story_and_can_be_taken_up(http: httpx.Client, finished: str) -> None:
    told = list(events(http, finished))
    assert told[0][1] == "queued"
    assert told[-1][1] == "succeeded"
    ids = [event_id for event_id, _, _ in told]
    assert ids == sorted(ids)
    later = list(events(http, finished, after=ids[0]))
    assert later == told[1:]


def events(http: httpx.Client, job_id: str, after: int | None = None) -> Iterator[tuple[int, str, dict]]:
    headers = {} if after is None else {"Last-Event-ID": str(after)}
    fields: dict[str, str] = {}
    with http.stream("GET", f"/jobs/{job_id}/events", headers=headers) as answer:
        assert answer.headers["X-Accel-Buffering"] == "no"
        for line in answer.iter_lines():
            name, _, value = line.partition(": ")
            if name in ("id", "event", "data"):
                fields[name] = value
            elif not line and fields:
                yield int(fields["id"]), fields["event"], json.loads(fields["data"])
                fields = {}


def test_bad_input_is_refused_at_the_door(http: httpx.Client, tmp_path: Path) -> None:
    page = tmp_path / "song.mp3"
    page.write_bytes(b"<!DOCTYPE html><html></html>")
    answer = submit(http, page)
    assert answer.headers["Content-Type"] == "application/problem+json"
    problem = answer.json()
    assert (problem["code"], problem["status"]) == ("input_is_web_page", answer.status_code)
    assert problem["hint"]
    assert problem["request_id"] == answer.headers["X-Request-ID"]


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"model": "nope"}, "model_unknown"),
        ({"stems": "piano"}, "stem_unknown"),
        ({"formats": "wma"}, "format_unsupported"),
        ({"estimators": "mood"}, "estimator_unknown"),
        ({"exports": "csv,doc"}, "export_unknown"),
        ({"overlap": "2"}, "invalid_request"),
        ({"colour": "red"}, "invalid_request"),
        ({"metadata": "[1]"}, "invalid_request"),
        ({"commercial_only": "true", "model": "htdemucs"}, "licence_refused"),
    ],
)
def test_bad_options_are_refused_at_the_door(
    http: httpx.Client, song: Path, fields: dict[str, str], code: str
) -> None:
    answer = submit(http, song, **fields)
    assert answer.json()["code"] == code
    assert 400 <= answer.status_code < 500


def test_what_goes_wrong_with_curl_is_told_in_words(http: httpx.Client) -> None:
    forgotten = http.post("/process", files={"file": (None, "song.mp3")}).json()
    assert "text, not a file" in forgotten["detail"] and "@" in forgotten["hint"]
    metadata = http.post("/process", files={"file": ("a.wav", b"x"), "metadata": (None, "x")}).json()
    assert metadata["detail"] == "The field metadata: should be a JSON object."


def test_a_body_that_is_no_form_is_refused(http: httpx.Client) -> None:
    assert http.post("/process", content=b"x", headers={"Content-Type": "audio/mpeg"}).status_code == 415
    assert http.post("/process", data={"model": "hpss"}, files={"other": b"x"}).status_code in (400, 422)


def test_nothing_is_left_of_refused_uploads(service: Service, http: httpx.Client, tmp_path: Path) -> None:
    bad = tmp_path / "bad.wav"
    bad.write_bytes(b"RIFF")
    submit(http, bad)
    assert not list((service.folder / "uploads").glob(".incoming-*"))


def test_the_same_request_with_one_idempotency_key_is_one_job(http: httpx.Client, tmp_path: Path) -> None:
    source = write_wav(tmp_path / "i.wav", music(1.0, seed=9))
    headers = {"Idempotency-Key": str(uuid.uuid4())}
    first, second = submit(http, source, headers), submit(http, source, headers)
    assert first.json()["id"] == second.json()["id"]
    other = submit(http, source, headers, stems="bass")
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_mismatch")


def test_the_same_audio_with_the_same_options_is_not_computed_twice(
    http: httpx.Client, finished: str, song: Path
) -> None:
    again = submit(http, song, stems="vocals,no_vocals")
    assert (again.status_code, again.json()["id"]) == (200, finished)
    assert submit(http, song, stems="bass").json()["id"] != finished


def test_jobs_are_listed_in_pages_and_filtered(http: httpx.Client, tmp_path: Path) -> None:
    for seed in range(20, 23):
        job_id = submit(http, write_wav(tmp_path / f"page {seed}.wav", music(0.5, seed=seed))).json()["id"]
        ended(http, job_id)
    wanted = {"q": "page 2", "status": "succeeded"}
    first = http.get("/jobs", params={**wanted, "limit": 2}).json()
    rest = http.get("/jobs", params={**wanted, "limit": 2, "cursor": first["next_cursor"]}).json()
    names = [job["filename"] for page in (first, rest) for job in page["jobs"]]
    assert names == ["page 22.wav", "page 21.wav", "page 20.wav"]
    assert rest["next_cursor"] is None


def test_a_job_can_be_cancelled_retried_and_deleted(
    service: Service, http: httpx.Client, tmp_path: Path
) -> None:
    job_id = submit(http, write_wav(tmp_path / "long.wav", music(90.0))).json()["id"]
    assert http.delete(f"/jobs/{job_id}").status_code == 409
    assert http.post(f"/jobs/{job_id}/cancel").status_code == 202
    assert ended(http, job_id)["status"] == "cancelled"
    assert http.get(f"/jobs/{job_id}/manifest").status_code == 404
    assert http.post(f"/jobs/{job_id}/retry").status_code == 202
    assert http.post(f"/jobs/{job_id}/cancel").status_code == 202
    assert ended(http, job_id)["status"] == "cancelled"
    assert http.delete(f"/jobs/{job_id}").status_code == 204
    assert http.get(f"/jobs/{job_id}").status_code == 410
    listed = http.get("/jobs?limit=200").json()["jobs"]
    assert listed and job_id not in [job["id"] for job in listed]
    assert job_id in [job["id"] for job in http.get("/jobs?status=erased").json()["jobs"]]
    assert not (service.folder / "uploads" / job_id).exists()
    assert not (service.folder / "peaks" / job_id).exists()


@pytest.mark.parametrize(
    "path", ["/jobs", f"/jobs/{NOBODY_S}", "/models", "/metrics", f"/jobs/{NOBODY_S}/stems/vocals"]
)
def test_nothing_is_shown_without_a_key(service: Service, path: str) -> None:
    with service.client(None) as nobody, service.client("wrong-key-wrong-key") as stranger:
        assert nobody.get(path).status_code == 401
        assert stranger.get(path).status_code == 403


def test_an_owner_sees_only_its_own_jobs(service: Service, finished: str) -> None:
    said = subprocess.run(
        [sys.executable, "-m", "api", "keys", "create", "neighbour"],
        env=service.environment, cwd=service.folder, capture_output=True, text=True, check=True,
    )  # fmt: skip
    key = next(word for word in said.stdout.split() if word.startswith("ap_"))
    with service.client(key) as neighbour:
        assert neighbour.get("/jobs").json()["jobs"] == []
        assert neighbour.get(f"/jobs/{finished}").status_code == 404
        assert neighbour.get(f"/jobs/{finished}/stems/vocals").status_code == 404
        assert neighbour.delete(f"/jobs/{finished}").status_code == 404


def test_the_audit_log_tells_who_had_what_done_and_how_it_ended(service: Service, finished: str) -> None:
    def audit(*arguments: str) -> str:
        return subprocess.run(
            [sys.executable, "-m", "api", "audit", *arguments],
            env=service.environment, cwd=service.folder, capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip

    entries = [json.loads(line) for line in audit("export").splitlines()]
    told = {entry["action"]: entry for entry in entries if entry["job_id"] == finished}
    assert {"process", "job.end"} <= told.keys()
    assert (told["process"]["user"], told["process"]["input"]) == ("default", "my song.wav")
    assert told["job.end"]["status"] == "succeeded"
    audit("verify")


def test_a_quota_is_counted_and_kept(service: Service, tmp_path: Path) -> None:
    said = subprocess.run(
        [sys.executable, "-m", "api", "keys", "create", "guest", "--quota", "jobs=1"],
        env=service.environment, cwd=service.folder, capture_output=True, text=True, check=True,
    )  # fmt: skip
    key = next(word for word in said.stdout.split() if word.startswith("ap_"))
    with service.client(key) as guest:
        first = submit(guest, write_wav(tmp_path / "a.wav", music(1.0, seed=31)))
        assert first.status_code == 202
        second = submit(guest, write_wav(tmp_path / "b.wav", music(1.0, seed=32)))
        assert (second.status_code, second.json()["code"]) == (429, "quota_exceeded")
        assert int(second.headers["Retry-After"]) > 0
        used = guest.get("/usage").json()
    assert (used["owner"], used["jobs_last_day"], used["jobs_per_day"]) == ("guest", 1, 1)
    assert used["audio_s_last_month"] == pytest.approx(1.0)


def test_the_cost_of_a_job_is_told_before_it_is_submitted(http: httpx.Client, finished: str) -> None:
    short = http.post("/estimate", json={"duration_s": 60}).json()
    long = http.post("/estimate", json={"duration_s": 600, "options": {"formats": ["wav"]}}).json()
    assert short["measured"]
    assert long["seconds"] > short["seconds"] > 0
    assert long["result_bytes"] > 10 * short["result_bytes"]
    assert not http.post("/estimate", json={"duration_s": 60, "options": {"model": "htdemucs"}}).json()[
        "measured"
    ]
    assert http.post("/estimate", json={"duration_s": -1}).status_code == 422
    unknown = http.post("/estimate", json={"duration_s": 60, "options": {"model": "nope"}})
    assert unknown.json()["code"] == "model_unknown"


def test_a_ticket_opens_one_job_for_a_player_and_nothing_else(
    service: Service, http: httpx.Client, finished: str
) -> None:
    made = http.post("/tickets", json={"path": f"/jobs/{finished}", "expires_s": 60}).json()
    ticket = {"ticket": made["ticket"]}
    with service.client(None) as player:
        opened = player.get(f"/jobs/{finished}/stems/vocals", params={**ticket, "inline": "true"})
        assert opened.status_code == 200
        assert opened.headers["Content-Disposition"].startswith("inline")
        assert player.get("/jobs", params=ticket).status_code == 401
        assert player.get(f"/jobs/{uuid.uuid4()}/stems/x", params=ticket).status_code == 403


def test_every_route_needs_a_scope_or_is_named_public(tmp_path: Path) -> None:
    from api.app import create_app
    from api.settings_load import load_settings

    app = create_app(load_settings({"DATA_DIR": str(tmp_path), "API_KEY": KEY}))
    assert check_every_route_has_a_scope(app) == []


def test_prometheus_can_read_the_metrics(http: httpx.Client, finished: str) -> None:
    deadline = time.monotonic() + 20
    while True:
        answer = http.get("/metrics")
        lines = answer.text.splitlines()
        counted = [line for line in lines if line.startswith('audio_processing_total{status="succeeded"}')]
        if float(counted[0].split()[-1]) >= 1:
            break
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert answer.headers["Content-Type"].startswith("text/plain")
    for name in (
        "audio_processing_seconds_bucket",
        "audio_queue_depth",
        "audio_disk_free_bytes",
        "http_request_seconds",
    ):
        assert any(line.startswith(name) for line in lines), name
    assert finished not in answer.text


def test_health_readiness_and_liveness_are_public(service: Service) -> None:
    with service.client(None) as nobody:
        assert nobody.get("/livez").json() == {"status": "ok"}
        assert nobody.get("/readyz").json()["ready"] is True
        assert nobody.get("/health").json()["status"] == "ok"
        assert nobody.get("/openapi.json").status_code == 200
        assert nobody.get("/docs").status_code == 200
