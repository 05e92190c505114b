"""Reads the headers of tus 1.0, all of which may be hostile."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from typing import Final

from api.errors import InvalidRequest, LengthRequired, TusVersionUnsupported
from api.uploads.writer import ALGORITHMS, Checksum

VERSION: Final = "1.0.0"
"""Of the protocol: https://tus.io/protocols/resumable-upload."""
EXTENSIONS: Final = ("creation", "creation-with-upload", "termination", "expiration", "checksum")
"""What is offered beyond its core."""
PIECE_TYPE: Final = "application/offset+octet-stream"
"""The media type of a piece of an upload."""

_MOST_METADATA: Final = 4096
_PAIR: Final = re.compile(r"([!-+\--~]+)(?: ([A-Za-z0-9+/]*={0,2}))?")


def check_version(headers: Mapping[str, str]) -> None:
    """Check that a client speaks our version of the protocol.

    Raises:
        TusVersionUnsupported: it does not say so.
    """
    if headers.get("tus-resumable") != VERSION:
        raise TusVersionUnsupported(
            f"The request does not say that it speaks tus {VERSION}.",
            f"Send it as the header Tus-Resumable: {VERSION}.",
        )


def upload_length(headers: Mapping[str, str]) -> int:
    """How many bytes an upload will have.

    Raises:
        LengthRequired: it is not said.
        InvalidRequest: it is no number, or a header asks for what is not offered.
    """
    if "upload-concat" in headers:
        raise InvalidRequest("Uploads are not put together from others here.", "Leave out Upload-Concat.")
    if "upload-length" not in headers:
        raise LengthRequired("The length of the upload is not stated.", "Send it as Upload-Length.")
    return _number(headers, "upload-length")


def upload_offset(headers: Mapping[str, str]) -> int:
    """Where a piece begins.

    Raises:
        InvalidRequest: it is not said, or is no number.
    """
    return _number(headers, "upload-offset")


def upload_filename(metadata: str) -> str:
    """The file name in a header Upload-Metadata; empty when there is none.

    Raises:
        InvalidRequest: the header is too long, or is not what the protocol says.
    """
    if len(metadata) > _MOST_METADATA:
        raise InvalidRequest(f"Upload-Metadata may have {_MOST_METADATA} characters.", "Send less.")
    found: dict[str, bytes] = {}
    for part in metadata.split(",") if metadata.strip() else ():
        pair = _PAIR.fullmatch(part.strip())
        try:
            if pair is None or pair[1] in found:
                raise ValueError
            found[pair[1]] = base64.b64decode(pair[2] or "", validate=True)
        except (ValueError, binascii.Error) as exc:
            raise InvalidRequest(
                "Upload-Metadata is not a list of different names with values in base64.",
                "See https://tus.io/protocols/resumable-upload#upload-metadata.",
            ) from exc
    return (found.get("filename") or found.get("name") or b"").decode("utf-8", "replace")


def upload_checksum(headers: Mapping[str, str]) -> Checksum | None:
    """What a client says that the hash of a piece is; None when it says nothing.

    Raises:
        InvalidRequest: it is no checksum of a kind that is known here.
    """
    if "upload-checksum" not in headers:
        return None
    algorithm, _, coded = headers["upload-checksum"].partition(" ")
    try:
        digest = base64.b64decode(coded, validate=True)
    except (ValueError, binascii.Error):
        digest = b""
    if algorithm not in ALGORITHMS or not digest:
        raise InvalidRequest(
            "Upload-Checksum is no checksum of a kind that is known here.",
            f"Send one of {', '.join(ALGORITHMS)} and the hash in base64, with a blank between them.",
        )
    return Checksum(algorithm, digest)


def _number(headers: Mapping[str, str], name: str) -> int:
    said = headers.get(name, "")
    # More digits than any size has: a number that is costly to read.
    if not (said.isascii() and said.isdecimal() and len(said) <= 18):
        raise InvalidRequest(f"{name.title()} is no number of bytes.", "Send one, 0 or more.")
    return int(said)
