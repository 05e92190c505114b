"""Separations of finished jobs, kept so that a later job with the same recording need not compute them again.

What is kept is the complete checkpoint of a job's separator, as
``<data>/separations/<owner>/<identity>.<job_id>``: the owner as a hash, so that nobody is given what another
has sent; the identity of all that decides the separator's blocks; and the job that it goes with. Jobs that
share a separation share the file, each by a name (a hard link) of its own.

Whatever is lost here is computed again: these are the first files to go when space is short.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from api.jobs.folders import Folders
from api.jobs.model import Job
from pipeline.checkpoint import seal
from pipeline.checkpoint_format import complete_identity

log = logging.getLogger(__name__)

DEFAULT_CACHE_BYTES: Final = 4 << 30
"""50 minutes of stereo with four stems."""


@dataclass(frozen=True, slots=True)
class _Kept:
    """A file that is kept.

    Attributes:
        names: by which jobs keep it.
        disk: device number of its disk.
        bytes: its size.
        used: when a job used it last, in ns since 1970.
        in_use: whether a job that runs has a name for it too, so that its space stays taken.
    """

    names: tuple[Path, ...]
    disk: int
    bytes: int
    used: int
    in_use: bool


def keep(folders: Folders, job: Job) -> None:
    """Keep the separation of a job that has just succeeded, if it is complete.

    Killed at any point, it leaves a checkpoint that the next call keeps, or one that is kept already. Where
    jobs are encrypted nothing is kept: several jobs would share a file that each of them may have erased.
    """
    if folders.keys is not None:
        return
    folder = folders.separations_of(job.owner)
    for checkpoint in folders.checkpoints_of(job.id):
        try:
            identity = complete_identity(checkpoint)
            if identity is not None:
                seal(checkpoint)
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                checkpoint.rename(folder / f"{identity}.{job.id}")
        except OSError as exc:
            said = {"action": "separation_not_kept", "job_id": job.id}
            log.info("a separation is not kept: %s", exc.strerror, extra=said)


def forget(folders: Folders, job_id: str) -> None:
    """Give up the separation that goes with a job; another job's name for the same file stays."""
    _remove(names_of(folders, job_id))


def names_of(folders: Folders, job_id: str = "*") -> list[Path]:
    """The names by which a job keeps its separation, or all jobs keep theirs."""
    return sorted(folders.separations.glob(f"*/*.{job_id}"))


def prune(folders: Folders, most: int) -> int:
    """Keep what was used last, as far as it fits.

    Args:
        folders: where things lie.
        most: bytes that may be kept.

    Returns:
        How many files went.
    """
    total = 0
    gone = []
    for kept in _by_last_use(folders):
        total += kept.bytes
        if total > most:
            gone.append(kept)
    for kept in gone:
        _remove(kept.names)
    return len(gone)


def make_room(folders: Folders, folder: Path, needed: int) -> bool:
    """Look whether a disk has room, and give up kept separations if that makes it.

    Args:
        folders: where things lie.
        folder: on the disk in question.
        needed: bytes that must be free.

    Raises:
        OSError: the folder cannot be looked at.
    """
    missing = needed - shutil.disk_usage(folder).free
    if missing <= 0:
        return True
    disk = folder.stat().st_dev
    spare = [kept for kept in _by_last_use(folders) if kept.disk == disk and not kept.in_use]
    if sum(kept.bytes for kept in spare) < missing:
        return False
    while spare and shutil.disk_usage(folder).free < needed:
        _remove(spare.pop().names)
        log.info("a kept separation went for want of space", extra={"action": "separation_dropped"})
    return shutil.disk_usage(folder).free >= needed


def clear(folders: Folders, folder: Path) -> None:
    """Give up all separations that take space of a disk that is full.

    Args:
        folders: where things lie.
        folder: on that disk.
    """
    with suppress(OSError):
        disk = folder.stat().st_dev
        for kept in _by_last_use(folders):
            if kept.disk == disk:
                _remove(kept.names)


def _by_last_use(folders: Folders) -> list[_Kept]:
    """All files that are kept, the one used last first."""
    names: dict[tuple[int, int], list[Path]] = {}
    for path in names_of(folders):
        with suppress(FileNotFoundError):
            info = path.stat()
            names.setdefault((info.st_dev, info.st_ino), []).append(path)
    found = []
    for (disk, _), paths in names.items():
        with suppress(FileNotFoundError):
            info = paths[0].stat()
            in_use = info.st_nlink > len(paths)
            found.append(_Kept(tuple(paths), disk, info.st_size, info.st_mtime_ns, in_use))
    return sorted(found, key=lambda kept: kept.used, reverse=True)


def _remove(names: Iterable[Path]) -> None:
    for path in names:
        with suppress(OSError):
            path.unlink()
            path.parent.rmdir()  # Unless it still holds others.
