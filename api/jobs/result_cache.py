"""Copies of results and recordings that lie in a storage too: they go first, and are fetched when needed."""

from __future__ import annotations

import logging
import os
import shutil
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from api.errors import NotFound
from api.jobs.folders import Folders, checked
from api.jobs.model import JobStatus
from api.jobs.store import JobStore

log = logging.getLogger(__name__)

DEFAULT_CACHE_BYTES: Final = 10 << 30
_SETTLED: Final = timedelta(days=1)


def used(folders: Folders, job_id: str) -> None:
    """Note that the copy of a result was used."""
    with suppress(OSError):
        os.utime(folders.result(job_id))


def drop_input(folders: Folders, job_id: str) -> None:
    """Remove the copy of a recording whose job has ended."""
    if folders.shared is not None:
        shutil.rmtree(folders.upload(job_id), ignore_errors=True)


def prune(folders: Folders, most: int) -> int:
    """Keep the copies of results that were used last, as far as they fit. Who reads one goes on reading it.

    Args:
        folders: where things lie; without a storage nothing is a copy, and nothing goes.
        most: bytes that may be kept.

    Returns:
        How many went.
    """
    if folders.shared is None or not folders.outputs.is_dir():
        return 0
    found = []
    for path in folders.outputs.iterdir():
        with suppress(FileNotFoundError):
            if path != folders.attempts:
                found.append((path.stat().st_mtime_ns, _bytes(path), path))
    total, count = 0, 0
    for _, size, path in sorted(found, reverse=True):
        total += size
        if total > most:
            shutil.rmtree(path, ignore_errors=True)
            count += 1
    return count


def sweep_shared(store: JobStore, folders: Folders, at: datetime) -> int:
    """Remove from the storage what belongs to no job, or to one that is expired or erased.

    To be done by one process for all. Of a job that nobody knows everything stays for a day after it was
    written: it may be on its way in; so this remembers in `folders.data` since when it has seen it.

    Args:
        store: the jobs.
        folders: where things lie.
        at: UTC.

    Returns:
        Of how many jobs something was removed.
    """
    shared = folders.shared
    if shared is None:
        return 0
    count = 0
    seen = folders.data / "strays"
    seen.mkdir(mode=0o700, exist_ok=True)
    for job_id in sorted(shared.jobs()):
        try:
            job = store.get(checked(job_id))
        except NotFound:
            continue
        mark = seen / job_id
        if job is None:
            mark.touch(exist_ok=True)
            if datetime.fromtimestamp(mark.stat().st_mtime, at.tzinfo) < at - _SETTLED:
                shared.forget(job_id)
                mark.unlink(missing_ok=True)
                count += 1
            continue
        mark.unlink(missing_ok=True)
        if job.status is JobStatus.ERASED:
            shared.forget(job_id)
            count += 1
        elif job.status is JobStatus.EXPIRED and (shared.has_input(job_id) or shared.has_audio(job_id)):
            shared.forget_audio(job_id)
            count += 1
    for job_id in shared.divided():
        job = store.get(job_id)
        # Handed in by a helper that did not know yet that the job had ended.
        if job is None or job.status.final:
            shared.forget_stretches(job_id)
    return count


def _bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
