"""Appends to the file of one upload, under a lock that dies with its process."""

from __future__ import annotations

import fcntl
import hashlib
import hmac
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from api.errors import ChecksumMismatch, PayloadTooLarge, UploadBusy, UploadUnknown
from pipeline.scratch import disk_errors, sync_folder, write_durably

DATA: Final = "data"
"""The file that holds what has come in."""
VERIFIED: Final = "verified"
"""The file that says how much of `DATA` counts, while a piece comes in that is to be held to a checksum."""
ALGORITHMS: Final = ("sha1", "sha256")
"""What a checksum may be made with."""
_WHAT: Final = "the upload"


@dataclass(frozen=True, slots=True)
class Checksum:
    """What a client says that the hash of a piece is.

    Attributes:
        algorithm: one of `ALGORITHMS`.
        digest: the hash, in bytes.
    """

    algorithm: str
    digest: bytes


def offset_of(folder: Path) -> int:
    """How many bytes of an upload are here and count; asks for no lock.

    Raises:
        FileNotFoundError: there is no such upload.
    """
    # The size first: a piece that is found to be whole meanwhile makes it too small, never too large.
    size = (folder / DATA).stat().st_size
    verified = _verified(folder)
    return size if verified is None else min(size, verified)


class Writer:
    """The right to append to an upload: nobody else has it until `close`, or the death of this process.

    Args:
        folder: of the upload.
        length: bytes that it will have.

    Attributes:
        offset: bytes that are here.

    Raises:
        UploadBusy: another request or process has the right.
        UploadUnknown: the upload has gone.
        DiskFull: no space left.
        OutputUnwritable: the operating system refuses.
    """

    def __init__(self, folder: Path, length: int) -> None:
        self._folder, self._length = folder, length
        self._checksum: Checksum | None = None
        with disk_errors(_WHAT):
            self._fd = _lock(folder / DATA)
        try:
            with disk_errors(_WHAT):
                self._forget_unverified()
                self.offset = os.fstat(self._fd).st_size
        except BaseException:
            os.close(self._fd)
            raise

    def begin(self, checksum: Checksum | None) -> None:
        """Begin a piece. With a checksum, nothing of it counts before `finish` has found it whole.

        Raises:
            DiskFull: no space left.
            OutputUnwritable: the operating system refuses.
        """
        if checksum is None:
            return
        self._checksum, self._digest = checksum, hashlib.new(checksum.algorithm, usedforsecurity=False)
        with disk_errors(_WHAT):
            write_durably(self._folder / VERIFIED, str(self.offset).encode())

    def write(self, data: bytes | bytearray) -> None:
        """Append bytes. Where the disk fills up, those that fitted stay and count.

        Raises:
            PayloadTooLarge: they are more than the upload was to have; none of them is taken.
            DiskFull: no space left.
            OutputUnwritable: the operating system refuses.
        """
        if self.offset + len(data) > self._length:
            raise PayloadTooLarge(
                f"The upload was to have {self._length} bytes: these are more.", "Begin another upload."
            )
        rest = memoryview(data)
        with disk_errors(_WHAT):
            while rest:
                written = os.pwrite(self._fd, rest, self.offset)
                if self._checksum is not None:
                    self._digest.update(rest[:written])
                self.offset += written
                rest = rest[written:]

    def finish(self) -> None:
        """End a piece: from now on it counts, and outlives a power cut.

        Raises:
            ChecksumMismatch: it is not what its checksum says; nothing of it is kept.
            DiskFull: no space left.
            OutputUnwritable: the operating system refuses.
        """
        with disk_errors(_WHAT):
            os.fsync(self._fd)
            if self._checksum is None:
                return
            if not hmac.compare_digest(self._digest.digest(), self._checksum.digest):
                raise ChecksumMismatch("These bytes are not those of the checksum.", "Send them again.")
            (self._folder / VERIFIED).unlink()
            sync_folder(self._folder)

    def close(self) -> None:
        """Give the right away; what has come of a piece that was not ended counts, unless it had a checksum.

        Raises:
            DiskFull: no space left.
            OutputUnwritable: the operating system refuses.
        """
        try:
            with disk_errors(_WHAT):
                self._forget_unverified()
                os.fsync(self._fd)
        finally:
            os.close(self._fd)

    def _forget_unverified(self) -> None:
        verified = _verified(self._folder)
        if verified is None:
            return
        os.truncate(self._fd, min(verified, os.fstat(self._fd).st_size))
        os.fsync(self._fd)
        # Also where the upload has been removed meanwhile.
        with suppress(FileNotFoundError):
            (self._folder / VERIFIED).unlink()
            sync_folder(self._folder)


def _lock(path: Path) -> int:
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError as exc:
        raise unknown() from exc
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # It may have been removed between being opened and being locked.
        if not os.path.samestat(os.fstat(fd), path.stat()):
            raise unknown()
    except BlockingIOError as exc:
        os.close(fd)
        raise UploadBusy(
            "Another request is sending this upload.", "Try again in a moment.", retry_after_s=1
        ) from exc
    except FileNotFoundError as exc:
        os.close(fd)
        raise unknown() from exc
    except BaseException:
        os.close(fd)
        raise
    return fd


def _verified(folder: Path) -> int | None:
    try:
        return int((folder / VERIFIED).read_bytes())
    except FileNotFoundError:
        return None


def unknown() -> UploadUnknown:
    """The refusal of an id for which there is nothing, or nothing of this owner: nobody can tell which."""
    return UploadUnknown("There is no such upload.", "Begin one: POST /uploads.")
