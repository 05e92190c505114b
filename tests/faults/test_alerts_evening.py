"""An evening of load under the eyes of the real Prometheus, blackbox exporter and nginx.

Nothing fires while all is well. Then things break, one after another, and each time the alerts that are meant
for it fire, no other does, and all are silent again when it is mended.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest

from tests.audio_files import music, write_wav
from tests.faults.small_disk import Disk, small_disk
from tests.monitors import Blackbox, Prometheus
from tests.nginx import Nginx
from tests.service import KEY, Service, ended, free_port, submit
from tests.sinks import awaited

FASTER, YOUNGER = 30.0, 10.0
"""Half an hour of the rules is a minute of this test, and a job is slow after a minute."""

EVENING_S = 90 * 60 / FASTER
"""An hour and a half, by the clock of the rules."""

OF_THE_MACHINE = {"AudioCpuSaturated", "AudioMemoryHigh"}
"""Other tests run beside this one, and take what they like of processors and memory."""

_FIRE_S, _RESOLVE_S = 300, 300


class Evening:
    """A service behind nginx, with one worker and a disk of its own, and who watches it. A context manager.

    Args:
        folder: where all of it lives.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._songs = 0
        self._stack = ExitStack()

    def __enter__(self) -> Evening:
        with ExitStack() as stack:
            self.disk: Disk = stack.enter_context(small_disk(self.folder / "disk", "600m"))
            # All that the worker finds on its PATH: what is removed here is missing there.
            self.tools = self.folder / "tools"
            self.tools.mkdir()
            self.install("ffmpeg", "ffprobe", "prlimit")
            home = self.folder / "home"
            home.mkdir()
            # The one worker is a process of its own, which nobody replaces when it dies.
            settings = {"DATA_DIR": str(self.disk.path), "PIPELINE_WORKERS": "0"}
            self.service = Service(home, self.disk.prefix, **settings)
            stack.enter_context(self.service)
            self.nginx = Nginx(
                home, api=f"127.0.0.1:{self.service.port}", ui=f"127.0.0.1:{free_port()}", TLS_CHECK_S="1"
            )
            stack.enter_context(self.nginx)
            self.nginx.authority.cert_pem.write_to_path(str(self.folder / "authority.pem"))
            blackbox = Blackbox(self.folder / "blackbox", self.folder / "authority.pem")
            stack.enter_context(blackbox)
            self.http: httpx.Client = stack.enter_context(self.service.client())
            self.start_worker()
            stack.callback(self.kill_worker)
            self.back_up()
            self.prometheus = Prometheus(
                self.folder / "prometheus",
                f"127.0.0.1:{self.service.port}",
                KEY,
                site=(f"{self.nginx.https_url}/api/livez", blackbox.address),
                faster=FASTER,
                younger=YOUNGER,
            )
            stack.enter_context(self.prometheus)
            for seen in ("audio_workers == 1", "probe_success == 1"):
                awaited(lambda seen=seen: self.prometheus.value(seen), seen, _FIRE_S)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stack.close()

    def install(self, *programs: str) -> None:
        """Let the worker find programs of this machine."""
        for program in programs:
            found = shutil.which(program)
            assert found, f"there is no {program} here"
            (self.tools / program).symlink_to(found)

    def start_worker(self) -> None:
        """Start the only worker."""
        with (self.folder / "worker.log").open("ab") as said:
            self.worker = subprocess.Popen(
                [*self.disk.prefix, sys.executable, "-m", "api", "worker"],
                cwd=self.service.folder,
                env={**self.service.environment, "PATH": str(self.tools)},
                executable=shutil.which("nsenter"),
                stdout=said,
                stderr=said,
            )

    def kill_worker(self) -> None:
        """Kill it as kill -9 does."""
        self.worker.kill()
        self.worker.wait()

    def back_up(self) -> None:
        """Run the backup as cron does."""
        command = [*self.disk.prefix, sys.executable, "-m", "api", "backup"]
        subprocess.run(
            command, cwd=self.service.folder, env=self.service.environment, check=True, capture_output=True
        )

    def song(self, seconds: float = 2.0) -> str:
        """Submit a new recording.

        Returns:
            The job's id.
        """
        self._songs += 1
        answer = submit(
            self.http,
            write_wav(self.folder / "song.wav", music(seconds, seed=self._songs)),
            estimators="none",
        )
        assert answer.status_code == 202, answer.text
        return str(answer.json()["id"])

    def job(self, job_id: str) -> dict[str, Any]:
        return dict(self.http.get(f"/jobs/{job_id}").json())

    def firing(self) -> set[str]:
        return self.prometheus.firing() - OF_THE_MACHINE

    @contextmanager
    def only(self, *alerts: str, beside: frozenset[str] = frozenset()) -> Iterator[None]:
        """What the block breaks makes these alerts fire, and no other does meanwhile.

        Args:
            alerts: that are to fire.
            beside: those that fire already.
        """
        assert self.firing() == beside
        began = time.time()
        yield
        deadline = time.monotonic() + _FIRE_S
        while not self.firing() >= set(alerts):
            assert time.monotonic() < deadline, f"{alerts} should fire, and there are {self.firing()}"
            time.sleep(0.2)
        assert self.prometheus.fired(began) - OF_THE_MACHINE == set(alerts) | beside

    def peace(self) -> None:
        """Wait until nothing fires any more."""
        deadline = time.monotonic() + _RESOLVE_S
        while firing := self.firing():
            assert time.monotonic() < deadline, f"there should be peace, and there are {firing}"
            time.sleep(0.2)


@pytest.fixture
def evening(tmp_path: Path) -> Iterator[Evening]:
    with Evening(tmp_path) as evening:
        yield evening


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_alerts_are_silent_while_all_is_well_and_fire_when_things_break(evening: Evening) -> None:
    began = time.time()
    songs = 0
    while time.time() - began < EVENING_S:
        assert ended(evening.http, evening.song())["status"] == "succeeded"
        songs += 1
    assert songs > 3
    assert evening.prometheus.value("audio:jobs_ended:increase30m") > 0  # type: ignore[operator]
    assert evening.prometheus.fired(began) - OF_THE_MACHINE == set()

    # The worker is killed for good, and a job waits for it.
    with evening.only("AudioNoWorker", "AudioQueueStuck"):
        evening.kill_worker()
        job = evening.song()
    evening.start_worker()
    assert ended(evening.http, job)["status"] == "succeeded"
    evening.peace()

    # Jobs fail by the service's fault: a program is gone.
    with evening.only("AudioJobsFail", "AudioStageFails"):
        (evening.tools / "ffmpeg").unlink()
        for _ in range(3):
            failed = ended(evening.http, evening.song())
            assert failed["error"]["code"] == "tool_missing"
    evening.install("ffmpeg")
    assert ended(evening.http, evening.song())["status"] == "succeeded"
    evening.peace()

    # The disk is nearly full.
    ballast = evening.disk.seen(evening.disk.path) / "ballast"
    with evening.only("AudioDiskLow"):
        disk = os.statvfs(ballast.parent)
        ballast.write_bytes(bytes((disk.f_bavail - disk.f_blocks // 20) * disk.f_frsize))
    ballast.unlink()
    evening.peace()

    # No backup since yesterday.
    told = evening.disk.seen(evening.disk.path) / "backup-status.json"
    with evening.only("AudioBackupStale"):
        said = json.loads(told.read_text())
        told.write_text(json.dumps(said | {"finished_at": time.time() - 27 * 3600}))
    evening.back_up()
    evening.peace()

    # The certificate is not renewed.
    with evening.only("AudioCertificateExpiring"):
        evening.nginx.certify(good_for=timedelta(days=10))
    with evening.only("AudioCertificateEnds", beside=frozenset({"AudioCertificateExpiring"})):
        evening.nginx.certify(good_for=timedelta(days=2))
    evening.nginx.certify()
    evening.peace()

    # The service is killed.
    with evening.only("AudioServiceDown", "AudioSiteDown"):
        evening.service.kill()
    evening.service.start()
    evening.peace()
    assert ended(evening.http, evening.song())["status"] == "succeeded"
