from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, select, text
from sqlalchemy.dialects import postgresql
from sqlalchemy.exc import IntegrityError, OperationalError

import api.transactions
from api.database import open_database
from api.errors import DatabaseUnavailable
from api.migrate import upgrade
from api.transactions import DatabaseTime, database_errors, reading, writing
from pipeline.errors import DiskFull, OutputUnwritable, PipelineError


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = open_database(f"sqlite:///{tmp_path / 'jobs.db'}")
    upgrade(engine)
    yield engine
    engine.dispose()


def test_the_databases_clock_is_this_machines_on_sqlite(engine: Engine) -> None:
    before = time.time()
    with reading(engine) as connection:
        said = connection.scalars(select(DatabaseTime())).one()
    # SQLite's clock gives milliseconds.
    assert before - 0.002 <= said <= time.time() + 0.002


def test_the_databases_clock_goes_on_within_a_transaction_on_postgresql() -> None:
    sql = str(select(DatabaseTime()).compile(dialect=postgresql.dialect()))
    assert "clock_timestamp()" in sql


def test_a_transaction_that_raises_leaves_nothing(engine: Engine) -> None:
    with pytest.raises(ZeroDivisionError), writing(engine) as connection:
        connection.execute(text("INSERT INTO store_checks VALUES (1, 1.0)"))
        raise ZeroDivisionError
    with reading(engine) as connection:
        assert connection.execute(text("SELECT * FROM store_checks")).all() == []


def test_a_reader_sees_one_state_while_another_writes(engine: Engine) -> None:
    count = text("SELECT count(*) FROM store_checks")
    with reading(engine) as reader:
        assert reader.scalars(count).one() == 0
        with writing(engine) as writer:
            writer.execute(text("INSERT INTO store_checks VALUES (1, 1.0)"))
        assert reader.scalars(count).one() == 0
    with reading(engine) as reader:
        assert reader.scalars(count).one() == 1


def test_a_thread_that_gets_no_turn_to_write_says_busy(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api.transactions, "_TURN_S", 0.01)
    said: list[PipelineError] = []

    def write() -> None:
        try:
            with writing(engine):
                pass
        except PipelineError as exc:
            said.append(exc)

    with writing(engine):
        thread = threading.Thread(target=write)
        thread.start()
        thread.join()
    write()
    assert [type(error) for error in said] == [DatabaseUnavailable]


class PostgresqlError(Exception):
    """What a driver raises: the code stands in `sqlstate`."""

    def __init__(self, sqlstate: str | None) -> None:
        super().__init__("server says no")
        self.sqlstate = sqlstate


@pytest.mark.parametrize(
    ("sqlstate", "expected", "words"),
    [
        ("53100", DiskFull, "full"),
        ("53300", DatabaseUnavailable, "busy"),
        ("40001", DatabaseUnavailable, "busy"),
        ("40P01", DatabaseUnavailable, "busy"),
        ("55P03", DatabaseUnavailable, "busy"),
        ("25006", OutputUnwritable, "written"),
        ("42501", OutputUnwritable, "written"),
        ("XX001", DatabaseUnavailable, "damaged"),
        ("57P01", DatabaseUnavailable, "does not answer"),
        (None, DatabaseUnavailable, "does not answer"),
    ],
)
def test_what_postgresql_reports_is_said_in_our_words(
    sqlstate: str | None, expected: type[PipelineError], words: str
) -> None:
    with pytest.raises(expected, match=words), database_errors():
        raise OperationalError("SELECT 1", {}, PostgresqlError(sqlstate))


def test_mistakes_in_our_own_sql_are_not_blamed_on_the_database(engine: Engine) -> None:
    with pytest.raises(OperationalError, match="no such table"), reading(engine) as connection:
        connection.execute(text("SELECT * FROM surprise"))
    with pytest.raises(IntegrityError), writing(engine) as connection:
        connection.execute(text("INSERT INTO store_checks VALUES (1, NULL)"))
