"""Submit: a recording comes in, a job goes out."""

from __future__ import annotations

import time
from functools import partial
from typing import Annotated

from anyio.to_thread import run_sync
from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.responses import JSONResponse

from api.acceptance import Accepted, Held, locate_and_accept, once
from api.audit_trail import note
from api.bodies import job_body
from api.dependencies import PrincipalDep, Services, ServicesDep
from api.errors import Gone, UploadBusy, UploadUnfinished, UploadUnknown, UrlFailed, UrlTimedOut
from api.file_answers import FileAnswer
from api.jobs.model import Job, JobStatus
from api.jobs.results import manifest_file, read_result
from api.problems import refusals
from api.receiving import received, request_body
from api.schemas import JobBody
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

        async def accept(job_id: str, held: Held | None) -> Accepted:
            return await locate_and_accept(services, principal, taken, job_id, held)

        accepted = await once(services, principal.owner, idempotency_key, taken.fingerprint, accept)
    job = await run_sync(services.store.get, accepted.id)
    if job is None:
        raise Gone(f"The job {accepted.id} was deleted.", "Send it again with another Idempotency-Key.")
    note(request, input=job.filename, output=job.status.value, job_id=job.id)
    if accepted.repeated:
        services.metrics.repeated.inc()
    return await _answer(services, job, max(wait, _preferred_wait(prefer)), repeated=accepted.repeated)


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
        manifest = manifest_file(services.folders, job.id)
        answer = partial(FileAnswer, manifest, media_type="application/json", headers=headers)
        return await run_sync(answer)
    body = await run_sync(job_body, job, services.store, services.outlook)
    if not job.status.final:
        headers["Retry-After"] = str(max(round(min(body.eta_s or 5, 60)), 1))
    status = 200 if job.status.final else 202
    return JSONResponse(body.model_dump(mode="json"), status_code=status, headers=headers)
