"""Erases in backups: those that hold what was erased are written anew without it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Collection
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, Final

from api.database import open_database
from api.keeping.archive import DATABASE, Contents, Writer, read
from api.keeping.erased_rows import erase_rows
from api.keeping.scratch import scratch_folder
from api.keeping.snapshot import fold, scrub_free_space
from api.keeping.status import write_status
from api.keeping.tombstones import Tombstone
from api.keeping.vault import Stored, Vault
from api.migrate import upgrade
from api.security.secret import ServerSecret
from pipeline.scratch import disk_errors

_DONE: Final = "backups-erased.json"


def scrub(
    vault: Vault, tombstones: Collection[Tombstone], secret: ServerSecret, scratch: Path
) -> list[Stored]:
    """Write every backup anew that holds something of what was erased since it was made.

    Args:
        vault: where backups are.
        tombstones: what was erased.
        secret: the server's.
        scratch: folder for a copy of the database, and for the note up to when this is done.

    Returns:
        The backups that were written anew.

    Raises:
        BackupDamaged: one of them is not as it was written.
        BackupRunning: another process writes.
        DiskFull: no space left.
        OutputUnwritable: the vault cannot be written.
        RepositoryFailed: restic refused.
    """
    done = []
    mark = scratch / _DONE
    since, newest = _done_until(mark), max((one.erased_at for one in tombstones), default=None)
    fresh = [one for one in tombstones if since is None or one.erased_at > since]
    for stored in vault.backups():
        later = [one for one in fresh if one.erased_at >= stored.created_at]
        if later and _scrub_one(vault, stored, later, secret, scratch):
            done.append(stored)
    if newest is not None and newest != since:
        write_status(mark, {"erased_until": newest.isoformat()})
    return done


def _done_until(mark: Path) -> datetime | None:
    try:
        return datetime.fromisoformat(json.loads(mark.read_bytes())["erased_until"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _scrub_one(
    vault: Vault, stored: Stored, tombstones: Collection[Tombstone], secret: ServerSecret, scratch: Path
) -> bool:
    gone = {one.id for one in tombstones if one.kind == "job"}
    with disk_errors("the copy of the database"), scratch_folder(scratch) as folder:
        copy = folder / "pipeline.db"
        holds_files: list[str] = []

        def look(path: str, file: BinaryIO, _size: int) -> None:
            if path == DATABASE:
                with copy.open("wb") as out:
                    shutil.copyfileobj(file, out, 1 << 20)
            elif _is_of(path, gone):
                holds_files.append(path)

        with vault.opened(stored) as stream:
            contents = read(stream, look, name=stored.name)
        if not _scrub_rows(copy, tombstones, secret) and not holds_files:
            return False

        def fill(writer: Writer) -> Contents:
            def keep(path: str, file: BinaryIO, size: int) -> None:
                if path == DATABASE:
                    writer.add(DATABASE, copy)
                elif not _is_of(path, gone) and not path.startswith("erased/"):
                    writer.add_stream(path, file, size)
                elif path.startswith("erased/"):
                    kept.append((path, file.read()))

            kept: list[tuple[str, bytes]] = []
            with vault.opened(stored) as stream:
                read(stream, keep, name=stored.name)
            marks = dict(kept) | {
                f"erased/{one.id}.json": one.model_dump_json(indent=1).encode() for one in tombstones
            }
            for path, data in sorted(marks.items()):
                writer.add_bytes(path, data)
            return writer.close(contents.kind, contents.created_at, contents.software)

        vault.write(stored.kind, stored.created_at, fill)
    return True


def _scrub_rows(copy: Path, tombstones: Collection[Tombstone], secret: ServerSecret) -> bool:
    engine = open_database(f"sqlite:///{copy}", create=False)
    try:
        upgrade(engine)
        changed = erase_rows(engine, tombstones, secret) > 0
        if changed:
            scrub_free_space(engine)
    finally:
        engine.dispose()
    fold(copy)
    return changed


def _is_of(path: str, job_ids: Collection[str]) -> bool:
    root, _, rest = path.partition("/")
    return root in {"outputs", "uploads"} and rest.partition("/")[0] in job_ids
