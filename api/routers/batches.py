"""Batches: many recordings by one call, watched, stopped and fetched as one."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Iterator
from functools import partial
from typing import Annotated

import anyio
from anyio.to_thread import run_sync
from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse
from sse_starlette import EventSourceResponse, ServerSentEvent

from api.acceptance import Accepted, Held, once
from api.audit_trail import note
from api.batch_request import judged, read_batch, request_body
from api.batches.model import Batch, Item
from api.bodies import batch_body, batch_summary
from api.dependencies import OwnBatch, PrincipalDep, Services, ServicesDep
from api.encryption.stored import Stored
from api.errors import Conflict, Gone, InvalidRequest, NotFound
from api.file_names import title_of
from api.jobs.archive import stream_zip
from api.jobs.model import JobStatus
from api.jobs.results import artifact_file, manifest_file, read_result
from api.problems import refusals
from api.schemas_batches import BatchBody, BatchPage

router = APIRouter(prefix="/batches", tags=["batches"])

_MAX_WAIT_S = 60.0
_LOOK_AGAIN_S = 1.0
_HEARTBEAT_S = 10
_CURSOR = r"^[0-9a-f-]{36}$"

Wait = Annotated[
    float, Query(ge=0, le=_MAX_WAIT_S, description="Seconds to hold the answer until no item waits.")
]
Key = Annotated[str | None, Header(min_length=1, max_length=255)]


@router.post(
    "", status_code=202, response_model=BatchBody, responses=refusals(Gone), openapi_extra=request_body()
)
async def submit_batch(
    request: Request,
    services: ServicesDep,
    principal: PrincipalDep,
    wait: Wait = 0.0,
    idempotency_key: Key = None,
) -> Response:
    """Submit many recordings: JSON, a CSV table, or a playlist (M3U, PLS, XSPF) of https addresses.

    Every item is judged by itself: one that is refused keeps no other from becoming a job. What is fine so
    far waits until it is taken in by the rules of POST /process: `GET /batches/{batch_id}` tells.
    """
    await run_sync(services.admission.admit)
    sent = await read_batch(request)

    async def accept(batch_id: str, held: Held | None) -> Accepted:
        if held is not None and await run_sync(services.batches.get, batch_id) is not None:
            return Accepted(batch_id, repeated=True)
        new = await run_sync(judged, services, principal, sent)
        added = await run_sync(services.batches.add, batch_id, principal.owner, principal.key_id, new)
        return Accepted(batch_id, repeated=not added)

    accepted = await once(services, principal.owner, idempotency_key, sent.fingerprint, accept)
    services.batch_bell.ring()
    note(request, input=f"{len(sent.items)} items", output=f"batch {accepted.id}")
    return await _answer(services, accepted, wait)


@router.post(
    "/{batch_id}/items",
    status_code=202,
    response_model=BatchBody,
    responses=refusals(Conflict),
    openapi_extra=request_body(),
)
async def add_items(
    request: Request,
    batch: OwnBatch,
    services: ServicesDep,
    principal: PrincipalDep,
    wait: Wait = 0.0,
    idempotency_key: Key = None,
) -> Response:
    """Add recordings to a batch, as `POST /batches` takes them: for who sends one after another."""
    if batch.owner != principal.owner:
        raise NotFound(f"There is no batch {batch.id} of yours.", "See GET /batches.")
    await run_sync(services.admission.admit)
    sent = await read_batch(request)

    async def accept(token: str, held: Held | None) -> Accepted:
        del held  # The store knows.
        new = await run_sync(judged, services, principal, sent)
        added = await run_sync(
            partial(services.batches.extend, batch, token, new, most=services.settings.batch_items)
        )
        return Accepted(batch.id, repeated=not added)

    fingerprint = f"{batch.id} {sent.fingerprint}"
    accepted = await once(services, principal.owner, idempotency_key, fingerprint, accept)
    services.batch_bell.ring()
    note(request, input=f"{len(sent.items)} items more", output=f"batch {accepted.id}")
    return await _answer(services, accepted, wait)


async def _answer(services: Services, accepted: Accepted, wait_s: float) -> JSONResponse:
    batch = await run_sync(services.batches.get, accepted.id)
    if batch is None:
        raise Gone(f"The batch {accepted.id} was forgotten.", "Send it again with another Idempotency-Key.")
    until = time.monotonic() + wait_s
    items = await run_sync(services.batches.items, batch.id)
    while any(item.status == "waiting" for item in items) and time.monotonic() < until:
        await anyio.sleep(min(0.1, max(until - time.monotonic(), 0.0)))
        items = await run_sync(services.batches.items, batch.id)
    body = await run_sync(batch_body, batch, items, services.outlook)
    headers = {"Location": f"/batches/{batch.id}", "Retry-After": "2"}
    if accepted.repeated:
        headers["X-Repeated"] = "true"
    return JSONResponse(body.model_dump(mode="json"), status_code=202, headers=headers)


@router.get("")
def list_batches(
    services: ServicesDep,
    principal: PrincipalDep,
    cursor: Annotated[str | None, Query(pattern=_CURSOR)] = None,
    limit: Annotated[int, Query(ge=1, le=50)] = 20,
) -> BatchPage:
    """The caller's batches, newest first."""
    found = services.batches.find(principal.owner, after=cursor, limit=limit + 1)
    return BatchPage(
        batches=[
            batch_summary(batch, services.batches.items(batch.id), services.outlook)
            for batch in found[:limit]
        ],
        next_cursor=found[limit - 1].id if len(found) > limit else None,
    )


@router.get("/{batch_id}")
def get_batch(batch: OwnBatch, services: ServicesDep) -> BatchBody:
    """One batch, line by line."""
    return batch_body(batch, services.batches.items(batch.id), services.outlook)


@router.post("/{batch_id}/cancel", status_code=202)
def cancel_batch(batch: OwnBatch, services: ServicesDep, response: Response) -> BatchBody:
    """Stop a batch: what waits becomes no job, and its jobs stop. Jobs that were there before it go on."""
    for job_id in services.batches.cancel(batch.id):
        services.store.request_cancel(job_id)
    response.headers["Location"] = f"/batches/{batch.id}"
    response.headers["Retry-After"] = "2"
    return get_batch(services.batches.get(batch.id) or batch, services)


@router.get(
    "/{batch_id}/events",
    response_class=EventSourceResponse,
    responses={200: {"content": {"text/event-stream": {}}}},
)
async def watch_batch(
    batch: OwnBatch, services: ServicesDep, last_event_id: Annotated[str | None, Header()] = None
) -> EventSourceResponse:
    """What happens to a batch and its jobs, as server-sent events; ends with the batch.

    Events of jobs are those of `GET /jobs/{job_id}/events`, with their `job_id`; each time the batch changes,
    an event `batch` says how far it is. A listener that comes back with `Last-Event-ID` misses nothing.
    """
    if last_event_id is not None and not last_event_id.isdecimal():
        raise InvalidRequest("Last-Event-ID is not a number.", "Send the id of the last event received.")
    events = _events(services, batch, int(last_event_id or 0))
    return EventSourceResponse(events, ping=_HEARTBEAT_S, headers={"X-Accel-Buffering": "no"})


async def _events(services: Services, batch: Batch, after: int) -> AsyncIterator[ServerSentEvent]:
    said = ""
    while True:
        # In this order: of a batch that has ended there is nothing to come that is not read here.
        now = await run_sync(services.batches.get, batch.id)
        items = await run_sync(services.batches.items, batch.id)
        events = await run_sync(services.batches.events, batch.id, after)
        for event in events:
            after = event.id
            told = {**event.data, "job_id": event.job_id, "at": event.at.isoformat()}
            yield ServerSentEvent(id=str(event.id), event=event.kind, data=json.dumps(told, allow_nan=False))
        if now is None:
            return
        summary = await run_sync(batch_summary, now, items, services.outlook)
        counted = summary.model_dump_json(exclude={"eta_s"})
        if counted != said:
            said = counted
            yield ServerSentEvent(id=str(after), event="batch", data=summary.model_dump_json())
        if summary.ended and not events:
            return
        if not events:
            await anyio.sleep(_LOOK_AGAIN_S)


@router.get(
    "/{batch_id}/archive",
    response_class=StreamingResponse,
    responses={200: {"content": {"application/zip": {"schema": {"type": "string", "format": "binary"}}}}},
)
def get_batch_archive(batch: OwnBatch, services: ServicesDep) -> StreamingResponse:
    """The results of all jobs that have succeeded so far as one zip, a folder each, made while it is sent."""
    done = [item for item in services.batches.items(batch.id) if item.status == JobStatus.SUCCEEDED.value]
    if not done:
        raise NotFound(f"No job of the batch {batch.id} has succeeded yet.", "See GET /batches/{batch_id}.")
    return StreamingResponse(
        stream_zip(_files(services, done)),
        media_type="application/zip",
        headers={"Content-Disposition": f'attachment; filename="batch-{batch.id}.zip"'},
    )


def _files(services: Services, done: list[Item]) -> Iterator[tuple[str, Stored]]:
    """Each file when its turn comes: those on other machines are fetched one job after another."""
    seen: set[str] = set()
    for item in done:
        job = item.job
        assert job is not None
        if job.id in seen:
            continue
        seen.add(job.id)
        manifest = read_result(services.folders, job.id)
        folder = f"{item.number + 1:04d} {title_of(job.filename)}"
        yield f"{folder}/manifest.json", manifest_file(services.folders, job.id)
        for artifact in manifest.artifacts:
            yield f"{folder}/{artifact.path}", artifact_file(services.folders, job.id, artifact)
