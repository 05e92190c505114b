"""Resumable uploads on disk: one folder each, below one folder for each owner.

::

    <owner>/<upload_id>/upload.json    what it is to be
    <owner>/<upload_id>/data           what has come in; its size is the offset

Whatever is killed at any instant leaves an upload that can go on, or a hidden folder, which `sweep` removes.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shutil
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from api.errors import Gone, QuotaExceeded, UploadBusy, UploadUnfinished, UploadUnknown
from api.jobs.folders import incoming
from api.uploads.model import Taken, Upload
from api.uploads.writer import DATA, Writer, offset_of, unknown
from pipeline.locked_folder import LockedFolder
from pipeline.scratch import disk_errors, sync_folder, write_durably

_ID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_ABOUT: Final = "upload.json"
_LOCK: Final = ".lock"
_PLACE: Final = ".place"
_WHAT: Final = "the upload"


class Uploads:
    """The uploads of all owners; any number of processes may share them.

    Besides what stands there, every method raises DiskFull or OutputUnwritable where the disk does not do it.

    Args:
        folder: of the uploads; there already.
        incoming: a folder on the same disk, in whose hidden folders a finished upload lies on its way into
            a job.
        expiry_s: seconds after its last byte at which an upload is given up.
        most: uploads that an owner may have at a time.
        most_bytes: bytes that these may have together.
        now: seconds since 1970.
    """

    def __init__(
        self,
        folder: Path,
        incoming: Path,
        *,
        expiry_s: float,
        most: int,
        most_bytes: int,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._folder, self._incoming = folder, incoming
        self._expiry_s, self._most, self._most_bytes = expiry_s, most, most_bytes
        self._now = now

    @property
    def place(self) -> str:
        """Names the folder, for who has to know whether an upload lies in it; stays as long as the folder."""
        path = self._folder / _PLACE
        with disk_errors(_WHAT), self._turn():
            if not path.exists():
                write_durably(path, str(uuid.uuid4()).encode())
            return path.read_text()

    def create(
        self, owner: str, length: int, filename: str, metadata: str, admit: Callable[[int], None]
    ) -> Upload:
        """Begin an upload.

        Args:
            owner: who may go on with it.
            length: bytes that it will have.
            filename: as its owner calls it; printable.
            metadata: as the client sent it.
            admit: refuses by raising when the disk has no room for so many bytes: this upload's, and what
                is still to come of all others.

        Raises:
            QuotaExceeded: the owner has as many uploads, or bytes in them, as it may.
        """
        upload_id = str(uuid.uuid4())
        with disk_errors(_WHAT), self._turn():
            self._check_share(self.of(owner), length)
            admit(length + sum(one.length - one.offset for one in self._all()))
            home = self._home(owner)
            if not home.is_dir():
                home.mkdir(mode=0o700)
                sync_folder(self._folder)
            new = home / f".new-{upload_id}"
            about = {"filename": filename, "metadata": metadata, "length": length, "created_at": self._now()}
            try:
                new.mkdir(mode=0o700)
                (new / DATA).touch(mode=0o600)
                write_durably(new / _ABOUT, json.dumps(about).encode())
                new.rename(home / upload_id)
            except BaseException:
                shutil.rmtree(new, ignore_errors=True)
                raise
            sync_folder(home)
        return self.get(owner, upload_id)

    def get(self, owner: str, upload_id: str) -> Upload:
        """Look an upload up.

        Raises:
            UploadUnknown: there is none, or it is another owner's.
            Gone: it has expired.
        """
        with disk_errors(_WHAT):
            upload = _read(self._place(owner, upload_id), self._expiry_s)
        if upload is None:
            raise unknown()
        if self._is_over(upload):
            raise Gone("The upload has expired.", "Begin another one: POST /uploads.")
        return upload

    def of(self, owner: str) -> list[Upload]:
        """The uploads of an owner, oldest first."""
        with disk_errors(_WHAT):
            uploads = [upload for _, upload in self._below(self._home(owner)) if not self._is_over(upload)]
        return sorted(uploads, key=lambda upload: upload.created_at)

    def open(self, owner: str, upload_id: str) -> Writer:
        """Get the right to append to an upload, or to remove it.

        Raises:
            UploadUnknown: there is none, or it is another owner's.
            Gone: it has expired.
            UploadBusy: another request or process has that right.
        """
        return Writer(self._place(owner, upload_id), self.get(owner, upload_id).length)

    def remove(self, owner: str, upload_id: str) -> None:
        """Remove an upload, if it is there; at once for all who look."""
        with disk_errors(_WHAT):
            _remove(self._place(owner, upload_id))

    @contextmanager
    def take(self, owner: str, upload_id: str) -> Iterator[Taken]:
        """Make a job of a finished upload, within the block.

        The block gets a second name of the file, to move or to leave. If the block ends well, the upload is
        gone; if it raises, the upload is as before. Killed in between it is still there, and expires.

        Raises:
            UploadUnknown: there is none, or it is another owner's.
            Gone: it has expired.
            UploadUnfinished: bytes are missing.
        """
        upload = self.get(owner, upload_id)
        if not upload.finished:
            raise UploadUnfinished(
                f"{upload.length - upload.offset} bytes of the upload are missing.",
                "Send them with PATCH /uploads/{upload_id}; HEAD says where to go on.",
            )
        with disk_errors(_WHAT):
            way = LockedFolder(incoming(self._incoming), 0o700)
        with way:
            with disk_errors(_WHAT):
                try:
                    os.link(self._place(owner, upload_id) / DATA, way.path / "input")
                except FileNotFoundError as exc:
                    raise unknown() from exc
            yield Taken(way.path / "input", upload.filename, upload.length)
        # The job has it: what cannot be removed now is for `sweep`.
        with suppress(OSError):
            _remove(self._place(owner, upload_id))

    def sweep(self, at: datetime | None = None) -> int:
        """Remove what has expired, and what was left by who died; safe beside everything else.

        Args:
            at: the time, where it is not that of the machine.

        Returns:
            How many uploads.
        """
        count, at_s = 0, self._now() if at is None else at.timestamp()
        with disk_errors(_WHAT), self._turn():
            for home in self._homes():
                for stray in (path for path in home.iterdir() if path.name.startswith(".")):
                    shutil.rmtree(stray, ignore_errors=True)
                for place, upload in self._below(home):
                    if upload.expires_at.timestamp() <= at_s and _remove_unused(place, upload.length):
                        count += 1
                with suppress(OSError):  # It holds uploads.
                    home.rmdir()
        return count

    def _check_share(self, mine: list[Upload], length: int) -> None:
        held = sum(upload.length for upload in mine)
        if len(mine) >= self._most or held + length > self._most_bytes:
            raise QuotaExceeded(
                f"There may be {self._most} uploads of {self._most_bytes >> 20} MB together that are no jobs "
                "yet.",
                "Make jobs of some, or delete some: GET /uploads lists them.",
            )

    def _is_over(self, upload: Upload) -> bool:
        return upload.expires_at.timestamp() <= self._now()

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """One after another over all processes; ends with the process."""
        # Closing it unlocks it.
        with (self._folder / _LOCK).open("ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _home(self, owner: str) -> Path:
        # An owner's name is the operator's choice, and may be no file name.
        return self._folder / hashlib.sha256(owner.encode()).hexdigest()[:32]

    def _place(self, owner: str, upload_id: str) -> Path:
        if not _ID.fullmatch(upload_id):
            raise unknown()
        return self._home(owner) / upload_id

    def _homes(self) -> list[Path]:
        return sorted(path for path in self._folder.iterdir() if path.is_dir())

    def _all(self) -> Iterator[Upload]:
        for home in self._homes():
            yield from (upload for _, upload in self._below(home))

    def _below(self, home: Path) -> Iterator[tuple[Path, Upload]]:
        try:
            places = sorted(home.iterdir())
        except FileNotFoundError:  # The last upload of an owner takes its folder along, at any moment.
            return
        for place in places:
            upload = _read(place, self._expiry_s) if _ID.fullmatch(place.name) else None
            if upload is not None:
                yield place, upload


def _read(place: Path, expiry_s: float) -> Upload | None:
    """What is known of an upload; None when it is not there, or goes just now."""
    try:
        about = json.loads((place / _ABOUT).read_bytes())
        offset = offset_of(place)
        # A byte that comes in puts the end off.
        last_s = (place / DATA).stat().st_mtime
    except FileNotFoundError:
        return None
    return Upload(
        place.name,
        about["filename"],
        about["metadata"],
        about["length"],
        offset,
        datetime.fromtimestamp(about["created_at"], UTC),
        datetime.fromtimestamp(last_s + expiry_s, UTC),
    )


def _remove_unused(place: Path, length: int) -> bool:
    """Remove an upload that nobody appends to."""
    try:
        writer = Writer(place, length)
    except (UploadBusy, UploadUnknown):
        return False
    try:
        _remove(place)
    finally:
        writer.close()
    return True


def _remove(place: Path) -> None:
    gone = place.with_name(f".gone-{uuid.uuid4()}")
    with suppress(FileNotFoundError):
        place.rename(gone)
        sync_folder(place.parent)
        shutil.rmtree(gone, ignore_errors=True)
