"""The worker of a machine as Celery runs it: messages come in, and a supervised process looks for work.

Celery holds the connection to Redis, the events that Flower shows and the commands of `celery inspect`. Jobs
run in the child processes of `api.jobs.supervisor`, as without Celery: there a model stays warm, a process
that hangs or dies costs its own job alone, and Celery's process never touches audio.
"""

from __future__ import annotations

import logging
import socket
from typing import Any, Final

from celery import Celery
from celery.signals import setup_logging, worker_ready, worker_shutting_down

from api.jobs.supervisor import Supervisor
from api.queue.base import Kind
from api.queue.celery_app import LOOK, queue_name

log = logging.getLogger(__name__)

_TURN_S: Final = 60.0
"""How long a message waits for a process that rests. Then it is dropped: all of them are at work, and each
looks for more when it has ended."""


def serve_messages(app: Celery, supervisor: Supervisor, kinds: list[Kind]) -> None:
    """Take messages until the process is told to stop.

    Args:
        app: of `api.queue.celery_app.make_celery`.
        supervisor: of processes with bells, not yet started. It is stopped when this returns.
        kinds: of jobs that this machine is told of.
    """

    def look() -> str:
        """Have a process look for work; over when that process rests again."""
        return "looked" if supervisor.turn(_TURN_S) else "all at work"

    app.task(name=LOOK)(look)
    stopping = _Stopping(supervisor)
    setup_logging.connect(_leave_logging_alone, weak=False)
    worker_ready.connect(_say_ready, weak=False)
    worker_shutting_down.connect(stopping, weak=False)
    supervisor.start()
    try:
        worker = app.Worker(
            hostname=f"audio@{socket.gethostname()}",
            pool="threads",
            concurrency=max(supervisor.count, 1),
            queues=[queue_name(kind) for kind in kinds],
            without_gossip=True,
            without_mingle=True,
            task_events=True,
            loglevel=None,
            quiet=True,
        )
        worker.start()
    finally:
        supervisor.stop()


class _Stopping:
    """Ends the tasks that wait for a process when Celery is told to stop: it waits for them."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor

    def __call__(self, **_: Any) -> None:
        self._supervisor.begin_stop()


def _leave_logging_alone(**_: Any) -> None:
    """Being connected is enough: Celery then configures nothing."""


def _say_ready(**_: Any) -> None:
    log.info("takes messages", extra={"action": "worker_ready"})
