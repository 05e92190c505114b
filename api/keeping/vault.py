"""Where backups are kept: a folder of plain files, or what else writes and reads the same stream."""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import BinaryIO, Final, Protocol

from api.keeping.archive import Contents, Kind, Packed, Writer, read, unpacked
from api.keeping.errors import BackupDamaged, BackupRunning
from pipeline.scratch import disk_errors, sync_folder

_NAME: Final = re.compile(r"audio-pipeline-(manifests|full)-(\d{8}T\d{6}\.\d{6})Z\.tar\.gz")
_TIME: Final = "%Y%m%dT%H%M%S.%f"
_PARTIAL: Final = ".partial-"

Fill = Callable[[Writer], Contents]
"""Writes a backup and ends it."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A backup.

    Attributes:
        name: by which its vault knows it.
        kind: ``manifests`` or ``full``.
        created_at: when the database was read.
        bytes: that it takes; 0 where that cannot be said of one backup.
    """

    name: str
    kind: Kind
    created_at: datetime
    bytes: int


class Vault(Protocol):
    """Keeps backups. What is in it is whole: a write that is killed at any point leaves no backup."""

    def backups(self) -> list[Stored]:
        """All of them, oldest first."""
        ...

    def write(self, kind: Kind, created_at: datetime, fill: Fill) -> Stored:
        """Write a backup, durably, and read it back; one of the same kind and time is replaced.

        Raises:
            BackupDamaged: what was read back is not what was written.
            BackupRunning: another process writes.
            DiskFull: no space left.
            OutputUnwritable: the vault cannot be written.
        """
        ...

    def opened(self, stored: Stored) -> AbstractContextManager[BinaryIO]:
        """The tar stream of a backup."""
        ...

    def remove(self, unwanted: Sequence[Stored]) -> None:
        """Give backups up."""
        ...


class FolderVault:
    """Backups as plain files in a folder, one each.

    Args:
        folder: made if it is missing.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def backups(self) -> list[Stored]:
        """All of them, oldest first."""
        found = []
        for path in self.folder.glob("audio-pipeline-*.tar.gz"):
            if match := _NAME.fullmatch(path.name):
                at = datetime.strptime(match[2], _TIME).replace(tzinfo=UTC)
                kind: Kind = "full" if match[1] == "full" else "manifests"
                found.append(Stored(path.name, kind, at, path.stat().st_size))
        return sorted(found, key=lambda stored: stored.created_at)

    def write(self, kind: Kind, created_at: datetime, fill: Fill) -> Stored:
        """Write a backup under another name, read it back, and only then give it its own."""
        name = f"audio-pipeline-{kind}-{created_at.astimezone(UTC).strftime(_TIME)}Z.tar.gz"
        with disk_errors("the backup"), self._turn():
            partial = self.folder / f"{_PARTIAL}{name}"
            try:
                with partial.open("xb") as file:
                    os.chmod(partial, 0o600)
                    packed = Packed(file)
                    written = fill(Writer(packed, packed.pack))
                    packed.close()
                    file.flush()
                    os.fsync(file.fileno())
                    # What is read back is to come from the disk and not from memory.
                    os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
                with unpacked(partial) as stream:
                    if read(stream, name=name) != written:
                        raise BackupDamaged(f"{name} is not what was written.", "Check the disk.")
                partial.rename(self.folder / name)
                sync_folder(self.folder)
            finally:
                partial.unlink(missing_ok=True)
        return Stored(name, kind, created_at, (self.folder / name).stat().st_size)

    @contextmanager
    def opened(self, stored: Stored) -> Iterator[BinaryIO]:
        """The tar stream of a backup."""
        with unpacked(self.folder / stored.name) as stream:
            yield stream

    def remove(self, unwanted: Sequence[Stored]) -> None:
        """Delete files."""
        with disk_errors("the folder of the backups"):
            for stored in unwanted:
                (self.folder / stored.name).unlink(missing_ok=True)

    @contextmanager
    def _turn(self) -> Iterator[None]:
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with (self.folder / ".lock").open("ab") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as exc:
                raise BackupRunning("A backup is being written.", "Try again when it is done.") from exc
            for stray in self.folder.glob(f"{_PARTIAL}*"):  # Whoever wrote it is gone.
                stray.unlink()
            yield


def outdated(backups: Sequence[Stored], now: datetime, *, days: int, monthly_days: int) -> list[Stored]:
    """Which backups are kept no longer.

    Kept are all that are younger than `days`; of those younger than `monthly_days` the last of each kind in
    each month; and always the last of each kind.

    Args:
        backups: all that there are.
        now: the time.
        days: of the first tier.
        monthly_days: of the second.
    """
    newest_first = sorted(backups, key=lambda stored: stored.created_at, reverse=True)
    seen: set[tuple[str, ...]] = set()
    unwanted = []
    for stored in newest_first:
        month = (stored.kind, stored.created_at.strftime("%Y-%m"))
        age = now - stored.created_at
        keeps = (stored.kind,) not in seen or age <= timedelta(days=days)
        keeps = keeps or (age <= timedelta(days=monthly_days) and month not in seen)
        seen |= {(stored.kind,), month}
        if not keeps:
            unwanted.append(stored)
    return unwanted
