"""Prometheus metrics: what happened to jobs comes from the database, so that every process tells the same."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import UTC, datetime
from math import isinf
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from sqlalchemy import Connection, Engine, select

from api.jobs.ages import ages_of_running
from api.jobs.model import JobStatus
from api.jobs.store import JobStore
from api.jobs.totals import TOTALS, Total, counted, distributed
from api.jobs.workers import WorkerRegister
from api.transactions import DatabaseTime, reading
from pipeline.errors import PipelineError

log = logging.getLogger(__name__)

_HTTP_BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class Metrics:
    """One registry per app.

    What concerns jobs is read from the database with every scrape: it survives restarts, and is the same in
    all processes that share the database, so that a query takes the largest of them and not their sum.
    Requests and uploads are this process's own.

    Args:
        engine: of the database.
        store: the jobs.
    """

    def __init__(self, engine: Engine, store: JobStore) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._engine, self._store = engine, store
        self._register = WorkerRegister(engine)
        self.upload_bytes = Counter(
            "audio_upload_bytes", "Bytes of accepted recordings.", registry=self.registry
        )
        self.repeated = Counter(
            "audio_jobs_repeated",
            "Submissions that were answered with a job that was there.",
            registry=self.registry,
        )
        self.http_seconds = Histogram(
            "http_request_seconds",
            "Seconds until the answer was sent.",
            ["method", "route", "status"],
            buckets=_HTTP_BUCKETS,
            registry=self.registry,
        )
        self.registry.register(self)

    def observe_request(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count a request that was answered."""
        self.http_seconds.labels(method, route, str(status)).observe(seconds)

    def render(self) -> bytes:
        """The text that Prometheus reads."""
        return generate_latest(self.registry)

    def describe(self) -> Iterator[Metric]:
        """Nothing: so that registering does not ask the database."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """Figures that are read when they are asked for; without a database, those that need none."""
        try:
            found = [*self._totals(), *self._queue(), *self._running(), *self._workers()]
        except PipelineError as exc:
            said = {"action": "metrics_incomplete", "code": exc.code}
            log.warning("metrics without the database: %s", exc.message, extra=said)
            found = []
        yield from found
        yield _gauge("audio_database_up", "Whether the database answers: 1 or 0.", float(bool(found)))

    def _totals(self) -> Iterator[Metric]:
        with reading(self._engine) as connection:
            for total in TOTALS:
                yield _histogram(connection, total) if total.buckets else _counter(connection, total)

    def _queue(self) -> Iterator[Metric]:
        counts = self._store.counts((JobStatus.QUEUED, JobStatus.RUNNING))
        yield _gauge(
            "audio_queue_depth",
            "Jobs that wait, those that rest after a failure included.",
            counts[JobStatus.QUEUED],
        )
        yield _gauge("audio_jobs_in_progress", "Jobs that run.", counts[JobStatus.RUNNING])
        oldest = self._store.oldest_queued()
        waited = 0.0 if oldest is None else max((datetime.now(UTC) - oldest).total_seconds(), 0.0)
        yield _gauge(
            "audio_queue_oldest_seconds", "Seconds that the job waits that could run for longest.", waited
        )

    def _running(self) -> Iterator[Metric]:
        with reading(self._engine) as connection:
            ages = ages_of_running(connection, connection.scalars(select(DatabaseTime())).one())
        yield _gauge(
            "audio_job_oldest_seconds", "Seconds that the longest attempt under way takes.", ages.job_s
        )
        stages = GaugeMetricFamily(
            "audio_stage_oldest_seconds", "Seconds that the longest stage under way takes.", labels=["stage"]
        )
        for stage, seconds in ages.stage_s.items():
            stages.add_metric([stage], seconds)
        yield stages

    def _workers(self) -> Iterator[Metric]:
        workers = self._register.alive()
        yield _gauge("audio_workers", "Worker processes that are there.", len(workers))
        busy = sum(worker.job_id is not None for worker in workers)
        yield _gauge("audio_workers_busy", "Worker processes that run a job.", busy)
        memory = sum(worker.memory_bytes for worker in workers)
        yield _gauge("audio_workers_memory_bytes", "Resident memory of all worker processes.", memory)
        loaded = GaugeMetricFamily(
            "model_loaded", "Worker processes that keep a model loaded.", labels=["model"]
        )
        for model in sorted({worker.model for worker in workers if worker.model is not None}):
            loaded.add_metric([model], sum(worker.model == model for worker in workers))
        yield loaded


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value)


def _counter(connection: Connection, total: Total) -> Metric:
    family = CounterMetricFamily(total.name, total.help, labels=_labels(total))
    for label, value in counted(connection, total).items():
        family.add_metric([label] if total.label else [], value)
    return family


def _histogram(connection: Connection, total: Total) -> Metric:
    family = HistogramMetricFamily(total.name, total.help, labels=_labels(total))
    for label, found in distributed(connection, total).items():
        buckets = [("+Inf" if isinf(bound) else str(bound), number) for bound, number in found.counts]
        family.add_metric([label] if total.label else [], buckets, found.sum)
    return family


def _labels(total: Total) -> list[str]:
    return [] if total.label is None else [total.label]
