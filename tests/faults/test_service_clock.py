"""Clocks that jump under the whole service."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.audio_files import music, write_wav
from tests.faults.service_faults import assert_done_once, library, reasons, under_way, until
from tests.service import Service, ended, submit
from tests.tus import begun, offset
from tests.tus import data as upload_file

pytestmark = pytest.mark.slow

HOUR_S, YEAR_S = 3600, 365 * 86400


class Clock:
    """The wall clock of a service; its monotonic one goes on."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.set(0)
        preload = library("libfaketime.so.1")
        assert preload is not None, "Debian's package faketime is missing"
        self.environment = {
            "LD_PRELOAD": preload,
            "FAKETIME_TIMESTAMP_FILE": str(file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }

    def set(self, seconds: int) -> None:
        """Set it to so many seconds from the right time, at once for all processes."""
        temporary = self._file.with_suffix(".new")
        temporary.write_text(f"{seconds:+d}\n")
        temporary.rename(self._file)


def events(http: object, job_id: str) -> list[str]:
    """What happened to a job, without its progress."""
    lines = http.get(f"/jobs/{job_id}/events").text.splitlines()  # type: ignore[attr-defined]
    told = [line.partition(": ")[2] for line in lines if line.startswith("event: ")]
    return [kind for kind in told if kind != "progress"]


@pytest.mark.parametrize("jump_s", [HOUR_S, -HOUR_S, YEAR_S])
def test_a_clock_that_jumps_runs_no_job_twice_and_holds_none_up(tmp_path: Path, jump_s: int) -> None:
    clock = Clock(tmp_path / "clock")
    data = tmp_path / "data"
    data.mkdir()
    with (
        Service(
            data,
            (),
            **clock.environment,
            PIPELINE_WORKERS="2",
            PIPELINE_LEASE_S="20",
            PIPELINE_RATE_PROCESS="50/hour",
        ) as service,
        service.client() as http,
    ):
        recordings = [write_wav(tmp_path / f"{n}.wav", music(20.0, seed=n)) for n in range(3)]
        jobs = [submit(http, path, estimators="none").json()["id"] for path in recordings]
        under_way(http, jobs[0])
        clock.set(jump_s)
        done = assert_done_once(http, data, jobs)
        assert [job["attempt"] for job in done] == [1, 1, 1]
        assert [events(http, job) for job in jobs] == [["queued", "running", "succeeded"]] * 3
        clock.set(0)
        later = submit(http, write_wav(tmp_path / "later.wav", music(1.0, seed=9)), estimators="none")
        assert later.status_code == 202
        assert ended(http, later.json()["id"])["status"] == "succeeded"
        assert reasons(http) == []


def test_a_clock_that_is_a_year_ahead_deletes_nothing(tmp_path: Path) -> None:
    clock = Clock(tmp_path / "clock")
    data = tmp_path / "data"
    data.mkdir()
    service = Service(data, (), **clock.environment)
    with service, service.client() as http:
        job_id = submit(http, write_wav(tmp_path / "song.wav", music(1.0)), estimators="none").json()["id"]
        assert ended(http, job_id)["status"] == "succeeded"
        upload = begun(http, 10)
        stray = upload_file(data, upload).parent.with_name(".new-stray")
        assert service.stop() in (0, -15)
        stray.mkdir()
        clock.set(YEAR_S)
        service.start()  # The housekeeping begins with the service.
        until(lambda: not stray.exists(), "the housekeeping has come to the uploads")
        assert float((data / "clock").read_text()) < time.time() + HOUR_S
        assert http.get(f"/jobs/{job_id}/stems/vocals").status_code == 200
        clock.set(0)
        assert offset(http, upload) == 0
        assert_done_once(http, data, [job_id])
