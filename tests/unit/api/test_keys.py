from __future__ import annotations

import hmac
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, select

from api.errors import Forbidden, InvalidRequest, NotFound, SettingsInvalid
from api.security.keys import KeyStore
from api.security.principal import ALL_SCOPES, Quota, Scope
from api.security.secret import ServerSecret, load_secret
from api.security.tables import api_keys
from api.settings import Settings
from tests.databases import DATABASES
from tests.guarded_app import run_together

SECRET = ServerSecret(b"s" * 32)
CHOSEN = "a-key-that-a-person-chose"


class Clock:
    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(params=DATABASES)
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    with DATABASES[request.param](tmp_path) as opened:
        yield opened


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(engine: Engine, clock: Clock) -> KeyStore:
    return KeyStore(engine, SECRET, clock)


def stored(engine: Engine) -> str:
    with engine.connect() as connection:
        return repr(connection.execute(select(api_keys)).all())


def test_a_key_opens_what_it_was_made_for(store: KeyStore) -> None:
    made, key = store.create("ci", owner="alice", scopes=[Scope.READ], quota=Quota(5, 60.0))
    principal = store.authenticate(key)
    assert (principal.key_id, principal.owner) == (made.id, "alice")
    assert (principal.scopes, principal.quota) == (frozenset([Scope.READ]), Quota(5, 60.0))


def test_a_key_holds_256_random_bits_and_no_two_are_alike(store: KeyStore) -> None:
    made = [store.create("ci")[1] for _ in range(20)]
    assert len(set(made)) == 20
    assert all(key.startswith("ap_") and len(key) == 3 + 43 for key in made)


def test_nothing_that_is_stored_opens_anything(store: KeyStore, engine: Engine, tmp_path: Path) -> None:
    _, key = store.create("ci")
    store.bootstrap(CHOSEN)
    assert store.authenticate(CHOSEN).scopes == ALL_SCOPES
    assert key not in stored(engine) and CHOSEN not in stored(engine)
    on_disk = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert key.encode() not in on_disk and CHOSEN.encode() not in on_disk


def test_the_hash_is_keyed_with_the_secret(engine: Engine, store: KeyStore) -> None:
    _, key = store.create("ci")
    with pytest.raises(Forbidden):
        KeyStore(engine, ServerSecret(b"t" * 32)).authenticate(key)


@pytest.mark.parametrize("key", ["", "ap_", "ap_" + "A" * 43, "\ud800", "x" * 100_000, "' OR 1=1 --", "\x00"])
def test_a_key_that_nobody_made_is_refused(store: KeyStore, key: str) -> None:
    store.create("ci")
    with pytest.raises(Forbidden):
        store.authenticate(key)


def test_digests_are_compared_in_constant_time(store: KeyStore, monkeypatch: pytest.MonkeyPatch) -> None:
    _, key = store.create("ci")
    compared = []

    def compare(left: str, right: str) -> bool:
        compared.append((left, right))
        return False

    monkeypatch.setattr(hmac, "compare_digest", compare)
    with pytest.raises(Forbidden):
        store.authenticate(key)
    assert len(compared) == 1


def test_a_revoked_key_is_refused_at_once_and_everywhere(store: KeyStore, engine: Engine) -> None:
    made, key = store.create("ci")
    elsewhere = KeyStore(engine, SECRET)
    elsewhere.authenticate(key)
    store.revoke(made.id)
    for one in (store, elsewhere):
        with pytest.raises(Forbidden):
            one.authenticate(key)
        with pytest.raises(Forbidden):
            one.principal(made.id)


def test_a_key_is_revoked_once(store: KeyStore, clock: Clock) -> None:
    made, _ = store.create("ci")
    first = store.revoke(made.id)
    clock.now += 60
    assert store.revoke(made.id) == first


def test_an_unknown_key_cannot_be_revoked(store: KeyStore) -> None:
    with pytest.raises(NotFound):
        store.revoke("0123")


def test_an_expired_key_is_refused(store: KeyStore, clock: Clock) -> None:
    _, key = store.create("ci", expires_days=1)
    clock.now += 86_399
    store.authenticate(key)
    clock.now += 1
    with pytest.raises(Forbidden):
        store.authenticate(key)


@pytest.mark.parametrize(
    "wrong",
    [{"name": ""}, {"name": "a\nb"}, {"name": "x" * 65}, {"owner": "<b>"}, {"scopes": []}]
    + [{"expires_days": days} for days in (0, -1, float("nan"), float("inf"))],
)
def test_a_key_that_makes_no_sense_is_not_made(store: KeyStore, wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest):
        store.create(**{"name": "ci", **wrong})
    assert not store.find()


def test_the_first_start_makes_one_key_and_shows_it_once(store: KeyStore) -> None:
    key = store.bootstrap(None)
    assert key is not None
    assert store.authenticate(key).scopes == ALL_SCOPES
    assert store.bootstrap(None) is None


def test_processes_that_start_at_once_make_one_key(engine: Engine) -> None:
    shown: list[str | None] = []
    together = threading.Barrier(6)

    def start() -> None:
        together.wait()
        shown.append(KeyStore(engine, SECRET).bootstrap(None))

    threads = [threading.Thread(target=start) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(shown) == 6 and len([key for key in shown if key]) == 1


def test_another_api_key_replaces_the_one_before_and_sees_its_jobs(store: KeyStore) -> None:
    assert store.bootstrap(CHOSEN) is None
    before = store.authenticate(CHOSEN)
    store.bootstrap("another-key-altogether")
    assert store.authenticate("another-key-altogether").owner == before.owner
    with pytest.raises(Forbidden):
        store.authenticate(CHOSEN)


def test_an_api_key_that_is_no_longer_set_is_refused(store: KeyStore) -> None:
    store.bootstrap(CHOSEN)
    assert store.bootstrap(None) is not None  # or nobody could come in
    with pytest.raises(Forbidden):
        store.authenticate(CHOSEN)
    store.bootstrap(CHOSEN)
    store.authenticate(CHOSEN)


def test_the_first_key_and_api_key_see_the_same_jobs(store: KeyStore) -> None:
    first = store.bootstrap(None)
    assert first is not None
    store.bootstrap(CHOSEN)
    assert store.authenticate(first).owner == store.authenticate(CHOSEN).owner


def test_the_key_of_the_setting_is_not_revoked_at_the_command_line(store: KeyStore) -> None:
    store.bootstrap(CHOSEN)
    with pytest.raises(InvalidRequest):
        store.revoke(store.find()[0].id)


def test_a_key_of_ours_cannot_be_the_setting_too(store: KeyStore) -> None:
    _, key = store.create("ci")
    with pytest.raises(SettingsInvalid):
        store.bootstrap(key)


def test_keys_of_a_lost_secret_are_told_instead_of_refused_one_by_one(
    engine: Engine, store: KeyStore
) -> None:
    store.create("ci")
    other = KeyStore(engine, ServerSecret(b"t" * 32))
    with pytest.raises(SettingsInvalid, match="another secret"):
        other.bootstrap(None)
    assert other.forget() == 1
    assert other.bootstrap(None) is not None


def test_the_use_of_a_key_is_noted_once_a_minute(store: KeyStore, clock: Clock) -> None:
    _, key = store.create("ci")
    began = clock.now
    seen = []
    for step in (0, 30, 29, 1):
        clock.now += step
        store.authenticate(key)
        last = store.find()[0].last_used_at
        assert last is not None
        seen.append(last.timestamp() - began)
    assert seen == [0, 0, 0, 60]


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
def test_a_full_disk_locks_nobody_out(engine: Engine, store: KeyStore) -> None:
    _, key = store.create("ci")
    with engine.connect() as connection:
        connection.exec_driver_sql("COMMIT")
        connection.exec_driver_sql("PRAGMA query_only=ON")
        connection.exec_driver_sql("BEGIN")
    assert store.authenticate(key).owner == "ci"
    assert store.find()[0].last_used_at is None


@pytest.mark.parametrize("make_folder", [True, False])
def test_the_secret_is_made_once_and_for_the_owner_alone(tmp_path: Path, make_folder: bool) -> None:
    settings = Settings(data_dir=tmp_path if make_folder else tmp_path / "new" / "data")
    first = load_secret(settings)
    path = settings.data_dir / "secret"
    assert path.stat().st_mode & 0o777 == 0o600
    assert load_secret(settings).fingerprint == first.fingerprint
    assert [p.name for p in settings.data_dir.iterdir()] == ["secret"]


def test_a_secret_that_others_could_read_is_closed_to_them(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    load_secret(settings)
    os.chmod(tmp_path / "secret", 0o644)
    load_secret(settings)
    assert (tmp_path / "secret").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("content", ["", "no hexadecimal\n", "ab" * 31 + "\n"])
def test_a_damaged_secret_is_not_replaced(tmp_path: Path, content: str) -> None:
    (tmp_path / "secret").write_text(content)
    with pytest.raises(SettingsInvalid, match="damaged"):
        load_secret(Settings(data_dir=tmp_path))
    assert (tmp_path / "secret").read_text() == content


def test_the_secret_does_not_print() -> None:
    assert "s" * 8 not in repr(SECRET)


def test_processes_that_start_at_once_share_one_secret(tmp_path: Path) -> None:
    found: list[str] = []
    run_together(lambda: found.append(load_secret(Settings(data_dir=tmp_path)).fingerprint), 8)
    assert len(found) == 8 and len(set(found)) == 1


def test_keys_for_two_purposes_have_nothing_in_common() -> None:
    assert not hmac.compare_digest(SECRET.key("tickets"), SECRET.key("audit"))
