"""The queue that the settings ask for, wired."""

from __future__ import annotations

import threading
from typing import Protocol

from prometheus_client import CollectorRegistry
from sqlalchemy import Engine

from api.jobs.model import Job
from api.jobs.store import JobStore
from api.queue.base import Kind, NoWaker, Waker, kind_of
from api.settings import Settings


class Queue(Waker, Protocol):
    """A waker with what has to run beside it."""

    def start(self, engine: Engine) -> None:
        """Run it from now on."""
        ...


class LocalQueue(NoWaker):
    """Nobody is told, and nothing runs."""

    def start(self, engine: Engine) -> None:
        """Nothing."""


class CeleryQueue:
    """Messages by Celery, what says them again, and their metrics.

    Args:
        settings: of the service.
        store: the jobs.
        registry: where metrics are read.

    Raises:
        SettingsInvalid: the settings do not go together.
    """

    def __init__(self, settings: Settings, store: JobStore, registry: CollectorRegistry) -> None:
        from api.queue.celery_app import make_celery
        from api.queue.celery_waker import CeleryWaker
        from api.queue.dispatcher import WakeAgain
        from api.queue.events import QueueMetrics

        app = make_celery(settings)
        self._model, self._gpu_from_s = settings.model, settings.gpu_from_s
        self._metrics = QueueMetrics(app, registry)
        self._waker = CeleryWaker(app, self._kind_of, self._metrics.sent)
        self._again = WakeAgain(app, store, self._waker.look, self._kind_of)
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, engine: Engine) -> None:
        """Look for jobs that nobody is told of, and listen to the workers."""
        from api.leadership import Leadership
        from api.queue.dispatcher import keep_dispatching

        leadership = Leadership(engine, "dispatching")
        given = (self._again, leadership, self._stop)
        self._thread = threading.Thread(target=keep_dispatching, args=given, name="dispatcher", daemon=True)
        self._thread.start()
        self._metrics.start()

    def wake(self, job: Job) -> None:
        """Say that a job was accepted. Returns at once and never fails."""
        self._waker.wake(job)

    def close(self) -> None:
        """Say what is left to say, and end."""
        self._stop.set()
        self._metrics.close()
        self._waker.close()
        if self._thread is not None:
            self._thread.join(5.0)

    def _kind_of(self, job: Job) -> Kind:
        return kind_of(job, self._model, self._gpu_from_s)


def open_queue(settings: Settings, store: JobStore, registry: CollectorRegistry) -> Queue:
    """The queue that the settings ask for.

    Raises:
        SettingsInvalid: the settings do not go together.
    """
    return CeleryQueue(settings, store, registry) if settings.job_queue == "celery" else LocalQueue()
