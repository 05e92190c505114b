"""Backups: written while jobs run, read back, and kept in two tiers."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from api.jobs.model import JobStatus
from api.keeping.archive import DATABASE, SECRET, Contents, Kind, Writer
from api.keeping.held_files import HeldFiles
from api.keeping.holdings import Holdings
from api.keeping.scratch import scratch_folder
from api.keeping.snapshot import jobs_in, snapshot
from api.keeping.status import write_status
from api.keeping.vault import Stored, Vault, outdated
from pipeline.scratch import disk_errors
from pipeline.software import VERSION


@dataclass(frozen=True, slots=True)
class BackedUp:
    """What came of a backup.

    Attributes:
        stored: the backup.
        contents: what it holds.
        removed: older ones that are kept no longer.
        seconds: that it took, reading back included.
    """

    stored: Stored
    contents: Contents
    removed: tuple[Stored, ...]
    seconds: float


@dataclass(frozen=True, slots=True)
class Tiers:
    """How long backups are kept: see `api.keeping.vault.outdated`.

    Attributes:
        days: all of them.
        monthly_days: the last of each month.
    """

    days: int
    monthly_days: int


def back_up(
    holdings: Holdings,
    vault: Vault,
    kind: Kind,
    tiers: Tiers | None = None,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> BackedUp:
    """Write a backup, read it back, give up older ones, and note in ``backup-status.json`` that it was done.

    Args:
        holdings: what is backed up; it may be at work.
        vault: where to.
        kind: ``manifests``: database, manifests and recordings that wait; ``full``: all files too.
        tiers: which older ones stay; None: all.
        now: the time.

    Raises:
        BackupDamaged: what was read back is not what was written.
        BackupRunning: another process writes.
        DiskFull: no space left.
        OutputUnwritable: the vault cannot be written.
        DatabaseUnavailable: the database is busy, out of reach or damaged.
        RepositoryFailed: restic refused.
        StorageUnavailable: a folder of the service is missing.
    """
    began = time.monotonic()
    holdings.folders.check()  # An empty folder in place of a disk must not pass for all that there is.
    with disk_errors("the copy of the database"), scratch_folder(holdings.folders.data) as scratch:
        copy = scratch / "pipeline.db"
        at = now()
        snapshot(holdings.engine, copy)
        made: list[Contents] = []

        def fill(writer: Writer) -> Contents:
            _fill(holdings, HeldFiles(holdings.folders, scratch), copy, kind, writer)
            made.append(writer.close(kind, at, VERSION))
            return made[0]

        stored = vault.write(kind, at, fill)
    removed: tuple[Stored, ...] = ()
    if tiers is not None:
        backups = vault.backups()
        removed = tuple(outdated(backups, now(), days=tiers.days, monthly_days=tiers.monthly_days))
        vault.remove(removed)
    total = stored.bytes or sum(held.bytes for held in made[0].files)
    write_status(
        holdings.folders.data / "backup-status.json",
        {"finished_at": now().timestamp(), "kind": kind, "bytes": total},
    )
    return BackedUp(stored, made[0], removed, time.monotonic() - began)


def _fill(holdings: Holdings, files: HeldFiles, copy: Path, kind: Kind, writer: Writer) -> None:
    """Write everything; the database first, so that all it speaks of was there when files were read."""
    writer.add(DATABASE, copy)
    writer.add(SECRET, holdings.secret)
    known = jobs_in(copy)
    for job_id in files.results():
        # Of jobs that were accepted since, the next backup tells.
        if job_id in known or holdings.store.get(job_id) is None:
            for file in files.result(job_id, manifest_alone=kind != "full"):
                writer.add(file.name, file.path)
    waiting = {JobStatus.QUEUED, JobStatus.RUNNING}
    for job_id in files.recordings():
        if job_id in known and (kind == "full" or known[job_id] in waiting):
            with files.recording(job_id) as recording:
                writer.add(recording.name, recording.path)
    # Last: what is erased while files are read is erased here too, when it is restored.
    for path in sorted(holdings.tombstones.glob("*.json")):
        writer.add(f"erased/{path.name}", path)
