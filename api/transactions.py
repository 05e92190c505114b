"""How the service's stores talk to the database: transactions, its clock, and its failures in our words.

Everything in which SQLite and PostgreSQL differ stands here and in `api.database`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any
from weakref import WeakKeyDictionary

from sqlalchemy import Connection, Double, Engine, text
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, NotSupportedError, ProgrammingError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.expression import ColumnElement

from api.database import ONLY_READS
from api.errors import DatabaseUnavailable
from pipeline.errors import DiskFull, OutputUnwritable, PipelineError

_TURN_S = 30.0
_ONE_WRITER = 0x617564696F  # Any number that all processes share.


SEALED = "this database has moved"
"""What the triggers of a database say that `api.moving` has moved elsewhere."""


class DatabaseTime(ColumnElement[float]):
    """The database's clock as an expression: float, seconds since 1970 (UTC), to a millisecond or better."""

    inherit_cache = True
    type = Double()


@compiles(DatabaseTime, "sqlite")
def _sqlite_time(_element: DatabaseTime, _compiler: Any, **_: Any) -> str:
    # 2440587.5: the Julian day of 1970-01-01. unixepoch('subsec') needs SQLite 3.42.
    return "((julianday('now') - 2440587.5) * 86400.0)"


@compiles(DatabaseTime, "postgresql")
def _postgresql_time(_element: DatabaseTime, _compiler: Any, **_: Any) -> str:
    # Not now(): that is when the transaction began, and it may have waited for another since.
    return "CAST(extract(epoch FROM clock_timestamp()) AS double precision)"


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """A transaction that sees one state of the database and waits for no writer.

    Yields:
        The connection to read with.

    Raises:
        DatabaseUnavailable: the database is busy, out of reach or damaged.
        DiskFull: no space left beside it.
        OutputUnwritable: its folder cannot be used.
    """
    with database_errors(), engine.connect() as connection:
        connection.execution_options(**{ONLY_READS: True})
        with connection.begin():
            yield connection


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """A transaction that changes something, one after another over all processes.

    SQLite has one writer by nature; on PostgreSQL a lock makes it so. Then numbers that are handed out
    rise in the order in which they become visible, and what was counted stays true to the end.

    Yields:
        The connection to read and write with; committed, durably, when the block ends well.

    Raises:
        DatabaseUnavailable: the database is busy, out of reach or damaged.
        DiskFull: no space left.
        OutputUnwritable: it may not be written.
    """
    with database_errors(), _turn(engine), engine.begin() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ONE_WRITER})
        yield connection


def check_pages(engine: Engine) -> None:
    """Read every page of an SQLite file; PostgreSQL looks after its own.

    Raises:
        DatabaseUnavailable: a page is damaged, or the database is busy or out of reach.
        DiskFull: no space left beside it.
        OutputUnwritable: its folder cannot be used.
    """
    if engine.dialect.name == "sqlite":
        with reading(engine) as connection:
            said = connection.exec_driver_sql("PRAGMA quick_check(1)").scalars().one()
        if said != "ok":
            raise _damaged(f": {said.splitlines()[0]}")


_turns: WeakKeyDictionary[Engine, Lock] = WeakKeyDictionary()


@contextmanager
def _turn(engine: Engine) -> Iterator[None]:
    """Let the threads of this process write one after another.

    SQLite's writers look again and again whether the other has finished, at growing intervals: of 16 threads
    that accept jobs the unluckiest 1 % waited for 630 ms. Where they wait for one another it is 85 ms.
    """
    lock = _turns.setdefault(engine, Lock())
    if engine.dialect.name != "sqlite":
        yield
    elif not lock.acquire(timeout=_TURN_S):
        raise _busy()
    else:
        try:
            yield
        finally:
            lock.release()


@contextmanager
def database_errors() -> Iterator[None]:
    """Say what is wrong with the database in our words. Mistakes in our own SQL are passed through.

    Raises:
        DatabaseUnavailable: the database is busy, out of reach or damaged.
        DiskFull: no space left.
        OutputUnwritable: it may not be written.
    """
    try:
        yield
    except IntegrityError as exc:
        if SEALED in str(exc.orig):
            raise _moved() from exc
        raise
    except (ProgrammingError, DataError, NotSupportedError):
        raise
    except PoolTimeout as exc:
        raise _busy() from exc
    except DBAPIError as exc:
        if getattr(exc.orig, "sqlite_errorname", None) == "SQLITE_ERROR":
            raise  # "SQL error or missing table": a mistake of ours
        raise _in_our_words(exc.orig) from exc


def _full() -> PipelineError:
    return DiskFull(
        "The disk that holds the database is full.", "Free some space; what was accepted is safe."
    )


def _read_only() -> PipelineError:
    hint = "Check the owner and the rights of its folder and its files."
    return OutputUnwritable("The database cannot be opened or written.", hint)


def _busy() -> PipelineError:
    return DatabaseUnavailable("The database is busy.", "Try again in a few seconds.", retry_after_s=5)


def _damaged(how: str = "") -> PipelineError:
    # A log beside it that belongs to the damaged file would be played into the restored one.
    hint = "Stop the service, remove the files beside it that end in -wal and -shm, and restore a backup."
    return DatabaseUnavailable(f"The database file is damaged{how}.", hint)


def _moved() -> PipelineError:
    hint = "Set DATABASE_URL to where it is now: docs/SCALING.md tells of moving."
    return DatabaseUnavailable("The database has moved and takes no changes here.", hint, retry_after_s=30)


def _away() -> PipelineError:
    hint = "Check that its disk or its server works."
    return DatabaseUnavailable("The database does not answer.", hint, retry_after_s=10)


# By SQLite's result codes (sqlite.org/rescode.html) and PostgreSQL's (its manual, appendix A); longer first.
_SQLITE: dict[str, Callable[[], PipelineError]] = {
    "SQLITE_IOERR_SHMSIZE": _full,  # no room for the index of the write-ahead log
    "SQLITE_FULL": _full,
    "SQLITE_READONLY": _read_only,
    "SQLITE_CANTOPEN": _read_only,
    "SQLITE_PERM": _read_only,
    "SQLITE_BUSY": _busy,
    "SQLITE_LOCKED": _busy,
    "SQLITE_CORRUPT": _damaged,
    "SQLITE_NOTADB": _damaged,
}
_POSTGRESQL: dict[str, Callable[[], PipelineError]] = {
    "53100": _full,
    "25006": _read_only,
    "42501": _read_only,
    "40": _busy,
    "53": _busy,
    "55P03": _busy,
    "XX001": _damaged,
    "XX002": _damaged,
}


def _in_our_words(cause: BaseException | None) -> PipelineError:
    known, code = _SQLITE, getattr(cause, "sqlite_errorname", None)
    if code is None:
        known, code = _POSTGRESQL, getattr(cause, "sqlstate", None)
    for prefix, error in known.items():
        if code is not None and code.startswith(prefix):
            return error()
    return _away()
