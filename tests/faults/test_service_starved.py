"""Workers that hang, and workers without memory: they are replaced, and the service goes on."""

from __future__ import annotations

import os
import re
import resource
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx2 as httpx
import pytest

from tests.audio_files import music, write_wav
from tests.faults.service_faults import assert_done_once, reasons, until
from tests.service import Service, submit

pytestmark = pytest.mark.slow

LOST = {"attempts_exhausted", "memory_exhausted"}


def ready(http: httpx.Client) -> set[int]:
    """Process ids of the workers that have come up."""
    return {worker["pid"] for worker in http.get("/workers").json()}


def test_a_worker_that_hangs_is_replaced(tmp_path: Path) -> None:
    with Service(tmp_path, (), PIPELINE_WORKER_SILENCE_S="3") as service, service.client() as http:
        until(lambda: bool(ready(http)), "the worker is there")
        # Whoever opens it waits for ever, as for a disk that does not answer.
        stuck = tmp_path / "checkpoints" / "stuck.tmp"
        os.mkfifo(stuck)
        (first,) = service.children()
        os.kill(first, signal.SIGKILL)
        until(lambda: service.children() not in ([], [first]), "the next one comes")
        (hangs,) = service.children()
        job_id = submit(http, write_wav(tmp_path / "song.wav", music(1.0)), estimators="none").json()["id"]
        until(lambda: hangs not in service.children(), "it is replaced", seconds=120)
        stuck.unlink()
        (job,) = assert_done_once(http, tmp_path, [job_id])
        assert job["attempt"] == 1
    assert "worker is silent and is killed" in service.said.read_text()


@contextmanager
def starving(service: Service, spare_mb: int) -> Iterator[set[int]]:
    """While this lasts, every worker that has come up gets only so much more address space."""
    starved: set[int] = set()
    done = threading.Event()

    def starve() -> None:
        with service.client() as http:
            while not done.wait(0.02):
                for pid in (ready(http) & set(service.children())) - starved:
                    with suppress(ProcessLookupError, FileNotFoundError):
                        status = Path(f"/proc/{pid}/status").read_text()
                        size = int(re.findall(r"VmSize:\s+(\d+)", status)[0]) << 10
                        limit_address_space(pid, size + (spare_mb << 20))
                        starved.add(pid)

    thread = threading.Thread(target=starve)
    thread.start()
    try:
        until(lambda: bool(starved), "a worker is short of memory")
        yield starved
    finally:
        done.set()
        thread.join()
        for pid in starved:
            with suppress(ProcessLookupError):
                limit_address_space(pid, resource.RLIM_INFINITY)


def limit_address_space(pid: int, size: int) -> None:
    _, hard = resource.prlimit(pid, resource.RLIMIT_AS)
    resource.prlimit(pid, resource.RLIMIT_AS, (size, hard))


@pytest.mark.timeout(900)
@pytest.mark.parametrize("spare_mb", [4, 9])
def test_workers_without_memory_lose_a_job_at_most(tmp_path: Path, spare_mb: int) -> None:
    """With 4 MB they cannot have a thread more, with 9 MB one that can do nothing."""
    settings = {"PIPELINE_WORKER_SILENCE_S": "5", "PIPELINE_MAX_ATTEMPTS": "2"}
    with Service(tmp_path, (), **settings) as service, service.client() as http:
        with starving(service, spare_mb) as starved:
            path = write_wav(tmp_path / "song.wav", music(5.0))
            job_id = submit(http, path, estimators="none").json()["id"]
            until(lambda: http.get(f"/jobs/{job_id}").json()["status"] == "failed", "it fails", seconds=240)
        assert http.get(f"/jobs/{job_id}").json()["error"]["code"] in LOST
        assert len(starved) <= 4, "workers die again and again"
        later = submit(http, write_wav(tmp_path / "later.wav", music(1.0, seed=2)), estimators="none")
        job = f"/jobs/{later.json()['id']}"
        until(lambda: http.get(job).json()["status"] == "succeeded", "others go on", seconds=240)
        assert reasons(http) == []
