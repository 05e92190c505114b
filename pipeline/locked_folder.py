"""Folders that belong to a process as long as it lives.

Whoever makes one holds a lock (flock) on it, which ends with the process, however that ends. Who finds one
without a lock may remove it.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType


class LockedFolder:
    """A new folder of this process. Leaving the context removes it.

    Args:
        path: where; there must be nothing.
        mode: of its permissions, before the process's mask.

    Raises:
        OSError: the operating system refuses; `FileExistsError` where there is something.
    """

    def __init__(self, path: Path, mode: int = 0o777) -> None:
        self.path = path
        while True:
            path.mkdir(mode)
            with suppress(FileNotFoundError):  # Taken for a dead one's before it was locked, and removed.
                self._lock = _open(path)
                if self._take():
                    return

    def close(self) -> None:
        """Remove what is left of it."""
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._lock)

    def _take(self) -> bool:
        try:
            # It waits only for whoever is about to remove it.
            fcntl.flock(self._lock, fcntl.LOCK_EX)
            if os.path.samestat(os.stat(self.path), os.fstat(self._lock)):
                return True
        except BaseException:
            os.close(self._lock)
            raise
        os.close(self._lock)
        return False

    def __enter__(self) -> LockedFolder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@contextmanager
def unlocked(path: Path) -> Iterator[bool]:
    """Hold a folder whose process is gone.

    Args:
        path: of the folder.

    Yields:
        Whether it is one; False also where it has gone itself.

    Raises:
        OSError: the operating system refuses.
    """
    try:
        lock = _open(path)
    except FileNotFoundError:
        yield False
        return
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Another may have removed it, and a third made a new one of its name, before it was locked.
            ours = os.path.samestat(os.stat(path), os.fstat(lock))
        except (BlockingIOError, FileNotFoundError):
            ours = False
        yield ours
    finally:
        os.close(lock)


def remove_unlocked(path: Path) -> bool:
    """Remove a folder, unless its process lives.

    Returns:
        Whether it was there to be removed.

    Raises:
        OSError: the operating system refuses.
    """
    with unlocked(path) as ours:
        if ours:
            shutil.rmtree(path, ignore_errors=True)
    return ours


def _open(path: Path) -> int:
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
