"""Tells workers by Celery, without anybody's waiting for Redis."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable
from typing import Any, Final

from celery import Celery
from kombu.exceptions import OperationalError

from api.jobs.model import Job
from api.queue.base import Kind
from api.queue.celery_app import EXPIRES_S, LOOK, queue_name

log = logging.getLogger(__name__)

_MOST_UNSENT: Final = 1000
_CLOSE_S: Final = 2.0


class CeleryWaker:
    """A thread that sends one message for each job.

    While Redis is away nothing is kept for later: workers look by themselves, and the dispatcher says again
    what was not said. That is logged once, and once more when it is over.

    Args:
        app: of `api.queue.celery_app.make_celery`.
        kind_of: the kind of a job.
        sent: told of every message whether it was sent, for metrics.
    """

    def __init__(
        self,
        app: Celery,
        kind_of: Callable[[Job], Kind],
        sent: Callable[[Kind, bool], None] = lambda _kind, _sent: None,
    ) -> None:
        self._app, self._kind_of, self._sent = app, kind_of, sent
        self._unsent: queue.Queue[Kind | None] = queue.Queue(_MOST_UNSENT)
        self._away = False
        self._thread = threading.Thread(target=self._run, name="waker", daemon=True)
        self._thread.start()

    def wake(self, job: Job) -> None:
        """Say that a job was accepted. Returns at once and never fails."""
        self.look(self._kind_of(job))

    def look(self, kind: Kind) -> None:
        """Say that there is work of a kind."""
        try:
            self._unsent.put_nowait(kind)
        except queue.Full:
            self._sent(kind, False)

    def close(self) -> None:
        """Say what is left to say, and end."""
        try:
            self._unsent.put_nowait(None)
        except queue.Full:
            return
        self._thread.join(_CLOSE_S)

    def _run(self) -> None:
        while (kind := self._unsent.get()) is not None:
            try:
                send_look(self._app, kind)
            except (OperationalError, OSError) as exc:
                self._say_away(exc)
                self._sent(kind, False)
            except Exception:
                log.exception("a worker was not told", extra={"action": "wake_failed"})
                self._sent(kind, False)
            else:
                self._sent(kind, True)
                if self._away:
                    self._away = False
                    log.info("Redis is back", extra={"action": "broker_back"})

    def _say_away(self, exc: Exception) -> None:
        if not self._away:
            said: dict[str, Any] = {"action": "broker_away", "error": type(exc).__name__}
            log.warning("Redis does not answer; workers find jobs by themselves, a little later", extra=said)
        self._away = True


def send_look(app: Celery, kind: Kind) -> None:
    """Send one message.

    Raises:
        OperationalError: Redis does not answer.
    """
    app.send_task(LOOK, queue=queue_name(kind), expires=EXPIRES_S, retry=False)
