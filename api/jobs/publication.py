"""How the result of an attempt becomes the job's: once, complete, and by whoever holds the claim.

An attempt works in a folder of its own, ``outputs/.attempts/<job_id>.<fence>``, locked as long as its process
lives. Its finished result moves to ``outputs/<job_id>`` by one rename, which fails where there is a result
already. So two attempts of one job never touch the same files, and at most one of them is published.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType

from api.jobs.folders import Folders
from pipeline.errors import ManifestInvalid, OutputUnwritable
from pipeline.manifest import read_manifest
from pipeline.scratch import disk_errors, sync_folder


class AttemptFolder:
    """The folder of one attempt. Leaving the context removes it.

    Args:
        folders: where things lie.
        job_id: whose attempt.
        fence: of its claim.

    Raises:
        OutputUnwritable: the folder cannot be made, or another process works in it.
        DiskFull: no space or inodes left.
    """

    def __init__(self, folders: Folders, job_id: str, fence: int) -> None:
        self.path = folders.attempt(job_id, fence)
        self._made = self.path / job_id
        self._target = folders.result(job_id)
        with disk_errors("the output folder"):
            while True:
                self.path.mkdir(exist_ok=True)
                lock = _lock(self.path)
                if lock is None:
                    raise OutputUnwritable("Another process works on this attempt already.")
                with suppress(FileNotFoundError):
                    if os.path.samestat(os.stat(self.path), os.fstat(lock)):
                        self._lock = lock
                        return
                os.close(lock)  # Swept between mkdir and lock.

    def publish(self) -> None:
        """Show the finished result; where the job has one already, that one stays.

        Raises:
            DiskFull: no space left.
            OutputUnwritable: the operating system refuses.
        """
        _move(self._made, self._target)

    def __enter__(self) -> AttemptFolder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._lock)


def is_published(folders: Folders, job_id: str) -> bool:
    """Whether the job has a complete result."""
    return _is_complete(folders.result(job_id))


def publish_left(folders: Folders, job_id: str) -> bool:
    """Publish what an attempt finished just before its process died.

    Returns:
        Whether there was such a result.

    Raises:
        DiskFull: no space left.
        OutputUnwritable: the operating system refuses.
    """
    for folder in _abandoned(folders, job_id):
        if _is_complete(folder / job_id):
            _move(folder / job_id, folders.result(job_id))
            return True
    return False


def remove_abandoned(folders: Folders, job_id: str) -> None:
    """Remove the folders of a job's attempts whose processes are gone."""
    for folder in _abandoned(folders, job_id):
        shutil.rmtree(folder, ignore_errors=True)


def abandoned_jobs(folders: Folders) -> set[str]:
    """Ids of the jobs with a folder of an attempt whose process is gone."""
    return {folder.name.rpartition(".")[0] for folder in _abandoned(folders, "*")}


def _abandoned(folders: Folders, job_id: str) -> Iterator[Path]:
    for folder in sorted(folders.attempts.glob(f"{job_id}.*")):
        with _unlocked(folder) as ours:
            if ours:
                yield folder


@contextmanager
def _unlocked(folder: Path) -> Iterator[bool]:
    lock = None
    with suppress(FileNotFoundError):
        lock = _lock(folder)
    try:
        yield lock is not None
    finally:
        if lock is not None:
            os.close(lock)


def _lock(folder: Path) -> int | None:
    lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return None
    return lock


def _is_complete(folder: Path) -> bool:
    try:
        read_manifest(folder / "manifest.json")
    except ManifestInvalid:
        return False
    return True


def _move(source: Path, target: Path) -> None:
    with disk_errors("the result"):
        try:
            source.rename(target)
        except OSError as exc:
            if exc.errno not in {errno.ENOTEMPTY, errno.EEXIST}:
                raise
            return
        sync_folder(target.parent)
