"""The database: one set of tables, SQLite beside the process or PostgreSQL past one machine."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import Engine, ExceptionContext, MetaData, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DisconnectionError

from api.errors import SettingsInvalid

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    }
)
"""Every table of the service registers here; migrations follow it (``make migration``)."""


ONLY_READS = "only_reads"
"""Execution option of a connection whose transactions write nothing."""

STATEMENT_S = 60.0
"""Seconds after which PostgreSQL gives up a statement, or a transaction that does nothing."""
LOCK_S = 30.0
"""Seconds for which a statement waits for another transaction's lock: as long as on SQLite."""

_FILE = "file"
"""Where a connection notes which file it has open."""


def open_database(url: str, *, create: bool = True) -> Engine:
    """Open a database.

    A file that is removed while it is in use is not written to any more: what is accepted would be lost with
    the last process that has it open. The next transaction opens what lies in its place, such as a backup
    that was restored; where there is nothing, it fails.

    Args:
        url: SQLAlchemy's; ``sqlite:///path`` by default. ``postgresql://`` and ``postgres://``, as hosts of
            databases give them, are taken for psycopg's. What stands behind ``?`` goes to the driver, such
            as ``sslmode=verify-full&sslrootcert=/path``.
        create: whether to make an SQLite file that is missing. It is never made later.

    Returns:
        An engine whose transactions begin as writers on SQLite, so that two of them wait for one another
        instead of failing half-way. With the execution option `ONLY_READS` they wait for nobody.

    Raises:
        SettingsInvalid: the URL is none, or of a database that nothing here can speak to.
    """
    parsed = _parsed(url)
    # hide_parameters: errors of the database end up in logs, and what is written may be secret.
    if parsed.get_backend_name() != "sqlite":
        return _open_server(parsed)
    engine = create_engine(
        parsed, connect_args={"timeout": 30, "check_same_thread": False}, hide_parameters=True
    )
    if parsed.database and parsed.database != ":memory:":
        _keep_to_file(engine, Path(parsed.database), create=create)
    event.listen(engine, "connect", _configure_sqlite)
    event.listen(engine, "begin", _begin)
    return engine


def _open_server(parsed: URL) -> Engine:
    """An engine for PostgreSQL: no statement, lock or dead network keeps a caller for ever."""
    given: dict[str, Any] = {}
    if parsed.get_backend_name() == "postgresql":
        limits = {
            "statement_timeout": STATEMENT_S,
            "lock_timeout": LOCK_S,
            "idle_in_transaction_session_timeout": STATEMENT_S,
        }
        options = " ".join(f"-c {name}={int(seconds * 1000)}" for name, seconds in limits.items())
        given = {
            "application_name": "audio-pipeline",
            "connect_timeout": 5,
            # A server whose machine is gone sends nothing. The kernel notices after half a minute so.
            "keepalives_idle": 10,
            "keepalives_interval": 5,
            "keepalives_count": 3,
            "tcp_user_timeout": 20_000,
        }
        # What the operator says wins; his options come last and count.
        given = {name: value for name, value in given.items() if name not in parsed.query}
        said = parsed.query.get("options", "")
        given["options"] = f"{options} {said if isinstance(said, str) else ' '.join(said)}".strip()
        parsed = parsed.difference_update_query(["options"])
    engine = create_engine(
        parsed,
        pool_size=5,
        max_overflow=10,
        pool_pre_ping=True,
        pool_timeout=30,
        connect_args=given,
        hide_parameters=True,
    )
    event.listen(engine, "handle_error", _notice_shutdown)
    return engine


def _notice_shutdown(context: ExceptionContext) -> None:
    """Take a server that has shut down for a broken connection, before the driver notices that it is one.

    Without this, after a restart of the server every connection of the pool failed one transaction more.
    """
    state = getattr(context.original_exception, "sqlstate", None) or ""
    # Class 57P and 08 of PostgreSQL's manual, appendix A: shutdown, crash, not yet ready; connection lost.
    if state.startswith(("57P", "08")):
        context.is_disconnect = True


def _parsed(url: str) -> URL:
    hint = "Leave it out for SQLite in DATA_DIR; docs/settings.md explains every setting."
    try:
        parsed = make_url(url)
        if parsed.drivername in {"postgres", "postgresql"}:
            parsed = parsed.set(drivername="postgresql+psycopg")
        parsed.get_dialect().import_dbapi()
    except ArgumentError as exc:  # Also of a name that no dialect has.
        said = "DATABASE_URL: should be one of SQLAlchemy's, sqlite:///… or postgresql://…"
        raise SettingsInvalid(said, hint) from exc
    except ImportError as exc:
        raise SettingsInvalid(f"DATABASE_URL: its driver is not installed: {exc.name}.", hint) from exc
    return parsed


def _keep_to_file(engine: Engine, path: Path, *, create: bool) -> None:
    if create:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with suppress(OSError):  # Whoever uses it is told in our words.
            path.touch()

    def connect_to_existing(_dialect: Any, _record: Any, args: list[Any], named: dict[str, Any]) -> None:
        args[0] = f"file:{quote(str(path.absolute()))}?mode=rw"
        named["uri"] = True

    def remember(_connection: Any, record: Any) -> None:
        record.info[_FILE] = _identity(path)

    def compare(_connection: Any, record: Any, _proxy: Any) -> None:
        if record.info.get(_FILE) != _identity(path):
            raise DisconnectionError("the database file was removed or replaced")

    event.listen(engine, "do_connect", connect_to_existing)
    event.listen(engine, "connect", remember)
    event.listen(engine, "checkout", compare)


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        info = os.stat(path)
    except OSError:
        return None
    return info.st_dev, info.st_ino


def _configure_sqlite(connection: Any, _record: object) -> None:
    # The driver must not open transactions by itself: `_begin` does.
    connection.isolation_level = None
    cursor = connection.cursor()
    # FULL: an accepted job survives a power cut, which NORMAL in WAL mode does not promise.
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "busy_timeout=30000"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.execute("PRAGMA secure_delete=ON")  # What is deleted is overwritten: it was somebody's.
    cursor.close()


def _begin(connection: Any) -> None:
    reads = connection.get_execution_options().get(ONLY_READS, False)
    connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")
