"""Files as answers: whole, in part, or not at all where the client has them: RFC 9110, sections 13, 14."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Final

import anyio
from anyio.to_thread import run_sync
from fastapi.responses import FileResponse
from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from api.encryption.stored import Stored
from api.errors import RangeUnsatisfiable

_SIZE: Final = stat.ST_SIZE
_SPEC: Final = re.compile(r"(\d{0,18})-(\d{0,18})")


class FileAnswer(FileResponse):
    """A file that is there and does not change, with its ETag; `If-None-Match` and ranges are served.

    Args:
        stored: the file.
        media_type: of what it holds.
        headers: further ones.
        filename: under which it is saved; None: no word about that.
        inline: whether it is to be played rather than saved.
    """

    def __init__(
        self,
        stored: Stored,
        *,
        media_type: str,
        headers: Mapping[str, str] | None = None,
        filename: str | None = None,
        inline: bool = False,
    ) -> None:
        self._stored = stored
        info, size = stored.path.stat(), stored.size()
        if size != info.st_size:  # A client sees the size of what an encrypted file holds.
            info = os.stat_result((*info[:_SIZE], size, *info[_SIZE + 1 :]))
        super().__init__(
            stored.path,
            media_type=media_type,
            headers=headers,
            filename=filename,
            content_disposition_type="inline" if inline else "attachment",
            stat_result=info,
        )

    @asynccontextmanager
    async def _open_file(self) -> AsyncIterator[anyio.AsyncFile[bytes]]:
        file = anyio.wrap_file(await run_sync(self._stored.open))
        try:
            yield file
        finally:
            with anyio.CancelScope(shield=True):
                await file.aclose()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request.

        Raises:
            RangeUnsatisfiable: the file ends before every range that was asked for.
        """
        asked = Headers(scope=scope)
        if scope["method"] not in ("GET", "HEAD"):
            await super().__call__(scope, receive, send)
            return
        if _names(asked.get("if-none-match"), self.headers["etag"]):
            kept = {name: self.headers[name] for name in ("etag", "cache-control") if name in self.headers}
            await Response(status_code=304, headers=kept)(scope, receive, send)
            return
        wanted = asked.get("range")
        if wanted is not None:
            served = self._served(wanted, asked.get("if-range"))
            others = [(name, value) for name, value in scope["headers"] if name != b"range"]
            ranged = [] if served is None else [(b"range", served.encode())]
            scope = {**scope, "headers": [*others, *ranged]}
        await super().__call__(scope, receive, send)

    def _served(self, wanted: str, if_range: str | None) -> str | None:
        # A part of what the client does not have the rest of is no use to it: it gets all.
        if if_range not in {None, self.headers["etag"], self.headers["last-modified"]}:
            return None
        return satisfiable(wanted, int(self.headers["content-length"]))


def satisfiable(header: str, size: int) -> str | None:
    """What of a Range header a file can serve.

    Args:
        header: its value.
        size: bytes of the file.

    Returns:
        A Range header without what is behind the end; None: it makes no sense, or speaks of other units than
        bytes, and is to be ignored.

    Raises:
        RangeUnsatisfiable: the file ends before all of it.
    """
    unit, _, listed = header.partition("=")
    specs = [spec.strip() for spec in listed.split(",") if spec.strip()]
    if unit.strip().lower() != "bytes" or not specs:
        return None
    within = []
    for spec in specs:
        match = _SPEC.fullmatch(spec)
        if match is None or spec == "-":
            return None
        first, last = match.groups()
        if first and last and int(last) < int(first):
            return None
        if int(first) < size if first else size > 0 and int(last) > 0:
            within.append(spec)
    if not within:
        raise RangeUnsatisfiable(f"The file has {size} bytes.", "Ask for a range within them.", size=size)
    return "bytes=" + ",".join(within)


def _names(if_none_match: str | None, etag: str) -> bool:
    tags = [tag.strip().removeprefix("W/") for tag in (if_none_match or "").split(",")]
    return etag in tags or tags == ["*"]
