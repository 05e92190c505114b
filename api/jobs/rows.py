"""Jobs and events as rows of their tables, and back."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Row

from api.jobs.model import Job, JobError, JobEvent, JobStatus, StageTime


def fold(text: str) -> str:
    """What two texts have in common that differ only in case, width or the way their accents are coded."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())


def time_of(at: datetime) -> float:
    """Seconds since 1970.

    Args:
        at: aware, or naive and then UTC.
    """
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()


def new_row(job: Job, place: int, rank: Mapping[str, Any], at: float) -> dict[str, Any]:
    """The row of a job that is accepted now: queued, whatever it says of its progress.

    Args:
        job: what the user asked for.
        place: its place in the queue.
        rank: of `api.jobs.rank.ranked`.
        at: seconds since 1970.
    """
    return {
        "id": job.id,
        "owner": job.owner,
        "filename": job.filename,
        "filename_folded": fold(job.filename),
        "input_path": job.input_path,
        "input_sha256": job.input_sha256,
        "input_bytes": job.input_bytes,
        "options": job.options,
        "metadata": job.metadata,
        "priority": job.priority,
        "webhook_url": job.webhook_url,
        "content_key": job.content_key,
        "subject": job.subject,
        "retention_days": job.retention_days,
        "traceparent": job.traceparent,
        "max_attempts": job.max_attempts,
        "duration_s": job.duration_s,
        "created_at": at,
        "fence": 0,
        **queued(place, rank, at),
    }


def queued(place: int, rank: Mapping[str, Any], at: float) -> dict[str, Any]:
    """What makes a job queued as if it had never run.

    Args:
        place: its place in the queue.
        rank: of `api.jobs.rank.ranked`.
        at: seconds since 1970.
    """
    return {
        "status": JobStatus.QUEUED,
        "place": place,
        **rank,
        "queued_at": at,
        "not_before": None,
        "attempt": 0,
        "deaths": 0,
        "cancel_requested": False,
        "finished_at": None,
        "error": None,
        **unstarted(),
    }


def unstarted() -> dict[str, Any]:
    """What a job looks like that no worker holds and that has got nowhere."""
    return {"worker": None, "started_at": None, "leased_at": None, "lease_until": None, **unmoved()}


def unmoved() -> dict[str, Any]:
    """What an attempt looks like when it begins."""
    return {
        "progress": 0.0,
        "stage": None,
        "stages": [],
        "eta_s": None,
        "told_at": None,
        "told_progress": 0.0,
    }


def job_of(row: Row[Any]) -> Job:
    """The job that a row of `api.jobs.tables.jobs` holds."""
    values = row._mapping
    return Job(
        id=values["id"],
        owner=values["owner"],
        status=values["status"],
        filename=values["filename"],
        input_path=values["input_path"],
        input_sha256=values["input_sha256"],
        input_bytes=values["input_bytes"],
        created_at=_datetime(values["created_at"]),
        options=values["options"],
        metadata=values["metadata"],
        priority=values["priority"],
        webhook_url=values["webhook_url"],
        content_key=values["content_key"],
        subject=values["subject"],
        retention_days=values["retention_days"],
        traceparent=values["traceparent"],
        attempt=values["attempt"],
        max_attempts=values["max_attempts"],
        fence=values["fence"],
        worker=values["worker"],
        lease_until=_maybe(values["lease_until"]),
        cancel_requested=values["cancel_requested"],
        progress=values["progress"],
        stage=values["stage"],
        stages=tuple(StageTime(**stage) for stage in values["stages"]),
        eta_s=values["eta_s"],
        duration_s=values["duration_s"],
        error=JobError(**values["error"]) if values["error"] else None,
        retry_at=_maybe(values["not_before"]),
        started_at=_maybe(values["started_at"]),
        finished_at=_maybe(values["finished_at"]),
    )


def event_of(row: Row[Any]) -> JobEvent:
    """The event that a row of `api.jobs.tables.job_events` holds."""
    values = row._mapping
    return JobEvent(values["id"], values["job_id"], values["kind"], values["data"], _datetime(values["at"]))


def told(job: Job) -> dict[str, Any]:
    """What an event says of a job, as JSON."""
    said: dict[str, Any] = {
        "status": job.status.value,
        "attempt": job.attempt,
        "progress": job.progress,
        "stage": job.stage,
        "eta_s": job.eta_s,
    }
    if job.error is not None:
        said["error"] = asdict(job.error)
    if job.retry_at is not None:
        said["retry_at"] = job.retry_at.isoformat()
    return said


def _datetime(at: float) -> datetime:
    return datetime.fromtimestamp(at, UTC)


def _maybe(at: float | None) -> datetime | None:
    return None if at is None else _datetime(at)
