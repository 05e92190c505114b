"""Restores backups into an empty place. One that is killed is begun again, and no service starts on half."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, Final

from sqlalchemy import Engine, make_url

from api.audit import ERASE, ERASE_OWNER, Audit
from api.database import open_database
from api.encryption.data_keys import open_keys
from api.encryption.master_keys import MasterKeys
from api.errors import NotFound
from api.jobs.folders import Folders, checked
from api.jobs.housekeeping import remove_all, remove_audio
from api.jobs.model import JobStatus
from api.jobs.shared import Shared
from api.jobs.sql_store import SqlJobStore
from api.jobs.store import JobFilter, every_job
from api.keeping.archive import DATABASE, SECRET, read
from api.keeping.erased_rows import erase_rows
from api.keeping.erasure import tell
from api.keeping.errors import BackupUnknown, PlaceOccupied, RestoreUnfinished
from api.keeping.snapshot import fill, fold, is_empty
from api.keeping.status import write_status
from api.keeping.tombstones import Tombstone, standing
from api.keeping.vault import Stored, Vault
from api.migrate import upgrade
from api.security.secret import ServerSecret
from api.transactions import reading
from pipeline.manifest import parse_manifest
from pipeline.scratch import disk_errors, sync_folder

_UNFINISHED: Final = "restore.json"
_DRAFT: Final = ".restoring.db"
_BLOCK: Final = 1 << 20
_MANIFEST: Final = "manifest.json"
_TOMBSTONES: Final = frozenset({"erased"})
_DATABASE: Final = _TOMBSTONES | {"database", SECRET}
_FILES: Final = _TOMBSTONES | {"outputs", "uploads"}
_ALL: Final = _FILES | _DATABASE


@dataclass(frozen=True, slots=True)
class Restored:
    """What came of a restore.

    Attributes:
        stored: the backup that the database came from.
        base: the full backup that audio came from, where that is another one.
        jobs: in the database.
        unfinished: of them, those that wait and will run.
        incomplete: of them, those that succeeded and whose files were in no backup.
        erased_again: those that were erased after the backup was made.
        files: that were restored.
        bytes: of them.
        seconds: that it took.
    """

    stored: Stored
    base: Stored | None
    jobs: int
    unfinished: int
    incomplete: int
    erased_again: int
    files: int
    bytes: int
    seconds: float


def choose(backups: Iterable[Stored], at: datetime | None) -> tuple[Stored, Stored | None]:
    """The backup to restore, and the full one before it where it holds no audio itself.

    Args:
        backups: all that there are, oldest first.
        at: nothing that was made later; None: the newest.

    Raises:
        BackupUnknown: there is none.
    """
    usable = [stored for stored in backups if at is None or stored.created_at <= at]
    if not usable:
        when = "" if at is None else f" from before {at.isoformat()}"
        raise BackupUnknown(f"There is no backup{when}.", "See: python -m api backup --list.")
    chosen = usable[-1]
    full = [stored for stored in usable if stored.kind == "full"]
    return chosen, full[-1] if full and full[-1] != chosen and chosen.kind != "full" else None


def refuse_unfinished(data: Path) -> None:
    """Let nothing start in a place where a restore did not end.

    Raises:
        RestoreUnfinished: one did not.
    """
    if (data / _UNFINISHED).exists():
        raise RestoreUnfinished(
            "A restore was begun here and did not end.", "Run it again: python -m api restore."
        )


def restore(
    vault: Vault,
    folders: Folders,
    database_url: str,
    load_secret: Callable[[], ServerSecret],
    *,
    at: datetime | None = None,
    only_database: bool = False,
    beside: Iterable[Path] = (),
    masters: MasterKeys | None = None,
    record: Callable[[Engine, ServerSecret, Restored], None] = lambda *_: None,
) -> Restored:
    """Restore a backup, and erase again what was erased since it was made.

    Args:
        vault: where backups are.
        folders: where to; empty, or what a restore left that did not end.
        database_url: where to.
        load_secret: the server's, once its file is back.
        at: nothing that was made later; None: the newest.
        only_database: whether files stay as they are, and the database alone is missing.
        beside: further folders of tombstones.
        masters: with which manifests can be read; needed where results go to a storage.
        record: told of the database before it is put in place, for the audit log.

    Raises:
        BackupUnknown: there is none.
        BackupDamaged: it is not as it was written.
        PlaceOccupied: something lies there.
        DiskFull: no space left.
        OutputUnwritable: the operating system refuses.
        DatabaseUnavailable: the database cannot be used.
        StorageUnavailable: the storage is out of reach or full.
        MasterKeyMissing: manifests are encrypted with a master key that is not there.
    """
    began = time.monotonic()
    backups = vault.backups()
    chosen, base = choose(backups, at)
    url = make_url(database_url)
    target = Path(url.database or "") if url.get_backend_name() == "sqlite" else None
    _check_empty(folders, database_url, target, only_database=only_database)
    folders.make()
    write_status(folders.data / _UNFINISHED, {"backup": chosen.name, "begun_at": time.time()})
    draft = (folders.data if target is None else target.parent) / _DRAFT
    taken = _Taken(folders, draft)
    # The newest one knows best what was erased, also after the one that is wanted.
    wanted = ((base, _FILES), (chosen, _ALL), (backups[-1], _TOMBSTONES))
    if only_database:
        wanted = ((None, _FILES), (chosen, _DATABASE), (backups[-1], _TOMBSTONES))
    for stored, parts in wanted:
        if stored is not None and (parts is not _TOMBSTONES or stored != chosen):
            taken.parts = parts
            with vault.opened(stored) as stream:
                read(stream, taken, name=stored.name)
    secret = load_secret()
    engine = open_database(f"sqlite:///{draft}", create=False)
    try:
        upgrade(engine)
        tombstones = standing((folders.data / "erased", *beside))
        again = erase_rows(engine, tombstones.values(), secret)
        _tell_again(engine, secret, tombstones.values())
        for tombstone in tombstones.values():
            if tombstone.kind == "job":
                remove_all(folders, tombstone.id)
        store = SqlJobStore(engine)
        if folders.shared is not None and not only_database:
            _share(store, replace(folders, keys=open_keys(engine, masters)), folders.shared)
        counts = _agree(store, folders)
        restored = Restored(chosen, base, *counts, again, taken.files, taken.bytes, time.monotonic() - began)
        record(engine, secret, restored)
    finally:
        engine.dispose()
    fold(draft)
    _put_in_place(draft, target, database_url)
    (folders.data / _UNFINISHED).unlink()
    sync_folder(folders.data)
    return restored


def _share(store: SqlJobStore, folders: Folders, shared: Shared) -> None:
    """Put what was restored into the storage that machines share; what lies here is a copy from then on.

    Raises:
        StorageUnavailable: the storage is out of reach or full.
        ResultDamaged: a manifest cannot be read.
    """
    for job in every_job(store, JobFilter()):
        if folders.input(job).is_file():
            shared.keep_input(job.id, folders.input(job))
        stored = folders.stored_result(job.id)
        if (stored.path / _MANIFEST).is_file():
            manifest = parse_manifest((stored / _MANIFEST).read())
            there = [one for one in manifest.artifacts if (stored.path / one.path).is_file()]
            shared.publish(job.id, stored.path, manifest.model_copy(update={"artifacts": there}))


def _tell_again(engine: Engine, secret: ServerSecret, tombstones: Iterable[Tombstone]) -> None:
    """Have the audit log of the backup tell of the erasures that came after it."""
    audit = Audit(engine, secret)
    told = {(entry.action, entry.job_id) for entry in audit.entries() if entry.action in {ERASE, ERASE_OWNER}}
    store = SqlJobStore(engine)
    for tombstone in tombstones:
        is_job = tombstone.kind == "job"
        if ((ERASE, tombstone.id) if is_job else (ERASE_OWNER, "")) in told:
            continue
        if not is_job or store.get(tombstone.id) is not None:
            tell(audit, tombstone, "restore", "")


def _check_empty(folders: Folders, database_url: str, target: Path | None, *, only_database: bool) -> None:
    """Refuse a place with something in it, unless a restore has left that; then remove it.

    Raises:
        PlaceOccupied: there is something.
    """
    unfinished = (folders.data / _UNFINISHED).exists()
    hint = "Restore into an empty place: name another DATA_DIR, or move away what is there."
    if target is not None and target.exists():
        raise PlaceOccupied(f"There is a database: {target.name}.", hint)
    if target is None:
        engine = open_database(database_url)
        upgrade(engine)
        with reading(engine) as connection:
            empty = is_empty(connection)
        engine.dispose()
        if not empty:
            raise PlaceOccupied("The database has jobs already.", hint)
    if folders.shared is not None and not (only_database or unfinished) and folders.shared.jobs():
        raise PlaceOccupied("The storage holds recordings or results already.", hint)
    for root in () if only_database else (folders.outputs, folders.uploads):
        for path in sorted(root.iterdir()) if root.is_dir() else ():
            try:
                checked(path.name)
            except NotFound:
                continue
            if not unfinished:
                raise PlaceOccupied(f"The folder {root.name!r} is not empty.", hint)
            shutil.rmtree(path)


class _Taken:
    """Puts the files of a backup where they belong."""

    def __init__(self, folders: Folders, draft: Path) -> None:
        self._folders, self._draft = folders, draft
        self.parts = _ALL
        self.files = self.bytes = 0

    def __call__(self, name: str, file: BinaryIO, size: int) -> None:
        target = self._target(name)
        if target is None:
            return
        with disk_errors(f"the file {name!r}"):
            target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with target.open("wb") as out:
                os.chmod(target, 0o600)
                while data := file.read(_BLOCK):
                    out.write(data)
        self.files += 1
        self.bytes += size

    def _target(self, name: str) -> Path | None:
        root, _, rest = name.partition("/")
        if root not in self.parts:
            return None
        if root == "outputs":
            return self._folders.outputs / rest
        if root == "uploads":
            return self._folders.uploads / rest
        if root == "erased":
            return self._folders.data / name
        if name == SECRET:
            # One that is there was put there on purpose, or by an earlier attempt.
            path = self._folders.data / name
            return None if path.exists() else path
        assert name == DATABASE
        for path in (self._draft, *(self._draft.with_name(f"{_DRAFT}{end}") for end in ("-wal", "-shm"))):
            path.unlink(missing_ok=True)
        return self._draft


def _agree(store: SqlJobStore, folders: Folders) -> tuple[int, int, int]:
    """Make files agree with the database: how many jobs, how many wait, how many lack files."""
    jobs = waiting = incomplete = 0
    for job in every_job(store, JobFilter()):
        jobs += 1
        waiting += not job.status.final
        if job.status is JobStatus.EXPIRED:
            remove_audio(folders, job.id)
        elif job.status is JobStatus.ERASED:
            remove_all(folders, job.id)
        elif job.status is JobStatus.SUCCEEDED:
            result = folders.result(job.id)
            audio = any(path.name != _MANIFEST for path in _children(result))
            incomplete += not (audio if folders.shared is None else folders.shared.has_audio(job.id))
    return jobs, waiting, incomplete


def _children(folder: Path) -> list[Path]:
    return list(folder.iterdir()) if folder.is_dir() else []


def _put_in_place(draft: Path, target: Path | None, database_url: str) -> None:
    with disk_errors("the database"):
        os.sync()  # Before there is a database that speaks of them, all files are on the disk.
        if target is None:
            engine = open_database(database_url)
            try:
                fill(engine, draft)
            finally:
                engine.dispose()
            draft.unlink()
            return
        for end in ("-wal", "-shm"):  # A log of the database that was lost would be played into this one.
            target.with_name(f"{target.name}{end}").unlink(missing_ok=True)
        draft.rename(target)
        sync_folder(target.parent)
