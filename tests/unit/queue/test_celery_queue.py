"""Messages over a real Redis: what is sent, what is said again, and what happens without it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import kombu.pools
import pytest
from celery import Celery
from kombu.exceptions import OperationalError

from api.errors import SettingsInvalid
from api.jobs.sql_store import SqlJobStore
from api.queue.base import Kind, NoWaker, kind_of
from api.queue.celery_app import make_celery
from api.queue.celery_waker import CeleryWaker
from api.queue.dispatcher import WakeAgain, depths
from api.settings import Settings
from tests.databases import sqlite
from tests.job_stores import ERROR, new, taken
from tests.redis_server import Redis

URL = "postgresql://u@127.0.0.1/x"
NONE = {"cpu": 0, "gpu": 0, "priority": 0}


def settings(**given: Any) -> Settings:
    return Settings(**{"job_queue": "celery", "database_url": URL, **given})


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redis]:
    with Redis(tmp_path_factory.mktemp("redis")) as running:
        yield running


@pytest.fixture
def app(redis: Redis) -> Iterator[Celery]:
    made = make_celery(settings(broker_url=redis.url))
    with made.connection_for_write() as connection:
        connection.default_channel.client.flushall()
    yield made
    kombu.pools.reset()  # Of this process, by URL: the next test begins with none.


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqlJobStore]:
    with sqlite(tmp_path) as engine:
        yield SqlJobStore(engine)


def cpu(_job: object) -> Kind:
    return Kind.CPU


def eventually(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize(
    ("job", "kind"),
    [
        (new(duration_s=200.0), Kind.CPU),
        (new(duration_s=3600.0), Kind.GPU),
        (new(duration_s=400.0, options={"model": "htdemucs_ft"}), Kind.GPU),
        (new(duration_s=3600.0, options={"model": "hpss"}), Kind.CPU),
        (new(duration_s=3600.0, priority=1), Kind.PRIORITY),
        (new(options={"model": "no such model"}), Kind.CPU),
        (new(), Kind.CPU),
    ],
)
def test_a_job_is_told_to_those_whom_it_suits(job: Any, kind: Kind) -> None:
    assert kind_of(job, "htdemucs", 1200.0) is kind


def test_each_job_is_one_message_that_names_nothing_of_it(app: Celery) -> None:
    waker = CeleryWaker(app, lambda job: kind_of(job, "htdemucs", 1200.0))
    secret = new(filename="nobody's business.mp3")
    for job in (secret, new(priority=1), new(duration_s=7200.0)):
        waker.wake(job)
    waker.close()
    assert depths(app) == {"cpu": 1, "gpu": 1, "priority": 1}
    with app.connection_for_read() as connection:
        (message,) = connection.default_channel.client.lrange("audio.cpu", 0, -1)
    assert secret.id not in str(message) and "business" not in str(message)


def test_without_redis_nobody_waits_and_it_is_told_once(
    redis: Redis, app: Celery, caplog: pytest.LogCaptureFixture
) -> None:
    told: list[bool] = []
    waker = CeleryWaker(app, cpu, lambda _kind, done: told.append(done))
    redis.kill()
    try:
        with caplog.at_level(logging.WARNING, "api.queue.celery_waker"):
            for _ in range(3):
                waker.wake(new())
            eventually(lambda: told == [False] * 3)
        assert [record.action for record in caplog.records] == ["broker_away"]  # type: ignore[attr-defined]
        with pytest.raises((OperationalError, OSError)):
            depths(app)
    finally:
        redis.start()
    waker.wake(new())
    eventually(lambda: told[3:] == [True])
    waker.close()


def test_what_redis_forgot_is_said_again_once(app: Celery, store: SqlJobStore) -> None:
    waker = CeleryWaker(app, cpu)
    again = WakeAgain(app, store, waker.look, cpu)
    assert again.round() == 0, "nothing waits"
    for _ in range(3):
        store.add(new())
    assert again.round() == 3
    eventually(lambda: depths(app)[Kind.CPU] == 3)
    assert again.round() == 0, "they are there already"
    waker.close()


def test_a_job_that_rests_wakes_nobody(app: Celery, store: SqlJobStore) -> None:
    store.add(new())
    store.fail(taken(store), ERROR, again=True)
    waker = CeleryWaker(app, cpu)
    assert WakeAgain(app, store, waker.look, cpu).round() == 0
    waker.close()
    assert depths(app) == NONE


def test_celery_with_sqlite_is_refused() -> None:
    with pytest.raises(SettingsInvalid, match="needs DATABASE_URL=postgresql"):
        make_celery(Settings(job_queue="celery", broker_url="redis://127.0.0.1"))


def test_celery_without_a_broker_is_refused() -> None:
    with pytest.raises(SettingsInvalid, match="needs PIPELINE_BROKER_URL"):
        make_celery(settings())


@pytest.mark.parametrize("url", ["amqp://host", "redis://", "canary"])
def test_a_broker_that_is_no_redis_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="redis://host:port/0"):
        settings(broker_url=url)


def test_tls_is_as_the_url_says(tmp_path: Path) -> None:
    ca = tmp_path / "ca.pem"
    made = make_celery(settings(broker_url=f"rediss://redis:6379/0?ssl_ca_certs={ca}"))
    assert made.conf.broker_use_ssl == {"ssl_cert_reqs": 2, "ssl_ca_certs": str(ca)}
    with pytest.raises(SettingsInvalid, match="ssl_cert_reqs"):
        make_celery(settings(broker_url="rediss://redis:6379/0?ssl_cert_reqs=maybe"))


def test_where_nobody_is_told_nothing_happens() -> None:
    NoWaker().wake(new())
    NoWaker().close()
