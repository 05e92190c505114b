"""Jobs: list, look, watch, stop, retry, delete."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Annotated

from anyio.to_thread import run_sync
from fastapi import APIRouter, Header, Query, Response
from fastapi.responses import FileResponse
from pydantic import BeforeValidator
from sse_starlette import EventSourceResponse, ServerSentEvent

from api.bodies import job_body
from api.dependencies import OwnJob, PrincipalDep, Services, ServicesDep
from api.errors import Conflict, InvalidRequest, LegalHold, NotFound
from api.file_answers import FileAnswer
from api.jobs.model import Job, JobEvent, JobStatus
from api.jobs.results import manifest_file, read_result
from api.jobs.store import JobFilter
from api.problems import refusals
from api.schemas import JobBody, JobPage, SimilarBody, SimilarJob
from pipeline.manifest import Manifest

router = APIRouter(prefix="/jobs", tags=["jobs"])

_LOOK_AGAIN_S = 10.0
_HEARTBEAT_S = 10
_NOT_DELETED = tuple(status for status in JobStatus if status is not JobStatus.ERASED)


def _dated(value: str) -> str:
    # A bare number would be taken for seconds or milliseconds, whichever is nearer to our time.
    if value[4:5] != "-":
        raise ValueError("should be a date or a time such as 2026-11-24T10:00:00Z")
    return value


Moment = Annotated[datetime, BeforeValidator(_dated), Query(description="In UTC unless it has a zone.")]


@router.get("")
def list_jobs(
    services: ServicesDep,
    principal: PrincipalDep,
    status: Annotated[list[JobStatus] | None, Query()] = None,
    q: Annotated[str | None, Query(max_length=200, description="Part of the file name.")] = None,
    subject: Annotated[str | None, Query(max_length=128, description="Exactly.")] = None,
    since: Moment | None = None,
    until: Moment | None = None,
    cursor: Annotated[str | None, Query(pattern=r"^[0-9a-f-]{36}$")] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> JobPage:
    """The caller's jobs, newest first; those that were deleted only where `status` asks for them."""
    wanted = JobFilter(
        principal.owner,
        tuple(status) if status else _NOT_DELETED,
        q,
        subject=subject,
        since=since,
        until=until,
    )
    jobs = services.store.find(wanted, after=cursor, limit=limit + 1)
    return JobPage(
        jobs=[job_body(job, services.store, services.outlook) for job in jobs[:limit]],
        next_cursor=jobs[limit - 1].id if len(jobs) > limit else None,
    )


@router.get("/{job_id}")
def get_job(job: OwnJob, services: ServicesDep) -> JobBody:
    """One job."""
    return job_body(job, services.store, services.outlook)


@router.get("/{job_id}/manifest", response_class=FileResponse, responses={200: {"model": Manifest}})
def get_manifest(job: OwnJob, services: ServicesDep) -> Response:
    """The manifest of a finished job, byte for byte as it was published."""
    if job.status not in {JobStatus.SUCCEEDED, JobStatus.EXPIRED}:
        raise _no_manifest(job)
    read_result(services.folders, job.id)  # What is damaged is not handed out.
    return FileAnswer(manifest_file(services.folders, job.id), media_type="application/json")


@router.get("/{job_id}/similar")
def get_similar(
    job: OwnJob, services: ServicesDep, limit: Annotated[int, Query(ge=1, le=100)] = 10
) -> SimilarBody:
    """The caller's finished jobs whose recordings sound most like this one's, or are the same again."""
    if job.status not in {JobStatus.SUCCEEDED, JobStatus.EXPIRED}:
        raise _no_manifest(job)
    found, compared = services.sounds.like(job, limit)
    return SimilarBody(
        items=[
            SimilarJob(
                id=like.job.id,
                filename=like.job.filename,
                created_at=like.job.created_at,
                similarity=round(like.similarity, 4),
                same=like.same,
            )
            for like in found
        ],
        compared=compared,
    )


@router.get(
    "/{job_id}/events",
    response_class=EventSourceResponse,
    responses={200: {"content": {"text/event-stream": {}}}},
)
async def watch(
    job: OwnJob,
    services: ServicesDep,
    last_event_id: Annotated[str | None, Header()] = None,
) -> EventSourceResponse:
    """What happens to a job, as server-sent events; ends with the job.

    A listener that comes back with `Last-Event-ID` misses nothing.
    """
    if last_event_id is not None and not last_event_id.isdecimal():
        raise InvalidRequest("Last-Event-ID is not a number.", "Send the id of the last event received.")
    events = _events(services, job.id, int(last_event_id or 0))
    return EventSourceResponse(events, ping=_HEARTBEAT_S, headers={"X-Accel-Buffering": "no"})


async def _events(services: Services, job_id: str, after: int) -> AsyncIterator[ServerSentEvent]:
    with services.feed.listen(job_id) as listener:
        while True:
            listener.reset()
            # In this order: of a job that has ended there is nothing to come that is not read here.
            job = await run_sync(services.store.get, job_id)
            events = await run_sync(services.store.events, job_id, after)
            for event in events:
                after = event.id
                eta_s: float | None = event.data["eta_s"]
                if job is not None and event.data["status"] == JobStatus.QUEUED == job.status:
                    eta_s = await run_sync(services.outlook.eta_s, job)  # The queue knows, not the event.
                yield _sse(event, eta_s)
            if job is None or (job.status.final and not events):
                return
            if not events:
                await listener.wait(_LOOK_AGAIN_S)


def _sse(event: JobEvent, eta_s: float | None) -> ServerSentEvent:
    told = {**event.data, "eta_s": eta_s, "at": event.at.isoformat()}
    return ServerSentEvent(id=str(event.id), event=event.kind, data=json.dumps(told, allow_nan=False))


@router.post("/{job_id}/cancel", status_code=202, responses=refusals(Conflict))
def cancel_job(job: OwnJob, services: ServicesDep) -> JobBody:
    """Stop a job: at once when it waits, within one segment when it runs."""
    stopped = services.store.request_cancel(job.id) or job
    if stopped.status.final and stopped.status is not JobStatus.CANCELLED:
        raise Conflict(f"The job {job.id} is {stopped.status.value} already.", "There is nothing to stop.")
    return job_body(stopped, services.store, services.outlook)


@router.post("/{job_id}/retry", status_code=202, responses=refusals(Conflict))
def retry_job(job: OwnJob, services: ServicesDep) -> JobBody:
    """Queue a failed or cancelled job again."""
    if job.input_path is None or not services.folders.has_input(job):
        raise Conflict(f"The recording of job {job.id} is gone.", "Submit it again.")
    queued = services.store.requeue(job.id)
    if queued is None:
        raise Conflict(
            f"The job {job.id} is {job.status.value}.", "Only failed or cancelled jobs are retried."
        )
    services.queue.wake(queued)
    return job_body(queued, services.store, services.outlook)


@router.delete("/{job_id}", status_code=204, responses=refusals(Conflict, LegalHold))
def delete_job(job: OwnJob, services: ServicesDep, principal: PrincipalDep) -> None:
    """Delete a job that has ended: its recording, stems and manifest, and what logs and backups say of it."""
    if not job.status.final:
        raise Conflict(f"The job {job.id} is {job.status.value}.", "Cancel it first.")
    services.eraser.erase(services.eraser.select("job", job.id), principal.owner)


def _no_manifest(job: Job) -> NotFound:
    return NotFound(
        f"The job {job.id} has no manifest: it is {job.status.value}.", "Wait until it succeeded."
    )
