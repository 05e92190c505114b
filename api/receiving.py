"""Takes in the body of a submission: a form with the recording, or JSON that says where it is."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from anyio import CancelScope
from anyio.to_thread import run_sync
from fastapi import Request
from pydantic import ValidationError
from pydantic_core import to_json

from api.errors import InvalidRequest, PayloadTooLarge, UnsupportedMedia
from api.jobs.folders import incoming
from api.multipart import FILE_FIELD, FormReader
from api.schemas import JobOptions, Submission, Wire
from pipeline.codec.source import printable
from pipeline.locked_folder import LockedFolder
from pipeline.scratch import disk_errors

_PIECE_BYTES: Final = 1 << 20
_TEXT_BYTES: Final = 1 << 20
_HOW: Final = "curl -F file=@song.mp3 does it."
_LISTS: Final = ("stems", "formats", "estimators", "exports")
_LONGEST_NAME: Final = 255


def request_body() -> dict[str, Any]:
    """The body of a submission for OpenAPI, which cannot see how it is read."""
    said = Submission.model_json_schema()
    file = {"type": "string", "format": "binary", "description": "Audio or video of any usual format."}
    form = {**said, "title": "SubmissionForm", "properties": {FILE_FIELD: file, **said["properties"]}}
    content = {"multipart/form-data": {"schema": form}, "application/json": {"schema": said}}
    return {"requestBody": {"required": True, "content": content}}


@dataclass(frozen=True, slots=True)
class Recording:
    """A recording on disk that is to become a job's.

    Attributes:
        path: where it lies.
        filename: as its owner calls it; printable, and metadata only.
        sha256: hash of its bytes; None when it was not made on the way.
    """

    path: Path
    filename: str
    sha256: str | None = None


@dataclass(frozen=True, slots=True)
class Received:
    """What a client sent.

    Attributes:
        submission: what it asks for.
        folder: of this request, for its files; is removed at its end.
        recording: the form's file; None: the submission says where it is.
    """

    submission: Submission
    folder: Path
    recording: Recording | None

    @property
    def fingerprint(self) -> str:
        """Equal for equal requests."""
        said = to_json(self.submission.model_dump(exclude_none=True, exclude={"metadata"}))
        metadata = to_json(self.submission.metadata)
        sha256 = (self.recording and self.recording.sha256) or ""
        return hashlib.sha256(b"\n".join([said, metadata, sha256.encode()])).hexdigest()


def storable_name(filename: str) -> str:
    """A user's file name as it is kept: any text of a bounded length that JSON and a database can hold."""
    name = printable(filename).replace("\0", "\N{REPLACEMENT CHARACTER}")
    if len(name) > _LONGEST_NAME:  # The end says what kind of file it is.
        name = f"{name[: _LONGEST_NAME - 17]}…{name[-16:]}"
    return name or "recording"


@asynccontextmanager
async def received(request: Request, uploads: Path) -> AsyncIterator[Received]:
    """Take in a submission; whatever of its files is not taken over is removed.

    Args:
        request: whose body was not read yet.
        uploads: the folder of recordings.

    Raises:
        InvalidRequest: the body makes no sense.
        UnsupportedMedia: it is neither a form nor JSON.
        PayloadTooLarge: the JSON is longer than any that makes sense.
        DiskFull: no space left.
        OutputUnwritable: the operating system refuses.
    """
    held = await run_sync(_make, incoming(uploads))
    folder = held.path
    try:
        kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
        if kind == "multipart/form-data":
            taken = await _read_form(request, folder)
        elif kind == "application/json":
            taken = Received(parsed(await read_text(request), Submission), folder, None)
        else:
            hint = "Send multipart/form-data with the recording as the field `file`, or JSON."
            raise UnsupportedMedia("The body is neither a form nor JSON.", hint)
        _check_one_source(taken)
        yield taken
    finally:
        with CancelScope(shield=True):
            await run_sync(held.close)


async def _read_form(request: Request, folder: Path) -> Received:
    path = folder / "input"
    reader = await run_sync(FormReader, request.headers["content-type"], path)
    with reader:
        async for piece in _pieces(request):
            await run_sync(reader.feed, piece)
        await run_sync(reader.finish)
    recording = None
    if reader.filename is not None:
        recording = Recording(path, storable_name(reader.filename), reader.sha256)
    return Received(parsed(_joined(reader.fields), Submission), folder, recording)


async def _pieces(request: Request) -> AsyncIterator[bytes]:
    """The body in pieces of a size that is worth a thread's while."""
    gathered = bytearray()
    async for chunk in request.stream():
        gathered += chunk
        if len(gathered) >= _PIECE_BYTES:
            yield bytes(gathered)
            gathered.clear()
    yield bytes(gathered)


async def read_text(request: Request) -> bytes:
    """The body of a request that sends no recording.

    Raises:
        PayloadTooLarge: it is longer than any that makes sense.
    """
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > _TEXT_BYTES:
            raise PayloadTooLarge(f"The body may hold {_TEXT_BYTES >> 10} KB.", "See /docs for the fields.")
    return bytes(body)


def _joined(fields: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """Form fields by name; a list may come as several fields.

    Raises:
        InvalidRequest: another field comes twice, or the recording's name instead of the recording.
    """
    values: dict[str, str] = {}
    for name, value in fields:
        if name == FILE_FIELD:
            raise InvalidRequest(f"The field {FILE_FIELD} is text, not a file.", f"{_HOW} Mind the @.")
        if name not in values:
            values[name] = value
        elif name in _LISTS:
            values[name] += f",{value}"
        else:
            raise InvalidRequest(f"The field {printable(name)} comes twice.", "Send it once.")
    if values.get("estimators") == "all":
        del values["estimators"]
    return values


_Wire = TypeVar("_Wire", bound=Wire)


def parsed(said: bytes | dict[str, Any], kind: type[_Wire]) -> _Wire:
    """What a client sent, as JSON or by fields.

    Args:
        said: as it came.
        kind: what it should be.

    Raises:
        InvalidRequest: it is not.
    """
    try:
        if isinstance(said, bytes):
            return kind.model_validate_json(said)
        return kind.model_validate(said)
    except ValidationError as exc:
        first = exc.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        field = f"The field {printable(where)}" if where else "The body"
        hint = f"The options are {', '.join(JobOptions.model_fields)}; see /docs."
        raise InvalidRequest(f"{field}: {first['msg'].removeprefix('Value error, ')}.", hint) from exc


def _check_one_source(taken: Received) -> None:
    given = [taken.recording, taken.submission.url, taken.submission.upload_id]
    if sum(source is not None for source in given) != 1:
        raise InvalidRequest(
            "A submission needs one recording: a form's field `file`, or `url`, or `upload_id`.", _HOW
        )


def _make(folder: Path) -> LockedFolder:
    with disk_errors("the uploads folder"):
        return LockedFolder(folder, 0o700)
