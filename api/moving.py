"""Moves a service from one machine to many: its database to PostgreSQL, its files to a shared storage.

Nothing is taken away: the old database stays as it was, but refuses every further change, so that nothing is
accepted there that would be lost. Who reads goes on reading all the while.
"""

from __future__ import annotations

import filecmp
import hashlib
import json
import tempfile
from base64 import b64encode
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, Engine, Table, func, insert, select, text

from api.database import metadata
from api.encryption.stored import Stored
from api.errors import Conflict, Gone, SettingsInvalid
from api.jobs.folders import Folders
from api.jobs.shared import Shared
from api.migrate import declare, is_current, upgrade
from api.transactions import SEALED, writing
from pipeline.errors import ManifestInvalid
from pipeline.manifest import Manifest, parse_manifest

_BATCH: Final = 500


@dataclass(frozen=True, slots=True)
class Moved:
    """What was copied.

    Attributes:
        rows: by table.
    """

    rows: dict[str, int]


def move_database(source: Engine, target: Engine, say: Callable[[str], None]) -> Moved:
    """Copy every row to an empty database, compare both, and seal the old one.

    While it copies, the old service answers whoever reads; whoever would change something waits, and is then
    told to try again. Killed at any point it leaves the old database in use and the new one empty.

    Args:
        source: SQLite, up to date.
        target: PostgreSQL; its tables are made.
        say: told how far it is.

    Raises:
        SettingsInvalid: the databases are not what they should be.
        Conflict: the new one holds something, or what was copied differs.
        DatabaseUnavailable: one of them is busy, out of reach or damaged.
    """
    if source.dialect.name != "sqlite" or target.dialect.name != "postgresql":
        raise SettingsInvalid("A store is moved from sqlite:///… to postgresql://….")
    if not is_current(source):
        raise SettingsInvalid(
            "The old database is of an older version.", "Start the service on it once, with this version."
        )
    declare()
    upgrade(target)
    # The source's lock first: whoever writes there waits from here on.
    with writing(source) as old, writing(target) as new:
        for table in metadata.sorted_tables:
            if new.scalar(select(func.count()).select_from(table)):
                raise Conflict(f"The new database is not empty: {table.name}.", "Name one that nobody uses.")
        rows = {}
        for table in metadata.sorted_tables:
            rows[table.name] = _copy(old, new, table)
            if _digest(old, table) != _digest(new, table):
                raise Conflict(f"What was copied differs: {table.name}.", "Nothing was moved; try again.")
            say(f"{table.name}: {rows[table.name]} rows, the same on both sides")
        _go_on_counting(new)
        _seal(old)
    return Moved(rows)


def _copy(old: Connection, new: Connection, table: Table) -> int:
    count = 0
    for batch in _batches(old, table):
        new.execute(insert(table), batch)
        count += len(batch)
    return count


def _batches(connection: Connection, table: Table) -> Iterator[list[dict[str, Any]]]:
    rows = connection.execute(select(table).order_by(*table.primary_key.columns))
    for part in rows.mappings().partitions(_BATCH):
        yield [dict(row) for row in part]


def _digest(connection: Connection, table: Table) -> str:
    """A hash of all rows that is the same for the same rows in any database."""
    digest, total = hashlib.sha256(), 0
    for batch in _batches(connection, table):
        for row in batch:
            said = json.dumps(row, sort_keys=True, default=_plain, separators=(",", ":"))
            # Databases sort text differently, so the sum of the rows' hashes counts, in any order.
            total += int.from_bytes(hashlib.sha256(said.encode()).digest(), "big")
    digest.update(str(total).encode())
    return digest.hexdigest()


def _plain(value: object) -> str:
    return b64encode(value).decode() if isinstance(value, bytes | memoryview) else str(value)


def _go_on_counting(new: Connection) -> None:
    """Have numbers that are handed out go on behind those that were."""
    for table in metadata.sorted_tables:
        column = table.autoincrement_column
        if column is None:
            continue
        name = new.scalar(text("SELECT pg_get_serial_sequence(:table, :column)"),
                          {"table": table.name, "column": column.name})  # fmt: skip
        if name is not None:
            last = new.scalar(select(func.max(column)))
            if last is not None:
                new.execute(
                    text("SELECT setval(CAST(:name AS regclass), :last)"), {"name": name, "last": last}
                )


def _seal(old: Connection) -> None:
    for table in metadata.sorted_tables:
        for change in ("INSERT", "UPDATE", "DELETE"):
            old.execute(
                text(
                    f'CREATE TRIGGER IF NOT EXISTS "{table.name}_moved_{change.lower()}" '
                    f"BEFORE {change} ON \"{table.name}\" BEGIN SELECT RAISE(ABORT, '{SEALED}'); END"
                )
            )


def unseal(old: Engine) -> None:
    """Take a move back: the old database is used again. What the new one has got since stays there."""
    declare()
    with writing(old) as connection:
        for table in metadata.sorted_tables:
            for change in ("insert", "update", "delete"):
                connection.execute(text(f'DROP TRIGGER IF EXISTS "{table.name}_moved_{change}"'))


@dataclass(slots=True)
class Copied:
    """What of the files was copied.

    Attributes:
        recordings: that were not there yet.
        results: likewise.
        known: recordings and results that were there already.
        damaged: ids of jobs whose result is not what its manifest says; it was left where it is.
    """

    recordings: int = 0
    results: int = 0
    known: int = 0
    damaged: tuple[str, ...] = ()


def copy_files(folders: Folders, shared: Shared, say: Callable[[str], None]) -> Copied:
    """Copy recordings and results to a storage, and read back what was copied.

    To be repeated at will, beside a service that runs: what is there already is left alone.

    Args:
        folders: where they lie.
        shared: where they are to be.
        say: told of every job.

    Raises:
        StorageUnavailable: the storage does not do what it should.
        Conflict: what was read back differs.
    """
    done = Copied()
    for path in sorted(folders.uploads.glob("[0-9a-zA-Z]*/input")):
        job_id = path.parent.name
        if shared.has_input(job_id):
            done.known += 1
            continue
        shared.keep_input(job_id, path)
        with tempfile.TemporaryDirectory(dir=folders.downloads) as scratch:
            back = Path(scratch) / "input"
            if not shared.fetch_input(job_id, back) or not filecmp.cmp(back, path, shallow=False):
                raise Conflict(f"The recording of job {job_id} did not come back as it was sent.")
        done.recordings += 1
    for path in sorted(folders.outputs.glob("[0-9a-zA-Z]*/manifest.json")):
        job_id = path.parent.name
        result = folders.stored_result(job_id)
        if shared.has_result(job_id):
            done.known += 1
        elif (manifest := _whole(result)) is None:
            done.damaged += (job_id,)
            say(f"{job_id}: its result is damaged or expired: it stays where it is")
        else:
            shared.publish(job_id, path.parent, manifest)
            with tempfile.TemporaryDirectory(dir=folders.downloads) as scratch:
                for artifact in manifest.artifacts:
                    # Compares the hash with the manifest's.
                    back = Path(scratch) / artifact.path
                    if not shared.fetch_artifact(job_id, artifact, (result / artifact.path).at(back)):
                        raise Conflict(f"{artifact.path} of job {job_id} did not come back.")
            done.results += 1
            say(f"{job_id}: copied and read back")
    return done


def _whole(result: Stored) -> Manifest | None:
    """The manifest of a result; None where not all is as it says."""
    try:
        manifest = parse_manifest((result / "manifest.json").read())
        for artifact in manifest.artifacts:
            with (result / artifact.path).open() as file:
                if hashlib.file_digest(file, "sha256").hexdigest() != artifact.sha256:  # type: ignore[arg-type]
                    return None
    except (ManifestInvalid, OSError, Gone):
        return None
    return manifest
