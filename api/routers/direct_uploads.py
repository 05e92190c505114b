"""Uploads straight to the storage, where it signs addresses."""

from __future__ import annotations

from fastapi import APIRouter, Request

from api.audit_trail import note
from api.dependencies import PrincipalDep, ServicesDep
from api.errors import NotFound, PayloadTooLarge, StorageUnavailable
from api.problems import refusals
from api.receiving import storable_name
from api.schemas import DirectUploadBody, DirectUploadRequest

router = APIRouter(prefix="/direct-uploads", tags=["uploads"])


@router.post("", status_code=201, responses=refusals(NotFound, PayloadTooLarge, StorageUnavailable))
def begin_direct_upload(
    wanted: DirectUploadRequest, request: Request, services: ServicesDep, principal: PrincipalDep
) -> DirectUploadBody:
    """Get an address of the storage to send a recording to; then `POST /process` with its `upload_id`."""
    filename = storable_name(wanted.filename)
    begun = services.direct.begin(principal.owner, filename, wanted.length)
    note(request, input=f"{filename}, {wanted.length} bytes", output=begun.id)
    return DirectUploadBody(
        upload_id=begun.id, url=begun.signed.url, headers=begun.signed.headers, expires_at=begun.expires_at
    )
