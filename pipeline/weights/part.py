"""A file on its way into the cache, from anybody: it is known by its hash."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO

from pipeline.errors import DiskFull
from pipeline.scratch import disk_errors
from pipeline.weights.spec import PinnedFile
from pipeline.weights.transfer import SourceFailed, Transfer, WrongBytes

_CHUNK = 1 << 20


class PartFile:
    """A file on its way, hashed as it comes. Use as a context manager.

    It lies beside its target under the name ``<target>.part``, and what an interrupted transfer left there is
    taken up again. It reaches its own name only as a whole, verified and on disk.

    Args:
        target: path of the finished file.
        pins: what it may be.

    Raises:
        DiskFull: there is no room for it.
        OutputUnwritable: the folder cannot be written.
    """

    def __init__(self, target: Path, pins: Sequence[PinnedFile]) -> None:
        self.target = target
        self.path = target.with_name(f"{target.name}.part")
        self.limit = max(pin.bytes for pin in pins)
        self._pins = pins
        self._open("ab")

    def _open(self, mode: str) -> None:
        self._hashes = {pin.algorithm: hashlib.new(pin.algorithm) for pin in self._pins}
        self.size = 0
        with disk_errors(f"the weights file {self.target}"):
            self._file: IO[bytes] = self.path.open(mode)
            with self.path.open("rb") as written:
                while chunk := written.read(_CHUNK):
                    self._count(chunk)
        self.resumed = self.size > 0
        try:
            check_room(self.target.parent, self.limit - self.size, self.target.name)
        except DiskFull:
            self.discard()
            raise

    @property
    def complete(self) -> bool:
        """Whether it has the size of one of the pinned files."""
        return self.can_become(self.size)

    def can_become(self, size: int) -> bool:
        """Whether one of the pinned files has this many bytes."""
        return any(pin.bytes == size for pin in self._pins)

    def write(self, chunk: bytes) -> None:
        """Append a piece.

        Raises:
            WrongBytes: the source sends more than there can be.
            DiskFull: no space left; nothing stays behind.
            OutputUnwritable: the file cannot be written.
        """
        if self.size + len(chunk) > self.limit:
            self.discard()
            raise WrongBytes(f"sends more than the expected {self.limit} bytes")
        with self._disk():
            self._file.write(chunk)
        self._count(chunk)

    def restart(self) -> None:
        """Forget what is there and begin anew.

        Raises:
            DiskFull: no space left.
            OutputUnwritable: the file cannot be written.
        """
        self._close()
        self._open("wb")

    def finish(self) -> Path:
        """Give the file its name, if it is what it should be; otherwise remove it.

        Returns:
            Path of the finished file.

        Raises:
            WrongBytes: it is none of the pinned files.
            DiskFull: no space left; nothing stays behind.
            OutputUnwritable: the file cannot be written.
        """
        with self._disk():
            self._file.flush()
            os.fsync(self._file.fileno())
        received = {algorithm: digest.hexdigest() for algorithm, digest in self._hashes.items()}
        if not any(pin.bytes == self.size and received[pin.algorithm] == pin.hex for pin in self._pins):
            self.discard()
            raise WrongBytes(f"delivered {self.size} bytes with another hash than registered")
        self._close()
        with self._disk():
            self.path.replace(self.target)
            sync_folder(self.target.parent)
        return self.target

    def discard(self) -> None:
        """Remove it."""
        self._close()
        self.path.unlink(missing_ok=True)

    def _count(self, chunk: bytes) -> None:
        self.size += len(chunk)
        for digest in self._hashes.values():
            digest.update(chunk)

    def _close(self) -> None:
        # Closing flushes; what a full disk refuses here is fetched again later.
        with contextlib.suppress(OSError):
            self._file.close()

    @contextlib.contextmanager
    def _disk(self) -> Iterator[None]:
        try:
            with disk_errors(f"the weights file {self.target}"):
                yield
        except DiskFull:
            self.discard()
            raise

    def __enter__(self) -> PartFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.size:
            self._close()
        else:
            self.discard()


def check_room(folder: Path, needed_bytes: int, what: str) -> None:
    """Refuse to begin what the disk has no room for.

    Args:
        folder: where it goes.
        needed_bytes: how much is to be written.
        what: what it is, for the message.

    Raises:
        DiskFull: less is free.
    """
    free = shutil.disk_usage(folder).free
    if free < needed_bytes:
        raise DiskFull(
            f"The disk is full: {what} needs {needed_bytes / 1e6:.0f} MB in {folder}, "
            f"where {free / 1e6:.0f} MB are free.",
            "Free some space, or keep the weights on another disk.",
        )


def sync_folder(folder: Path) -> None:
    """Put the names in a folder on disk, so that a rename survives a power cut.

    Raises:
        OSError: the folder cannot be read.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def copy(source: Path, part: PartFile, transfer: Transfer) -> Path:
    """Copy a local file, verifying it.

    Args:
        source: file to read; never changed.
        part: where it goes.
        transfer: who wants it.

    Returns:
        Path of the finished file.

    Raises:
        SourceFailed: the file cannot be read.
        WrongBytes: it is not what it should be.
        DiskFull: no space left.
        OutputUnwritable: the target cannot be written.
        Cancelled: the transfer was stopped.
    """
    try:
        file = source.open("rb")
    except OSError as exc:
        raise SourceFailed(f"{source.name} cannot be read: {exc.strerror}") from exc
    part.restart()
    with file:
        while chunk := _read(file, source.name):
            part.write(chunk)
            transfer.step(source.name, part.size, part.limit)
    return part.finish()


def _read(file: IO[bytes], name: str) -> bytes:
    try:
        return file.read(_CHUNK)
    except OSError as exc:
        raise SourceFailed(f"{name} cannot be read: {exc.strerror}") from exc
