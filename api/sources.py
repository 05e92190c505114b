"""Gets hold of the recording of a submission, wherever it is."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from anyio import CapacityLimiter
from anyio.to_thread import run_sync
from fastapi.concurrency import contextmanager_in_threadpool

from api.ingest import IngestRules, fetch
from api.outbound import Outbound
from api.receiving import Received, Recording, storable_name
from api.uploads.direct import PREFIX, DirectUploads
from api.uploads.store import Uploads
from pipeline.progress import CancelToken

_FETCHES_AT_ONCE: Final = 4


class Sources:
    """Where recordings come from: the request's own form, a finished upload or a URL. One for the service.

    Args:
        uploads: the resumable ones.
        direct: those that went to the storage.
        outbound: the way out.
        rules: what may be fetched from URLs.
    """

    def __init__(
        self, uploads: Uploads, direct: DirectUploads, outbound: Outbound, rules: IngestRules
    ) -> None:
        self._uploads, self._direct = uploads, direct
        self._outbound = outbound
        self._rules = rules
        # Threads of their own: slow servers must not keep other requests waiting.
        self._fetches = CapacityLimiter(_FETCHES_AT_ONCE)

    @asynccontextmanager
    async def recording(self, taken: Received, owner: str) -> AsyncIterator[Recording]:
        """The recording of a submission, on disk as long as the context lasts.

        Args:
            taken: the submission.
            owner: who sent it. An upload of his is used up when the context ends well.

        Raises:
            UploadUnknown: he has no such upload.
            UploadUnfinished: bytes of it are missing.
            Gone: it has expired.
            UrlRefused: one of its leaves.
            UrlFailed: one of its leaves.
            InputTooLarge: it has more bytes than allowed.
            InputIsWebPage: the URL leads to HTML.
            DiskFull: no space left.
            OutputUnwritable: the operating system refuses.
        """
        if taken.recording is not None:
            yield taken.recording
        elif (direct_id := taken.submission.upload_id or "").startswith(PREFIX):
            upload_here = self._direct.take(owner, direct_id, taken.folder)
            async with contextmanager_in_threadpool(upload_here) as (path, filename):
                yield Recording(path, storable_name(filename))
        elif taken.submission.upload_id is not None:
            upload = self._uploads.take(owner, taken.submission.upload_id)
            async with contextmanager_in_threadpool(upload) as found:
                yield Recording(found.path, storable_name(found.filename))
        elif taken.submission.url is not None:
            yield await self._fetched(taken.submission.url, taken.folder)

    async def _fetched(self, url: str, folder: Path) -> Recording:
        cancel = CancelToken()
        try:
            fetched = await run_sync(
                fetch, url, folder, self._rules, self._outbound, cancel,
                abandon_on_cancel=True, limiter=self._fetches,
            )  # fmt: skip
        finally:
            cancel.cancel()  # Of a fetch that has ended it stops nothing.
        return Recording(fetched.path, storable_name(fetched.filename), fetched.sha256)
