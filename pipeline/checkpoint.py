"""Checkpoints: what a separation has made so far, so that the next attempt goes on from there.

A checkpoint holds the separator's own blocks, raw float32 at its own sample rate, each with its length and a
CRC-32. Whoever resumes gets them back cut as they were, so that everything behind the separator (sample-rate
conversion, sums over blocks) repeats bit for bit; the separator then goes on from the sample where they end.
A process that was killed leaves its last block torn, and a machine that lost power any tail of the file:
what fails its CRC is cut off.

A checkpoint speeds a job up and decides nothing: where it cannot be read or written, the job runs without it.
"""

from __future__ import annotations

import fcntl
import json
import logging
import math
import os
import shutil
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np

from pipeline.audio import FloatArray

log = logging.getLogger(__name__)

_MAGIC: Final = b"APCP1\n"
_HEAD: Final = struct.Struct("<II")
"""Length and CRC-32 of the binding, which follows as JSON."""
_RECORD: Final = struct.Struct("<QII")
"""Position of a block in samples, its samples per channel, and the CRC-32 of both and of the block."""
_PLACE: Final = struct.Struct("<QI")
_SYNC_BYTES: Final = 64 << 20
"""Written between two fsyncs: 47 s of stereo with four stems. A kill loses nothing that was written, so this
is what a loss of power costs."""


class Checkpoint:
    """The checkpoint of one separation.

    Args:
        path: the file; its folder is made when it is first written.
        binding: JSON of everything outside the separator that decides its blocks: the recording, how it was
            decoded, the software. A file with another binding is emptied.
        resumed: told the fraction, 0..1, that was there already, before the separator goes on.
    """

    def __init__(
        self, path: Path, binding: Mapping[str, Any], resumed: Callable[[float], None] | None = None
    ) -> None:
        self._path = path
        self._binding = dict(binding)
        self._resumed = resumed
        self._file: BinaryIO | None = None
        self._opened: tuple[int, int] | None = None
        self._unsynced = 0

    def resume(
        self,
        blocks_from: Callable[[int], Iterator[FloatArray]],
        lead: tuple[int, ...],
        total: int,
        binding: Mapping[str, Any],
    ) -> Iterator[FloatArray]:
        """Give the blocks that are stored, then those that are missing, and store these.

        Args:
            blocks_from: makes the blocks from a sample on: one where a stored block ends, or 0.
            lead: the axes of every block before the last, which is time.
            total: samples that all blocks add up to.
            binding: JSON of everything inside the separator that decides its blocks.

        Yields:
            float32 (*lead, n) consecutive blocks, contiguous.
        """
        binding = {**self._binding, "separator": dict(binding), "lead": list(lead), "total": total}
        position = 0
        try:
            self._file = self._open()
            for block in self._stored(json.dumps(binding, sort_keys=True).encode(), lead, total):
                position += block.shape[-1]
                yield block
            if position and self._resumed is not None:
                self._resumed(position / total)
            if position < total:
                for made in blocks_from(position):
                    block = np.ascontiguousarray(made)
                    self._append(position, block)
                    position += block.shape[-1]
                    yield block
        finally:
            if self._file is not None:
                self._file.close()

    def remove(self) -> None:
        """Delete the file, unless another process has taken its place."""
        with suppress(OSError):
            if self._opened == _inode(self._path):
                self._path.unlink()

    def _open(self) -> BinaryIO | None:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            while True:
                flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
                file: BinaryIO = os.fdopen(os.open(self._path, flags, 0o600), "r+b")
                if not _lock(file):
                    # A stopped process that has lost the job holds it: what it has written is as good.
                    file.close()
                    file = self._copy()
                self._opened = _inode(file.fileno())
                with suppress(FileNotFoundError):
                    if _inode(self._path) == self._opened:
                        return file
                file.close()  # Removed between open and lock.
        except OSError as exc:
            self._give_up(exc)
            return None

    def _copy(self) -> BinaryIO:
        temporary = self._path.with_name(f"{self._path.name}.{os.getpid()}.tmp")
        file: BinaryIO = temporary.open("w+b")
        try:
            _lock(file)
            with self._path.open("rb") as theirs:
                shutil.copyfileobj(theirs, file, 1 << 20)
            file.seek(0)
            temporary.replace(self._path)
        except OSError:
            file.close()
            temporary.unlink(missing_ok=True)
            raise
        return file

    def _stored(self, binding: bytes, lead: tuple[int, ...], total: int) -> Iterator[FloatArray]:
        """Read block after block; what does not fit is cut off."""
        if self._file is None:
            return
        header = _MAGIC + _HEAD.pack(len(binding), zlib.crc32(binding)) + binding
        try:
            size = os.fstat(self._file.fileno()).st_size
            good = len(header) if self._file.read(len(header)) == header else 0
            position = 0
            while good:
                block = self._read(lead, position, total, size - good)
                if block is None:
                    break
                position += block.shape[-1]
                good += _RECORD.size + block.nbytes
                yield block
            self._file.seek(good)
            self._file.truncate()
            if not good:
                self._file.write(header)
        except OSError as exc:
            self._give_up(exc)

    def _read(self, lead: tuple[int, ...], position: int, total: int, left: int) -> FloatArray | None:
        assert self._file is not None
        head = self._file.read(_RECORD.size)
        if len(head) < _RECORD.size:
            return None
        at, n, crc = _RECORD.unpack(head)
        size = math.prod(lead) * n * 4
        if at != position or not 0 < n <= total - position or size > left - _RECORD.size:
            return None
        raw = bytearray(size)
        if self._file.readinto(raw) < size or zlib.crc32(raw, zlib.crc32(head[: _PLACE.size])) != crc:  # type: ignore[attr-defined]
            return None
        return np.frombuffer(raw, dtype=np.float32).reshape(*lead, n)

    def _append(self, position: int, block: FloatArray) -> None:
        if self._file is None:
            return
        place = _PLACE.pack(position, block.shape[-1])
        raw = block.reshape(-1).view(np.uint8).data
        try:
            self._file.write(place + struct.pack("<I", zlib.crc32(raw, zlib.crc32(place))))
            self._file.write(raw)
            self._file.flush()
            self._unsynced += len(raw)
            if self._unsynced >= _SYNC_BYTES:
                os.fdatasync(self._file.fileno())
                self._unsynced = 0
        except OSError as exc:
            self._give_up(exc)

    def _give_up(self, exc: OSError) -> None:
        log.warning("going on without a checkpoint: %s", exc.strerror, extra={"action": "checkpoint_lost"})
        # Its space may be what the stems need.
        self.remove()
        if self._file is not None:
            with suppress(OSError):
                self._file.close()
            self._file = None


def _lock(file: BinaryIO) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _inode(file: Path | int) -> tuple[int, int]:
    info = os.stat(file)
    return info.st_dev, info.st_ino
