"""From the job domain to the wire."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from api.batches.model import Batch, Item
from api.jobs.model import Job, JobError, JobStatus
from api.jobs.outlook import Outlook
from api.jobs.store import JobStore
from api.schemas import ErrorBody, JobBody, StageBody
from api.schemas_batches import BatchBody, BatchSummary, ItemBody


def job_body(job: Job, store: JobStore | None = None, outlook: Outlook | None = None) -> JobBody:
    """A job as its owner sees it.

    Args:
        job: in any status.
        store: asked for the place of one that waits; None where it has ended.
        outlook: asked when it will end, likewise.
    """
    base = f"/jobs/{job.id}"
    links = {"self": base, "events": f"{base}/events"}
    if job.status in (JobStatus.QUEUED, JobStatus.RUNNING, JobStatus.SUCCEEDED):
        links["audio"] = f"{base}/audio"
    if job.status in (JobStatus.SUCCEEDED, JobStatus.EXPIRED):
        links["manifest"] = f"{base}/manifest"
    if job.status is JobStatus.SUCCEEDED:
        links |= {"archive": f"{base}/archive", "peaks": f"{base}/peaks"}
    if job.webhook_url is not None:
        links["webhooks"] = f"{base}/webhooks"
    done = job.status is JobStatus.SUCCEEDED
    return JobBody(
        id=job.id,
        status=job.status.value,
        filename=job.filename,
        input_sha256=job.input_sha256,
        input_bytes=job.input_bytes,
        duration_s=job.duration_s,
        options=job.options,
        metadata=job.metadata,
        subject=job.subject,
        priority=job.priority,
        attempt=job.attempt,
        progress=job.progress,
        stage=job.stage,
        stages=[
            StageBody(name=s.name, status="succeeded" if done else s.status, seconds=s.seconds)
            for s in job.stages
        ],
        queue_position=store.position(job.id) if store and job.status is JobStatus.QUEUED else None,
        eta_s=outlook.eta_s(job) if outlook else job.eta_s,
        error=_error_body(job.error),
        retry_at=job.retry_at,
        created_at=job.created_at,
        started_at=job.started_at,
        finished_at=job.finished_at,
        links=links,
    )  # fmt: skip


def batch_summary(batch: Batch, items: Sequence[Item], outlook: Outlook) -> BatchSummary:
    """How far a batch is."""
    base = f"/batches/{batch.id}"
    ended = all(item.ended for item in items)
    etas = [outlook.eta_s(item.job) for item in items if item.job is not None and not item.ended]
    waits = any(item.job is None and not item.ended for item in items)
    known = [eta for eta in etas if eta is not None]
    links = {"self": base, "events": f"{base}/events", "archive": f"{base}/archive"}
    return BatchSummary(
        id=batch.id,
        created_at=batch.created_at,
        cancelled_at=batch.cancelled_at,
        ended=ended,
        total=len(items),
        counts=dict(Counter(item.status for item in items)),
        progress=round(sum(item.progress for item in items) / max(len(items), 1), 4),
        # What still waits may be of any length.
        eta_s=max(known) if known and len(known) == len(etas) and not waits else None,
        links=links,
    )


def batch_body(batch: Batch, items: Sequence[Item], outlook: Outlook) -> BatchBody:
    """A batch, line by line."""
    summary = batch_summary(batch, items, outlook)
    return BatchBody(**summary.model_dump(), items=[_item_body(item, outlook) for item in items])


def _item_body(item: Item, outlook: Outlook) -> ItemBody:
    job = item.job
    return ItemBody.model_validate(
        {
            "number": item.number,
            "source": item.source,
            "status": item.status,
            "job_id": job and job.id,
            "filename": job and job.filename,
            "repeated": item.repeated,
            "progress": item.progress,
            "eta_s": outlook.eta_s(job) if job is not None and not item.ended else None,
            "error": _error_body(item.error if job is None else job.error),
            "retry_at": item.retry_at if job is None else job.retry_at,
        }
    )


def _error_body(error: JobError | None) -> ErrorBody | None:
    if error is None:
        return None
    return ErrorBody(code=error.code, message=error.message, hint=error.hint, retryable=error.retryable)
