"""An evening of load under the eyes of the real Prometheus and Alertmanager.

Quiet while all is well, loud when things break: a worker that hangs, workers that are killed again and again,
a full disk, a dead service.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import httpx2 as httpx
import pytest

from tests.audio_files import music, write_wav
from tests.faults.small_disk import Disk, small_disk
from tests.monitors import Alertmanager, Prometheus, closed_today, pages
from tests.service import KEY, Service, ended, submit
from tests.sinks import HttpSink, MailSink, awaited

FASTER = 30.0
"""Half an hour of the rules is a minute of this test, and a job is slow after 20 s."""

OF_THE_MACHINE = {"AudioCpuSaturated", "AudioMemoryHigh"}
"""Other tests run beside this one, and take what they like of processors and memory."""


@dataclass
class Evening:
    """A service with a disk of its own, and who watches it."""

    service: Service
    disk: Disk
    http: httpx.Client
    prometheus: Prometheus
    told: HttpSink
    songs: Path

    def firing(self) -> set[str]:
        return self.prometheus.firing() - OF_THE_MACHINE

    def workers(self) -> list[int]:
        return [worker["pid"] for worker in self.http.get("/workers").json()]

    def long_job(self, seed: int) -> str:
        """A job that takes longer than its worker will live."""
        song = write_wav(self.songs / f"long-{seed}.wav", music(120.0, seed=seed))
        answer = submit(self.http, song)
        assert answer.status_code in (200, 202), answer.text
        return str(answer.json()["id"])

    def runs(self, job_id: str) -> bool:
        return bool(self.http.get(f"/jobs/{job_id}").json()["status"] == "running")


@pytest.fixture
def evening(tmp_path: Path) -> Iterator[Evening]:
    with ExitStack() as stack:
        told, mail = stack.enter_context(HttpSink()), stack.enter_context(MailSink())
        manager = stack.enter_context(Alertmanager(tmp_path / "am", told.url, mail.port, closed_today))
        disk = stack.enter_context(small_disk(tmp_path / "disk", "1g"))
        service = Service(
            tmp_path / "home", prefix=disk.prefix, DATA_DIR=str(disk.path), PIPELINE_MAX_ATTEMPTS="9"
        )
        service.folder.mkdir()
        stack.enter_context(service)
        prometheus = Prometheus(
            tmp_path / "prometheus",
            f"127.0.0.1:{service.port}",
            KEY,
            alertmanager=manager.address,
            faster=FASTER,
        )
        stack.enter_context(prometheus)
        http = stack.enter_context(service.client())
        yield Evening(service, disk, http, prometheus, told, tmp_path)


def fires(evening: Evening, alert: str, meanwhile: Callable[[], object] = lambda: None) -> None:
    def look() -> bool:
        meanwhile()
        return alert in evening.firing()

    awaited(look, f"{alert}; there are {evening.firing()}", within_s=180)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_alerts_are_silent_while_all_is_well_and_fire_when_things_break(evening: Evening) -> None:
    # An hour and a half of load, by the clock of the rules.
    began = time.monotonic()
    seed = 0
    while time.monotonic() - began < 90 * 60 / FASTER:
        song = write_wav(evening.songs / "song.wav", music(2.0, seed=seed))
        assert ended(evening.http, submit(evening.http, song).json()["id"], 240)["status"] == "succeeded"
        assert evening.firing() == set()
        seed += 1
    assert seed > 5
    assert not pages(evening.told)

    # A worker hangs: its job grows old, and after a while nobody shows himself.
    job_id = evening.long_job(1)
    awaited(lambda: evening.runs(job_id), "the job's begin")
    [hung] = evening.workers()
    os.kill(hung, signal.SIGSTOP)
    try:
        fires(evening, "AudioStageSlow")
        fires(evening, "AudioJobSlow")
        fires(evening, "AudioNoWorker")
        awaited(lambda: [page for page in pages(evening.told) if "No worker" in page["payload"]["summary"]])
    finally:
        os.kill(hung, signal.SIGCONT)
    evening.http.post(f"/jobs/{job_id}/cancel")
    awaited(lambda: evening.firing() <= {"AudioQueueStuck", "AudioUnattended"}, "peace", within_s=180)

    # Workers are killed one after another, as by a kernel that is out of memory.
    job_id = evening.long_job(2)

    def kill_workers() -> None:
        if evening.runs(job_id):
            for pid in evening.workers():
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue

    fires(evening, "AudioWorkersDie", kill_workers)
    evening.http.post(f"/jobs/{job_id}/cancel")
    ended(evening.http, job_id, 240)

    # The disk fills up.
    ballast = evening.disk.fill()
    fires(evening, "AudioDiskFull")
    fires(evening, "AudioNotAccepting")
    ballast.unlink()
    awaited(lambda: not evening.firing() & {"AudioDiskFull", "AudioDiskLow", "AudioNotAccepting"}, "room")

    # The service dies.
    evening.service.kill()
    fires(evening, "AudioServiceDown")
    awaited(lambda: [page for page in pages(evening.told) if "does not answer" in page["payload"]["summary"]])
