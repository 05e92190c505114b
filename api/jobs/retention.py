"""Which audio has been kept long enough: by its age, or because the disk is needed."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal

from api.jobs.folders import Folders
from api.jobs.model import Job, JobStatus
from api.jobs.store import JobFilter, JobStore, every_job

ENDED = (JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.CANCELLED)


@dataclass(frozen=True, slots=True)
class Policy:
    """How long audio is kept.

    Attributes:
        kept: after a job ended, unless the job says otherwise; None: for ever.
        most_used: share of the results' disk, 0..1, above which the oldest audio goes early; None: none does.
        held: whether nothing of a job may be deleted.
    """

    kept: timedelta | None
    most_used: float | None = None
    held: Callable[[Job], bool] = lambda _: False

    def of(self, job: Job) -> timedelta | None:
        """How long this job's audio is kept; None: for ever."""
        if job.retention_days is None:
            return self.kept
        return timedelta(days=job.retention_days) if job.retention_days else None


@dataclass(frozen=True, slots=True)
class Due:
    """Audio that goes.

    Attributes:
        job: whose it is.
        reason: ``age``, or ``disk``: it is full.
        bytes: that it takes.
    """

    job: Job
    reason: Literal["age", "disk"]
    bytes: int


def due(store: JobStore, folders: Folders, policy: Policy, at: datetime) -> Iterator[Due]:
    """Which audio goes now, at first by age; whoever removes it while this runs changes what comes after.

    Args:
        store: the jobs.
        folders: where their files lie.
        policy: how long they are kept.
        at: the time.
    """
    left: list[Job] = []
    for job in list(every_job(store, JobFilter(statuses=ENDED))):
        if job.finished_at is None or policy.held(job):
            continue
        kept = policy.of(job)
        if kept is not None and job.finished_at < at - kept:
            yield Due(job, "age", size_of(folders, job.id))
        else:
            left.append(job)
    if policy.most_used is None:
        return
    usage = shutil.disk_usage(folders.outputs)
    excess = usage.used - usage.total * policy.most_used
    for job in sorted(left, key=lambda job: job.finished_at or at):
        if excess <= 0:
            return
        size = size_of(folders, job.id)
        excess -= size
        if size:
            yield Due(job, "disk", size)


def size_of(folders: Folders, job_id: str) -> int:
    """Bytes of a job's recording and stems."""
    return sum(
        _size(path)
        for root in (folders.upload(job_id), folders.result(job_id))
        for path in root.rglob("*")
        if path.name != "manifest.json"
    )


def _size(path: Path) -> int:
    try:
        return path.stat().st_size if path.is_file() else 0
    except OSError:
        return 0
