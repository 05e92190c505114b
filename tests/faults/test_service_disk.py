"""Disks that are full, read-only or failing under the whole service: what was accepted is finished."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.audio_files import music, write_wav
from tests.faults.service_faults import (
    assert_done_once,
    reasons,
    refused,
    stands_still,
    under_way,
    until,
)
from tests.faults.small_disk import small_disk
from tests.service import Service, submit

pytestmark = pytest.mark.slow

ERRORS = {"ENOSPC": "disk_full", "EIO": "output_unwritable"}


def song(folder: Path, seed: int, seconds: float = 2.0) -> Path:
    return write_wav(folder / f"song {seed}.wav", music(seconds, seed=seed))


def test_a_disk_that_fills_up_and_is_freed_costs_no_job(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "96m") as disk:
        service = Service(disk.path, disk.prefix, PIPELINE_DISK_RESERVE_MB="8")
        with service, service.client() as http:
            job_ids = [
                submit(http, song(tmp_path, seed, 12.0), estimators="none").json()["id"] for seed in (1, 2)
            ]
            under_way(http, job_ids[0])
            ballast = disk.fill()
            until(lambda: "disk_reserve" in reasons(http), "it says that the disk is full")
            refused(submit(http, song(tmp_path, 3)), 507, "storage_full")
            ballast.unlink()
            until(lambda: reasons(http) == [], "it works again")
            assert_done_once(http, disk.seen(disk.path), job_ids)


def test_results_on_a_disk_that_turns_read_only_and_back_cost_no_job(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    with small_disk(data / "outputs", "96m") as disk:
        service = Service(data, disk.prefix)
        with service, service.client() as http:
            workers = service.children()
            for pid in workers:
                os.kill(pid, signal.SIGSTOP)
                stands_still(pid)
            job_id = submit(http, song(tmp_path, 1), estimators="none").json()["id"]
            disk.remount("ro")
            for pid in workers:
                os.kill(pid, signal.SIGCONT)
            until(lambda: reasons(http) == ["storage"], "it says so")
            refused(submit(http, song(tmp_path, 2)), 503, "storage_unavailable")
            assert http.get(f"/jobs/{job_id}").json()["status"] == "queued"
            disk.remount("rw")
            until(lambda: reasons(http) == [], "it works again")
            (job,) = assert_done_once(http, disk.seen(data), [job_id])
            assert job["attempt"] == 1


@contextmanager
def failing(pids: list[int], trace: Path, call: str, error: str, path: Path) -> Iterator[None]:
    """While this lasts, a system call of some processes fails where it is about a file or folder."""
    argv = ["strace", "-f", "-qq", "-o", str(trace), "-P", str(path), "-e", f"trace={call}"]
    argv += ["-e", f"inject={call}:error={error}", *(f"-p{pid}" for pid in pids)]
    tracer = subprocess.Popen(argv, stderr=subprocess.PIPE)
    until(lambda: all(_is_traced(pid) for pid in pids), "strace is there")
    try:
        yield
    finally:
        tracer.terminate()
        tracer.communicate()


def _is_traced(pid: int) -> bool:
    status = Path(f"/proc/{pid}/status").read_text()
    return "TracerPid:\t0\n" not in status


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize(
    ("call", "where"),
    [
        ("mkdir", "outputs/.attempts/{job}.1"),
        ("write", "outputs/.attempts/{job}.1/.{job}.partial/scratch/mix.f32"),
        ("write", "outputs/.attempts/{job}.1/.{job}.partial/stems/vocals.flac"),
        ("fsync", "outputs/.attempts/{job}.1/.{job}.partial/stems/vocals.flac"),
        ("write", "outputs/.attempts/{job}.1/.{job}.partial/manifest.json.tmp"),
        ("fsync", "outputs/.attempts/{job}.1/.{job}.partial/manifest.json.tmp"),
        ("rename", "outputs/.attempts/{job}.1/.{job}.partial/manifest.json.tmp"),
        ("rename", "outputs/.attempts/{job}.1/{job}"),  # strace looks at the first path alone
        ("write", "checkpoints/{job}.checkpoint"),
        ("pwrite64", "pipeline.db-wal"),
        ("fdatasync", "pipeline.db-wal"),
    ],
)
@pytest.mark.slow
def test_an_error_while_anything_is_written_costs_an_attempt_and_no_job(
    call: str, where: str, error: str, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    with Service(data) as service, service.client() as http:
        first = submit(http, song(tmp_path, 1, 15.0), estimators="none").json()["id"]
        job_id = submit(http, song(tmp_path, 2), estimators="none").json()["id"]
        path = data / where.format(job=job_id)
        trace = tmp_path / "trace"
        with failing(service.children(), trace, call, error, path):
            until(lambda: "INJECTED" in trace.read_text(), f"{call} of {path.name} fails")
        assert_done_once(http, data, [first, job_id])


def test_an_upload_that_cannot_be_written_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    with Service(data) as service, service.client() as http:
        assert service.process is not None
        for error, code in ERRORS.items():
            with failing([service.process.pid], tmp_path / "trace", "fsync", error, data / "uploads"):
                answer = submit(http, song(tmp_path, 1), estimators="none")
            refused(answer, {"ENOSPC": 507, "EIO": 503}[error], code)
            assert [path.name for path in (data / "uploads").iterdir()] == [".resumable"]
        job_id = submit(http, song(tmp_path, 1), estimators="none").json()["id"]
        assert_done_once(http, data, [job_id])
