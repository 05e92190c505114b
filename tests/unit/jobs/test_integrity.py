"""Damage to the database file is noticed, and nobody waits for the whole file to be read again and again."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, event

from api.database import open_database
from api.errors import DatabaseUnavailable
from api.jobs.integrity import EVERY_S, Integrity
from api.migrate import upgrade


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = open_database(f"sqlite:///{tmp_path / 'jobs.db'}")
    upgrade(engine)
    yield engine
    engine.dispose()


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def damage(folder: Path, engine: Engine) -> None:
    engine.dispose()
    with (folder / "jobs.db").open("r+b") as file:
        file.seek(file.seek(0, 2) // 2 // 4096 * 4096)
        file.write(random.Random(1).randbytes(4096))


def test_a_damaged_file_is_noticed_at_the_first_look(engine: Engine, tmp_path: Path) -> None:
    damage(tmp_path, engine)
    with pytest.raises(DatabaseUnavailable, match="damaged"):
        Integrity(engine).check()


def test_damage_that_comes_later_is_noticed_at_a_later_look(engine: Engine, tmp_path: Path) -> None:
    clock = Clock()
    integrity = Integrity(engine, clock)
    integrity.check()
    damage(tmp_path, engine)
    integrity.check()
    clock.now += EVERY_S
    deadline = time.monotonic() + 60
    with pytest.raises(DatabaseUnavailable, match="damaged"):
        while time.monotonic() < deadline:
            integrity.check()


def test_nobody_waits_for_a_later_look(engine: Engine) -> None:
    clock, reads, go = Clock(), [], threading.Event()
    integrity = Integrity(engine, clock)
    integrity.check()

    def slow(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if "quick_check" in statement:
            reads.append(threading.current_thread().name)
            assert go.wait(60)

    event.listen(engine, "before_cursor_execute", slow)
    clock.now += EVERY_S
    for _ in range(3):
        integrity.check()
    go.set()
    deadline = time.monotonic() + 60
    while not reads:
        assert time.monotonic() < deadline
    assert reads == ["integrity"]
