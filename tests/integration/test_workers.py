"""What operators see of the real service: its workers, and totals that survive it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx2 as httpx

from api.database import open_database
from api.jobs.workers import WorkerRegister
from tests.audio_files import music, write_wav
from tests.service import Service, ended, submit


def eventually(look: Callable[[], Any]) -> Any:
    """What is found, as soon as it is something."""
    deadline = time.monotonic() + 60
    while not (found := look()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return found


def figures(http: httpx.Client) -> dict[str, float]:
    lines = [line for line in http.get("/metrics").text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


def test_workers_are_shown_while_they_live_and_totals_survive_them(tmp_path: Path) -> None:
    song = write_wav(tmp_path / "song.wav", music(2.0))
    folder = tmp_path / "data"
    folder.mkdir()
    with Service(folder) as service, closing(service.client()) as http:
        (killed,) = eventually(lambda: http.get("/workers").json())
        assert Path(f"/proc/{killed['pid']}").exists()
        assert (killed["job_id"], killed["model"]) == (None, None)
        # The API, which is as nice as this process, goes first.
        assert os.getpriority(os.PRIO_PROCESS, killed["pid"]) > os.getpriority(os.PRIO_PROCESS, 0)
        job = ended(http, submit(http, song, estimators="none").json()["id"])
        assert (job["status"], job["retry_at"]) == ("succeeded", None)
        before = figures(http)
        assert before["audio_workers"] == 1
        assert before["audio_workers_memory_bytes"] > 1 << 20
        assert before['audio_processing_total{status="succeeded"}'] == 1
        assert before["audio_processing_seconds_count"] == 1
        service.kill()
    with Service(folder) as service, closing(service.client()) as http:
        after = figures(http)
        of_jobs = ("audio_processing", "audio_stage", "audio_attempts", "audio_queue_wait")
        kept = [name for name in before if name.startswith(of_jobs)]
        assert kept and {name: after[name] for name in kept} == {name: before[name] for name in kept}
        eventually(lambda: {worker["name"] for worker in http.get("/workers").json()} - {killed["name"]})
        service.stop()
    engine = open_database(f"sqlite:///{folder / 'pipeline.db'}")
    # Who ends well is gone at once; who was killed is gone when he has been silent for a while.
    assert {worker.name for worker in WorkerRegister(engine).alive()} <= {killed["name"]}
    engine.dispose()
