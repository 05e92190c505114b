"""The service and its workers, frozen, and told to stop in every way."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.audio_files import music, write_wav
from tests.faults.service_faults import assert_done_once, stands_still, under_way, until
from tests.service import Service, submit


def accepted(http: object, folder: Path, seconds: float = 40.0, seed: int = 0) -> str:
    path = write_wav(folder / f"song {seed}.wav", music(seconds, seed=seed))
    return str(submit(http, path, estimators="none").json()["id"])  # type: ignore[arg-type]


@pytest.mark.long
def test_a_worker_that_is_stopped_loses_its_job_and_writes_nothing_when_it_wakes(tmp_path: Path) -> None:
    with Service(tmp_path, (), PIPELINE_WORKERS="2") as service, service.client() as http:
        job_id = accepted(http, tmp_path)
        under_way(http, job_id)
        pid = next(job["pid"] for job in http.get("/workers").json() if job["job_id"] == job_id)
        os.kill(pid, signal.SIGSTOP)
        stands_still(pid)
        until(lambda: http.get(f"/jobs/{job_id}").json()["attempt"] == 2, "another has taken it")
        os.kill(pid, signal.SIGCONT)
        (job,) = assert_done_once(http, tmp_path, [job_id])
        assert job["attempt"] == 2


@pytest.mark.long
def test_an_api_that_is_stopped_goes_on_where_it_was(tmp_path: Path) -> None:
    with Service(tmp_path) as service, service.client() as http:
        assert service.process is not None
        job_id = accepted(http, tmp_path, 10.0)
        under_way(http, job_id)
        service.process.send_signal(signal.SIGSTOP)
        stands_still(service.process.pid)
        until((tmp_path / "outputs" / job_id).exists, "the worker goes on by itself", seconds=120)
        service.process.send_signal(signal.SIGCONT)
        assert_done_once(http, tmp_path, [job_id])


@pytest.mark.long
@pytest.mark.parametrize(
    "signals",
    [
        ["SIGTERM"],
        pytest.param(["SIGINT", "SIGINT"], marks=pytest.mark.slow),
        pytest.param(["SIGHUP"], marks=pytest.mark.slow),
        pytest.param(["SIGTERM", "SIGTERM"], marks=pytest.mark.slow),
        pytest.param(["SIGINT"], marks=pytest.mark.slow),
        pytest.param(["SIGHUP", "SIGTERM"], marks=pytest.mark.slow),
    ],
)
def test_however_it_is_told_to_stop_a_job_is_handed_back(tmp_path: Path, signals: list[str]) -> None:
    service = Service(tmp_path, (), PIPELINE_GRACE_S="0")
    with service, service.client() as http:
        assert service.process is not None
        job_id = accepted(http, tmp_path)
        under_way(http, job_id)
        workers = service.children()
        for name in signals:
            service.process.send_signal(signal.Signals[name])
        assert service.process.wait(60) in (0, -signal.SIGTERM)
        until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers), "no worker is left")
        service.start()
        (job,) = assert_done_once(http, tmp_path, [job_id])
        # Who says so twice may mean at once: then nobody waits for the workers.
        assert job["attempt"] <= max(signals.count("SIGINT"), 1)
