"""Sends a recording by tus 1.0: what has arrived stays there when the connection breaks."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import BinaryIO, Final

import httpx2 as httpx

from api.client_answers import patiently

RESUMABLE_BYTES: Final = 32 << 20
"""From this size on a recording is sent so that sending it can be resumed."""
_PIECE_BYTES: Final = 32 << 20
"""What is sent in one request: proxies often refuse more than 100 MB."""
_BLOCK_BYTES: Final = 1 << 18
_TUS: Final = {"Tus-Resumable": "1.0.0"}


def send(http: httpx.Client, recording: Path) -> str:
    """Upload a recording; goes on after broken connections and restarts of the service.

    Args:
        http: of the service, with a key.
        recording: is streamed, never held in memory.

    Returns:
        The id of the finished upload.

    Raises:
        ServiceProblem: the service refused it.
        httpx.TransportError: the service stayed out of reach.
        OSError: the file cannot be read.
    """
    name = base64.b64encode(recording.name.encode("utf-8", "replace")).decode()
    with recording.open("rb") as file:
        length = file.seek(0, 2)
        about = {**_TUS, "Upload-Length": str(length), "Upload-Metadata": f"filename {name}"}
        begun = patiently(lambda: http.post("/uploads", headers=about))
        place = begun.headers["Location"]
        offset = 0
        while offset < length:
            answer = patiently(partial(_send_piece, http, place, file, length))
            offset = int(answer.headers["Upload-Offset"])
    return str(place.rpartition("/")[2])


def _send_piece(http: httpx.Client, place: str, file: BinaryIO, length: int) -> httpx.Response:
    found = http.head(place, headers=_TUS)
    if found.is_error:
        return found
    offset = int(found.headers["Upload-Offset"])
    size = min(length - offset, _PIECE_BYTES)
    if size == 0:  # The answer to the last piece was lost.
        return found
    said = {
        **_TUS,
        "Upload-Offset": str(offset),
        "Content-Type": "application/offset+octet-stream",
        "Content-Length": str(size),
    }
    file.seek(offset)
    return http.patch(place, content=_blocks(file, size), headers=said)


def _blocks(file: BinaryIO, size: int) -> Iterator[bytes]:
    while size > 0 and (block := file.read(min(size, _BLOCK_BYTES))):
        size -= len(block)
        yield block
