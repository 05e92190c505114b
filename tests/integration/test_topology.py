"""The overlay `scaled` as processes: APIs, workers, PostgreSQL, Redis, nginx; and deaths among them."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import httpx2 as httpx
import pytest

from tests.audio_files import music, write_wav
from tests.faults.service_faults import until
from tests.service import KEY
from tests.topology import Topology

JOBS = 6
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def scaled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Topology]:
    overrides = {
        "PIPELINE_MODEL": "hpss",
        "PIPELINE_RATE_PROCESS": "off",
        "PIPELINE_RATE_ROUTES": "GET /usage=5/hour",
        "PIPELINE_LEASE_S": "5",
        "PIPELINE_DISK_RESERVE_MB": "1",
        "PIPELINE_MEMORY_RESERVE_MB": "1",
    }
    with Topology(tmp_path_factory.mktemp("scaled"), workers=2, **overrides) as topology:
        yield topology


@pytest.fixture
def http(scaled: Topology) -> Iterator[httpx.Client]:
    with scaled.nginx.client(timeout=120) as client:
        yield client


def test_every_api_answers_by_the_proxy_and_counts_with_the_others(
    scaled: Topology, http: httpx.Client
) -> None:
    statuses = [http.get("/api/usage").status_code for _ in range(9)]
    assert statuses == [200] * 5 + [429] * 4
    said = scaled.nginx.said.read_text()
    assert all(f"127.0.0.1:{port}" in said for port in scaled.ports)


def test_every_job_ends_though_an_api_and_a_worker_are_killed_midway(
    scaled: Topology, http: httpx.Client, tmp_path: Path
) -> None:
    jobs = []
    for n in range(JOBS):
        song = write_wav(tmp_path / f"song-{n}.wav", music(12.0, seed=n))
        with song.open("rb") as file:
            made = http.post("/api/process", files={"file": (song.name, file)})
        assert made.status_code == 202, made.text
        jobs.append(made.headers["Location"])

    def states() -> list[str]:
        return [http.get(job).json()["status"] for job in jobs]

    def busy() -> set[int]:
        return {worker["pid"] for worker in http.get("/api/workers").json() if worker["job_id"]}

    until(lambda: len(busy()) == 2, "both workers have a job", seconds=300)
    os.killpg(scaled.apis[0].pid, signal.SIGKILL)
    scaled.apis[0].wait()
    os.killpg(scaled.workers[0].pid, signal.SIGKILL)
    scaled.workers[0].wait()
    # nginx still knows three APIs: what one does not answer, another does.
    assert {http.get("/api/health").status_code for _ in range(30)} == {200}
    scaled.start_worker()
    until(lambda: set(states()) == {"succeeded"}, "all jobs have succeeded", seconds=500)
    attempts = [http.get(job).json()["attempt"] for job in jobs]
    assert max(attempts) >= 2
    scaled.start_api(0)
    until(lambda: scaled.ready(0), "the API is there again", seconds=240)
    own = httpx.get(
        f"http://127.0.0.1:{scaled.ports[0]}{jobs[0].removeprefix('/api')}", headers={"X-API-Key": KEY}
    )
    assert own.json()["status"] == "succeeded"
    whole = http.get(f"{jobs[0]}/stems/vocals")
    assert whole.status_code == 200 and len(whole.content) > 1000


def test_an_upload_may_go_to_one_api_and_be_finished_by_another(scaled: Topology, tmp_path: Path) -> None:
    content = write_wav(tmp_path / "a.wav", music(1.0, seed=9)).read_bytes()
    tus = {"Tus-Resumable": "1.0.0", "X-API-Key": KEY}
    first, second = (f"http://127.0.0.1:{port}" for port in scaled.ports[1:3])
    begun = httpx.post(f"{first}/uploads", headers={**tus, "Upload-Length": str(len(content))}, timeout=60)
    where = begun.headers["Location"].removeprefix("/api")
    for base, start, piece in ((first, 0, content[:1000]), (second, 1000, content[1000:])):
        headers = {**tus, "Upload-Offset": str(start), "Content-Type": "application/offset+octet-stream"}
        sent = httpx.patch(f"{base}{where}", content=piece, headers=headers, timeout=60)
        assert sent.status_code == 204, sent.text


def test_events_of_a_job_come_from_whichever_api_is_asked(
    scaled: Topology, http: httpx.Client, tmp_path: Path
) -> None:
    song = write_wav(tmp_path / "short.wav", music(2.0, seed=20))
    with song.open("rb") as file:
        job = http.post("/api/process", files={"file": (song.name, file)}).headers["Location"]
    for port in scaled.ports[1:]:
        url = f"http://127.0.0.1:{port}{job.removeprefix('/api')}/events"
        with httpx.stream("GET", url, headers={"X-API-Key": KEY}, timeout=120) as stream:
            kinds = [
                line.removeprefix("event: ") for line in stream.iter_lines() if line.startswith("event: ")
            ]
        assert (kinds[0], kinds[-1]) == ("queued", "succeeded")
