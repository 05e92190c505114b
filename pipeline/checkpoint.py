"""Checkpoints: what a separation has made so far, so that the next attempt goes on from there.

A checkpoint holds the separator's own blocks, raw float32 at its own sample rate, each with its length and a
CRC-32. Whoever resumes gets them back cut as they were, so that everything behind the separator (sample-rate
conversion, sums over blocks) repeats bit for bit; the separator then goes on from the sample where they end.
A process that was killed leaves its last block torn, and a machine that lost power any tail of the file:
what fails its CRC is cut off.

A complete checkpoint can be kept for other jobs that need the same blocks: it is found by its identity, and
used under a second name (a hard link). It is sealed: nobody writes to it any more, for others read it too.

A checkpoint speeds a job up and decides nothing: where it cannot be read or written, the job runs without it.
"""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np

from pipeline.audio import FloatArray
from pipeline.checkpoint_format import identity, pack_header, pack_record, raw_bytes, read_block, record_bytes
from pipeline.stretches import Others, Work

log = logging.getLogger(__name__)

_SYNC_BYTES: Final = 64 << 20
"""Written between two fsyncs: 47 s of stereo with four stems. A kill loses nothing that was written, so this
is what a loss of power costs."""
_SEALED: Final = 0o400


class Checkpoint:
    """The checkpoint of one separation.

    Args:
        path: the file; its folder is made when it is first written.
        binding: JSON of everything outside the separator that decides its blocks: the recording, how it was
            decoded, the software. A file with another binding is emptied.
        resumed: told the fraction, 0..1, that was there already, before the separator goes on.
        kept: folder of complete checkpoints, ``<identity>.<anything>``: where there is no file yet, one of
            these takes its place.
        others: are asked for the blocks that are missing; None: they are made here.
    """

    def __init__(
        self,
        path: Path,
        binding: Mapping[str, Any],
        resumed: Callable[[float], None] | None = None,
        kept: Path | None = None,
        others: Others | None = None,
    ) -> None:
        self.others = others
        self._path = path
        self._binding = dict(binding)
        self._resumed = resumed
        self._kept = kept
        self._parts: list[Checkpoint] = []
        self._file: BinaryIO | None = None
        self._opened: tuple[int, int] | None = None
        self._sealed = False
        self._reused = 0.0
        self._unsynced = 0

    @property
    def reused(self) -> float:
        """The fraction, 0..1, of all samples that came from a checkpoint that was kept."""
        if self._parts:
            return sum(part.reused for part in self._parts) / len(self._parts)
        return self._reused

    @property
    def stretches(self) -> int:
        """In how many stretches it was made."""
        return self.others.stretches if self.others is not None else 1

    def split(self, names: Sequence[str]) -> list[Checkpoint]:
        """Checkpoints for separations that are independent of one another and add up to this one.

        Args:
            names: one for each, safe in a file name. A single one is this checkpoint itself.
        """
        if len(names) == 1:
            return [self]
        if self.others is not None:
            self.others.parts = len(names)
        path = self._path
        self._parts = [
            Checkpoint(
                path.with_name(f"{path.stem}.{name}{path.suffix}"),
                self._binding,
                self._resumed,
                self._kept,
                self.others,
            )
            for name in names
        ]
        return self._parts

    def resume(
        self,
        blocks_from: Callable[[int], Iterator[FloatArray]],
        lead: tuple[int, ...],
        total: int,
        binding: Mapping[str, Any],
        edges: range = range(0),
        sample_rate: int = 1,
    ) -> Iterator[FloatArray]:
        """Give the blocks that are stored, then those that are missing, and store these.

        Args:
            blocks_from: makes the blocks from a sample on: one where a stored block ends, or 0.
            lead: the axes of every block before the last, which is time.
            total: samples that all blocks add up to.
            binding: JSON of everything inside the separator that decides its blocks.
            edges: samples at which others may begin to make blocks; none unless given.
            sample_rate: Hz of these samples.

        Yields:
            float32 (*lead, n) consecutive blocks, contiguous.
        """
        header = pack_header({**self._binding, "separator": dict(binding)}, lead, total)
        position = 0
        try:
            self._file = self._open(header)
            for block in self._stored(header, lead, total):
                position += block.shape[-1]
                yield block
            if position and self._resumed is not None:
                self._resumed(position / total)
            if position < total:
                work = Work(header, lead, total, edges, sample_rate, blocks_from)
                others = self.others
                for made in others.blocks(work, position) if others else blocks_from(position):
                    block = np.ascontiguousarray(made)
                    self._append(position, block)
                    position += block.shape[-1]
                    yield block
        finally:
            if self._file is not None:
                self._file.close()

    def abandon(self) -> None:
        """Go on without: what follows is not what the binding says, and may serve nobody else."""
        self.remove()
        if self._file is not None:
            self._file.close()
            self._file = None

    def remove(self) -> None:
        """Delete the file, unless another process has taken its place."""
        with suppress(OSError):
            if self._opened == _inode(self._path):
                self._path.unlink()

    def _open(self, header: bytes) -> BinaryIO | None:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._take_kept(header)
            while True:
                file = self._open_sealed() or self._open_own()
                self._sealed, self._opened = _is_sealed(file.fileno()), _inode(file.fileno())
                with suppress(FileNotFoundError):
                    if _inode(self._path) == self._opened:
                        return file
                file.close()  # Removed between open and lock.
        except OSError as exc:
            self._give_up(exc)
            return None

    def _take_kept(self, header: bytes) -> None:
        """Put a checkpoint that was kept in the place of ours, unless we have one."""
        if self._kept is None or self._path.exists():
            return
        for kept in sorted(self._kept.glob(f"{identity(header)}.*"), key=_modified, reverse=True):
            try:
                self._path.hardlink_to(kept)
            except OSError as exc:  # It went in this moment; or this disk knows no links.
                said = {"action": "separation_not_reused"}
                log.info("a separation that was kept cannot be used: %s", exc.strerror, extra=said)
            else:
                return

    def _open_sealed(self) -> BinaryIO | None:
        with suppress(FileNotFoundError):
            if _is_sealed(self._path):
                return self._path.open("rb")
        return None

    def _open_own(self) -> BinaryIO:
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        file: BinaryIO = os.fdopen(os.open(self._path, flags, 0o600), "r+b")
        if _lock(file):
            return file
        # A stopped process that has lost the job holds it: what it has written is as good.
        file.close()
        return self._copy()

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

    def _stored(self, header: bytes, lead: tuple[int, ...], total: int) -> Iterator[FloatArray]:
        """Read block after block; what does not fit is cut off."""
        if self._file is None:
            return
        try:
            size = os.fstat(self._file.fileno()).st_size
            good = len(header) if self._file.read(len(header)) == header else 0
            position = 0
            while good:
                block = read_block(self._file, lead, position, total, size - good)
                if block is None:
                    break
                position += block.shape[-1]
                good += record_bytes(block)
                yield block
            if self._sealed:
                self._reused = position / total
                if position == total:
                    return
                self._unseal()
            self._file.seek(good)
            self._file.truncate()
            if not good:
                self._file.write(header)
        except OSError as exc:
            self._give_up(exc)

    def _unseal(self) -> None:
        """Go on in a copy: what is sealed is damaged, but it is not ours alone."""
        assert self._file is not None
        said = {"action": "separation_damaged"}
        log.warning("a separation that was kept is damaged: the rest is computed anew", extra=said)
        file = self._copy()
        self._file.close()
        self._file, self._opened, self._sealed = file, _inode(file.fileno()), False

    def _append(self, position: int, block: FloatArray) -> None:
        if self._file is None:
            return
        try:
            self._file.write(pack_record(position, block))
            self._file.write(raw_bytes(block))
            self._file.flush()
            self._unsynced += block.nbytes
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


def seal(path: Path) -> None:
    """Make a checkpoint one that nobody writes to any more; it counts as used now.

    Raises:
        OSError: it has gone, or may not be changed.
    """
    path.chmod(_SEALED)
    os.utime(path)


def _is_sealed(file: Path | int) -> bool:
    return not os.stat(file).st_mode & stat.S_IWUSR


def _modified(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return 0


def _lock(file: BinaryIO) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _inode(file: Path | int) -> tuple[int, int]:
    info = os.stat(file)
    return info.st_dev, info.st_ino
