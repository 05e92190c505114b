"""The database as one file: a consistent copy while the service works, and back into a database."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, Engine, func, insert, select, text

from api.database import metadata, open_database
from api.encryption.fields import cipher_of, encrypt_fields
from api.keeping.errors import PlaceOccupied
from api.migrate import declare, upgrade
from api.transactions import database_errors, writing
from pipeline.scratch import disk_errors

_ROWS: Final = 1000


def snapshot(engine: Engine, target: Path) -> None:
    """Copy all tables, as they are at one moment, into a new SQLite file; nobody has to wait.

    An SQLite file is copied by ``VACUUM INTO``, which leaves behind what its free pages still hold. From
    PostgreSQL the rows are read in one transaction: the copy can be restored into either.

    Args:
        engine: of the service's database.
        target: of the copy; not there yet.

    Raises:
        DatabaseUnavailable: the database is busy, out of reach or damaged.
        DiskFull: no space left.
        OutputUnwritable: the copy cannot be written.
    """
    with database_errors():
        if engine.dialect.name == "sqlite":
            connection = engine.raw_connection()
            try:
                connection.cursor().execute("VACUUM INTO ?", (os.fspath(target),))
            finally:
                connection.close()
        else:
            copy = open_database(f"sqlite:///{target}")
            try:
                upgrade(copy)
                with (
                    engine.connect().execution_options(isolation_level="REPEATABLE READ") as source,
                    writing(copy) as into,
                ):
                    _copy_rows(source, into)
            finally:
                copy.dispose()
            fold(target)
    with disk_errors("the copy of the database"), target.open("rb") as file:
        os.fsync(file.fileno())


def fill(engine: Engine, source: Path) -> None:
    """Put the rows of a copy into a database on a server, whose tables are up to date and empty.

    Args:
        engine: of that database.
        source: an SQLite file whose tables are up to date.

    Raises:
        PlaceOccupied: the database has jobs.
        DatabaseUnavailable: one of the two cannot be used.
    """
    copy = open_database(f"sqlite:///{source}", create=False)
    try:
        with copy.connect() as rows, writing(engine) as into:
            if not is_empty(into):
                raise PlaceOccupied("The database has jobs already.", "Restore into an empty one.")
            _copy_rows(rows, into)
    finally:
        copy.dispose()


def is_empty(connection: Connection) -> bool:
    """Whether a database whose tables are made has no job and no audit entry in it."""
    declare()
    tables = [metadata.tables[name] for name in ("jobs", "audit_log")]
    return not any(connection.scalar(select(func.count()).select_from(table)) for table in tables)


def jobs_in(path: Path) -> dict[str, str]:
    """Id -> status of every job in a copy."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        return dict(connection.execute("SELECT id, status FROM jobs"))


def fold(path: Path) -> None:
    """Make one file of an SQLite database and the log beside it."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode=DELETE")


def _copy_rows(source: Connection, into: Connection) -> None:
    declare()
    if cipher := cipher_of(source.dialect):
        encrypt_fields(into.engine, cipher)  # What was decrypted is not to stand in the copy in the clear.
    for table in metadata.sorted_tables:
        if table.name != "audit_log":  # It takes no deletion, and was looked at: it is empty.
            into.execute(table.delete())
        for page in source.execute(select(table)).partitions(_ROWS):
            into.execute(insert(table), [dict(row._mapping) for row in page])
        counter = table.autoincrement_column
        if into.dialect.name == "postgresql" and counter is not None:
            last = select(func.max(counter)).scalar_subquery()
            sequence = func.pg_get_serial_sequence(table.name, counter.name)
            if into.scalar(select(sequence)) is not None:
                into.execute(select(func.setval(sequence, func.coalesce(last, 1))))


def truncate_log(engine: Engine) -> None:
    """Play an SQLite database's log into it, and empty the log; later where somebody is reading.

    Raises:
        DatabaseUnavailable: it is out of reach or damaged.
    """
    if engine.dialect.name == "sqlite":
        with database_errors(), engine.connect() as connection:
            driver = connection.connection.driver_connection
            assert isinstance(driver, sqlite3.Connection)
            driver.execute("PRAGMA busy_timeout=2000")  # Who reads for longer is not waited for.
            driver.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            driver.execute("PRAGMA busy_timeout=30000")


def scrub_free_space(engine: Engine) -> None:
    """Rewrite the database so that nothing that was deleted can be read in its files any more.

    Raises:
        DatabaseUnavailable: it is busy, out of reach or damaged.
        DiskFull: no space for the copy that is made on the way.
    """
    with database_errors(), engine.connect() as connection:
        if connection.dialect.name == "sqlite":
            driver = connection.connection.driver_connection
            assert isinstance(driver, sqlite3.Connection)
            driver.execute("VACUUM")
            driver.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        else:
            connection.execution_options(isolation_level="AUTOCOMMIT").execute(text("VACUUM FULL"))
