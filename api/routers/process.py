"""Submit: a recording comes in, a job goes out."""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass
from typing import Annotated

import anyio
from anyio.to_thread import run_sync
from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.responses import JSONResponse

from api.audit_trail import note
from api.bodies import job_body
from api.dependencies import PrincipalDep, Services, ServicesDep
from api.errors import (
    Conflict,
    Gone,
    InvalidRequest,
    UploadBusy,
    UploadUnfinished,
    UploadUnknown,
    UrlFailed,
    UrlTimedOut,
)
from api.file_answers import FileAnswer
from api.jobs.idempotency import Begun, Replay
from api.jobs.intake import examine, forget_input, job_config, keep_input, new_job
from api.jobs.model import Job, JobStatus
from api.jobs.results import is_whole, read_result
from api.jobs.usage import check_quota
from api.problems import refusals
from api.receiving import Received, Recording, received, request_body
from api.schemas import JobBody, Submission
from api.security.principal import Principal
from api.webhooks.sender import check_webhook_url
from pipeline.config import PipelineConfig
from pipeline.manifest import Manifest

router = APIRouter(tags=["jobs"])

_MAX_WAIT_S = 60.0
_LOOK_AGAIN_S = 2.0


@router.post(
    "/process",
    status_code=202,
    response_model=JobBody,
    responses={
        200: {
            "model": Manifest | JobBody,
            "description": "With `wait`, the job is done: its manifest. Else, or where it failed: the job.",
        },
        **refusals(UploadUnknown, UploadUnfinished, UploadBusy, Gone, UrlFailed, UrlTimedOut),
    },
    openapi_extra=request_body(),
)
async def process(
    request: Request,
    services: ServicesDep,
    principal: PrincipalDep,
    wait: Annotated[float, Query(ge=0, le=_MAX_WAIT_S, description="Seconds to hold the answer.")] = 0.0,
    prefer: Annotated[str | None, Header(description="wait=N, as in RFC 7240.")] = None,
    idempotency_key: Annotated[str | None, Header(min_length=1, max_length=255)] = None,
) -> Response:
    """Submit a recording: a form with the field `file` and options, or JSON with `url` or `upload_id`.

    Answers 202 with the job. With `wait`, answers 200 with the manifest if the job is done in time.
    """
    said = request.headers.get("content-length", "")
    await run_sync(services.admission.admit, int(said) if said.isdecimal() else 0)
    async with received(request, services.folders.uploads) as taken:
        accepted = await _accept_once(services, principal, taken, idempotency_key)
    job = await run_sync(services.store.get, accepted.job_id)
    if job is None:
        raise Gone(f"The job {accepted.job_id} was deleted.", "Send it again with another Idempotency-Key.")
    note(request, input=job.filename, output=job.status.value, job_id=job.id)
    if accepted.repeated:
        services.metrics.repeated.inc()
    else:
        services.metrics.upload_bytes.inc(job.input_bytes)
    return await _answer(services, job, max(wait, _preferred_wait(prefer)), repeated=accepted.repeated)


@dataclass(frozen=True, slots=True)
class _Accepted:
    """Which job a submission has become; `repeated` when it was there before."""

    job_id: str
    repeated: bool


async def _accept_once(
    services: Services, principal: Principal, taken: Received, idempotency_key: str | None
) -> _Accepted:
    """Accept a submission, unless the same key has been answered before.

    Raises:
        IdempotencyInFlight: the first request with this key is still being handled.
        IdempotencyMismatch: the key was used for another submission.
    """
    if idempotency_key is None:
        return await _locate_and_accept(services, principal, taken, None)
    begun = await run_sync(services.idempotency.begin, principal.owner, idempotency_key, taken.fingerprint)
    if isinstance(begun, Replay):
        return _Accepted(begun.body.decode(), repeated=True)
    try:
        return await _locate_and_accept(services, principal, taken, begun)
    except BaseException:
        with anyio.CancelScope(shield=True):
            # Of one that is finished it forgets nothing.
            await run_sync(services.idempotency.abandon, begun)
        raise


async def _locate_and_accept(
    services: Services, principal: Principal, taken: Received, begun: Begun | None
) -> _Accepted:
    job_id = str(uuid.uuid4()) if begun is None else begun.job_id
    if begun is not None and await run_sync(services.store.get, job_id) is not None:
        # A request before this one accepted the job and died before it could say so.
        accepted = _Accepted(job_id, repeated=True)
    else:
        config = await run_sync(_checked, services, principal, taken.submission)
        async with services.sources.recording(taken, principal.owner) as recording:
            accepted = await run_sync(
                _accept, services, principal, taken.submission, config, recording, job_id, begun
            )
    if begun is not None:
        await run_sync(services.idempotency.finish, begun, 202, {}, accepted.job_id.encode())
    return accepted


def _checked(services: Services, principal: Principal, submission: Submission) -> PipelineConfig:
    """Refuse what can never be done, before the recording is fetched or looked at."""
    if submission.priority > principal.max_priority:
        raise InvalidRequest(
            f"This key may ask for priority {principal.max_priority} at most.",
            "Leave the priority out, or ask the operator for a key that may.",
        )
    if submission.webhook_url is not None:
        check_webhook_url(services.outbound, submission.webhook_url)
    return job_config(services.defaults, submission.options)


def _accept(
    services: Services,
    principal: Principal,
    submission: Submission,
    config: PipelineConfig,
    recording: Recording,
    job_id: str,
    begun: Begun | None,
) -> _Accepted:
    owner, quota = principal.owner, principal.quota
    examined = examine(recording.path, recording.filename, config, recording.sha256)
    job = new_job(
        job_id,
        owner,
        recording.filename,
        examined,
        submission.options,
        metadata=submission.metadata,
        priority=submission.priority,
        webhook_url=submission.webhook_url,
        max_attempts=services.settings.max_attempts,
        subject=submission.subject,
        retention_days=principal.retention_days,
    )
    known = services.store.find_content(owner, str(job.content_key))
    if known is not None and _does_for(services, known, submission):
        return _Accepted(known.id, repeated=True)  # The same is not computed twice.
    check_quota(
        services.store,
        owner,
        job.duration_s or 0.0,
        jobs_per_day=quota.jobs_per_day,
        audio_s_per_month=quota.audio_s_per_month,
    )
    services.admission.admit_upload(examined.bytes, examined.probe, config)
    try:
        keep_input(recording.path, services.folders.uploads, job)
        if services.folders.shared is not None:
            services.folders.shared.keep_input(job.id, services.folders.input(job))
        services.store.add(job, max_queued=services.settings.max_queued)
    except Conflict:
        # This request took so long that it was taken for dead: the same, sent again, has made the job.
        return _Accepted(job.id, repeated=True)
    except BaseException:
        # Where it was sent again the recording is the other's too.
        if begun is None or services.idempotency.holds(begun):
            forget_input(services.store, services.folders, job.id)
        raise
    services.queue.wake(job)
    return _Accepted(job.id, repeated=False)


def _does_for(services: Services, known: Job, submission: Submission) -> bool:
    if submission.webhook_url not in {None, known.webhook_url}:
        return False  # That receiver would never be told. The new job takes over the separation.
    return known.status is not JobStatus.SUCCEEDED or is_whole(services.folders, known.id)


def _preferred_wait(prefer: str | None) -> float:
    for part in (prefer or "").replace(";", ",").split(","):
        name, _, value = part.strip().partition("=")
        if name.lower() == "wait" and value.strip().isdecimal():
            return min(float(value), _MAX_WAIT_S)
    return 0.0


async def _answer(services: Services, job: Job, wait_s: float, *, repeated: bool) -> Response:
    until = time.monotonic() + wait_s
    with services.feed.listen(job.id) as listener:
        while not job.status.final and (left_s := until - time.monotonic()) > 0:
            listener.reset()
            seen = await run_sync(services.store.get, job.id)
            job = job if seen is None else seen
            if not job.status.final:
                await listener.wait(min(left_s, _LOOK_AGAIN_S))
    headers = {"Location": f"/jobs/{job.id}"}
    if repeated:
        headers["X-Repeated"] = "true"
    if wait_s and job.status is JobStatus.SUCCEEDED:
        await run_sync(read_result, services.folders, job.id)
        manifest = services.folders.result(job.id) / "manifest.json"
        return FileAnswer(manifest, media_type="application/json", headers=headers)
    body = await run_sync(job_body, job, services.store, services.outlook)
    if not job.status.final:
        headers["Retry-After"] = str(max(round(min(body.eta_s or 5, 60)), 1))
    status = 200 if job.status.final else 202
    return JSONResponse(body.model_dump(mode="json"), status_code=status, headers=headers)
