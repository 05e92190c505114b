"""How the result of an attempt becomes the job's: once, complete, and by whoever holds the claim.

An attempt works in a folder of its own, ``outputs/.attempts/<job_id>.<fence>``, locked as long as its process
lives. Its finished result moves to ``outputs/<job_id>`` by one rename, which fails where there is a result
already. Where machines share a storage it goes there first: see `api.jobs.shared`. So two attempts of one job
never touch the same files, and at most one of them is published.
"""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

from api.errors import ResultDamaged
from api.jobs.folders import Folders
from api.jobs.results import read_result
from pipeline.errors import ManifestInvalid
from pipeline.locked_folder import LockedFolder, unlocked
from pipeline.manifest import read_manifest
from pipeline.scratch import disk_errors, sync_folder


class AttemptFolder:
    """The folder of one attempt. Leaving the context removes it.

    Args:
        folders: where things lie.
        job_id: whose attempt.
        fence: of its claim.

    Raises:
        OutputUnwritable: the folder cannot be made, or there is one.
        DiskFull: no space or inodes left.
    """

    def __init__(self, folders: Folders, job_id: str, fence: int) -> None:
        with disk_errors("the output folder"):
            self._held = LockedFolder(folders.attempt(job_id, fence))
        self.path = self._held.path
        self._made = self.path / job_id
        self._folders, self._job_id = folders, job_id

    def publish(self) -> None:
        """Show the finished result; where the job has one already, that one stays.

        Raises:
            DiskFull: no space left.
            OutputUnwritable: the operating system refuses.
        """
        _publish(self._folders, self._job_id, self._made)

    def __enter__(self) -> AttemptFolder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._held.close()


def is_published(folders: Folders, job_id: str) -> bool:
    """Whether the job has a complete result."""
    if folders.shared is not None:
        return folders.shared.has_result(job_id)
    try:
        read_result(folders, job_id)
    except ResultDamaged:
        return False
    return True


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
            _publish(folders, job_id, folder / job_id)
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
        with unlocked(folder) as ours:
            if ours:
                yield folder


def _is_complete(folder: Path) -> bool:
    try:
        read_manifest(folder / "manifest.json")
    except ManifestInvalid:
        return False
    return True


def _publish(folders: Folders, job_id: str, made: Path) -> None:
    kept = _encrypted(folders, job_id, made)
    if folders.shared is not None and not folders.shared.publish(job_id, kept, read_manifest(made)):
        return  # Another attempt was first: what is here must not pass for the job's result.
    _move(kept, folders.result(job_id))


def _encrypted(folders: Folders, job_id: str, made: Path) -> Path:
    """A folder with the result as it is to be stored. Killed on the way, `publish_left` begins it again."""
    result = folders.stored_result(job_id)
    if not result.is_encrypted:
        return made
    kept = made.with_name("encrypted")
    with disk_errors("the encrypted result"):
        shutil.rmtree(kept, ignore_errors=True)
        for source in sorted(path for path in made.rglob("*") if path.is_file()):
            inside = source.relative_to(made).as_posix()
            (kept / inside).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            (result / inside).at(kept / inside).take(source, keep=True)
        sync_folder(kept)
    return kept


def _move(source: Path, target: Path) -> None:
    with disk_errors("the result"):
        try:
            source.rename(target)
        except OSError as exc:
            if exc.errno not in {errno.ENOTEMPTY, errno.EEXIST}:
                raise
            return
        sync_folder(target.parent)
