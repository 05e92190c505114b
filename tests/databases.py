"""The databases that every suite of a store runs against: SQLite and a real PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from sqlalchemy import Engine

from api.database import open_database
from api.migrate import upgrade
from tests import postgres


@contextmanager
def sqlite(folder: Path) -> Iterator[Engine]:
    engine = open_database(f"sqlite:///{folder / 'pipeline.db'}")
    upgrade(engine)
    yield engine
    engine.dispose()


@contextmanager
def postgresql(_folder: Path) -> Iterator[Engine]:
    with postgres.database() as url:
        engine = open_database(url)
        yield engine
        engine.dispose()


DATABASES: dict[str, Callable[[Path], AbstractContextManager[Engine]]] = {
    "sqlite": sqlite,
    "postgresql": postgresql,
}
"""By name: gives an engine of a database with its tables and nothing in them, for a folder of the test's."""


def again(engine: Engine) -> Engine:
    """One more engine of the same database, as another process has it."""
    return open_database(engine.url.render_as_string(hide_password=False))
