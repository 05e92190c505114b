"""Uploads that go straight to the storage, by an address that is signed for one file of one size.

Such an upload lies at ``incoming/<owner>/<id>/<until>/<length>/<filename>``: the owner as a hash, until when
it is kept in seconds since 1970, how many bytes were announced, and the name as its owner calls it,
percent-encoded. Nothing else is kept of it, so any replica can make a job of it.
"""

from __future__ import annotations

import hashlib
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final
from urllib.parse import quote, unquote

from api.errors import NotFound, PayloadTooLarge, UploadUnfinished
from api.storage.base import SignedUrl, Storage
from api.uploads.writer import unknown

PREFIX: Final = "direct-"
_ROOT: Final = "incoming/"


@dataclass(frozen=True, slots=True)
class DirectUpload:
    """An upload that was begun.

    Attributes:
        id: by which a job is made of it.
        signed: where its bytes go, by one PUT.
        expires_at: until when the address works.
    """

    id: str
    signed: SignedUrl
    expires_at: datetime


class DirectUploads:
    """Uploads to a storage that signs addresses.

    Args:
        storage: where they go; None: there is none.
        max_bytes: that one may have.
        signed_s: for how long an address works.
        kept_s: after how long an upload that became no job is removed.
        now: seconds since 1970.
    """

    def __init__(
        self,
        storage: Storage | None,
        *,
        max_bytes: int,
        signed_s: int,
        kept_s: int,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._storage = storage
        self._max_bytes, self._signed_s, self._kept_s = max_bytes, signed_s, kept_s
        self._now = now

    def begin(self, owner: str, filename: str, length: int) -> DirectUpload:
        """Sign an address.

        Args:
            owner: who may make a job of it.
            filename: as its owner calls it; printable.
            length: bytes that it will have.

        Raises:
            PayloadTooLarge: a recording may not have as many.
            NotFound: the storage has no addresses.
            StorageUnavailable: it does not do what it should.
        """
        if length > self._max_bytes:
            raise PayloadTooLarge(
                f"A recording may have {self._max_bytes >> 20} MB.",
                "Send a shorter or a compressed recording.",
            )
        upload_id, now = f"{PREFIX}{uuid.uuid4()}", self._now()
        name = quote(filename, safe="")[:600].rstrip("%") or "recording"
        key = f"{_home(owner)}{upload_id}/{int(now + self._kept_s)}/{length}/{name}"
        signed = None if self._storage is None else self._storage.upload_url(key, self._signed_s, length)
        if signed is None:
            raise NotFound("There are no direct uploads here.", "Use POST /uploads.")
        return DirectUpload(upload_id, signed, datetime.fromtimestamp(now + self._signed_s, UTC))

    @contextmanager
    def take(self, owner: str, upload_id: str, folder: Path) -> Iterator[tuple[Path, str]]:
        """Make a job of a finished upload, within the block. If it ends well, the upload is gone.

        Args:
            owner: who sent it.
            upload_id: of `begin`.
            folder: where the recording is brought.

        Yields:
            The recording, and its name.

        Raises:
            UploadUnknown: there is none, it is another owner's, or its bytes have not come.
            UploadUnfinished: it has another size than was announced.
            StorageUnavailable: the storage does not do what it should.
        """
        place = f"{_home(owner)}{upload_id}/"
        key = None if self._storage is None else self._only(place)
        if self._storage is None or key is None:
            raise unknown()
        length, name = key.rsplit("/", 2)[1:]
        if self._storage.size(key) != int(length):
            raise UploadUnfinished("The upload has not the size that was announced.", "Begin another one.")
        target = folder / f"direct-{uuid.uuid4()}"
        if not self._storage.fetch(key, target):
            raise unknown()
        yield target, unquote(name, errors="replace")
        self._storage.remove(place)

    def sweep(self) -> int:
        """Remove what became no job in time. To be done by one process for all.

        Returns:
            How many uploads.
        """
        if self._storage is None:
            return 0
        count, now = 0, self._now()
        for owner in list(self._storage.below(_ROOT)):
            for upload_id in list(self._storage.below(f"{_ROOT}{owner}/")):
                place = f"{_ROOT}{owner}/{upload_id}/"
                if all(until.isdecimal() and int(until) < now for until in self._storage.below(place)):
                    count += bool(self._storage.remove(place))
        return count

    def _only(self, place: str) -> str | None:
        """The key below a place: one name in each of three levels."""
        assert self._storage is not None
        for _ in range(3):
            names = sorted(self._storage.below(place))
            if not names:
                return None
            place = f"{place}{names[0]}/"
        return place.rstrip("/")


def _home(owner: str) -> str:
    return f"{_ROOT}{hashlib.sha256(owner.encode()).hexdigest()[:32]}/"
