"""Jobs by Celery over a real Redis and a real PostgreSQL: messages only wake, the store decides."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import httpx2 as httpx
import pytest

from tests.audio_files import music, write_wav
from tests.cluster import Cluster, cluster, stop_process
from tests.integration.test_workers import eventually, figures
from tests.service import Service, ended, submit


@pytest.fixture(scope="module")
def machines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """One folder that all share, as a volume would be."""
    folder = tmp_path_factory.mktemp("celery")
    with cluster(folder, DATA_DIR=str(folder / "volume")) as made:
        yield made


@pytest.fixture(scope="module")
def service(machines: Cluster) -> Service:
    return machines.service("api")


@pytest.fixture
def http(service: Service) -> Iterator[httpx.Client]:
    with closing(service.client()) as client:
        yield client


@pytest.fixture(scope="module")
def song(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_wav(tmp_path_factory.mktemp("song") / "song.wav", music(1.0))


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_message_wakes_a_worker_and_what_redis_loses_is_found_all_the_same(
    machines: Cluster, service: Service, http: httpx.Client, song: Path
) -> None:
    machine = machines.worker("worker", PIPELINE_POLL_S="600")
    eventually(lambda: figures(http).get("audio_celery_workers"))
    job = ended(http, submit(http, song, estimators="none").json()["id"])
    assert job["status"] == "succeeded", "it looks by itself every ten minutes: it was told"
    found = figures(http)
    assert sum(n for name, n in found.items() if name.startswith("audio_wakes_total")) >= 1
    assert found["audio_broker_up"] == 1

    machines.redis.kill()
    assert figures(http)["audio_broker_up"] == 0
    other = submit(http, song, estimators="tempo")
    assert other.status_code == 202, "Redis is no part of accepting"
    machines.redis.start()  # empty: it has forgotten all
    assert ended(http, other.json()["id"])["status"] == "succeeded", "the dispatcher has told again"

    (child,) = machine.children()
    stop_process(child)
    third = submit(http, song, estimators="key")
    assert ended(http, third.json()["id"])["status"] == "succeeded"
    assert machine.stop() == 0
