"""The drill: a backup is restored into a scratch place and verified, and the time it takes is measured."""

from __future__ import annotations

import time
from collections.abc import Callable, Container, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

from api.database import open_database
from api.encryption.data_keys import open_keys
from api.encryption.master_keys import MasterKeys
from api.jobs.folders import Folders
from api.jobs.model import JobStatus
from api.jobs.sql_store import SqlJobStore
from api.jobs.store import JobFilter, every_job
from api.keeping.holdings import Holdings
from api.keeping.restore import Restored, restore
from api.keeping.scratch import scratch_folder
from api.keeping.status import write_status
from api.keeping.vault import Vault
from api.keeping.verify import Fault, Verified, verify
from api.security.secret import ServerSecret

_UNFINISHED = (JobStatus.QUEUED, JobStatus.RUNNING)


@dataclass(frozen=True, slots=True)
class Drilled:
    """What a drill has shown.

    Attributes:
        restored: what came of the restore.
        verified: what the verification of it found.
        rto_s: seconds until everything was back and verified.
        rpo_s: seconds of work that would be lost now: the age of the newest backup.
        worst_rpo_s: longest time between two backups, and since the last, of the last 30 days.
        tolerated: faults that the backup itself had told of: files of results that no backup holds.
    """

    restored: Restored
    verified: Verified
    rto_s: float
    rpo_s: float
    worst_rpo_s: float
    tolerated: int

    @property
    def passed(self) -> bool:
        """Whether all that the backup holds came back as it was."""
        return len(self.verified.faults) == self.tolerated


def drill(
    vault: Vault,
    scratch: Path,
    status: Path,
    load_secret: Callable[[Folders], ServerSecret],
    *,
    beside: Iterable[Path] = (),
    masters: MasterKeys | None = None,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Drilled:
    """Restore the newest backup into a new folder, verify it, and remove it.

    Args:
        vault: where backups are.
        scratch: folder for the place; needs the room that a restore needs.
        status: the figures are written to this file.
        load_secret: the server's, of a place.
        beside: further folders of tombstones.
        masters: with which what is encrypted can be read.
        now: the time.

    Raises:
        BackupUnknown: there is none.
        BackupDamaged: it is not as it was written.
        MasterKeyMissing: what it holds is encrypted with a master key that is not there.
        DiskFull: no space left.
        OutputUnwritable: the operating system refuses.
    """
    with scratch_folder(scratch) as place:
        folders = Folders.below(place / "data")
        url = f"sqlite:///{folders.data / 'pipeline.db'}"
        at, began = now(), time.monotonic()
        restored = restore(vault, folders, url, lambda: load_secret(folders), beside=beside)
        engine = open_database(url, create=False)
        try:
            store = SqlJobStore(engine)
            readable = replace(folders, keys=open_keys(engine, masters))
            verified = verify(Holdings(engine, store, readable))
            waiting = {job.id for job in every_job(store, JobFilter(statuses=_UNFINISHED))}
        finally:
            engine.dispose()
        rto_s = time.monotonic() - began
    tolerated = sum(_was_left_out(fault, restored, waiting) for fault in verified.faults)
    times = [stored.created_at for stored in vault.backups()]
    rpo_s = (at - times[-1]).total_seconds()
    drilled = Drilled(restored, verified, rto_s, rpo_s, _worst(times, at), tolerated)
    write_status(status, figures(drilled, now()))
    return drilled


def figures(drilled: Drilled, at: datetime) -> dict[str, object]:
    """What a drill has shown, as JSON."""
    seconds = max(drilled.verified.seconds, 1e-9)
    return {
        "finished_at": at.timestamp(),
        "passed": drilled.passed,
        "rto_s": round(drilled.rto_s, 3),
        "rpo_s": round(drilled.rpo_s, 3),
        "worst_rpo_s": round(drilled.worst_rpo_s, 3),
        "backup": drilled.restored.stored.name,
        "jobs": drilled.restored.jobs,
        "unfinished": drilled.restored.unfinished,
        "without_audio": drilled.restored.incomplete,
        "files": drilled.restored.files,
        "bytes": drilled.restored.bytes,
        "verify_bytes_per_s": round(drilled.verified.bytes / seconds),
        "faults": len(drilled.verified.faults) - drilled.tolerated,
    }


def _was_left_out(fault: Fault, restored: Restored, waiting: Container[str]) -> bool:
    """Whether a file is missing because no full backup was made since its job ended."""
    is_audio = fault.job_id not in waiting and not fault.path.endswith("/manifest.json")
    return fault.problem == "missing" and is_audio and restored.stored.kind != "full"


def _worst(times: Sequence[datetime], at: datetime) -> float:
    recent = [time for time in times if (at - time).days < 30] or list(times[-1:])
    return max((after - before).total_seconds() for before, after in pairwise([*recent, at]))
