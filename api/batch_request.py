"""The body of a batch: JSON, a table or a playlist becomes items, each judged by itself."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from fastapi import Request
from pydantic_core import to_json

from api.acceptance import checked
from api.batches.imports import Imports
from api.batches.model import NewItem
from api.batches.playlists import PLAYLISTS, read_csv
from api.dependencies import Services
from api.errors import InvalidRequest, PayloadTooLarge, UnsupportedMedia, UploadUnfinished
from api.ingest import check_source, ingest_rules
from api.jobs.model import JobError
from api.receiving import parsed, read_text
from api.schemas_batches import OWN_FIELDS, BatchItem, BatchRequest, Shared
from api.security.principal import Principal
from api.uploads.direct import PREFIX
from pipeline.errors import PipelineError

_JSON: Final = "application/json"
_CSV: Final = "text/csv"
_LONGEST_SOURCE: Final = 300
NOT_SHARED: Final = frozenset({"wait"})
"""Parameters of the query that are the route's own."""


@dataclass(frozen=True, slots=True)
class Sent:
    """What a client sent.

    Attributes:
        items: the fields of each, with those that all share.
    """

    items: list[dict[str, Any]]

    @property
    def fingerprint(self) -> str:
        """Equal for equal requests."""
        return hashlib.sha256(to_json(self.items)).hexdigest()


def request_body() -> dict[str, Any]:
    """The body and the query of a batch for OpenAPI, which cannot see how they are read."""
    said = BatchRequest.model_json_schema()
    item = BatchItem.model_json_schema()
    said["properties"]["items"] |= {"items": item}
    text = {"schema": {"type": "string"}}
    content = {_JSON: {"schema": said}, _CSV: text, **dict.fromkeys(PLAYLISTS, text)}
    shared = Shared.model_json_schema()["properties"]
    parameters = [
        {"name": name, "in": "query", "required": False, "schema": {"type": "string"},
         "description": "For every item that does not say otherwise; lists by commas."}
        for name in shared if name != "metadata"
    ]  # fmt: skip
    return {"parameters": parameters, "requestBody": {"required": True, "content": content}}


async def read_batch(request: Request) -> Sent:
    """Read the body and the query of a request.

    Raises:
        InvalidRequest: they make no sense as a whole. What is wrong with an item is told with that item.
        UnsupportedMedia: the body is of no type that is read.
        PayloadTooLarge: it is longer than any that makes sense.
    """
    query = {name: value for name, value in request.query_params.items() if name not in NOT_SHARED}
    shared = _given(parsed(dict(query), Shared))
    kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if kind not in {_JSON, _CSV, *PLAYLISTS}:
        raise UnsupportedMedia(
            "The body is neither JSON nor CSV nor a playlist.",
            f"Send one of {', '.join([_JSON, _CSV, *PLAYLISTS])}.",
        )
    body = await read_text(request)
    if kind == _JSON:
        said = parsed(body, BatchRequest)
        shared |= _given(said)
        items = said.items
    else:
        try:
            text = body.decode("utf-8-sig")
        except UnicodeDecodeError as exc:
            raise InvalidRequest("The body is no UTF-8.", "Save it as UTF-8.") from exc
        if kind == _CSV:
            items = read_csv(text, list(BatchItem.model_fields))
        else:
            items = [{"url": entry} for entry in PLAYLISTS[kind](text)]
        if not items:
            raise InvalidRequest("There is no recording in the list.", "Put a line in it for each.")
    return Sent([{**shared, **item} for item in items])


def _given(shared: Shared) -> dict[str, Any]:
    return shared.model_dump(include=set(Shared.model_fields), exclude_none=True, exclude_defaults=True)


def judged(services: Services, principal: Principal, sent: Sent) -> list[NewItem]:
    """Judge every item by itself: what can never be done is refused, and nothing is fetched yet.

    Args:
        services: of the service.
        principal: whose jobs they will be.
        sent: by him.

    Raises:
        PayloadTooLarge: there are more items than a batch may have.
        PipelineError: nothing can be judged now.
    """
    most = services.settings.batch_items
    found: list[NewItem] = []
    imports = Imports(services.settings.import_dir)
    place = services.uploads.place
    for given in sent.items:
        for fields in _without_folders(imports, given):
            if len(found) == most:
                raise PayloadTooLarge(f"A batch may have {most} items.", "Send several batches.")
            found.append(_judged(services, principal, fields, imports, place))
    return found


def _without_folders(imports: Imports, given: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """An item, or one for each recording in the folder that it names."""
    path = given.get("path")
    try:
        names = imports.files(path) if isinstance(path, str) else [path]
    except PipelineError:  # It is told with the item.
        names = [path]
    for name in names:
        yield {**given, **({} if name is None else {"path": name})}


def _judged(
    services: Services, principal: Principal, fields: dict[str, Any], imports: Imports, place: str
) -> NewItem:
    source = source_of(fields)
    try:
        item = parsed(fields, BatchItem)
        if sum(getattr(item, name) is not None for name in OWN_FIELDS) != 1:
            raise InvalidRequest(
                f"An item needs one of {', '.join(OWN_FIELDS)}.", "See /docs for the fields."
            )
        checked(services, principal, item)
        here = None
        if item.url is not None:
            check_source(item.url, ingest_rules(services.settings), services.outbound)
        elif item.path is not None:
            imports.file(item.path)
        elif item.upload_id is not None and not item.upload_id.startswith(PREFIX):
            upload = services.uploads.get(principal.owner, item.upload_id)
            if not upload.finished:
                raise UploadUnfinished(
                    f"{upload.length - upload.offset} bytes of the upload are missing.",
                    "Send them with PATCH /uploads/{upload_id}; HEAD says where to go on.",
                )
            source, here = upload.filename[-_LONGEST_SOURCE:], place
    except PipelineError as exc:
        return NewItem(source, error=told(exc))
    return NewItem(source, item.model_dump(mode="json", exclude_none=True), item.subject, here)


def source_of(fields: Mapping[str, Any]) -> str:
    """What an item is called: of a URL never the query or the user, which may be secrets."""
    name = next((str(fields[key]) for key in OWN_FIELDS if fields.get(key)), "")
    if fields.get("url"):
        try:
            parts = urlsplit(name)
            name = f"{parts.scheme}://{parts.hostname or ''}{parts.path}" if parts.hostname else ""
        except ValueError:
            name = ""
    shown = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in name)
    return shown.encode("utf-8", "replace").decode()[-_LONGEST_SOURCE:]


def told(error: PipelineError) -> JobError:
    """An error as an item holds it."""
    return JobError(error.code, error.message, error.hint, error.retryable)
