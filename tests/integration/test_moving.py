"""A service moves from SQLite to PostgreSQL, and its files to a storage, while people read."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import Engine, select
from typer.testing import CliRunner

from api.audit import Audit
from api.cli import app
from api.database import open_database
from api.errors import Conflict, DatabaseUnavailable
from api.jobs.folders import Folders
from api.jobs.shared import Shared
from api.jobs.sql_store import SqlJobStore
from api.jobs.store import JobFilter
from api.jobs.tables import jobs
from api.moving import copy_files, move_database, unseal
from api.security.keys import KeyStore
from api.security.principal import ALL_SCOPES
from api.security.secret import ServerSecret
from api.storage.disk import DiskStorage
from api.transactions import reading
from tests import postgres
from tests.audio_files import music, write_wav
from tests.databases import sqlite
from tests.job_stores import ERROR, new, taken
from tests.worker_support import made, submit

SECRET = ServerSecret(b"s" * 32)


@pytest.fixture
def old(tmp_path: Path) -> Iterator[Engine]:
    with sqlite(tmp_path) as engine:
        yield engine


@pytest.fixture
def target() -> Iterator[Engine]:
    with postgres.database(migrated=False) as url:
        engine = open_database(url)
        yield engine
        engine.dispose()


def filled(engine: Engine) -> str:
    """A database of a service that has been in use. The key that opens it."""
    store, audit = SqlJobStore(engine), Audit(engine, SECRET)
    for n in range(5):
        store.add(new(owner=f"o{n % 2}", filename=f"Lied {n} ♫.mp3", metadata={"n": n}))
    store.succeed(taken(store))
    store.fail(taken(store), ERROR, again=True)
    taken(store)  # Runs while the service moves.
    for n in range(4):
        audit.record("process", user="anna", status="accepted", input=f"{n}.wav")
    return KeyStore(engine, SECRET).create("ci", scopes=ALL_SCOPES)[1]


def test_all_is_there_afterwards_and_counting_goes_on(old: Engine, target: Engine) -> None:
    key = filled(old)
    before = SqlJobStore(old)
    said: list[str] = []
    moved = move_database(old, target, said.append)
    after = SqlJobStore(target)
    assert list(after.find(JobFilter())) == list(before.find(JobFilter()))
    assert after.events(None, 0) == before.events(None, 0)
    assert moved.rows["jobs"] == 5 and len(said) == len(moved.rows)
    assert KeyStore(target, SECRET).authenticate(key).scopes == ALL_SCOPES
    assert Audit(target, SECRET).verify() == Audit(old, SECRET).verify()
    last = after.last_event()
    after.add(new())
    assert after.last_event() > last
    Audit(target, SECRET).record("x", user="u", status="s")
    assert Audit(target, SECRET).verify().broken_at is None


def test_the_old_database_answers_readers_and_takes_nothing_any_more(old: Engine, target: Engine) -> None:
    filled(old)
    store = SqlJobStore(old)
    claim = store.claim("late", 30.0)
    assert claim is not None

    def look(_: str) -> None:
        assert store.get(claim.job.id) is not None, "while it is copied"

    move_database(old, target, look)
    assert store.get(claim.job.id) is not None
    for change in (lambda: store.add(new()), lambda: store.succeed(claim)):
        with pytest.raises(DatabaseUnavailable, match="moved"):
            change()
    unseal(old)
    assert store.succeed(claim)


def test_a_database_that_is_in_use_is_not_moved_into(old: Engine, target: Engine) -> None:
    filled(old)
    move_database(old, target, lambda _: None)
    unseal(old)
    with pytest.raises(Conflict, match="not empty"):
        move_database(old, target, lambda _: None)
    SqlJobStore(old).add(new())  # It is as it was.


def test_what_does_not_arrive_whole_moves_nothing(
    old: Engine, target: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(old)
    monkeypatch.setattr("api.moving._copy", lambda *_: 0)
    with pytest.raises(Conflict, match="differs"):
        move_database(old, target, lambda _: None)
    with reading(target) as connection:
        assert connection.execute(select(jobs)).all() == []
    SqlJobStore(old).add(new())


def test_files_are_copied_once_and_damaged_ones_stay(tmp_path: Path, old: Engine) -> None:
    folders = made(tmp_path / "data")
    song = write_wav(tmp_path / "song.wav", music(0.2))
    job = submit(SqlJobStore(old), folders, song)
    storage = DiskStorage(tmp_path / "volume")
    storage.create()
    shared, said = Shared(storage), list[str]()
    first = copy_files(folders, shared, said.append)
    assert (first.recordings, first.known) == (1, 0)
    assert copy_files(folders, shared, said.append).known == 1
    damaged = folders.outputs / "0000"
    damaged.mkdir()
    (damaged / "manifest.json").write_text("{}")
    assert copy_files(folders, shared, said.append).damaged == ("0000",)
    shutil.rmtree(folders.uploads)
    elsewhere = replace(Folders.below(tmp_path / "other"), shared=shared)
    assert elsewhere.fetched_input(job).read() == song.read_bytes()


def test_the_command_moves(old: Engine, target: Engine) -> None:
    filled(old)
    urls = [engine.url.render_as_string(hide_password=False) for engine in (old, target)]
    done = CliRunner().invoke(app, ["migrate-store", "--from", urls[0], "--to", urls[1]])
    assert done.exit_code == 0, done.output
    assert "rows moved" in done.output
    wrong = CliRunner().invoke(app, ["migrate-store", "--from", urls[1], "--to", urls[0]])
    assert wrong.exit_code == 2
