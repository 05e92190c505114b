"""Redis, PostgreSQL and S3 behind TLS by an authority of one's own: all real, and none believed blindly."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import kombu.pools
import pytest
import trustme
from kombu.exceptions import OperationalError
from limits.storage import storage_from_string
from pydantic import SecretStr
from sqlalchemy import Engine, text

from api.database import open_database
from api.errors import DatabaseUnavailable, StorageUnavailable
from api.queue.base import Kind
from api.queue.celery_app import make_celery
from api.queue.dispatcher import depths
from api.settings import Settings
from api.storage.s3 import S3Storage
from api.transactions import reading
from tests.audio_files import music, write_wav
from tests.cluster import Cluster
from tests.integration.test_workers import eventually, figures
from tests.postgres import Postgres
from tests.redis_server import Redis
from tests.s3_server import BUCKET, s3_server
from tests.service import ended, submit


@dataclass(frozen=True)
class Servers:
    """What speaks TLS, and the certificates of its authority and of another one."""

    postgres: Postgres
    redis: Redis
    s3: str
    trusted: Path
    stranger: Path

    def database(self, authority: Path, name: str = "postgres", host: str = "127.0.0.1") -> str:
        """A URL that believes one authority, and no other name than the certificate's."""
        url = self.postgres.url(name).replace("127.0.0.1", host)
        return f"{url}?sslmode=verify-full&sslrootcert={authority}"


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    folder = tmp_path_factory.mktemp("tls")
    authority, stranger = trustme.CA(), trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "trusted.pem"))
    stranger.cert_pem.write_to_path(str(folder / "stranger.pem"))
    with (
        Postgres(authority=authority) as postgres,
        Redis(folder, authority=authority) as redis,
        s3_server(authority, folder) as s3,
    ):
        yield Servers(postgres, redis, s3, folder / "trusted.pem", folder / "stranger.pem")


def test_postgresql_is_believed_by_its_authority_and_name_alone(servers: Servers) -> None:
    with closing_engine(servers.database(servers.trusted)) as engine, reading(engine) as connection:
        query = text("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
        assert connection.scalar(query) is True
    for url in (servers.database(servers.stranger), servers.database(servers.trusted, host="localhost")):
        with closing_engine(url) as engine, pytest.raises(DatabaseUnavailable), reading(engine):
            pass


def broker(url: str) -> dict[Kind, int]:
    settings = Settings(
        job_queue="celery",
        database_url=SecretStr("postgresql://elsewhere/pipeline"),
        broker_url=SecretStr(url),
    )
    kombu.pools.reset()  # It would take the connection to the same host that is there.
    return depths(make_celery(settings))


def test_redis_is_believed_by_its_authority_alone(servers: Servers) -> None:
    url = servers.redis.url
    assert broker(url) == dict.fromkeys(Kind, 0)
    stranger, other_name = (
        url.replace(_ca_of(url), str(servers.stranger)),
        url.replace("127.0.0.1", "localhost"),
    )
    for doubtful in (url.partition("?")[0], stranger, other_name):
        with pytest.raises(OperationalError, match="certificate verify failed"):
            broker(doubtful)


def test_requests_are_counted_in_a_redis_behind_tls(servers: Servers) -> None:
    url = servers.redis.url
    assert storage_from_string(url).check()
    assert not storage_from_string(url.replace(_ca_of(url), str(servers.stranger))).check()


def test_s3_is_believed_by_its_authority_alone(
    servers: Servers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"content")
    assert S3Storage(BUCKET, endpoint=servers.s3).put("key", path)
    assert S3Storage(BUCKET, endpoint=servers.s3).size("key") == 7
    monkeypatch.setenv("AWS_CA_BUNDLE", str(servers.stranger))
    with pytest.raises(StorageUnavailable):
        S3Storage(BUCKET, endpoint=servers.s3).size("key")


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_job_goes_through_a_cluster_that_speaks_tls_alone(servers: Servers, tmp_path: Path) -> None:
    servers.postgres.create("pipeline")
    shared = {"STORAGE": f"s3://{BUCKET}", "PIPELINE_STORAGE_ENDPOINT": servers.s3}
    database = servers.database(servers.trusted, "pipeline")
    machines = Cluster(tmp_path, database, servers.redis, shared, servers.postgres)
    with machines.stack:
        service = machines.service("api", PIPELINE_RATE_ROUTES="GET /usage=1/hour")
        machines.worker("worker", PIPELINE_POLL_S="600")
        with closing(service.client()) as http:
            song = write_wav(tmp_path / "song.wav", music(1.0))
            eventually(lambda: figures(http).get("audio_celery_workers"))
            job = ended(http, submit(http, song, estimators="none").json()["id"])
            assert job["status"] == "succeeded", job
            assert [http.get("/usage").status_code for _ in range(2)] == [200, 429]
            assert figures(http)["audio_broker_up"] == 1


@contextmanager
def closing_engine(url: str) -> Iterator[Engine]:
    engine = open_database(url)
    yield engine
    engine.dispose()


def _ca_of(url: str) -> str:
    return url.partition("ssl_ca_certs=")[2]
