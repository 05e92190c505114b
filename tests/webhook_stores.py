"""Stores of jobs and deliveries at any time of the database's clock, and jobs that end."""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Double, Engine, literal
from sqlalchemy.sql.elements import ColumnElement

from api.database import open_database
from api.jobs.model import Job
from api.jobs.sql_store import SqlJobStore
from api.jobs.store import Claim
from api.migrate import upgrade
from api.outbound import Outbound
from api.security.secret import ServerSecret
from api.webhooks.dispatcher import Dispatcher
from api.webhooks.model import Delivery
from api.webhooks.sender import Sender
from api.webhooks.signing import OwnerSecrets
from api.webhooks.store import WebhookStore
from tests.job_stores import known, new, taken

URL = "https://receiver.example/hook"
SECRET = ServerSecret(b"s" * 32)
HERE = Outbound([ipaddress.ip_network("127.0.0.0/8")])
"""A way out that also leads to receivers on this machine."""


@dataclass(frozen=True)
class Stores:
    """The stores of one database.

    Attributes:
        engine: of the database.
        opened: when they were opened, in seconds since 1970. Their clock stands still there, so that no
            test depends on how long it takes.
    """

    engine: Engine
    opened: float

    @property
    def jobs(self) -> SqlJobStore:
        """The jobs."""
        return SqlJobStore(self.engine, self._clock(0.0))

    def at(self, seconds: float) -> WebhookStore:
        """The deliveries as seen so many seconds later, without jitter."""
        return WebhookStore(self.engine, self._clock(seconds), chance=lambda: 0.0)

    def secrets(self, seconds: float = 0.0) -> OwnerSecrets:
        return OwnerSecrets(self.engine, SECRET, self._clock(seconds))

    def dispatcher(self, seconds: float = 0.0, timeout_s: float = 15.0) -> Dispatcher:
        return Dispatcher(self.at(seconds), Sender(HERE, self.secrets(seconds), timeout_s))

    def ended(self, end: Callable[[SqlJobStore, Claim], Any] = SqlJobStore.succeed, **values: Any) -> Job:
        """A job that has run and ended."""
        job = self.jobs.add(new(**{"webhook_url": URL, **values}))
        claim = taken(self.jobs)
        assert claim.job.id == job.id
        end(self.jobs, claim)
        return known(self.jobs, job.id)

    def delivery(self, job: Job) -> Delivery:
        """The one delivery of a job."""
        (one,) = self.at(0.0).of_job(job.id)
        return one

    def _clock(self, seconds: float) -> ColumnElement[float]:
        return literal(round(self.opened + seconds, 6), Double())


def open_stores(folder: Path) -> Stores:
    """The stores of a folder; their tables are made if need be."""
    engine = open_database(f"sqlite:///{folder / 'pipeline.db'}")
    upgrade(engine)
    return Stores(engine, time.time())
