"""Listening to a job part by part, also while it runs; and seeing what it sounds like."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import Annotated, Any, TypeVar

from anyio import sleep
from anyio.to_thread import run_sync
from fastapi import APIRouter, Header, Query, Request, Response
from fastapi import Path as PathParameter

from api.audit_trail import goes_on
from api.dependencies import OwnJob, Services, ServicesDep
from api.errors import PartNotReady
from api.jobs.model import Job
from api.jobs.parts import PART_S
from api.jobs.spectrogram import MOST_COLUMNS, MOST_ROWS, spectrogram
from api.jobs.tracks import MIX
from api.problems import refusals
from api.schemas import AudioBody, TrackBody

router = APIRouter(prefix="/jobs/{job_id}", tags=["listening"])

_WAIT_S = 4.0
_LOOK_AGAIN_S = 0.1
_FINAL = "private, max-age=31536000, immutable"
_UNDER_WAY = "no-store"
_BYTES: dict[str, Any] = {"schema": {"type": "string", "format": "binary"}}
_SAME: dict[int | str, dict[str, Any]] = {304: {"description": "It is what If-None-Match names"}}

_Found = TypeVar("_Found")


@router.get("/audio", responses=refusals(PartNotReady))
async def get_audio(job: OwnJob, services: ServicesDep) -> AudioBody:
    """What can be listened to: all of a finished job; of one that runs, what it has made so far."""
    return await _patiently(services, lambda: _audio(job, services))


@router.get(
    "/audio/{name}/{number}",
    response_class=Response,
    responses={200: {"content": {"audio/flac": _BYTES}}, **_SAME, **refusals(PartNotReady)},
)
async def get_part(
    request: Request,
    name: str,
    number: Annotated[int, PathParameter(ge=0, le=1_000_000)],
    job: OwnJob,
    services: ServicesDep,
    if_none_match: Annotated[str | None, Header()] = None,
) -> Response:
    """Samples `number * part_s * sample_rate` and on of a stem, `residual` or `mix`, as FLAC of 16 bits.

    What exceeds full scale is clipped.
    """
    if number:
        goes_on(request)

    def found() -> Response:
        tracks = services.listening.tracks(job)
        track = services.listening.track(tracks, name)
        if track.sha256 is None:
            packed = services.listening.part(tracks, track, number)
            return Response(packed, media_type="audio/flac", headers={"Cache-Control": _UNDER_WAY})
        headers = _kept(f"{track.sha256[:32]}-{PART_S}-{number}")
        if if_none_match == headers["ETag"]:
            return Response(status_code=304, headers=headers)
        return Response(
            services.listening.part(tracks, track, number), media_type="audio/flac", headers=headers
        )

    try:
        return await _patiently(services, found)
    except PartNotReady:
        goes_on(request)
        raise


@router.get(
    "/spectrogram",
    response_class=Response,
    responses={200: {"content": {"image/png": _BYTES}}, **_SAME, **refusals(PartNotReady)},
)
async def get_spectrogram(
    job: OwnJob,
    services: ServicesDep,
    track: Annotated[str, Query(max_length=64, description="A stem, `residual` or `mix`.")] = MIX,
    width: Annotated[int, Query(ge=16, le=MOST_COLUMNS, description="Pixels.")] = 1600,
    height: Annotated[int, Query(ge=16, le=MOST_ROWS, description="Pixels.")] = 400,
    if_none_match: Annotated[str | None, Header()] = None,
) -> Response:
    """How loud each pitch is over time: low to high on a logarithmic scale, -90 to -10 dB of full scale."""

    def found() -> Response:
        whole = services.listening.whole(job, track)
        headers = _kept(f"{whole.sha256[:32]}-{width}-{height}")
        if if_none_match == headers["ETag"]:
            return Response(status_code=304, headers=headers)
        picture = spectrogram(whole, width, height, services.folders.stored_peaks(job.id))
        return Response(picture, media_type="image/png", headers=headers)

    return await _patiently(services, found)


def _audio(job: Job, services: Services) -> AudioBody:
    listening = services.listening
    found = listening.tracks(job)
    tracks = [track for track in found.tracks if listening.failure(track) is None]
    if found.sample_rate is None:
        for track in found.tracks:
            if error := listening.failure(track):
                raise error
        raise PartNotReady("The recording has not been looked at yet.", "Ask again.", retry_after_s=1)
    length = found.samples
    made = {track.name: track.available(length) for track in tracks}
    if length is not None:
        made = {name: min(samples, length) for name, samples in made.items()}
    return AudioBody(
        sample_rate=found.sample_rate,
        channels=found.channels,
        samples=length,
        part_s=PART_S,
        complete=found.final and all(samples == length for samples in made.values()),
        tracks=[
            TrackBody(name=track.name, kind=track.kind, available_s=made[track.name] / found.sample_rate)
            for track in tracks
        ],
    )


def _kept(etag: str) -> dict[str, str]:
    return {"ETag": f'"{etag}"', "Cache-Control": _FINAL}


async def _patiently(services: Services, find: Callable[[], _Found]) -> _Found:
    """Find something that may be there in a moment. Nothing is held while it is waited for."""
    deadline = monotonic() + _WAIT_S
    while True:
        try:
            return await run_sync(find, limiter=services.listening.threads)
        except PartNotReady:
            if monotonic() >= deadline:
                raise
        await sleep(_LOOK_AGAIN_S)
