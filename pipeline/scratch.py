"""Scratch files: how a recording of any length passes from stage to stage without filling memory."""

from __future__ import annotations

import errno
import math
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.audio import Audio, FloatArray
from pipeline.errors import DiskFull, OutputUnwritable

_NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@contextmanager
def disk_errors(what: str) -> Iterator[None]:
    """Turn an operating system's write error into ours.

    Args:
        what: what was being written, for the message.

    Raises:
        DiskFull: no space, quota or allowed file size left.
        OutputUnwritable: any other refusal.
    """
    try:
        yield
    except OSError as exc:
        if exc.errno in _NO_SPACE:
            raise DiskFull(
                f"The disk is full: {what} could not be written.", "Free some space and try again."
            ) from exc
        raise OutputUnwritable(
            f"{what[:1].upper()}{what[1:]} could not be written: {exc.strerror}.",
            "Check that the folder exists and may be written to.",
        ) from exc


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable: a rename is lost in a power cut until then."""
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def write_durably(path: Path, content: bytes, *, private: bool = False) -> None:
    """Replace a small file: whole or not at all, also in a power cut.

    Args:
        path: of the file.
        content: all of it.
        private: whether nobody but its owner may read it.

    Raises:
        OSError: the operating system refuses.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with draft.open("wb") as file:
            if private:
                os.fchmod(file.fileno(), 0o600)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        draft.rename(path)
    finally:
        draft.unlink(missing_ok=True)
    sync_folder(path.parent)


def scratch_array(folder: Path, shape: tuple[int, ...], dtype: type[np.generic]) -> npt.NDArray[Any]:
    """Make an array of zeros that lies on disk: for what grows with a recording's length.

    `pipeline.audio.release` keeps it out of memory while it is walked through. The file has no name any more
    once this returns, so that it goes with the array.

    Args:
        folder: on the disk that is to hold it.
        shape: of the array.
        dtype: of its elements.

    Raises:
        DiskFull: no space left.
        OutputUnwritable: the folder cannot be written.
    """
    size = math.prod(shape) * np.dtype(dtype).itemsize
    if size == 0:  # An empty file cannot be mapped.
        return np.zeros(shape, dtype)
    with disk_errors("a temporary file"), tempfile.TemporaryFile(dir=folder) as file:
        # All of it now: where a map meets a full disk, the process is killed.
        os.posix_fallocate(file.fileno(), 0, size)
        return np.memmap(file, dtype=dtype, mode="r+", shape=shape)


class ScratchWriter:
    """Writes blocks of samples to a file that `audio` then maps back.

    The file holds raw native-endian float32, interleaved: it never leaves the machine or the job.

    Args:
        path: file to create.
        channels: channels of every block.
    """

    def __init__(self, path: Path, channels: int) -> None:
        self.path = path
        self.channels = channels
        self.length = 0
        with disk_errors("a temporary file"):
            self._file = path.open("wb")

    def write(self, block: FloatArray) -> None:
        """Append float32 (channels, n).

        Raises:
            DiskFull: no space left.
            OutputUnwritable: the file cannot be written.
        """
        with disk_errors("a temporary file"):
            self._file.write(np.ascontiguousarray(block.T, dtype=np.float32).data)
        self.length += block.shape[1]

    def audio(self, sample_rate: int, speakers: tuple[str, ...] = ()) -> Audio:
        """Close the file and map it.

        Returns:
            Audio over a read-only memory map: pages are read when touched and cost no memory after.
        """
        self.close()
        shape = (self.length, self.channels)
        if self.length == 0:  # An empty file cannot be mapped.
            return Audio(np.zeros((self.channels, 0), dtype=np.float32), sample_rate, speakers)
        return Audio(np.memmap(self.path, dtype=np.float32, mode="r", shape=shape).T, sample_rate, speakers)

    def close(self) -> None:
        """Flush and close; may be called twice."""
        with disk_errors("a temporary file"):
            self._file.close()

    def __enter__(self) -> ScratchWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
