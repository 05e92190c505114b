from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, select

from api.encryption.data_keys import FIELDS, DataKeys, counts, has_key, open_keys
from api.encryption.errors import MasterKeyMissing, MasterKeyWrong
from api.encryption.master_keys import LocalKey, MasterKeys
from api.encryption.tables import data_keys
from api.transactions import reading
from tests.databases import DATABASES, again
from tests.encryption_support import NEW, OLD


@pytest.fixture(params=sorted(DATABASES))
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    with DATABASES[request.param](tmp_path) as engine:
        yield engine


def keys_of(engine: Engine, *masters: LocalKey) -> DataKeys:
    return DataKeys(engine, MasterKeys(masters or (OLD,)))


def test_each_job_has_a_key_of_its_own_that_every_process_finds(engine: Engine) -> None:
    keys = keys_of(engine)
    one, two = keys.make("one"), keys.make("two")
    other = again(engine)
    assert len({one, two}) == 2 and keys_of(other).get("one") == one and keys.get("three") is None
    assert keys_of(other).make("one") == one, "a request that is repeated finds the key it has made"
    other.dispose()
    with reading(engine) as connection:
        wrapped = [bytes(row.wrapped) for row in connection.execute(select(data_keys))]
    assert all(key not in kept for key in (one, two) for kept in wrapped)


def test_a_key_that_was_destroyed_is_gone_at_once_for_who_knew_it(engine: Engine) -> None:
    keys, other = keys_of(engine), keys_of(engine)
    key = keys.make("one")
    assert other.get("one") == key and has_key(engine, "one")
    keys.destroy("one")
    assert other.get("one") is None and not has_key(engine, "one")


def test_keys_of_recordings_that_became_no_jobs_go_when_they_are_old(engine: Engine) -> None:
    keys = keys_of(engine)
    keys.make("never")
    assert keys.sweep(0.0) == 0 and keys.sweep(1e12) == 1 and counts(engine) == {}


def test_rotation_changes_what_wraps_and_no_key(engine: Engine) -> None:
    before = {name: keys_of(engine).make(name) for name in map(str, range(7))}
    both, said = keys_of(engine, NEW, OLD), list[int]()
    assert both.rotate(said.append) == 7 and said == [7]
    assert counts(engine) == {"new": 7} and both.rotate() == 0
    assert {name: keys_of(engine, NEW).get(name) for name in before} == before
    with pytest.raises(MasterKeyMissing):
        keys_of(engine, OLD).get("1")


def test_a_service_does_not_start_with_a_master_key_missing_or_wrong(engine: Engine) -> None:
    assert open_keys(engine, None) is None
    keys_of(engine).make("one")
    with pytest.raises(MasterKeyMissing, match="'old'"):
        open_keys(engine, None)
    with pytest.raises(MasterKeyMissing, match="'old'"):
        open_keys(engine, MasterKeys([NEW]))
    with pytest.raises(MasterKeyWrong, match="'old'"):
        open_keys(engine, MasterKeys([NEW, LocalKey("old", b"\3" * 32)]))
    assert open_keys(engine, MasterKeys([NEW, OLD])) is not None
    # Nothing is lost by that; what starts makes the key of the words in the database.
    assert counts(engine) == {"old": 1, "new": 1} and has_key(engine, FIELDS)


KILLED = """
import os, signal, sys
from api.encryption import data_keys
from api.encryption.master_keys import MasterKeys
from api.database import open_database
from tests.encryption_support import NEW, OLD
data_keys._BATCH = 5
keys = data_keys.DataKeys(open_database(sys.argv[1]), MasterKeys([NEW, OLD]))
left = [int(sys.argv[2])]
wrap = NEW.wrap
def counted(key):
    left[0] -= 1
    if left[0] < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return wrap(key)
NEW.wrap = counted
keys.rotate()
"""


def test_a_rotation_that_is_killed_anywhere_is_begun_again_and_loses_no_key(engine: Engine) -> None:
    before = {name: keys_of(engine).make(name) for name in map(str, range(12))}
    url = engine.url.render_as_string(hide_password=False)
    for after in (3, 4):
        done = subprocess.run([sys.executable, "-c", KILLED, url, str(after)], check=False)
        assert done.returncode == -signal.SIGKILL
        assert {name: keys_of(engine, NEW, OLD).get(name) for name in before} == before
    assert counts(engine) == {"new": 7, "old": 5}
    assert keys_of(engine, NEW, OLD).rotate() == 5
    assert {name: keys_of(engine, NEW).get(name) for name in before} == before
