"""The whole service, killed at any instant: every job that it accepted ends, once."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx2 as httpx
import pytest

from api.client_uploads import send
from api.jobs.folders import Folders
from api.jobs.housekeeping import sweep
from api.jobs.retention import Policy
from pipeline.verify import verify_job
from tests.audio_files import music, write_wav
from tests.faults.killing import API_INSTANTS, WORKER_INSTANTS, MortalService
from tests.faults.service_faults import assert_done_once, until
from tests.service import submit
from tests.worker_support import open_store

KINDS: list[dict[str, str]] = [
    {"estimators": "none"},
    {"estimators": "tempo", "formats": "mp3"},
    {"estimators": "none", "stems": "vocals,no_vocals", "formats": "wav", "residual": "file"},
]


class Clients:
    """Submits recordings of all kinds to a service that dies, and never gives up.

    Args:
        http: of it.
        folder: for the recordings.
        seconds: of every recording.
    """

    def __init__(self, http: httpx.Client, folder: Path, seconds: float) -> None:
        self._http, self._folder, self._seconds = http, folder, seconds
        self._made = 0
        self._unanswered: list[Callable[[], httpx.Response]] = []
        self.jobs: list[str] = []

    def submit(self) -> None:
        """Submit one more recording, some by a resumable upload."""
        self._made += 1
        path = self._folder / f"{self._made}.wav"
        write_wav(path, music(self._seconds, 22050, seed=self._made), 22050)
        if self._made % 4:
            options = KINDS[self._made % len(KINDS)]
            self._unanswered.append(lambda: submit(self._http, path, **options))
        else:
            said = {"upload_id": send(self._http, path), "estimators": []}
            self._unanswered.append(lambda: self._http.post("/process", json=said))
        self.insist()

    def insist(self) -> None:
        """Submit again what was not answered."""
        while self._unanswered:
            try:
                answer = self._unanswered[0]()
            except httpx.TransportError:
                return
            assert answer.status_code in (200, 202), answer.text  # 200: it was accepted, and has ended.
            self.jobs.append(answer.json()["id"])
            self._unanswered.pop(0)

    def waiting(self) -> int:
        """How many jobs have not ended."""
        health = self._http.get("/health").json()
        return int(health["queued"]) + int(health["running"])


def assert_only_whole_results_are_seen(data: Path) -> None:
    for job_id in Folders.below(data).outputs.iterdir():
        if job_id.name != ".attempts":
            assert verify_job(job_id) == []


def kill_again_and_again(tmp_path: Path, instants: list[str], at_random: int, seconds: float) -> None:
    data, hooks, recordings = (tmp_path / name for name in ("data", "hooks", "recordings"))
    for folder in (data, hooks, recordings):
        folder.mkdir()
    rng = random.Random(1)
    settings = {"PIPELINE_MAX_ATTEMPTS": "1000"}
    with MortalService(data, hooks, **settings) as service, service.client() as http:
        clients = Clients(http, recordings, seconds)
        for instant in instants + ["at random"] * at_random:
            while clients.waiting() < 2:
                clients.submit()
            if instant == "at random":
                until(lambda: http.get("/health").json()["running"], "a job runs")
                time.sleep(rng.uniform(0.0, 1.5))  # The instant of the kill, not a wait for anything.
                service.kill_all()
            else:
                service.die_at(instant)
                if instant in API_INSTANTS:
                    clients.submit()
                service.dead()
            assert_only_whole_results_are_seen(data)
            service.start()
            clients.insist()
        assert_done_once(http, data, clients.jobs)
        assert service.stop() in (0, -15)
    folders = Folders.below(data)
    # What was on its way in when the service died is kept for a day, in case its job turns up.
    sweep(open_store(folders), folders, Policy(None), lambda: datetime.now(UTC) + timedelta(days=1, hours=1))
    assert sorted(path.name for path in folders.uploads.iterdir()) == sorted([".resumable", *clients.jobs])
    assert sorted(path.name for path in folders.resumable.rglob("*")) == [".lock", ".place"]
    assert [path for path in data.rglob("*") if path.suffix in {".tmp", ".new", ".partial"}] == []


@pytest.mark.long
@pytest.mark.timeout(900)
def test_every_job_survives_kills_of_everything_at_the_borders_of_every_stage(tmp_path: Path) -> None:
    instants = [
        "before add",
        "enter decode",
        "enter separate",
        "enter encode",
        "after publish",
        "after succeed",
    ]
    kill_again_and_again(tmp_path, instants, at_random=2, seconds=3.0)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_every_job_survives_many_kills_of_everything(tmp_path: Path) -> None:
    kill_again_and_again(tmp_path, [*API_INSTANTS, *WORKER_INSTANTS], at_random=40, seconds=12.0)
