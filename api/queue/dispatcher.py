"""Says again what Redis has forgotten: one replica looks whether jobs wait of which no message tells."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Final

from celery import Celery
from kombu.exceptions import OperationalError

from api.jobs.model import Job
from api.jobs.store import JobStore
from api.leadership import Leadership
from api.queue.base import Kind
from api.queue.celery_app import queue_name
from pipeline.errors import PipelineError

log = logging.getLogger(__name__)

PERIOD_S: Final = 5.0
_MOST_AT_ONCE: Final = 64
_MOST_UNREAD: Final = 10_000


def depths(app: Celery) -> dict[Kind, int]:
    """How many messages wait for the workers of each kind.

    Raises:
        OperationalError: Redis does not answer.
    """
    with app.pool.acquire(block=True, timeout=1) as connection:
        client = connection.default_channel.client
        try:
            return {kind: int(client.llen(queue_name(kind))) for kind in Kind}
        except connection.connection_errors as exc:
            raise OperationalError(str(exc)) from exc


class WakeAgain:
    """A round of looking for jobs that nobody is told of.

    A job is told of when it is accepted. Nobody is told when it is to be tried again after a rest, when its
    worker has died, or when Redis was away or lost its memory.

    Args:
        app: of `api.queue.celery_app.make_celery`.
        store: the jobs.
        look: says that there is work of a kind.
        kind_of: the kind of a job.
    """

    def __init__(
        self, app: Celery, store: JobStore, look: Callable[[Kind], None], kind_of: Callable[[Job], Kind]
    ) -> None:
        self._app, self._store, self._look, self._kind_of = app, store, look, kind_of

    def round(self) -> int:
        """Look once.

        Returns:
            For how many jobs a message was sent.

        Raises:
            OperationalError: Redis does not answer.
            PipelineError: the database does not.
        """
        unread = depths(self._app)
        for kind, number in unread.items():
            if number > _MOST_UNREAD:  # Nobody listens to this kind; others find its jobs.
                with self._app.pool.acquire(block=True, timeout=1) as connection:
                    connection.default_channel.queue_purge(queue_name(kind))
        if sum(unread.values()):
            return 0
        waiting = [job for job in self._store.line(_MOST_AT_ONCE) if job.retry_at is None]
        for job in waiting:
            self._look(self._kind_of(job))
        return len(waiting)


def keep_dispatching(wake_again: WakeAgain, leadership: Leadership, stop: threading.Event) -> None:
    """Do rounds while this process leads, until told to stop."""
    with leadership:
        while not stop.wait(PERIOD_S):
            try:
                if leadership.leads():
                    wake_again.round()
            except (OperationalError, PipelineError, OSError):
                pass  # Whoever needs them says so; the next round comes soon.
            except Exception:
                log.exception("nobody was told again", extra={"action": "dispatch_failed"})
