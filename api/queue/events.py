"""What Celery's workers tell of themselves, as metrics: the events that Flower shows."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from typing import Any, Final

from celery import Celery
from kombu.exceptions import OperationalError
from prometheus_client import CollectorRegistry, Counter
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric

from api.queue.base import Kind
from api.queue.dispatcher import depths

log = logging.getLogger(__name__)

_SILENT_S: Final = 60.0
"""Celery's workers say that they are there every two seconds."""
_PAUSE_S: Final = 5.0


class QueueMetrics:
    """Queues, messages and workers of Celery, for Prometheus.

    Every replica hears every event, so a query takes the largest of them and not their sum.

    Args:
        app: of `api.queue.celery_app.make_celery`.
        registry: where the metrics are read.
    """

    def __init__(self, app: Celery, registry: CollectorRegistry) -> None:
        self._app = app
        self._wakes = Counter(
            "audio_wakes", "Messages to workers, by queue and result.", ["queue", "result"], registry=registry
        )
        self._events = Counter(
            "audio_celery_events", "Events of Celery's workers.", ["type"], registry=registry
        )
        self._seen: dict[str, float] = {}
        self._stop = threading.Event()
        self._receiver: Any = None
        self._thread = threading.Thread(target=self._listen, name="celery-events", daemon=True)
        registry.register(self)

    def sent(self, kind: Kind, done: bool) -> None:
        """Count a message."""
        self._wakes.labels(kind.value, "sent" if done else "failed").inc()

    def describe(self) -> Iterator[Metric]:
        """Nothing: so that registering does not ask Redis."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """Figures that are read when they are asked for."""
        depth = GaugeMetricFamily(
            "audio_broker_queue_depth", "Messages that no worker has taken.", labels=["queue"]
        )
        up = 1.0
        try:
            for kind, number in depths(self._app).items():
                depth.add_metric([kind.value], number)
        except (OperationalError, OSError):
            up = 0.0
        yield depth
        yield GaugeMetricFamily("audio_broker_up", "Whether Redis answers: 1 or 0.", up)
        there = sum(time.monotonic() - at < _SILENT_S for at in list(self._seen.values()))
        yield GaugeMetricFamily("audio_celery_workers", "Celery's workers that are there.", there)

    def start(self) -> None:
        """Listen from now on."""
        self._thread.start()

    def close(self) -> None:
        """Listen no more; the thread ends by itself."""
        self._stop.set()
        if self._receiver is not None:
            self._receiver.should_stop = True

    def _listen(self) -> None:
        while not self._stop.is_set():
            try:
                with self._app.connection_for_read() as connection:
                    self._receiver = self._app.events.Receiver(connection, handlers={"*": self._note})
                    self._receiver.capture(limit=None, timeout=None, wakeup=True)
            except Exception as exc:  # Whatever Redis's client raises when the line breaks.
                log.debug("no events of workers: %s", type(exc).__name__)
                self._stop.wait(_PAUSE_S)

    def _note(self, event: dict[str, Any]) -> None:
        kind = str(event.get("type", ""))
        self._events.labels(kind).inc()
        if kind == "worker-offline":
            self._seen.pop(str(event.get("hostname")), None)
        elif kind.startswith("worker-"):
            self._seen[str(event.get("hostname"))] = time.monotonic()
