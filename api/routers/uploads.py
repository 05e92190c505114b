"""Resumable uploads: tus 1.0 (https://tus.io/protocols/resumable-upload)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine
from email.utils import format_datetime
from typing import Any, Final

from anyio import CancelScope
from anyio.to_thread import run_sync
from fastapi import APIRouter, Depends, Request, Response
from fastapi.routing import APIRoute
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from api.audit_trail import note
from api.dependencies import PrincipalDep, ServicesDep
from api.errors import PayloadTooLarge, UnsupportedMedia
from api.receiving import storable_name
from api.schemas import UploadBody
from api.security.refusal import refuse
from api.uploads import headers as tus
from api.uploads import openapi
from api.uploads.model import Upload
from api.uploads.writer import ALGORITHMS
from pipeline.errors import PipelineError

_CLIENT_WENT: Final = 499  # as in nginx; nobody reads it

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class _Refusal(Response):
    """A refusal of a request whose body was not read to its end: it lets go of the connection."""

    def __init__(self, refusal: Response) -> None:
        super().__init__(status_code=refusal.status_code)
        self._refusal = refusal

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await refuse(self._refusal, scope, receive, send)


class _Route(APIRoute):
    """A route that may refuse a body before it is read, or when half of it is here."""

    def get_route_handler(self) -> Handler:
        """The handler, with what it raises made an answer."""
        handle = super().get_route_handler()

        async def answer(request: Request) -> Response:
            try:
                return await handle(request)
            except ClientDisconnect:
                return Response(status_code=_CLIENT_WENT)
            except PipelineError as exc:
                refusal: Response = await request.app.exception_handlers[PipelineError](request, exc)
                return refusal if request.scope["state"].get("body_read") else _Refusal(refusal)

        return answer


router = APIRouter(prefix="/uploads", tags=["uploads"], route_class=_Route)


def _speaks_tus(request: Request) -> None:
    tus.check_version(request.headers)


_SPEAKS_TUS = [Depends(_speaks_tus)]


@router.options("", status_code=204)
def capabilities(services: ServicesDep, response: Response) -> None:
    """What of tus is offered."""
    response.headers["Tus-Version"] = tus.VERSION
    response.headers["Tus-Extension"] = ",".join(tus.EXTENSIONS)
    response.headers["Tus-Max-Size"] = str(services.settings.max_file_bytes)
    response.headers["Tus-Checksum-Algorithm"] = ",".join(ALGORITHMS)


@router.post(
    "",
    status_code=201,
    dependencies=_SPEAKS_TUS,
    response_class=Response,
    responses=openapi.NOT_BEGUN,
    openapi_extra=openapi.BEGIN,
)
async def begin(request: Request, services: ServicesDep, principal: PrincipalDep) -> Response:
    """Begin an upload of `Upload-Length` bytes; its first ones may be the body.

    `Upload-Metadata` may name a `filename`, in base64. The answer's `Location` is where the rest goes.
    """
    length = tus.upload_length(request.headers)
    metadata = request.headers.get("upload-metadata", "")
    filename = storable_name(tus.upload_filename(metadata) or "recording")
    if length > services.settings.max_file_bytes:
        raise PayloadTooLarge(
            f"A recording may have {services.settings.max_file_size_mb} MB.",
            "Send a shorter or a compressed recording.",
        )
    with_body = request.headers.get("content-length", "0") != "0" or "transfer-encoding" in request.headers
    if with_body:
        _check_type(request)
    upload = await run_sync(
        services.uploads.create, principal.owner, length, filename, metadata, services.admission.admit
    )
    note(request, input=f"{length} bytes", output=upload.id)
    if with_body:
        try:
            upload = await _receive(request, services, principal, upload.id, 0)
        except BaseException:
            # Nobody has been told where it is.
            with CancelScope(shield=True):
                await run_sync(services.uploads.remove, principal.owner, upload.id)
            raise
    said = {"Location": f"/uploads/{upload.id}", **_state(upload)}
    return Response(status_code=201, headers=said)


@router.get("")
def list_uploads(services: ServicesDep, principal: PrincipalDep) -> list[UploadBody]:
    """The caller's uploads that are no jobs yet, oldest first."""
    return [_body(upload) for upload in services.uploads.of(principal.owner)]


@router.get("/{upload_id}")
def get_upload(upload_id: str, services: ServicesDep, principal: PrincipalDep) -> UploadBody:
    """One upload."""
    return _body(services.uploads.get(principal.owner, upload_id))


@router.head(
    "/{upload_id}",
    dependencies=_SPEAKS_TUS,
    response_class=Response,
    responses=openapi.NOT_FOUND,
    openapi_extra=openapi.LOOK,
)
def look(upload_id: str, services: ServicesDep, principal: PrincipalDep) -> Response:
    """Where an upload goes on: `Upload-Offset`."""
    upload = services.uploads.get(principal.owner, upload_id)
    metadata = {"Upload-Metadata": upload.metadata} if upload.metadata else {}
    return Response(
        headers={
            **_state(upload),
            **metadata,
            "Upload-Length": str(upload.length),
            "Cache-Control": "no-store",
        }
    )


@router.patch(
    "/{upload_id}",
    status_code=204,
    dependencies=_SPEAKS_TUS,
    responses=openapi.NOT_RECEIVED,
    openapi_extra=openapi.GO_ON,
)
async def go_on(upload_id: str, request: Request, services: ServicesDep, principal: PrincipalDep) -> Response:
    """Send bytes, from `Upload-Offset` on. What has come when the connection breaks is kept."""
    _check_type(request)
    upload = await _receive(request, services, principal, upload_id, tus.upload_offset(request.headers))
    return Response(status_code=204, headers=_state(upload))


@router.delete(
    "/{upload_id}",
    status_code=204,
    dependencies=_SPEAKS_TUS,
    responses=openapi.NOT_REMOVED,
    openapi_extra=openapi.LOOK,
)
async def give_up(upload_id: str, services: ServicesDep, principal: PrincipalDep) -> None:
    """Delete an upload."""
    await services.receiver.remove(principal.owner, upload_id)


async def _receive(
    request: Request, services: ServicesDep, principal: PrincipalDep, upload_id: str, offset: int
) -> Upload:
    checksum = tus.upload_checksum(request.headers)
    return await services.receiver.receive(principal.owner, upload_id, offset, _body_of(request), checksum)


async def _body_of(request: Request) -> AsyncIterator[bytes]:
    async for part in request.stream():
        yield part
    request.scope["state"]["body_read"] = True


def _check_type(request: Request) -> None:
    if request.headers.get("content-type", "").strip().lower() != tus.PIECE_TYPE:
        raise UnsupportedMedia(f"A piece of an upload is sent as {tus.PIECE_TYPE}.", "Set Content-Type.")


def _state(upload: Upload) -> dict[str, str]:
    return {
        "Upload-Offset": str(upload.offset),
        "Upload-Expires": format_datetime(upload.expires_at, usegmt=True),
    }


def _body(upload: Upload) -> UploadBody:
    return UploadBody(
        id=upload.id,
        filename=upload.filename,
        length=upload.length,
        offset=upload.offset,
        finished=upload.finished,
        created_at=upload.created_at,
        expires_at=upload.expires_at,
    )
