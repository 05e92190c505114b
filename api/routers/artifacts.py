"""What a job published: stems one by one, all as a zip, and their waveforms."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Query, Response
from fastapi.responses import FileResponse, RedirectResponse, StreamingResponse

from api.dependencies import OwnJob, Services, ServicesDep
from api.errors import Gone, NotFound
from api.file_answers import FileAnswer
from api.file_names import title_of
from api.jobs.archive import stream_zip
from api.jobs.model import Job, JobStatus
from api.jobs.peaks import peaks, stem_peaks
from api.jobs.results import artifact_file, read_result
from api.jobs.tracks import MIX
from api.schemas import Peaks
from pipeline.codec.formats import FORMATS
from pipeline.exports.registry import MEDIA_TYPES
from pipeline.manifest import Artifact, Manifest

router = APIRouter(prefix="/jobs/{job_id}", tags=["artifacts"])

_BYTES: dict[str, Any] = {"schema": {"type": "string", "format": "binary"}}
_FILE: dict[int | str, dict[str, Any]] = {
    200: {"content": {"*/*": _BYTES}},
    206: {"description": "The range that was asked for", "content": {"*/*": _BYTES}},
    304: {"description": "It is what If-None-Match names"},
    416: {"description": "The file has no such range"},
}

_READ_BY_PEAKS = ("flac", "wav", "wav16", "wav24", "wav32f", "mp3", "ogg", "opus")


@router.head("/stems/{name}", include_in_schema=False)
@router.get("/stems/{name}", response_class=FileResponse, responses=_FILE)
def get_stem(
    name: str,
    job: OwnJob,
    services: ServicesDep,
    inline: Annotated[bool, Query(description="Play instead of save.")] = False,
) -> Response:
    """A stem by name (`vocals`: the first format) or by file name (`vocals.mp3`). Ranges are served."""
    return _artifact(job, services, name, "stem", inline)


@router.head("/artifacts/{name}", include_in_schema=False)
@router.get("/artifacts/{name}", response_class=FileResponse, responses=_FILE)
def get_artifact(
    name: str,
    job: OwnJob,
    services: ServicesDep,
    inline: Annotated[bool, Query(description="Play instead of save.")] = False,
) -> Response:
    """Any artifact by name or file name."""
    return _artifact(job, services, name, None, inline)


@router.get(
    "/archive", response_class=StreamingResponse, responses={200: {"content": {"application/zip": _BYTES}}}
)
def get_archive(job: OwnJob, services: ServicesDep) -> StreamingResponse:
    """All artifacts and the manifest as one zip, made while it is sent."""
    manifest = _manifest(job, services)
    files = [("manifest.json", services.folders.result(job.id) / "manifest.json")]
    files += [(a.path, artifact_file(services.folders, job.id, a)) for a in manifest.artifacts]
    title = f"{title_of(job.filename)}.zip"
    return StreamingResponse(
        stream_zip(files),
        media_type="application/zip",
        headers={"Content-Disposition": f"attachment; filename*=UTF-8''{quote(title, safe='')}"},
    )


@router.get("/peaks")
def get_peaks(
    job: OwnJob,
    services: ServicesDep,
    buckets: Annotated[
        int, Query(ge=10, le=20_000, description="Resolution: at most so many buckets.")
    ] = 2000,
    mix: Annotated[bool, Query(description="Also of the recording itself, last.")] = False,
) -> list[Peaks]:
    """Waveform data of every stem."""
    manifest = _manifest(job, services)
    cache = services.folders.peaks(job.id)
    first = {a.name: a for a in reversed(manifest.artifacts) if _is_drawn(a)}
    found = [
        stem_peaks(artifact_file(services.folders, job.id, artifact), artifact, buckets, cache)
        for artifact in manifest.artifacts
        if first.get(artifact.name) is artifact
    ]
    if mix:
        found.append(peaks(services.listening.whole(job, MIX), buckets, cache))
    return [Peaks.model_validate(one) for one in found]


def _manifest(job: Job, services: Services) -> Manifest:
    if job.status is JobStatus.EXPIRED:
        raise Gone(f"The audio of job {job.id} has expired.", "Submit the recording again.")
    if job.status is not JobStatus.SUCCEEDED:
        raise NotFound(f"The job {job.id} has no artifacts: it is {job.status.value}.")
    return read_result(services.folders, job.id)


def _artifact(job: Job, services: Services, name: str, kind: str | None, inline: bool) -> Response:
    artifact = _find(_manifest(job, services), name, kind)
    if artifact is None:
        raise NotFound(f"The job {job.id} has no artifact of that name.", "See its manifest.")
    filename, media_type = (
        f"{title_of(job.filename)} - {PurePosixPath(artifact.path).name}",
        _media_type(artifact),
    )
    shared, settings = services.folders.shared, services.settings
    if shared is not None and settings.storage_downloads == "redirect" and not inline:
        signed = shared.artifact_url(job.id, artifact, settings.ticket_s, filename, media_type)
        if signed is not None:
            return RedirectResponse(signed.url, 307, headers={"Cache-Control": "no-store"})
    path = artifact_file(services.folders, job.id, artifact)
    return FileAnswer(
        path,
        media_type=media_type,
        filename=filename,
        inline=inline,
        headers={"ETag": f'"{artifact.sha256}"', "Cache-Control": "private, max-age=31536000, immutable"},
    )


def _is_drawn(artifact: Artifact) -> bool:
    return artifact.kind != "analysis" and artifact.format in _READ_BY_PEAKS


def _find(manifest: Manifest, name: str, kind: str | None) -> Artifact | None:
    for artifact in manifest.artifacts:
        if kind in (None, artifact.kind) and name in (artifact.name, PurePosixPath(artifact.path).name):
            return artifact
    return None


def _media_type(artifact: Artifact) -> str:
    fmt = FORMATS.get(artifact.format)
    return fmt.media_type if fmt else MEDIA_TYPES.get(artifact.format, "application/octet-stream")
