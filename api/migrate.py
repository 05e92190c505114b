"""Brings a database to the tables that this version of the service works with."""

from __future__ import annotations

import importlib
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, create_engine

from api.errors import DatabaseUnavailable, SettingsInvalid
from api.transactions import reading, writing

log = logging.getLogger(__name__)

_PATIENCE_S: Final = 60.0
_PAUSE_S: Final = 2.0


def upgrade(engine: Engine) -> None:
    """Make the tables or bring them up to date: all in one transaction, or nothing.

    Any number of processes may do it at once: one does the work, the others wait and find it done.

    Args:
        engine: from `api.database.open_database`.

    Raises:
        SettingsInvalid: the database was written by a newer version of the service.
        DatabaseUnavailable: it is busy, out of reach or damaged.
        DiskFull: no space left.
        OutputUnwritable: it may not be written.
    """
    if is_current(engine):
        return
    with writing(engine) as connection:
        known = {script.revision for script in _scripts().walk_revisions()}
        unknown = set(_versions(connection)) - known
        if unknown:
            raise SettingsInvalid(
                "The database was written by a newer version of the service.",
                "Run that version, or restore the backup from before the update.",
            )
        command.upgrade(_config(connection), "head")


def upgrade_when_there(engine: Engine, pause: Callable[[float], object] = time.sleep) -> None:
    """`upgrade` at the start of a process: a server of databases that starts too, or again, is waited for.

    Args:
        engine: from `api.database.open_database`.
        pause: waits for so many seconds.

    Raises:
        PipelineError: as `upgrade` does; for a server that does not answer, after a minute.
    """
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        try:
            upgrade(engine)
        except DatabaseUnavailable as exc:
            if engine.dialect.name == "sqlite" or time.monotonic() >= deadline:
                raise
            log.warning("waiting for the database: %s", exc.message, extra={"action": "database_awaited"})
            pause(_PAUSE_S)
        else:
            return


def is_current(engine: Engine) -> bool:
    """Whether nothing is left to migrate.

    Args:
        engine: from `api.database.open_database`.
    """
    with reading(engine) as connection:
        return set(_versions(connection)) == set(_scripts().get_heads())


def declare() -> None:
    """Import every module that declares tables: those named ``tables``."""
    here = Path(__file__).parent
    for path in sorted(here.rglob("tables.py")):
        importlib.import_module(".".join(path.relative_to(here.parent).with_suffix("").parts))


def draft(message: str) -> None:
    """Write the migration that the tables as declared need, for a person to read and correct.

    Args:
        message: what changes, in a few words.
    """
    declare()
    engine = create_engine("sqlite://")
    with engine.begin() as connection:
        command.upgrade(_config(connection), "head")
        following = f"{len(list(_scripts().walk_revisions())) + 1:04d}"
        command.revision(_config(connection), message, autogenerate=True, rev_id=following)


def _versions(connection: Connection) -> tuple[str, ...]:
    return MigrationContext.configure(connection).get_current_heads()


def _config(connection: Connection | None = None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config


def _scripts() -> ScriptDirectory:
    return ScriptDirectory.from_config(_config())
