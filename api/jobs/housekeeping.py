"""What is thrown away, and when."""

from __future__ import annotations

import logging
import shutil
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from api.errors import AttemptsExhausted, NotFound
from api.jobs import parts
from api.jobs.folders import Folders, checked, is_incoming
from api.jobs.model import Job, JobStatus
from api.jobs.retention import Due, Policy, due
from api.jobs.separations import DEFAULT_CACHE_BYTES, clear, forget, names_of, prune
from api.jobs.store import JobStore
from api.jobs.worker import settle, tidy
from pipeline.locked_folder import remove_unlocked

log = logging.getLogger(__name__)

_STRAY_AGE: Final = timedelta(days=1)
"""Age at which an upload without a job, or a temporary file, is given up."""
_KEPT: Final = "manifest.json"


_PERIOD_S: Final = 3600.0


def keep_house(
    chores: Sequence[Callable[[], None]], stop: threading.Event, period_s: float = _PERIOD_S
) -> None:
    """Do chores at once, and again and again; none that fails keeps the others, or itself next time, from it.

    Args:
        chores: what to do, in order.
        stop: set it to end.
        period_s: rest after each round.
    """
    while True:
        for chore in chores:
            try:
                chore()
            except Exception:
                said = {"action": "sweep_failed", "chore": chore.__name__}
                log.exception("housekeeping failed; the next round does the rest", extra=said)
        if stop.wait(period_s):
            return


@dataclass(slots=True)
class Swept:
    """What one round of housekeeping did.

    Attributes:
        expired: jobs whose audio was removed, by age or because the disk was full.
        strays: files and folders that belonged to nobody.
    """

    expired: int = 0
    strays: int = 0


def sweep(
    store: JobStore,
    folders: Folders,
    policy: Policy,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
    *,
    separation_cache_bytes: int = DEFAULT_CACHE_BYTES,
    listening_cache_bytes: int = parts.DEFAULT_CACHE_BYTES,
    gone: Callable[[Due], None] = lambda _: None,
) -> Swept:
    """Do a round: expire what is old, finish what was begun, remove strays.

    Safe beside workers and other rounds, and when it is killed: the next round does the rest.

    Args:
        store: the jobs.
        folders: where things lie.
        policy: how long audio is kept.
        now: UTC; injected by tests.
        separation_cache_bytes: of separations that are kept at most.
        listening_cache_bytes: of what was decoded to be listened to, likewise.
        gone: told of audio that was removed, for the audit log.
    """
    swept = Swept()
    at = now()
    swept.expired = expire(store, folders, policy, at, gone)
    tidy(store, folders)
    swept.strays += _sweep_uploads(store, folders, at)
    swept.strays += _sweep_outputs(store, folders, None if policy.kept is None else at - policy.kept)
    swept.strays += _sweep_downloads(folders, at)
    swept.strays += _sweep_separations(store, folders)
    swept.strays += _sweep_made(store, folders)
    if folders.keys is not None:
        swept.strays += folders.keys.sweep((at - _STRAY_AGE).timestamp())
    prune(folders, separation_cache_bytes)
    parts.prune(folders.listening_root, listening_cache_bytes)
    if swept.expired or swept.strays:
        said = {"action": "swept", "expired": swept.expired, "strays": swept.strays}
        log.info("housekeeping: %d expired, %d strays", swept.expired, swept.strays, extra=said)
    return swept


def expire(
    store: JobStore,
    folders: Folders,
    policy: Policy,
    at: datetime,
    gone: Callable[[Due], None] = lambda _: None,
) -> int:
    """Remove audio that was kept long enough, or that the disk needs; manifests stay.

    Args:
        store: the jobs.
        folders: where things lie.
        policy: how long audio is kept.
        at: the time.
        gone: told of each, for the audit log.

    Returns:
        Of how many jobs.
    """
    if policy.most_used is not None:
        usage = shutil.disk_usage(folders.outputs)
        if usage.used > usage.total * policy.most_used:
            clear(folders, folders.outputs)  # What can be made again goes first.
    count = 0
    for one in due(store, folders, policy, at):
        # Marked first: nobody is offered what is about to go. Killed here, `sweep` removes it next time.
        if store.mark(one.job.id, JobStatus.EXPIRED) is not None:
            remove_audio(folders, one.job.id)
            gone(one)
            count += 1
    return count


def erase(store: JobStore, folders: Folders, job_id: str) -> Job | None:
    """Remove everything of an ended job, by its owner's wish.

    Returns:
        The job as it then is; None when it is unknown, or has not ended.
    """
    job = store.mark(job_id, JobStatus.ERASED)
    if job is not None:
        remove_all(folders, job_id)
        settle(store, folders, job_id)
    return job


def remove_incoming(folders: Folders) -> int:
    """Remove uploads that were being received when their process died.

    Returns:
        How many.

    Raises:
        OSError: the operating system refuses.
    """
    return sum(remove_unlocked(path) for path in _children(folders.uploads) if is_incoming(path))


def remove_audio(folders: Folders, job_id: str) -> None:
    """Remove a job's recording, its separation, and all of its result but the manifest."""
    if folders.shared is not None:
        folders.shared.forget_audio(job_id)
    shutil.rmtree(folders.upload(job_id), ignore_errors=True)
    forget(folders, job_id)
    _remove_made(folders, job_id)
    result = folders.result(job_id)
    for path in result.iterdir() if result.is_dir() else ():
        if path.name != _KEPT:
            _remove(path)


def remove_all(folders: Folders, job_id: str) -> None:
    """Remove a job's recording, result, separation, and what was made of them for players."""
    if folders.shared is not None:
        folders.shared.forget(job_id)
    shutil.rmtree(folders.upload(job_id), ignore_errors=True)
    _remove_made(folders, job_id)
    shutil.rmtree(folders.result(job_id), ignore_errors=True)
    # In this order: a worker may be moving one to where the other looks.
    for checkpoint in folders.checkpoints_of(job_id):
        checkpoint.unlink(missing_ok=True)
    forget(folders, job_id)


def _remove_made(folders: Folders, job_id: str) -> None:
    shutil.rmtree(folders.peaks(job_id), ignore_errors=True)
    shutil.rmtree(folders.listening(job_id), ignore_errors=True)


def _sweep_uploads(store: JobStore, folders: Folders, at: datetime) -> int:
    count = remove_incoming(folders)
    for path in _children(folders.uploads):
        if path == folders.resumable or is_incoming(path):
            continue
        job = _job_of(store, path)
        if job is None:
            # It may be on its way in: its job is accepted only when it is complete.
            gone = _newest(path) < at - _STRAY_AGE
        else:
            gone = job.status in {JobStatus.EXPIRED, JobStatus.ERASED}
        if gone:
            _remove(path)
            count += 1
    return count


def _sweep_outputs(store: JobStore, folders: Folders, before: datetime | None) -> int:
    count = 0
    for path in _children(folders.outputs):
        if path == folders.attempts:
            continue
        job = _job_of(store, path)
        if job is None:
            # A result that a restored database does not know is still somebody's: it ages like all others.
            if before is None or _newest(path) >= before:
                continue
            _remove(path)
        elif job.status is JobStatus.ERASED or _is_no_result(job):
            _remove(path)
        elif job.status is JobStatus.EXPIRED and any(p.name != _KEPT for p in _children(path)):
            remove_audio(folders, job.id)
        else:
            continue
        count += 1
    return count


def _is_no_result(job: Job) -> bool:
    # A worker that died between publishing its last attempt and saying so: a retry will find the result.
    published = job.error is not None and job.error.code == AttemptsExhausted.code
    return job.status in {JobStatus.FAILED, JobStatus.CANCELLED} and not published


def _sweep_downloads(folders: Folders, at: datetime) -> int:
    strays = [path for path in _children(folders.downloads) if _newest(path) < at - _STRAY_AGE]
    for path in strays:
        _remove(path)
    return len(strays)


def _sweep_made(store: JobStore, folders: Folders) -> int:
    count = 0
    for root in (folders.listening_root, folders.peaks_root):
        for path in _children(root):
            job = _job_of(store, path)
            # A request that was under way when its job went may have written once more.
            if job is None or job.status in {JobStatus.EXPIRED, JobStatus.ERASED}:
                _remove(path)
                count += 1
    return count


def _sweep_separations(store: JobStore, folders: Folders) -> int:
    count = 0
    for path in names_of(folders):
        job_id = path.name.rpartition(".")[2]
        job = store.get(job_id)
        if job is None or job.status is not JobStatus.SUCCEEDED:
            forget(folders, job_id)
            count += 1
    return count


def _job_of(store: JobStore, path: Path) -> Job | None:
    try:
        return store.get(checked(path.name))
    except NotFound:
        return None


def _children(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _newest(path: Path) -> datetime:
    """When anything at or below a path was last written; now when it has gone."""
    try:
        times = [p.lstat().st_mtime for p in (path, *path.rglob("*"))]
    except OSError:
        return datetime.now(UTC)
    return datetime.fromtimestamp(max(times), UTC)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
