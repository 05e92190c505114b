"""Of several replicas one leads, by a real lock of PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from api.leadership import Leadership
from tests.databases import again, postgresql, sqlite


@pytest.fixture
def engines(tmp_path: Path) -> Iterator[tuple[Engine, Engine]]:
    with postgresql(tmp_path) as first:
        second = again(first)
        yield first, second
        second.dispose()


def test_one_leads_until_it_leaves(engines: tuple[Engine, Engine]) -> None:
    with Leadership(engines[0], "chores") as first, Leadership(engines[1], "chores") as second:
        assert first.leads() and first.leads()
        assert not second.leads()
        first.__exit__(None, None, None)
        assert second.leads()
        assert not first.leads()


def test_matters_are_led_apart(engines: tuple[Engine, Engine]) -> None:
    with Leadership(engines[0], "chores") as chores, Leadership(engines[1], "messages") as messages:
        assert chores.leads() and messages.leads()


def test_who_loses_the_database_leads_no_more(engines: tuple[Engine, Engine]) -> None:
    with Leadership(engines[0], "chores") as first, Leadership(engines[1], "chores") as second:
        assert first.leads()
        with engines[1].connect() as connection:
            connection.execute(
                text(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )
            )
        assert second.leads()
        assert not first.leads()


def test_with_sqlite_every_process_leads(tmp_path: Path) -> None:
    with sqlite(tmp_path) as engine, Leadership(engine, "a") as one, Leadership(engine, "a") as other:
        assert one.leads() and other.leads()
