"""The register of workers: which processes work, on what, and with which model loaded.

Nothing is decided by it. It tells operators what jobs alone cannot: a worker that waits has none.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Final

from sqlalchemy import ColumnElement, Engine, insert, or_, select, update

from api.jobs.capacity import own_memory
from api.jobs.tables import workers
from api.transactions import DatabaseTime, reading, writing
from pipeline.errors import PipelineError
from pipeline.separators.registry import choose_device

log = logging.getLogger(__name__)

SAID_EVERY_S: Final = 10.0
"""How often a worker says that it is there."""
STALE_S: Final = 35.0
"""A worker that has said nothing for so long is gone."""


@dataclass(frozen=True, slots=True)
class Worker:
    """A worker process.

    Attributes:
        name: unique, as in `api.jobs.model.Job.worker`.
        host: the machine's name.
        pid: process id there.
        started_at: when it began.
        seen_at: when it last said that it is there.
        job_id: of the job that it runs; None while it waits.
        model: that it keeps loaded; None: none yet.
        device: ``cpu`` or ``cuda``; ``auto`` until it has loaded a model.
        memory_bytes: resident.
    """

    name: str
    host: str
    pid: int
    started_at: datetime
    seen_at: datetime
    job_id: str | None
    model: str | None
    device: str
    memory_bytes: int


class WorkerRegister:
    """Who works, in the database.

    Args:
        engine: of the database.
        now: the time by the database, in seconds since 1970.
    """

    def __init__(self, engine: Engine, now: ColumnElement[float] | None = None) -> None:
        self._engine = engine
        self._now = select(DatabaseTime() if now is None else now)

    def say(self, name: str, **said: Any) -> None:
        """Say that a worker is there, and forget those that are gone.

        Args:
            name: of the worker.
            **said: the fields of `Worker` besides its name and times.

        Raises:
            DatabaseUnavailable: the database is busy, out of reach or damaged.
            DiskFull: no space left.
            OutputUnwritable: it may not be written.
        """
        with writing(self._engine) as connection:
            at: float = connection.scalars(self._now).one()
            this = workers.c.name == name
            if not connection.execute(update(workers).where(this).values(seen_at=at, **said)).rowcount:
                connection.execute(insert(workers).values(name=name, started_at=at, seen_at=at, **said))
            connection.execute(workers.delete().where(_stale(at)))

    def forget(self, name: str) -> None:
        """Remove a worker that ends.

        Raises:
            DatabaseUnavailable: the database is busy, out of reach or damaged.
            DiskFull: no space left.
            OutputUnwritable: it may not be written.
        """
        with writing(self._engine) as connection:
            connection.execute(workers.delete().where(workers.c.name == name))

    def alive(self) -> Sequence[Worker]:
        """The workers that are there, oldest first.

        Raises:
            DatabaseUnavailable: the database is busy, out of reach or damaged.
        """
        with reading(self._engine) as connection:
            at: float = connection.scalars(self._now).one()
            query = select(workers).where(~_stale(at)).order_by(workers.c.started_at, workers.c.name)
            return [_worker(row._asdict()) for row in connection.execute(query)]


class Presence:
    """Tells the register of this process from entering the context to leaving it.

    It has a thread and should have an engine of its own: the work waits for none of this, and whatever goes
    wrong here is logged and tried again.

    Args:
        register: where to tell.
        name: of the worker.
        device: that the settings ask for.
        model: looks up which model is loaded.
        period_s: from one word to the next; changes are told at once.
    """

    def __init__(
        self,
        register: WorkerRegister,
        name: str,
        device: str,
        model: Callable[[], str | None],
        period_s: float = SAID_EVERY_S,
    ) -> None:
        self._register, self._name, self._period_s = register, name, period_s
        self._device, self._model = device, model
        self._job_id: str | None = None
        self._done = False
        self._news = threading.Event()
        self._thread = threading.Thread(target=self._run, name="presence", daemon=True)

    def note(self, job_id: str | None) -> None:
        """Say which job the worker runs from now on; None: it waits."""
        self._job_id = job_id
        self._news.set()

    def _run(self) -> None:
        while not self._done:
            self._say()
            self._news.wait(self._period_s)
            self._news.clear()
        try:
            self._register.forget(self._name)
        except PipelineError as exc:
            self._log(exc)

    def _say(self) -> None:
        try:
            model = self._model()
            self._register.say(
                self._name,
                host=socket.gethostname(),
                pid=os.getpid(),
                job_id=self._job_id,
                model=model,
                # To look it up takes torch, which is there when a model is.
                device=choose_device("auto") if model and self._device == "auto" else self._device,
                memory_bytes=own_memory(),
            )
        except PipelineError as exc:
            self._log(exc)
        except Exception:
            log.exception("the register of workers was not told", extra={"action": "presence_failed"})

    def _log(self, exc: PipelineError) -> None:
        said = {"action": "presence_failed", "code": exc.code}
        log.warning("the register of workers was not told: %s", exc.message, extra=said)

    def __enter__(self) -> Presence:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done = True
        self._news.set()
        self._thread.join(5.0)  # A database that hangs must not keep the worker from ending.


def _stale(at: float) -> ColumnElement[bool]:
    # Seen in the future: the clock was set back. Who lives says so again soon.
    return or_(workers.c.seen_at < at - STALE_S, workers.c.seen_at > at + STALE_S)


def _worker(row: dict[str, Any]) -> Worker:
    times = {name: datetime.fromtimestamp(row[name], UTC) for name in ("started_at", "seen_at")}
    return Worker(**{**row, **times})
