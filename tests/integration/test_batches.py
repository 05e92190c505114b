"""Batches at the real service: recordings from a real server, uploads and the import folder."""

from __future__ import annotations

import io
import json
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest

from tests.audio_files import music, write_wav
from tests.https_server import HttpsServer, head, whole
from tests.service import KEY, Service, ended, submit
from tests.tus import begun, patch


@pytest.fixture(scope="module")
def songs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The import folder."""
    folder = tmp_path_factory.mktemp("songs")
    for number in range(4):
        write_wav(folder / f"{number}.wav", music(0.5, seed=number))
    (folder / "album").mkdir()
    write_wav(folder / "album" / "one.wav", music(0.5, seed=8))
    write_wav(folder / "album" / "two.wav", music(0.5, seed=9))
    (folder / "album" / "notes.txt").write_text("no music")
    return folder


@pytest.fixture(scope="module")
def server(songs: Path) -> Iterator[HttpsServer]:
    with HttpsServer() as running:
        for number in range(4):
            running.answers[f"/{number}.wav"] = whole((songs / f"{number}.wav").read_bytes())
        running.answers["/text"] = whole(b"This is no music.")
        running.answers["/gone"] = lambda: [head("404 Not Found", content_length="0")]
        yield running


@pytest.fixture(scope="module")
def service(server: HttpsServer, songs: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("service")
    server.authority.cert_pem.write_to_path(folder / "ca.pem")
    with Service(
        folder,
        SSL_CERT_FILE=str(folder / "ca.pem"),
        PIPELINE_URL_INGEST="on",
        PIPELINE_URL_HOSTS="localhost",
        PIPELINE_OUTBOUND_NETWORKS="127.0.0.0/8, ::1",
        PIPELINE_IMPORT_DIR=str(songs),
        PIPELINE_BATCH_ITEMS="20",
    ) as running:
        yield running


def finished(http: httpx.Client, batch_id: str, within_s: float = 280) -> dict[str, Any]:
    deadline = time.monotonic() + within_s
    while not (batch := http.get(f"/batches/{batch_id}").json())["ended"]:
        assert time.monotonic() < deadline, batch
        time.sleep(0.1)
    return batch


def column(batch: dict[str, Any], name: str) -> list[Any]:
    return [item[name] for item in batch["items"]]


def errors(batch: dict[str, Any]) -> list[str | None]:
    return [error and error["code"] for error in column(batch, "error")]


def test_one_call_submits_many_recordings_and_bad_ones_harm_no_other(
    http: httpx.Client, service: Service, server: HttpsServer, songs: Path
) -> None:
    content = (songs / "3.wav").read_bytes()
    place = begun(http, len(content))
    patch(http, place, 0, content)
    items = [
        {"url": server.url("/0.wav?canary=1", host="localhost")},
        {"upload_id": place.rpartition("/")[2], "stems": ["drums"], "metadata": {"no": 2}},
        {"path": "1.wav"},
        {"path": "album"},
        {"url": server.url("/text", host="localhost")},
        {"url": "http://localhost/plain.wav"},
        {"path": "../../etc/passwd"},
        {"upload_id": "5f0c2a52-0000-4000-8000-000000000001"},
        {"path": "1.wav", "stems": ["kazoo"]},
        {"path": "1.wav", "url": "https://localhost/0.wav"},
        {"path": "1.wav", "shifts": "many"},
    ]
    said = {"items": items, "stems": ["vocals"], "estimators": [], "metadata": {"album": "x"}}
    answer = http.post("/batches", json=said)
    assert answer.status_code == 202, answer.text
    batch = answer.json()
    assert answer.headers["Location"] == f"/batches/{batch['id']}"
    # What needs no look at a recording is refused at once, a line each; a folder has become two.
    assert errors(batch)[6:] == [
        "url_refused", "invalid_request", "upload_unknown",
        "stem_unknown", "invalid_request", "invalid_request",
    ]  # fmt: skip
    batch = finished(http, batch["id"])
    assert column(batch, "status") == ["succeeded"] * 5 + ["refused"] * 7
    assert errors(batch)[5] == "input_not_audio"
    assert column(batch, "filename")[:5] == ["0.wav", "song.wav", "1.wav", "one.wav", "two.wav"]
    assert batch["items"][0]["source"] == "https://localhost/0.wav"
    assert (batch["total"], batch["progress"]) == (12, 1.0)
    assert batch["counts"] == {"succeeded": 5, "refused": 7}
    jobs = [http.get(f"/jobs/{job_id}").json() for job_id in column(batch, "job_id")[:3]]
    assert [job["options"]["stems"] for job in jobs] == [["vocals"], ["drums"], ["vocals"]]
    assert [job["metadata"] for job in jobs] == [{"album": "x"}, {"no": 2}, {"album": "x"}]
    # The upload is used up, the import folder is as it was, and nothing is left on the way.
    assert http.head(place, headers={"Tus-Resumable": "1.0.0"}).status_code == 404
    assert (songs / "1.wav").is_file()
    assert not list((service.folder / "uploads").glob(".incoming-*"))
    assert not [
        path for path in service.folder.rglob("*") if path.is_file() and b"canary" in path.read_bytes()
    ]


def test_everything_of_a_batch_is_fetched_as_one_zip(http: httpx.Client) -> None:
    batch = http.post("/batches?wait=60", json={"items": [{"path": "album"}, {"path": "3.wav"}]}).json()
    assert all(column(batch, "job_id"))
    finished(http, batch["id"])
    with zipfile.ZipFile(io.BytesIO(http.get(f"/batches/{batch['id']}/archive").content)) as archive:
        assert archive.testzip() is None
        folders = sorted({name.partition("/")[0] for name in archive.namelist()})
        assert folders == ["0001 one", "0002 two", "0003 3"]
        assert "0003 3/manifest.json" in archive.namelist()
        assert "0003 3/stems/vocals.flac" in archive.namelist()


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("audio/x-mpegurl", "#EXTM3U\n#EXTINF:1,One\n{0}\n{1}\n"),
        ("audio/x-scpls", "[playlist]\nFile1={0}\nFile2={1}\n"),
        (
            "application/xspf+xml",
            '<playlist xmlns="http://xspf.org/ns/0/"><trackList><track><location>{0}</location></track>'
            "<track><location>{1}</location></track></trackList></playlist>",
        ),
        ("text/csv; charset=utf-8", 'url,stems\n{0},"vocals,bass"\n{1},\n'),
    ],
)
def test_lists_of_other_programs_are_batches(
    http: httpx.Client, server: HttpsServer, kind: str, text: str
) -> None:
    urls = [server.url(f"/{number}.wav", host="localhost") for number in (0, 1)]
    answer = http.post(
        "/batches?wait=60&stems=drums,bass&estimators=none",
        content=text.format(*urls),
        headers={"Content-Type": kind},
    )
    assert answer.status_code == 202, answer.text
    batch = finished(http, answer.json()["id"])
    assert column(batch, "status") == ["succeeded"] * 2
    options = [http.get(f"/jobs/{job_id}").json()["options"]["stems"] for job_id in column(batch, "job_id")]
    assert options == [["vocals", "bass"] if "csv" in kind else ["drums", "bass"], ["drums", "bass"]]


@pytest.mark.parametrize(
    ("kind", "body", "status", "code"),
    [
        ("text/plain", "x", 415, "unsupported_media_type"),
        ("application/json", "[", 422, "invalid_request"),
        ("application/json", '{"items": []}', 422, "invalid_request"),
        ("application/json", '{"items": [{"path": "1.wav"}], "kazoo": 1}', 422, "invalid_request"),
        ("text/csv", "uri\nx\n", 422, "invalid_request"),
        ("audio/x-mpegurl", "# nothing\n", 422, "invalid_request"),
        ("audio/x-mpegurl", b"\xff\xfe\n", 422, "invalid_request"),
        ("application/json", json.dumps({"items": [{"path": "1.wav"}] * 21}), 413, "payload_too_large"),
    ],
)
def test_a_body_of_which_no_items_can_be_made_is_refused(
    http: httpx.Client, kind: str, body: str | bytes, status: int, code: str
) -> None:
    answer = http.post("/batches", content=body, headers={"Content-Type": kind})
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    assert http.post("/batches?shifts=many", json={"items": [{"path": "1.wav"}]}).status_code == 422


def test_the_same_call_sent_twice_is_one_batch(http: httpx.Client) -> None:
    def ask(key: str, path: str) -> httpx.Response:
        return http.post("/batches", json={"items": [{"path": path}]}, headers={"Idempotency-Key": key})

    first, second = ask("twice", "2.wav"), ask("twice", "2.wav")
    assert first.json()["id"] == second.json()["id"]
    assert (first.headers.get("X-Repeated"), second.headers["X-Repeated"]) == (None, "true")
    assert ask("twice", "3.wav").json()["code"] == "idempotency_mismatch"
    finished(http, first.json()["id"])


def test_a_batch_can_be_watched_and_the_watching_taken_up(http: httpx.Client) -> None:
    batch = http.post("/batches", json={"items": [{"path": "album", "shifts": 0, "residual": "file"}]}).json()
    told = events(http, batch["id"])
    assert [event for _, event, _ in told][-1] == "batch"
    assert told[-1][2]["counts"] == {"succeeded": 2}
    of_jobs = [(number, event, said["job_id"]) for number, event, said in told if event != "batch"]
    assert sorted(event for _, event, _ in of_jobs if event == "succeeded") == ["succeeded"] * 2
    assert len({job_id for _, _, job_id in of_jobs}) == 2
    later = [one for one in events(http, batch["id"], after=of_jobs[2][0]) if one[1] != "batch"]
    assert [(number, event, said["job_id"]) for number, event, said in later] == of_jobs[3:]


def events(
    http: httpx.Client, batch_id: str, after: int | None = None
) -> list[tuple[int, str, dict[str, Any]]]:
    headers = {} if after is None else {"Last-Event-ID": str(after)}
    found, fields = [], dict[str, str]()
    with http.stream("GET", f"/batches/{batch_id}/events", headers=headers) as answer:
        for line in answer.iter_lines():
            name, _, value = line.partition(": ")
            if name in ("id", "event", "data"):
                fields[name] = value
            elif not line and fields:
                found.append((int(fields["id"]), fields["event"], json.loads(fields["data"])))
                fields = {}
    return found


def test_a_whole_batch_is_cancelled_but_for_jobs_that_were_there_before(
    http: httpx.Client, songs: Path, tmp_path: Path
) -> None:
    long = write_wav(tmp_path / "long.wav", music(120.0, 22050, 1, seed=77), 22050)
    mine = submit(http, long, stems="bass").json()["id"]
    (songs / "again.wav").write_bytes(long.read_bytes())
    items = [{"path": "again.wav", "stems": ["bass"]}, {"path": "again.wav", "stems": ["drums"]}]
    items += [{"path": "again.wav", "stems": ["vocals"]}]
    batch = http.post("/batches?wait=30", json={"items": items}).json()
    assert column(batch, "job_id")[0] == mine
    assert column(batch, "repeated") == [True, False, False]
    stopped = http.post(f"/batches/{batch['id']}/cancel")
    assert stopped.status_code == 202
    assert stopped.json()["cancelled_at"] is not None
    others = [ended(http, job_id)["status"] for job_id in column(batch, "job_id")[1:]]
    assert others == ["cancelled", "cancelled"]
    assert http.get(f"/jobs/{mine}").json()["status"] in ("queued", "running")
    http.post(f"/jobs/{mine}/cancel")
    assert column(finished(http, batch["id"]), "status") == ["cancelled"] * 3


def test_a_batch_is_its_owners_alone(service: Service, http: httpx.Client) -> None:
    batch_id = http.post("/batches", json={"items": [{"path": "2.wav"}]}).json()["id"]
    made = http.post("/admin/keys", json={"name": "ben", "owner": "ben", "scopes": ["submit", "read"]})
    assert made.status_code == 201, made.text
    with service.client(made.json()["key"]) as other:
        for path in ("", "/events", "/archive"):
            assert other.get(f"/batches/{batch_id}{path}").status_code == 404
        assert other.post(f"/batches/{batch_id}/cancel").status_code == 404
        assert other.get("/batches").json()["batches"] == []
    assert http.get("/batches?limit=1").json()["batches"][0]["id"] == batch_id


def test_the_audit_log_names_the_batch_and_every_job_that_it_made(http: httpx.Client) -> None:
    batch_id = http.post("/batches", json={"items": [{"path": "2.wav", "stems": ["other"]}]}).json()["id"]
    job_id = finished(http, batch_id)["items"][0]["job_id"]
    entries = http.get("/admin/audit?limit=50").json()
    about = [(e["action"], e["output"]) for e in entries if batch_id in e["output"] or e["job_id"] == job_id]
    assert ("batch", f"batch {batch_id}") in about
    assert ("process", f"batch {batch_id}") in about
    assert KEY not in json.dumps(entries)
