"""Opens the user's file once: every later step reads the very same bytes."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pipeline.config import Limits
from pipeline.errors import InputEmpty, InputNotAFile, InputNotFound, InputTooLarge, InputUnreadable

_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Source:
    """An open recording.

    Attributes:
        fd: descriptor, open for reading as long as the source is.
        filename: name as given by the user; never opened again, never shown to a tool.
        size: bytes of the file.
        sha256: hash of its bytes, lower-case hex.
    """

    fd: int
    filename: str
    size: int
    sha256: str

    @property
    def url(self) -> str:
        """How ffmpeg opens it: by descriptor, so no file name can be an option, a protocol or a pattern."""
        return f"file:/dev/fd/{self.fd}"

    def read_at(self, offset: int, size: int) -> bytes:
        """Read up to ``size`` bytes at ``offset`` without moving any file position."""
        return os.pread(self.fd, size, offset)


@contextmanager
def open_source(
    path: Path, limits: Limits, filename: str | None = None, sha256: str | None = None
) -> Iterator[Source]:
    """Open a recording and hash it.

    Args:
        path: the file.
        limits: how large it may be.
        filename: its name for messages and the manifest; None: the path's.
        sha256: its hash, where the caller has made it while writing the file.

    Raises:
        InputNotFound: there is no such file.
        InputNotAFile: it is a folder, device, socket or pipe.
        InputUnreadable: the operating system refuses.
        InputEmpty: it has no bytes.
        InputTooLarge: it has more bytes than allowed.
    """
    name = filename or path.name
    fd = _open(path, name)
    try:
        info = os.fstat(fd)
        if not stat.S_ISREG(info.st_mode):
            raise InputNotAFile(f"{name!r} is not a file.", "Give the path of an audio or video file.")
        if info.st_size == 0:
            raise InputEmpty(f"{name!r} is empty (0 bytes).", "Export or download it again.")
        if info.st_size > limits.max_bytes:
            raise InputTooLarge(
                f"{name!r} has {info.st_size / 1e6:.0f} MB; the limit is {limits.max_bytes / 1e6:.0f} MB.",
                "Convert it to FLAC, split it, or raise the limit.",
            )
        yield Source(fd, printable(name), info.st_size, sha256 or _hash(fd, name))
    finally:
        os.close(fd)


def printable(name: str) -> str:
    """Make a file name safe for JSON: bytes that are no UTF-8 become replacement characters."""
    return os.fsencode(name).decode("utf-8", "replace")


def _open(path: Path, name: str) -> int:
    try:
        # O_NONBLOCK: opening a named pipe must not wait for a writer that never comes.
        return os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError as exc:
        raise InputNotFound(f"There is no file {name!r}.", "Check the path.") from exc
    except (OSError, ValueError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else str(exc)
        raise InputUnreadable(f"{name!r} cannot be read: {reason}.", "Check its permissions.") from exc


def _hash(fd: int, name: str) -> str:
    digest = hashlib.sha256()
    offset = 0
    try:
        while chunk := os.pread(fd, _CHUNK, offset):
            digest.update(chunk)
            offset += len(chunk)
    except OSError as exc:
        raise InputUnreadable(f"{name!r} cannot be read: {exc.strerror}.", "Check the disk.") from exc
    return digest.hexdigest()
