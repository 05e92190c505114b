"""What the OpenAPI document says of tus, whose headers and bodies FastAPI does not see."""

from __future__ import annotations

from typing import Any, Final

from api.errors import (
    ChecksumMismatch,
    LengthRequired,
    OffsetMismatch,
    QuotaExceeded,
    TusVersionUnsupported,
    UploadBusy,
)
from api.problems import refusals
from api.uploads.headers import PIECE_TYPE, VERSION
from api.uploads.writer import ALGORITHMS


def _header(name: str, description: str, schema: dict[str, Any], *, required: bool = False) -> dict[str, Any]:
    return {"name": name, "in": "header", "required": required, "description": description, "schema": schema}


_TEXT: Final = {"type": "string"}
_BYTES: Final = {"type": "integer", "minimum": 0}
_VERSION: Final = _header("Tus-Resumable", "Of tus.", {"type": "string", "const": VERSION}, required=True)
_CHECKSUM: Final = _header(
    "Upload-Checksum", f"{' or '.join(ALGORITHMS)}, a blank, and the hash of the body in base64.", _TEXT
)
_PIECE: Final = {PIECE_TYPE: {"schema": {"type": "string", "format": "binary"}}}

BEGIN: Final[dict[str, Any]] = {
    "parameters": [
        _VERSION,
        _header("Upload-Length", "Bytes of the recording.", _BYTES, required=True),
        _header("Upload-Metadata", "Pairs of a name and base64, separated by commas: filename.", _TEXT),
        _CHECKSUM,
    ],
    "requestBody": {"required": False, "content": _PIECE},
}
GO_ON: Final[dict[str, Any]] = {
    "parameters": [
        _VERSION,
        _header("Upload-Offset", "Where the body goes.", _BYTES, required=True),
        _CHECKSUM,
    ],
    "requestBody": {"required": True, "content": _PIECE},
}
LOOK: Final[dict[str, Any]] = {"parameters": [_VERSION]}

NOT_BEGUN: Final = refusals(TusVersionUnsupported, LengthRequired, QuotaExceeded, ChecksumMismatch)
NOT_RECEIVED: Final = refusals(TusVersionUnsupported, OffsetMismatch, UploadBusy, ChecksumMismatch)
NOT_FOUND: Final = refusals(TusVersionUnsupported)
NOT_REMOVED: Final = refusals(TusVersionUnsupported, UploadBusy)
