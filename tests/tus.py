"""Speaks tus by hand, for tests that break it off, and by a client that others wrote for the rest."""

from __future__ import annotations

import base64
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2 as httpx
from tusclient.client import TusClient

from tests.service import KEY, Service

TUS = {"Tus-Resumable": "1.0.0"}
PIECE = {**TUS, "Content-Type": "application/offset+octet-stream"}


def begin(http: httpx.Client, length: int, name: str = "song.wav", **headers: str) -> httpx.Response:
    """Ask for an upload."""
    coded = base64.b64encode(name.encode()).decode()
    asked = {**TUS, "Upload-Length": str(length), "Upload-Metadata": f"filename {coded}", **headers}
    return http.post("/uploads", headers=asked)


def begun(http: httpx.Client, length: int) -> str:
    """Begin an upload; its path."""
    answer = begin(http, length)
    assert answer.status_code == 201, answer.text
    return str(answer.headers["Location"])


def patch(http: httpx.Client, place: str, offset: int, content: Any, **headers: str) -> httpx.Response:
    """Send a piece."""
    return http.patch(place, content=content, headers={**PIECE, "Upload-Offset": str(offset), **headers})


def offset(http: httpx.Client, place: str) -> int:
    """Where an upload goes on."""
    answer = http.head(place, headers=TUS)
    assert answer.status_code == 200
    return int(answer.headers["Upload-Offset"])


def half_a_piece(
    service: Service, place: str, at: int, content: bytes, promised: int, **headers: str
) -> socket.socket:
    """Send the beginning of a piece, and leave the connection as it is."""
    said = {**PIECE, **headers, "X-API-Key": KEY, "Host": "service"}
    said |= {"Upload-Offset": str(at), "Content-Length": str(promised)}
    lines = [f"PATCH {place} HTTP/1.1", *(f"{name}: {value}" for name, value in said.items())]
    connection = socket.create_connection(("127.0.0.1", service.port), timeout=60)
    connection.sendall("\r\n".join([*lines, "", ""]).encode() + content)
    return connection


@contextmanager
def uploader(service: Service, path: Path, **options: Any) -> Iterator[Any]:
    """tuspy, set to upload a file."""
    client = TusClient(f"{service.url}/uploads", headers={"X-API-Key": KEY})
    # Files that it opens by itself it leaves open.
    with path.open("rb") as file:
        yield client.uploader(file_stream=file, metadata={"filename": path.name}, **options)


def data(folder: Path, place: str) -> Path:
    """The file of an upload."""
    (found,) = (folder / "uploads" / ".resumable").glob(f"*/{place.rpartition('/')[2]}/data")
    return found
