"""From the job domain to the wire."""

from __future__ import annotations

from api.jobs.model import Job, JobStatus
from api.jobs.outlook import Outlook
from api.jobs.store import JobStore
from api.schemas import ErrorBody, JobBody, StageBody


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
    error = job.error
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
        error=error and ErrorBody(
            code=error.code, message=error.message, hint=error.hint, retryable=error.retryable
        ),
        retry_at=job.retry_at,
        created_at=job.created_at,
        started_at=job.started_at,
        finished_at=job.finished_at,
        links=links,
    )  # fmt: skip
