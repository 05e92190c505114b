"""Takes in the pieces of uploads, in constant memory. Whoever comes last has the upload."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import anyio
from anyio.to_thread import run_sync

from api.errors import OffsetMismatch, UploadBusy
from api.uploads.model import Upload
from api.uploads.store import Uploads
from api.uploads.writer import Checksum, Writer

_PIECE_BYTES: Final = 1 << 20
"""What is gathered before it is written: worth a thread's while."""
_TURN_S: Final = 10.0
"""Seconds within which a request that was told to stop has given the upload away."""
_LOOK_S: Final = 0.02


class Receiver:
    """Takes in pieces of uploads; one per process.

    A client whose connection broke comes back before the service knows that it broke. So a new request for an
    upload stops the one before, in this process; for one in another process it waits a while.

    Args:
        uploads: where they go.
    """

    def __init__(self, uploads: Uploads) -> None:
        self._uploads = uploads
        self._holders: dict[str, anyio.CancelScope] = {}

    async def receive(
        self,
        owner: str,
        upload_id: str,
        offset: int,
        body: AsyncIterator[bytes],
        checksum: Checksum | None = None,
    ) -> Upload:
        """Take in one piece.

        What has come when the body breaks off is kept, unless the piece has a checksum.

        Args:
            owner: whose upload it is.
            upload_id: of the upload.
            offset: where the piece begins, as the client believes.
            body: the bytes of the piece.
            checksum: of the piece.

        Returns:
            The upload as it then is.

        Raises:
            UploadUnknown: there is none, or it is another owner's.
            Gone: it has expired.
            UploadBusy: another process has it, or another request has taken it over.
            OffsetMismatch: the upload is not at that offset.
            PayloadTooLarge: the piece goes beyond the length of the upload.
            ChecksumMismatch: the piece is not what its checksum says.
            DiskFull: no space left.
            OutputUnwritable: the operating system refuses.
        """
        async with self._held(owner, upload_id) as writer:
            if writer.offset != offset:
                raise OffsetMismatch(
                    f"The upload goes on at {writer.offset}, not at {offset}.", "HEAD says where to go on."
                )
            await run_sync(writer.begin, checksum)
            await self._write_all(writer, body)
            with anyio.CancelScope(shield=True):  # All of it is here.
                await run_sync(writer.finish)
        return await run_sync(self._uploads.get, owner, upload_id)

    async def remove(self, owner: str, upload_id: str) -> None:
        """Remove an upload, also from under a request that is sending it.

        Raises:
            UploadUnknown: there is none, or it is another owner's.
            Gone: it has expired.
            UploadBusy: another process has it, or another request has taken it over.
            DiskFull: no space left.
            OutputUnwritable: the operating system refuses.
        """
        async with self._held(owner, upload_id):
            await run_sync(self._uploads.remove, owner, upload_id)

    async def _write_all(self, writer: Writer, body: AsyncIterator[bytes]) -> None:
        gathered = bytearray()
        try:
            async for part in body:
                gathered += part
                if len(gathered) >= _PIECE_BYTES:
                    piece, gathered = gathered, bytearray()
                    await run_sync(writer.write, piece)
        finally:
            with anyio.CancelScope(shield=True):
                await run_sync(writer.write, gathered)

    @asynccontextmanager
    async def _held(self, owner: str, upload_id: str) -> AsyncIterator[Writer]:
        writer = await self._open(owner, upload_id)
        scope = self._holders[upload_id] = anyio.CancelScope()
        try:
            with scope:
                yield writer
        finally:
            if self._holders.get(upload_id) is scope:
                del self._holders[upload_id]
            with anyio.CancelScope(shield=True):
                await run_sync(writer.close)
        if scope.cancelled_caught:
            raise UploadBusy("Another request has taken the upload over.", "HEAD says where it is.")

    async def _open(self, owner: str, upload_id: str) -> Writer:
        until = anyio.current_time() + _TURN_S
        while True:
            try:
                return await run_sync(self._uploads.open, owner, upload_id)
            except UploadBusy:
                # Only now: it is known to be this owner's.
                if upload_id in self._holders:
                    self._holders[upload_id].cancel()
                if anyio.current_time() > until:
                    raise
            await anyio.sleep(_LOOK_S)
