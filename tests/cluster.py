"""Several machines in one: API replicas and workers as processes, each with a disk of its own."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests import postgres
from tests.postgres import Postgres
from tests.program import Program
from tests.redis_server import Redis
from tests.service import Service

SECRET = "0123456789abcdef" * 2


class WorkerMachine(Program):
    """A machine of workers.

    Args:
        folder: its disk.
        environment: of it.
    """

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        disk = {"DATA_DIR": str(environment.get("DATA_DIR") or folder)}
        super().__init__("worker", folder, {**environment, **disk})


@dataclass
class Cluster:
    """What a test starts and stops.

    Attributes:
        folder: of everything.
        database: its URL.
        redis: the broker.
        settings: of every process.
    """

    folder: Path
    database: str
    redis: Redis
    settings: dict[str, str]
    server: Postgres
    stack: ExitStack = field(default_factory=ExitStack)

    @property
    def environment(self) -> dict[str, str]:
        """Of every process."""
        return {
            "DATABASE_URL": self.database,
            "PIPELINE_BROKER_URL": self.redis.url,
            "PIPELINE_RATE_STORAGE": self.redis.url,
            "JOB_QUEUE": "celery",
            "SECRET_KEY": SECRET,
            "PIPELINE_GRACE_S": "5",
            "PIPELINE_LEASE_S": "3",
            **self.settings,
        }

    def service(self, name: str, **settings: str) -> Service:
        """Start an API replica with a disk of its own, unless the settings name another."""
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        service = Service(folder, **{**self.environment, **settings})
        return self.stack.enter_context(service)

    def worker(self, name: str, **settings: str) -> WorkerMachine:
        """Start a machine of workers."""
        like = Service(self.folder, **{"DATA_DIR": "", **self.environment, **settings}).environment
        return self.stack.enter_context(WorkerMachine(self.folder / name, like))


@contextmanager
def cluster(folder: Path, *, durable: bool = False, **settings: str) -> Iterator[Cluster]:
    """A database and a Redis, and whatever is started with them.

    Args:
        folder: of everything.
        durable: whether both are a test's own to kill, and keep what they have.
        **settings: of every process.
    """
    redis_folder = folder / "redis"
    redis_folder.mkdir()
    with ExitStack() as stack:
        if durable:
            server = stack.enter_context(Postgres(durable=True))
            database = server.create("pipeline")
        else:
            server = postgres.shared()
            database = stack.enter_context(postgres.database(migrated=False))
        redis = stack.enter_context(Redis(redis_folder, keeps=durable))
        made = Cluster(folder, database, redis, settings, server)
        stack.enter_context(made.stack)
        yield made


def stop_process(pid: int) -> None:
    """Kill a process as kill -9 does."""
    os.kill(pid, signal.SIGKILL)
