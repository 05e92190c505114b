from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Engine, inspect, text

from api.database import metadata, open_database
from api.errors import SettingsInvalid
from api.migrate import declare, is_current, upgrade, upgrade_when_there
from api.transactions import reading, writing
from tests import postgres
from tests.tcp_proxy import TcpProxy

ROOT = Path(__file__).resolve().parents[3]
UPGRADE = """
import sys
from api.database import open_database
from api.migrate import upgrade
sys.stdin.readline()
upgrade(open_database(sys.argv[1]))
"""


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Of a database without any table."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'new folder' / '100% jobs.db'}"
    else:
        with postgres.database(migrated=False) as made:
            yield made


def tables(engine: Engine) -> set[str]:
    with reading(engine) as connection:
        return set(inspect(connection).get_table_names())


def test_the_migrations_make_the_tables_that_the_code_declares(url: str) -> None:
    engine = open_database(url)
    upgrade(engine)
    declare()
    with reading(engine) as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    assert tables(engine) == {*metadata.tables, "alembic_version"}
    engine.dispose()


def test_a_database_that_is_up_to_date_is_left_alone(url: str) -> None:
    engine = open_database(url)
    assert not is_current(engine)
    upgrade(engine)
    assert is_current(engine)
    with writing(engine) as connection:
        connection.execute(text("INSERT INTO store_checks VALUES (1, 2.0)"))
    upgrade(engine)
    with reading(engine) as connection:
        assert connection.execute(text("SELECT id, at FROM store_checks")).all() == [(1, 2.0)]
    engine.dispose()


def test_a_database_of_a_newer_version_is_refused(url: str) -> None:
    engine = open_database(url)
    upgrade(engine)
    with writing(engine) as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(SettingsInvalid, match="newer version"):
        upgrade(engine)
    engine.dispose()


def test_a_migration_that_fails_leaves_the_database_as_it_was(url: str) -> None:
    engine = open_database(url)
    with writing(engine) as connection:
        connection.execute(text("CREATE TABLE job_events (surprise INTEGER)"))
    with pytest.raises(Exception, match="already exists"):
        upgrade(engine)
    assert tables(engine) == {"job_events"}
    engine.dispose()


@pytest.mark.slow_on_postgresql
def test_processes_that_start_at_once_on_a_new_database_all_find_it_made(url: str) -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", UPGRADE, url],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for _ in range(6)
    ]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    said = [process.communicate()[0] for process in processes]
    assert said == [""] * 6
    engine = open_database(url)
    assert is_current(engine)
    engine.dispose()


def test_a_server_that_starts_at_the_same_time_is_waited_for() -> None:
    port = postgres.shared().port
    with postgres.database(migrated=False) as url, TcpProxy(port) as line:
        line.down()
        engine = open_database(url.replace(str(port), str(line.port)))
        waited = []

        def pause(seconds: float) -> None:
            waited.append(seconds)
            line.up()

        upgrade_when_there(engine, pause)
        assert len(waited) == 1
        assert is_current(engine)
        engine.dispose()
