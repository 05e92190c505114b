"""What must be true of the service after any fault, and how tests wait for it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import httpx2 as httpx

from api.jobs.folders import Folders
from pipeline.verify import find_jobs, verify_job
from tests.service import ended
from tests.worker_support import temporary_files


def until(holds: Callable[[], bool], what: str, *, seconds: float = 120.0) -> None:
    """Wait until something holds; what it is, for the message."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"never: {what}"
        time.sleep(0.05)


def reasons(http: httpx.Client) -> list[str]:
    """Why the service says that it takes no work; checks that /readyz and /health agree."""
    ready = http.get("/readyz")
    said: list[str] = ready.json()["reasons"]
    assert ready.status_code == (503 if said else 200)
    assert http.get("/health").status_code == 200
    return said


def under_way(http: httpx.Client, job_id: str) -> None:
    """Wait until a job is in the middle of its separation."""
    until(lambda: http.get(f"/jobs/{job_id}").json()["progress"] > 0.1, "the job runs")


def refused(answer: httpx.Response, status: int, code: str) -> None:
    """Check how a request was refused."""
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    assert answer.json()["hint"]


def assert_done_once(http: httpx.Client, data: Path, job_ids: Sequence[str]) -> list[dict[str, Any]]:
    """Every job succeeded exactly once, its result is whole, and nothing temporary is left.

    Args:
        http: of the service.
        data: its folder, as this process sees it.
        job_ids: all jobs that it accepted.
    """
    jobs = [ended(http, job_id) for job_id in job_ids]
    assert [job["status"] for job in jobs] == ["succeeded"] * len(jobs), jobs
    folders = Folders.below(data)
    assert sorted(path.name for path in find_jobs(folders.outputs)) == sorted(job_ids)
    assert len(list(folders.outputs.rglob("manifest.json"))) == len(job_ids)
    for job_id in job_ids:
        assert verify_job(folders.result(job_id)) == []
    until(lambda: temporary_files(folders) == [], "no temporary file is left")
    return jobs


def stands_still(pid: int) -> None:
    """Wait until a process that was sent SIGSTOP stands still."""
    until(lambda: Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T", "it stands")


def library(name: str) -> str | None:
    """Where a preloaded library of Debian's lies; None: it is not installed."""
    found = sorted(Path("/usr/lib").glob(f"*/faketime/{name}"))
    return os.fspath(found[0]) if found else None
