"""Submit: a recording comes in, a job goes out."""

from __future__ import annotations

import hashlib
import json
import shutil
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import anyio
from anyio.to_thread import run_sync
from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.responses import FileResponse, JSONResponse
from pydantic import ValidationError
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException

from api.audit_trail import note
from api.bodies import job_body
from api.dependencies import PrincipalDep, Services, ServicesDep
from api.errors import Gone, InvalidRequest, UnsupportedMedia
from api.jobs.idempotency import Replay
from api.jobs.intake import examine, job_config, keep_input, new_job
from api.jobs.model import Job, JobStatus
from api.jobs.usage import check_quota
from api.schemas import JobBody, JobOptions
from api.security.principal import Principal
from pipeline.codec.source import printable

router = APIRouter(tags=["jobs"])

_MAX_WAIT_S = 60.0
_POLL_S = 0.2
_METADATA_CAP = 16 << 10
_LISTS = ("stems", "formats", "estimators")


@dataclass(frozen=True, slots=True)
class _Submission:
    """What a client sent, on disk."""

    upload: Path
    filename: str
    options: dict[str, Any]
    metadata: dict[str, Any]


@router.post("/process", status_code=202, response_model=JobBody)
async def process(
    request: Request,
    services: ServicesDep,
    principal: PrincipalDep,
    wait: Annotated[float, Query(ge=0, le=_MAX_WAIT_S, description="Seconds to hold the answer.")] = 0.0,
    prefer: Annotated[str | None, Header(description="wait=N, as in RFC 7240.")] = None,
    idempotency_key: Annotated[str | None, Header(min_length=1, max_length=255)] = None,
) -> Response:
    """Submit a recording as multipart field `file`, with options as further fields.

    Answers 202 with the job. With `wait`, answers 200 with the manifest if the job is done in time.
    """
    said = request.headers.get("content-length", "")
    await run_sync(services.admission.admit, int(said) if said.isdecimal() else 0)
    async with _received(request, services) as submission:
        answer = await run_sync(_accept_once, services, principal, submission, idempotency_key)
    job = await run_sync(services.store.get, answer.job_id)
    if job is None:
        raise Gone(f"The job {answer.job_id} was deleted.", "Send it again with another Idempotency-Key.")
    note(request, input=submission.filename, output=job.status.value, job_id=job.id)
    if not answer.repeated:
        services.metrics.upload_bytes.inc(job.input_bytes)
    return await _answer(services, job, max(wait, _preferred_wait(prefer)), repeated=answer.repeated)


@dataclass(frozen=True, slots=True)
class _Accepted:
    """Which job a submission has become; `repeated` when it was there before."""

    job_id: str
    repeated: bool


def _accept_once(
    services: Services, principal: Principal, submission: _Submission, idempotency_key: str | None
) -> _Accepted:
    """Accept a submission, unless the same key has been answered before.

    Raises:
        IdempotencyInFlight: the first request with this key is still being handled.
        IdempotencyMismatch: the key was used for another submission.
    """
    if idempotency_key is None:
        return _accept(services, principal, submission, str(uuid.uuid4()))
    begun = services.idempotency.begin(principal.owner, idempotency_key, _fingerprint(submission))
    if isinstance(begun, Replay):
        return _Accepted(begun.body.decode(), repeated=True)
    try:
        accepted = _accept(services, principal, submission, begun.job_id)
    except BaseException:
        services.idempotency.abandon(begun)
        raise
    services.idempotency.finish(begun, 202, {}, accepted.job_id.encode())
    return accepted


def _accept(services: Services, principal: Principal, submission: _Submission, job_id: str) -> _Accepted:
    owner = principal.owner
    config = job_config(services.defaults, submission.options)
    if services.store.get(job_id) is not None:
        # A request before this one accepted the job and died before it could say so.
        return _Accepted(job_id, repeated=True)
    examined = examine(submission.upload, submission.filename, config)
    job = new_job(
        job_id,
        owner,
        submission.filename,
        examined,
        submission.options,
        metadata=submission.metadata,
        max_attempts=services.settings.max_attempts,
    )
    known = services.store.find_content(owner, str(job.content_key))
    if known is not None:
        return _Accepted(known.id, repeated=True)  # The same is not computed twice.
    quota = principal.quota
    check_quota(
        services.store,
        owner,
        job.duration_s or 0.0,
        jobs_per_day=quota.jobs_per_day,
        audio_s_per_month=quota.audio_s_per_month,
    )
    services.admission.admit_upload(examined.bytes, examined.probe, config)
    keep_input(submission.upload, services.folders.uploads, job)
    try:
        services.store.add(job, max_queued=services.settings.max_queued)
    except BaseException:
        shutil.rmtree(services.folders.upload(job.id), ignore_errors=True)
        raise
    return _Accepted(job.id, repeated=False)


@asynccontextmanager
async def _received(request: Request, services: Services) -> AsyncIterator[_Submission]:
    """Read the body to disk; whatever is not taken over is removed."""
    folder = services.folders.uploads / f".incoming-{uuid.uuid4()}"
    await run_sync(lambda: folder.mkdir(parents=True))
    try:
        yield await _read(request, folder)
    finally:
        await run_sync(lambda: shutil.rmtree(folder, ignore_errors=True))


async def _read(request: Request, folder: Path) -> _Submission:
    kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if kind != "multipart/form-data":
        raise UnsupportedMedia(
            "The body must be multipart/form-data with the recording as the field `file`.",
            "curl -F file=@song.mp3 does it.",
        )
    try:
        async with request.form(max_files=1, max_fields=32, max_part_size=64 << 10) as form:
            file = form.get("file")
            if not isinstance(file, UploadFile):
                raise InvalidRequest(
                    "There is no file in the field `file`.", "curl -F file=@song.mp3 does it."
                )
            fields = {key: value for key, value in form.multi_items() if isinstance(value, str)}
            options, metadata = _options(fields)
            target = folder / "input"
            async with await anyio.open_file(target, "wb") as out:
                while chunk := await file.read(1 << 20):
                    await out.write(chunk)
            return _Submission(target, printable(file.filename or "recording"), options, metadata)
    except MultiPartException as exc:
        raise InvalidRequest(f"The multipart body is broken: {exc.message}", "Send it again.") from exc


def _options(fields: dict[str, str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Split form fields into job options and the user's metadata.

    Raises:
        InvalidRequest: an unknown field, or a value that makes no sense.
    """
    metadata: dict[str, Any] = {}
    values: dict[str, Any] = {}
    for key, value in fields.items():
        if key == "metadata":
            metadata = _metadata(value)
        elif key in _LISTS:
            values[key] = [] if value in ("", "none") else [part.strip() for part in value.split(",")]
        else:
            values[key] = value
    if values.get("estimators") == ["all"]:
        del values["estimators"]
    try:
        options = JobOptions.model_validate(values)
    except ValidationError as exc:
        first = exc.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise InvalidRequest(f"The field {where}: {first['msg']}.", "See /docs for the fields.") from exc
    return options.model_dump(exclude_none=True), metadata


def _metadata(value: str) -> dict[str, Any]:
    try:
        metadata = json.loads(value) if len(value) <= _METADATA_CAP else None
    except ValueError:
        metadata = None
    if not isinstance(metadata, dict):
        raise InvalidRequest("The field metadata must be a JSON object of at most 16 KB.")
    return metadata


def _fingerprint(submission: _Submission) -> str:
    digest = hashlib.sha256(json.dumps([submission.options, submission.metadata], sort_keys=True).encode())
    with submission.upload.open("rb") as file:
        digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def _preferred_wait(prefer: str | None) -> float:
    for part in (prefer or "").replace(";", ",").split(","):
        name, _, value = part.strip().partition("=")
        if name.lower() == "wait" and value.strip().isdecimal():
            return min(float(value), _MAX_WAIT_S)
    return 0.0


async def _answer(services: Services, job: Job, wait_s: float, *, repeated: bool) -> Response:
    until = time.monotonic() + wait_s
    while not job.status.final and time.monotonic() < until:
        await anyio.sleep(_POLL_S)
        seen = await run_sync(services.store.get, job.id)
        job = job if seen is None else seen
    headers = {"Location": f"/jobs/{job.id}"}
    if repeated:
        headers["X-Repeated"] = "true"
    if wait_s and job.status is JobStatus.SUCCEEDED:
        manifest = services.folders.result(job.id) / "manifest.json"
        return FileResponse(manifest, media_type="application/json", headers=headers)
    body = await run_sync(job_body, job, services.store)
    if not job.status.final:
        headers["Retry-After"] = str(max(round(min(job.eta_s or 5, 60)), 1))
    status = 200 if job.status.final else 202
    return JSONResponse(body.model_dump(mode="json"), status_code=status, headers=headers)
